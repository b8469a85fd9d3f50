"""Readers of models survive what nobody wrote: damaged files end in a ValueError, and scanning them in a verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lite_forge import flex, lite
from sample_set import gguf, hdf5, onnx, safetensors, tensorflow
from sample_set.safetensors import build, tensor
from tf_forge import constant, node, saved_model

from nbguard.formats import gguf as gguf_reader
from nbguard.formats import hdf5 as hdf5_reader
from nbguard.formats import onnx_model, ort_model, safetensors_header, tf_graph, tf_text, tflite
from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.kinds import hdf5 as hdf5_kind
from nbguard.scanners.kinds import keras as keras_kind
from nbguard.scanners.kinds import onnx as onnx_kind
from nbguard.scanners.kinds import ort as ort_kind
from nbguard.scanners.kinds import safetensors as safetensors_kind
from nbguard.scanners.kinds import tensorflow as tensorflow_kind
from nbguard.scanners.kinds import tflite as tflite_kind
from nbguard.scanners.kinds import weights_index as index_kind
from nbguard.scanners.kinds.gguf import SCANNER as GGUF
from nbguard.scanners.registry import guarded

TEXT = (tensorflow.TEXT % 'string_val: "a\\057b"' + tensorflow.READS).encode()
GRAPH = [node("x", "Placeholder"), constant("c", "text"), node("r", "ReadFile", "c:0"), node("s", "SaveV2", "x:0")]


@cache
def honest(kind: str) -> bytes:
    made: dict[str, Callable[[], bytes]] = {
        "safetensors": lambda: build({"__metadata__": {"k": "v"}, "a": tensor(0, 4), "b": tensor(4, 8)}, b"x" * 8),
        "gguf": gguf.honest,
        "onnx": onnx.made(onnx.honest),
        "ort": lambda: onnx.runtime(".ort"),
        "hdf5": lambda: hdf5.file(hdf5.everything),
        "hdf5-latest": lambda: hdf5.file(hdf5.objects([1]), "latest"),
        "tensorflow": lambda: saved_model(GRAPH, {"f": (["x"], GRAPH[:2])}, {"c": "vocab.txt"}),
        "tensorflow-text": lambda: TEXT,
        "tflite": lambda: lite(custom="FlexRelu", options=flex("Relu"), runs=0),
        "keras": lambda: b'{"class_name": "Dense", "config": {"vocabulary": "a", "f": ["b"]}, "module": "keras"}',
        "index": lambda: b'{"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}',
    }
    return made[kind]()


READERS: dict[str, Callable[[bytes], object]] = {
    "safetensors": lambda data: safetensors_header.read_header(BytesView(data)),
    "gguf": lambda data: gguf_reader.split(gguf_reader.read_header(BytesView(data))),
    "onnx": lambda data: onnx_model.read_model(BytesView(data)),
    "ort": ort_model.read_model,
    "hdf5": lambda data: hdf5_reader.read(BytesView(data)),
    "hdf5-latest": lambda data: hdf5_reader.read(BytesView(data)),
    "tensorflow": lambda data: tf_graph.read_saved_model(BytesView(data)),
    "tensorflow-text": lambda data: tf_text.to_wire(data, tf_text.GRAPH),
    "tflite": tflite.read,
    "keras": lambda data: None,
    "index": index_kind.weight_map,
}
SCANNERS = {
    "safetensors": (safetensors_kind.SCANNER, "m.safetensors"),
    "gguf": (GGUF, "m.gguf"),
    "onnx": (onnx_kind.SCANNER, "m.onnx"),
    "ort": (ort_kind.SCANNER, "m.ort"),
    "hdf5": (hdf5_kind.SCANNER, "w.h5"),
    "hdf5-latest": (hdf5_kind.SCANNER, "w.h5"),
    "tensorflow": (tensorflow_kind.SCANNER, "saved_model.pb"),
    "tensorflow-text": (tensorflow_kind.SCANNER, "g.pbtxt"),
    "tflite": (tflite_kind.SCANNER, "m.tflite"),
    "keras": (keras_kind.SCANNER, "config.json"),
    "index": (index_kind.SCANNER, "model.safetensors.index.json"),
}
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "large", "end"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
        st.integers(0, 63),
    ),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, changes: list[tuple[str, float, int, int]]) -> bytes:
    out = bytearray(data)
    for how, where, value, size in changes:
        at = int(where * len(out))
        match how:
            case "set" if out:
                out[at] = value
            case "cut":
                del out[at : at + size]
            case "insert":
                out[at:at] = bytes([value]) * size
            case "large":
                out[at : at + 8] = (1 << size).to_bytes(8, "little")
            case "end":
                del out[len(out) - size :]
    return bytes(out)


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES)
def test_a_damaged_file_ends_in_an_error_or_a_verdict(kind: str, changes: list[tuple[str, float, int, int]]) -> None:
    data = damaged(honest(kind), changes)
    with contextlib.suppress(ValueError):
        READERS[kind](data)
    scanner, name = SCANNERS[kind]
    limits = Limits()
    job = Job(name, BytesView(data), limits, Budget(limits.unpacked, limits.members))
    if scanner.recognise(job):
        facts = guarded(job, scanner.name, scanner.scan)
        assert all(len(f.message) < 1000 and len(f.evidence) < 3000 for f in facts.findings)


class Counted(BytesView):
    """A file of gigabytes, of which only the beginning is there; what is asked for is counted."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size
        self.asked = 0

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._size - offset))
        self.asked += length
        return super().read(offset, length).ljust(length, b"\0")


GIGABYTES = 2 << 30


def test_of_a_file_of_gigabytes_only_the_header_is_read() -> None:
    held = Counted(safetensors.build({"a": tensor(0, GIGABYTES)}), 0)
    held._size = GIGABYTES + len(held.data)
    limits = Limits()
    job = Job("m.safetensors", held, limits, Budget(limits.unpacked, limits.members))
    assert safetensors_kind.SCANNER.recognise(job)
    facts = safetensors_kind.SCANNER.scan(job)
    assert (facts.verdict, facts.counts["tensor_bytes"]) == (Verdict.SAFE, GIGABYTES)
    assert held.asked < 10_000


def test_of_gguf_of_gigabytes_only_the_header_is_read() -> None:
    header = gguf.forged(b"", 0, gguf.entry(b"w", (GIGABYTES,), 24), 1)
    held = Counted(gguf.padded(header), GIGABYTES + len(gguf.padded(header)))
    limits = Limits()
    job = Job("m.gguf", held, limits, Budget(limits.unpacked, limits.members))
    facts = GGUF.scan(job)
    assert (facts.verdict, facts.counts["tensor_bytes"]) == (Verdict.SAFE, GIGABYTES)
    assert held.asked < 200_000
