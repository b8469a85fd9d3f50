"""CRFsuite: a model of its own trainer, and two whose numbers lie."""

from __future__ import annotations

import struct
import tempfile
from functools import cache
from pathlib import Path

from sample_set import Sample, written


@cache
def honest() -> bytes:
    import pycrfsuite

    trainer = pycrfsuite.Trainer(verbose=False)
    words = [[f"w={w}", f"s={w[-1]}"] for w in ("the", "cat", "sat", "on", "mats")]
    for _ in range(4):
        trainer.append(words, ["D", "N", "V", "P", "N"])
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(str(Path(folder) / "model"))
        return (Path(folder) / "model").read_bytes()


def header_lies() -> bytes:
    data = honest()
    return data[:12] + struct.pack("<I", 0x7FFFFFF0) + data[16:]


def label_outside() -> bytes:
    data = honest()
    at = struct.unpack_from("<I", data, 28)[0] + 12
    return data[: at + 8] + struct.pack("<I", 999) + data[at + 12 :]


NEEDS = ("pycrfsuite",)
SAMPLES = (
    Sample("crfsuite/honest", "crfsuite", written("m.crfsuite", honest), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "crfsuite/header-lies", "crfsuite", written("m.crfsuite", header_lies), ("unverifiable",), needs=NEEDS,
        trick="The header gives a size that leads out of the file.",
    ),
    Sample(
        "crfsuite/label-outside", "crfsuite", written("m.crfsuite", label_outside), ("unverifiable",), needs=NEEDS,
        trick="A feature belongs to a label that is not there.",
    ),
)  # fmt: skip
