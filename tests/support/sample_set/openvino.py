"""OpenVINO: a model of its own writer, and documents whose places, parts and prologs should not be there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from graph_writers import placed

from sample_set import Sample

NEEDS = ("openvino",)


@cache
def honest() -> dict[str, bytes]:
    import numpy as np
    import openvino
    from openvino import opset13 as op

    x = op.parameter([1, 4], np.float32, name="x")
    condition = op.constant(np.array(True))
    product = op.matmul(x, op.constant(np.arange(12, dtype=np.float32).reshape(4, 3)), False, False)
    branch = op.if_op(condition)
    inner = op.parameter([1, 3], np.float32)
    one = openvino.Model([op.relu(inner)], [inner], "then")
    other_inner = op.parameter([1, 3], np.float32)
    other = openvino.Model([op.tanh(other_inner)], [other_inner], "else")
    branch.set_then_body(one)
    branch.set_else_body(other)
    branch.set_input(product.output(0), inner, other_inner)
    out = branch.set_output(one.results[0], other.results[0])
    model = openvino.Model([op.softmax(out, 1)], [x], "model")
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, str(Path(folder) / "m.xml"), compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in ("m.xml", "m.bin")}


def changed(old: bytes, new: bytes) -> Callable[[], dict[str, bytes]]:
    def files() -> dict[str, bytes]:
        assert old in honest()["m.xml"], old
        return {**honest(), "m.xml": honest()["m.xml"].replace(old, new, 1)}

    return files


def alone() -> dict[str, bytes]:
    return {"m.xml": honest()["m.xml"]}


def cut_off() -> dict[str, bytes]:
    return {**honest(), "m.bin": honest()["m.bin"][:-1]}


def doctype() -> dict[str, bytes]:
    prolog = b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return {**honest(), "m.xml": prolog + honest()["m.xml"].partition(b"?>")[2].replace(b'name="model"', b'name="&x;"')}


def laughs() -> dict[str, bytes]:
    entities = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    return {"m.xml": b'<!DOCTYPE net [<!ENTITY a0 "ha">' + entities + b']><net name="&a11;" version="11"></net>'}


def hidden() -> dict[str, bytes]:
    """Behind a comment that is longer than what is looked at for recognition."""
    comment = b"<!--" + b" " * 70_000 + b"-->"
    return {"m.xml": comment + honest()["m.xml"].replace(b'type="ReLU"', b'type="Mine"').partition(b"?>")[2]}


SAMPLES = (
    Sample("openvino/folder", "openvino", placed(honest), ("safe",), honest=True, needs=NEEDS),
    Sample("openvino/model", "openvino", placed(honest, "m.xml"), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "openvino/without-numbers", "openvino", placed(alone, "m.xml"), ("review",), rule="openvino.weights-missing",
        needs=NEEDS, trick="The file with its numbers is not there.",
    ),
    Sample(
        "openvino/cut-off", "openvino", placed(cut_off), ("unverifiable",), rule="data.cut-off", needs=NEEDS,
        trick="The file with its numbers is too short.",
    ),
    Sample(
        "openvino/beyond", "openvino", placed(changed(b'offset="0"', b'offset="18446744073709551610"')),
        ("unverifiable",), rule="openvino.malformed", needs=NEEDS,
        trick="A constant lies where the sum of its place and size is small again.",
    ),
    Sample(
        "openvino/size", "openvino", placed(changed(b'shape="4, 3"', b'shape="4, 3000"')), ("unverifiable",),
        rule="openvino.malformed", needs=NEEDS, trick="A constant is not as large as its shape says.",
    ),
    Sample(
        "openvino/library", "openvino",
        placed(changed(b'type="MatMul" version="opset1"', b'type="Run" version="extension"')), ("review",),
        rule="openvino.layer", needs=NEEDS, trick="A layer of a library.",
    ),
    Sample(
        "openvino/layer-in-a-branch", "openvino", placed(changed(b'type="Tanh"', b'type="Run"')), ("review",),
        rule="openvino.layer", needs=NEEDS, trick="A layer of a library, in a branch.",
    ),
    Sample(
        "openvino/path", "openvino", placed(changed(b"<data transpose_a", b'<data library="/tmp/x.so" transpose_a')),
        ("review",), rule="openvino.path", needs=NEEDS, trick="A layer names a library.",
    ),
    Sample(
        "openvino/edge", "openvino", placed(changed(b'<edge from-layer="0"', b'<edge from-layer="999"')),
        ("unverifiable",), rule="openvino.malformed", needs=NEEDS, trick="An edge leads to no layer.",
    ),
    Sample(
        "openvino/part", "openvino", placed(changed(b"<layers>", b'<plugins><run path="x"/></plugins><layers>')),
        ("unverifiable",), rule="openvino.malformed", needs=NEEDS, trick="A part that nobody knows.",
    ),
    Sample(
        "openvino/version", "openvino", placed(changed(b'version="11"', b'version="7"')), ("unverifiable",),
        needs=NEEDS, trick="A version with layers that no current OpenVINO reads.",
    ),
    Sample(
        "openvino/entity", "openvino", placed(doctype, "m.xml"), ("danger",), rule="openvino.malformed",
        needs=NEEDS, trick="Its name is an entity that stands for another file.",
    ),
    Sample(
        "openvino/laughs", "openvino", placed(laughs, "m.xml"), ("danger",), rule="openvino.malformed",
        trick="Entities that grow to more than any memory.",
    ),
    Sample(
        "openvino/hidden", "openvino", placed(hidden, "m.xml"), ("review",), rule="openvino.layer", needs=NEEDS,
        trick="The document begins behind a very long comment.",
    ),
)  # fmt: skip
