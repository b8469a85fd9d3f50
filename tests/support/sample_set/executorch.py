"""ExecuTorch: programs of its exporter, and the same with numbers that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graph_writers import executorch

from sample_set import Sample, written

NEEDS = ("executorch", "torch")


def file(name: str, change: Callable[[bytes], bytes] = bytes) -> Callable[[Path], Path]:
    return written(name, lambda: change(executorch()[name]))


def number(at: int, value: int, width: int = 8) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + value.to_bytes(width, "little") + data[at + width :]


def _bad(name: str, trick: str) -> Sample:
    return Sample(
        f"executorch/{name}", "executorch", file(f"{name}.pte"), ("unverifiable",), rule="executorch.bounds",
        needs=NEEDS, trick=trick,
    )  # fmt: skip


SAMPLES = (
    Sample("executorch/honest", "executorch", file("honest.pte"), ("safe",), honest=True, needs=NEEDS),
    Sample("executorch/tensors-apart", "executorch", file("apart.pte"), ("safe",), honest=True, needs=NEEDS),
    _bad("instruction", "An instruction calls an operator that is not there."),
    _bad("value", "An instruction is given a value that is not there."),
    _bad("tensor", "A tensor is larger than the memory that is made for it."),
    _bad("memory", "A tensor lies outside of the memory that is made for it."),
    _bad("constant", "A constant asks for more data than there is."),
    Sample(
        "executorch/operator", "executorch", file("operator.pte"), ("review",), rule="executorch.operator", needs=NEEDS,
        trick="An operator of a library.",
    ),
    Sample(
        "executorch/delegate", "executorch", file("delegate.pte"), ("review",), rule="executorch.delegate",
        needs=NEEDS, trick="A part that is compiled for a backend.",
    ),
    Sample(
        "executorch/header", "executorch", file("honest.pte", number(24, 1 << 40)), ("unverifiable",), needs=NEEDS,
        trick="The header says that the data begins behind the file.",
    ),
    Sample(
        "executorch/wrapped", "executorch", file("honest.pte", number(32, (1 << 64) - 1)), ("unverifiable",),
        needs=NEEDS, trick="The sum of two numbers in the header is small again.",
    ),
    Sample(
        "executorch/behind", "executorch", file("honest.pte", lambda data: data + b"more"), ("unverifiable",),
        needs=NEEDS, trick="Something lies behind the data.",
    ),
    Sample(
        "executorch/other-schema", "executorch", file("honest.pte", lambda data: data.replace(b"ET12", b"ET13", 1)),
        ("unverifiable",), rule="format.unread", needs=NEEDS, trick="A schema that nobody knows.",
    ),
    Sample("executorch/data", "executorch-data", file("apart.ptd"), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "executorch/data-header", "executorch-data", file("apart.ptd", number(32, 1 << 50)), ("unverifiable",),
        needs=NEEDS, trick="The header leads out of the file.",
    ),
    Sample(
        "executorch/data-cut-off", "executorch-data", file("apart.ptd", lambda data: data[:-40]), ("unverifiable",),
        needs=NEEDS, trick="It is cut off.",
    ),
)  # fmt: skip
