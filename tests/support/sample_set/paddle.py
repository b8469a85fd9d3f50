"""PaddlePaddle: programs and parameters of both versions of its writer, and operators that reach out of a program."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from graph_writers import paddle, paddle_before, placed

from sample_set import MARKER, Sample, written

NEEDS = ("paddle",)


def version_3() -> dict[str, bytes]:
    return {name: paddle()[name] for name in ("model.json", "model.pdiparams")}


def version_2() -> dict[str, bytes]:
    return {name: paddle_before()[name] for name in ("model.pdmodel", "model.pdiparams", "model.pdiparams.info")}


@cache
def messages() -> Any:
    """Paddle's messages without Paddle, which breaks off the process where TensorFlow was imported before."""
    spec = find_spec("paddle")
    assert spec is not None
    assert spec.origin is not None
    place = Path(spec.origin).parent / "base" / "proto" / "framework_pb2.py"
    alone = spec_from_file_location("paddle_framework_pb2", place)
    assert alone is not None
    assert alone.loader is not None
    module = module_from_spec(alone)
    alone.loader.exec_module(module)
    return module


@cache
def with_operator(kind: str, **texts: str) -> dict[str, bytes]:
    """A program of version 2 with one more operator, which takes the first parameter."""
    framework_pb2 = messages()
    program = framework_pb2.ProgramDesc.FromString(paddle_before()["model.pdmodel"])
    block = program.blocks[0]
    weight = next(v.name for v in block.vars if v.persistable and v.name not in ("feed", "fetch"))
    operator = framework_pb2.OpDesc(type=kind)
    operator.inputs.add(parameter="X", arguments=[weight])
    for name, value in texts.items():
        operator.attrs.add(name=name, type=framework_pb2.STRING, s=value)
    fetch = next(n for n, op in enumerate(block.ops) if op.type == "fetch")
    block.ops.insert(fetch, operator)
    return {**version_2(), "model.pdmodel": program.SerializeToString()}


def program(kind: str, **texts: str) -> Callable[[Path], Path]:
    return placed(lambda: with_operator(kind, **texts), "model.pdmodel")


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Path]:
    """A program of version 3 after `change`."""

    def data() -> bytes:
        document = json.loads(paddle()["model.json"])
        change(document)
        return json.dumps(document).encode()

    return written("model.json", data)


def operators(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["program"]["regions"][0]["blocks"][0]["ops"]
    return found


def called(name: str, **texts: str) -> Callable[[dict[str, Any]], Any]:
    attributes = [{"N": key, "AT": {"#": "0.a_str", "D": value}} for key, value in texts.items()]
    operator = {"#": name, "A": attributes, "I": [{"%": 1}], "O": [], "OA": []}
    return lambda document: operators(document).append(operator)


def in_a_branch(document: dict[str, Any]) -> None:
    block: dict[str, Any] = {"#": "block_1", "args": [], "ops": []}
    called("1.save_combine", file_path=MARKER)({"program": {"regions": [{"blocks": [block]}]}})
    branch = {"#": "1.if", "A": [], "I": [], "O": [], "OA": [], "regions": [{"#": "region_1", "blocks": [block]}]}
    operators(document).append(branch)


def last_first() -> bytes:
    document = json.loads(paddle()["model.json"])
    called("1.save_combine", file_path=MARKER)(document)
    return json.dumps({"about": "x" * 70_000, **dict(reversed(document.items()))}).encode()


class _Payload:
    def __reduce__(self) -> Any:
        import os

        return os.system, (f"echo ran > {MARKER}",)


def parameters(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    return written("model.pdiparams", lambda: change(paddle()["model.pdiparams"]))


SAMPLES = (
    Sample("paddle/version-2", "paddle-program", placed(version_2), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "paddle/saves", "paddle-program", program("save", file_path=f"./{MARKER}"), ("danger",), rule="paddle.operator",
        needs=NEEDS, trick="An operator writes a file when the program is run.",
    ),
    Sample(
        "paddle/python", "paddle-program", program("py_func"), ("danger",), rule="paddle.operator", needs=NEEDS,
        trick="An operator calls a Python function of the process.",
    ),
    Sample(
        "paddle/reads", "paddle-program", program("load", file_path="/etc/passwd"), ("danger",), rule="paddle.operator",
        needs=NEEDS, trick="An operator reads a file by its absolute path.",
    ),
    Sample(
        "paddle/library", "paddle-program", program("mine"), ("review",), rule="paddle.operator", needs=NEEDS,
        trick="An operator of a library.",
    ),
    Sample(
        "paddle/engine", "paddle-program", program("tensorrt_engine"), ("review",), rule="paddle.operator", needs=NEEDS,
        trick="A part that is compiled for a library.",
    ),
    Sample(
        "paddle/cut-off", "paddle-program", written("m.pdmodel", lambda: version_2()["model.pdmodel"][:-7]),
        ("unverifiable",), needs=NEEDS, trick="It is cut off.",
    ),
    Sample("paddle/version-3", "paddle-json", placed(version_3), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "paddle/json-saves", "paddle-json", changed(called("1.save_combine", file_path=MARKER)), ("danger",),
        rule="paddle.operator", needs=NEEDS, trick="An operator writes a file when the program is run.",
    ),
    Sample(
        "paddle/json-in-a-branch", "paddle-json", changed(in_a_branch), ("danger",), rule="paddle.operator",
        needs=NEEDS, trick="The same, in a branch.",
    ),
    Sample(
        "paddle/json-last-first", "paddle-json", written("model.json", last_first), ("danger",), rule="paddle.operator",
        needs=NEEDS, trick="The names that mark a program come last, behind more than what is looked at at first.",
    ),
    Sample(
        "paddle/json-custom", "paddle-json", changed(called("3.mine")), ("review",), rule="paddle.operator",
        needs=NEEDS, trick="An operator of a library.",
    ),
    Sample(
        "paddle/json-without-a-name", "paddle-json", changed(lambda d: operators(d).append({"A": []})),
        ("unverifiable",), needs=NEEDS, trick="An operator without a name.",
    ),
    Sample("paddle/parameters", "paddle-tensors", parameters(bytes), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "paddle/parameters-cut-off", "paddle-tensors", parameters(lambda d: d[:-1]), ("unverifiable",), needs=NEEDS,
        trick="The last tensor is cut off.",
    ),
    Sample(
        "paddle/parameters-too-many", "paddle-tensors", parameters(lambda d: d.replace(b"\x10\x04", b"\x10\x7f", 1)),
        ("unverifiable",), needs=NEEDS, trick="A tensor is larger than the file.",
    ),
    Sample(
        "paddle/parameters-and-a-pickle", "paddle-tensors", parameters(lambda d: d + pickle.dumps(_Payload())),
        ("unverifiable", "danger"), needs=NEEDS, trick="A pickle lies behind the last tensor.",
    ),
    *(
        Sample(f"paddle/saved-{name}", "pickle", written(name, lambda name=name: paddle()[name]), ("safe",),
               honest=True, needs=NEEDS)
        for name in ("model.pdparams", "model.pdopt", "checkpoint.pdparams")
    ),
    Sample(
        "paddle/saved-and-more", "pickle", written("m.pdparams", lambda: pickle.dumps({"w": _Payload()}, 4)),
        ("danger",), trick="Parameters with a call of the shell among them.",
    ),
)  # fmt: skip
