"""ncnn: the text of a small model, and lines that do not fit it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graph_writers import placed

from sample_set import Sample

TEXT = b"""7767517
4 4
Input            data      0 1 data 0=4 1=4 2=3
Convolution      conv1     1 1 data conv1 0=2 1=3 5=1 6=54 9=2 -23310=1,1.000000e-01
ReLU             relu1     1 1 conv1 relu1
Softmax          prob      1 1 relu1 prob 0=0 1=1
"""


def model(old: bytes = b"", new: bytes = b"") -> Callable[[], dict[str, bytes]]:
    assert old in TEXT
    return lambda: {"m.param": TEXT.replace(old, new, 1) if old else TEXT, "m.bin": b"\x00\x00\x00\x00" + bytes(220)}


def _bad(name: str, old: bytes, new: bytes, trick: str, verdict: str = "unverifiable", rule: str = "") -> Sample:
    return Sample(f"ncnn/{name}", "ncnn", placed(model(old, new)), (verdict,), rule=rule, trick=trick)


def binary(version: int) -> Callable[[], dict[str, bytes]]:
    numbers = (7767517, 1, 1, version, 0, 1, 0, -233)
    return lambda: {"m.param.bin": b"".join(n.to_bytes(4, "little", signed=True) for n in numbers)}


def build(files: Callable[[], dict[str, bytes]]) -> Callable[[Path], Path]:
    return placed(files, "m.param.bin")


SAMPLES = (
    Sample("ncnn/folder", "ncnn", placed(model()), ("safe",)),
    Sample("ncnn/model", "ncnn", placed(model(), "m.param"), ("safe",)),
    _bad("blobs", b"4 4\n", b"4 2\n", "It fills more blobs than it makes room for."),
    _bad("layers", b"4 4\n", b"3 4\n", "It has more layers than it says."),
    _bad("names", b"ReLU             relu1     1 1", b"ReLU             relu1     9 1", "A layer names too few blobs."),
    _bad("list", b"-23310=1,", b"-23310=9,", "A list is shorter than it says."),
    _bad("setting", b" 0=0 1=1\n", b" 0=0 4000=1\n", "A setting lies outside of the room for settings."),
    _bad("custom", b"ReLU  ", b"Mine  ", "A layer of the program that loads it.", "review", "ncnn.layer"),
    Sample("ncnn/binary", "ncnn-binary", build(binary(16)), ("unverifiable",), trick="A form that is not read."),
    Sample("ncnn/binary-other", "ncnn-binary", build(binary(-1)), ("unverifiable",), trick="With a layer of no kind."),
)  # fmt: skip
