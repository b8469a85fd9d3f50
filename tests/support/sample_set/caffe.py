"""Caffe: a network in text and its weights, with layers that import, write and read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from sample_set import MARKER, Sample, written

TEXT = b"""
# a network to be used, not trained
name: "LeNet"
layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: [1, 1] dim: 28 dim: 28 } } }
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2.0e-1 }
  convolution_param { num_output: 20 kernel_size: 5 weight_filler < type: 'xavier' > }
}
layer { name: "prob" type: "Softmax" bottom: "conv1" top: "prob" }
"""
PYTHON = (
    b"""layer { name: "own" type: "Python" top: "own" python_param { module: "%s" layer: "Own" param_str: "{}" } }"""
)


def text(*more: bytes, name: str = "deploy.prototxt", front: bytes = b"") -> Callable[[Path], Path]:
    return written(name, lambda: front + TEXT + b"\n".join(more))


def field(number: int, value: bytes | int) -> bytes:
    """One field of a message: text, bytes or a message, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def blob(*shape: int, numbers: int) -> bytes:
    dims = field(7, field(1, b"".join(varint(n) for n in shape)))
    return dims + field(5, struct.pack(f"<{numbers}f", *range(numbers)))


def weights(*more: bytes, numbers: int = 8) -> bytes:
    layer = field(1, b"conv1") + field(2, b"Convolution") + field(7, blob(2, 4, numbers=numbers))
    old = (
        field(4, b"fc")
        + field(5, 14)
        + field(6, field(1, 1) + field(2, 1) + field(3, 1) + field(4, 2) + field(5, b"\0" * 8))
    )
    return field(1, b"LeNet") + field(100, layer) + b"".join(field(100, m) for m in more) + field(2, old)


PYTHON_LAYER = field(1, b"own") + field(2, b"Python") + field(130, field(1, b"os") + field(2, b"system"))

SAMPLES = (
    Sample("caffe/network", "caffe-text", text(), ("safe",)),
    Sample(
        "caffe/python", "caffe-text", text(PYTHON % b"evil"), ("danger",), rule="caffe.python",
        trick="A layer imports a Python module by its name.",
    ),
    Sample(
        "caffe/python-in-pieces", "caffe-text", text(PYTHON.replace(b'"Python"', rb'"P\171" "tho" ' b"'n'") % b"evil"),
        ("danger",), rule="caffe.python", trick="The same, its type written in pieces.",
    ),
    Sample(
        "caffe/python-by-another-name", "caffe-text", text(PYTHON % b"evil", name="net.txt"), ("danger",),
        rule="caffe.python", trick="The same, in a file of another name.",
    ),
    Sample(
        "caffe/python-far-behind", "caffe-text", text(PYTHON % b"evil", front=b"#" * 5_000_000 + b"\n"), ("danger",),
        rule="caffe.python", trick="The same, behind a very long comment.",
    ),
    Sample(
        "caffe/python-among-many", "caffe-text",
        text(b"x: 1 " * 1_000_000, PYTHON % b"evil", name="net.txt"), ("unverifiable",), rule="caffe-text.malformed",
        trick="The same, in a text of more words than are read, under another name.",
    ),
    Sample(
        "caffe/writes", "caffe-text",
        text(b'layer { name: "w" type: "HDF5Output" hdf5_output_param { file_name: "%s" } }' % MARKER.encode()),
        ("danger",), rule="caffe.writes", trick="A layer writes a file while the network is built.",
    ),
    Sample(
        "caffe/reads", "caffe-text",
        text(b'layer { name: "d" type: "ImageData" image_data_param { source: "/etc/passwd" } }'), ("review",),
        rule="caffe.files", trick="A layer reads a file by its absolute path.",
    ),
    Sample("caffe/fork", "caffe-text", text(b'layer { type: "Mine" }'), ("review",), trick="A layer of a fork."),
    Sample("caffe/cut-off", "caffe-text", text(b'layer { name: "x'), ("unverifiable",), trick="It is cut off."),
    Sample("caffe/weights", "caffe-model", written("m.caffemodel", weights), ("safe",)),
    Sample(
        "caffe/weights-with-python", "caffe-model", written("m.caffemodel", lambda: weights(PYTHON_LAYER)), ("review",),
        rule="caffe.python", trick="The network that the weights belong to has a layer in Python.",
    ),
    Sample(
        "caffe/weights-too-few", "caffe-model", written("m.caffemodel", lambda: weights(numbers=7)), ("unverifiable",),
        trick="A layer has fewer weights than its shape says.",
    ),
    Sample(
        "caffe/weights-cut-off", "caffe-model", written("m.caffemodel", lambda: weights()[:-3]), ("unverifiable",),
        trick="It is cut off.",
    ),
)  # fmt: skip
