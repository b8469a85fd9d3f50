"""Readers of graphs on damaged files: a plain sentence or a result, nothing else; schemas against the originals."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from graph_writers import coreml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_set import Sample, samples
from sample_set.paddle import messages

from nbguard.formats import (
    caffe_net,
    coreml_model,
    executorch,
    ggml_legacy,
    mxnet_params,
    ncnn_param,
    openvino_ir,
    paddle_program,
    paddle_tensors,
)
from nbguard.formats.coreml_schema import SCHEMA as COREML
from nbguard.formats.view import BytesView
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.registry import examine

NONE: frozenset[str] = frozenset()
READERS: dict[str, Callable[[bytes], object]] = {
    "coreml/neural-network": lambda data: coreml_model.read(BytesView(data)),
    "coreml/model-of-a-package": lambda data: coreml_model.read(BytesView(data)),
    "coreml/weights": lambda data: coreml_model.weights(BytesView(data)),
    "openvino/model": lambda data: openvino_ir.read(BytesView(data)),
    "executorch/honest": lambda data: executorch.read_program(BytesView(data)),
    "executorch/data": lambda data: executorch.read_tensors(BytesView(data)),
    "ncnn/model": lambda data: ncnn_param.read(BytesView(data)),
    "paddle/parameters": lambda data: paddle_tensors.read(BytesView(data)),
    "paddle/saves": lambda data: paddle_program.read_proto(BytesView(data), NONE),
    "paddle/json-saves": lambda data: paddle_program.read_json(data, NONE),
    "ggml/whisper": lambda data: ggml_legacy.read(BytesView(data)),
    "ggml/llama-mapped": lambda data: ggml_legacy.read(BytesView(data)),
    "mxnet/parameters": lambda data: mxnet_params.read(BytesView(data)),
    "mxnet/symbol": len,
    "caffe/python": caffe_net.read_text,
    "caffe/weights": lambda data: caffe_net.read_binary(BytesView(data)),
    "tensorrt/behind-notes": len,
}
"""Sample → what reads it."""


@pytest.fixture(scope="module")
def bytes_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sample], tuple[str, bytes]]:
    @cache
    def read(sample: Sample) -> tuple[str, bytes]:
        place = sample.build(tmp_path_factory.mktemp("sample"))
        return place.name, place.read_bytes()

    return read


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few bytes or words of it changed, a part left out or there twice, or the end cut off."""
    kind = draw(st.sampled_from(("bytes", "word", "cut", "left out", "twice")))
    place, more = draw(st.floats(0, 1)), draw(st.binary(min_size=1, max_size=8))
    number = draw(st.sampled_from((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFFFFFFFFFFFFFF, 1 << 40)))

    def damaged(data: bytes) -> bytes:
        at = int(place * max(0, len(data) - 1))
        word = number.to_bytes(8, "little")[: len(more)]
        return {
            "bytes": data[:at] + more + data[at + len(more) :],
            "word": data[:at] + word + data[at + len(word) :],
            "cut": data[:at],
            "left out": data[:at] + data[at + len(more) :],
            "twice": data[:at] + data[at : at + 50] + data[at:],
        }[kind]

    return damaged


def _read(reader: Callable[[bytes], object], data: bytes) -> str | None:
    try:
        reader(data)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_told_in_one_sentence(name: str, bytes_of: Callable[[Sample], tuple[str, bytes]]) -> None:
    sample = next(s for s in samples() if s.name == name)
    if not sample.available:
        pytest.skip(f"needs {', '.join(sample.needs)}")
    called, honest = bytes_of(sample)
    limits = Limits()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(damage(), damage())
    def check(first: Callable[[bytes], bytes], second: Callable[[bytes], bytes]) -> None:
        for data in (first(honest), second(first(honest))):
            said = _read(READERS[name], data)
            assert said is None or 0 < len(said) < 500
            examine(Job(called, BytesView(data), limits, Budget(limits.unpacked, limits.members)))

    check()


def test_the_schema_of_core_ml_is_that_of_coremltools() -> None:
    if find_spec("coremltools") is None:
        pytest.skip("needs coremltools")
    assert ast.literal_eval(coreml()["schema"].decode()) == COREML


def test_the_schema_of_paddle_is_that_of_paddle() -> None:
    framework = messages()
    names = {m.full_name.removeprefix("paddle.framework.proto."): m for m in _messages(framework.DESCRIPTOR)}
    for name, known in paddle_program.SCHEMA.items():
        theirs = {f.number: (f.message_type is not None, f.is_repeated) for f in names[name].fields}
        assert {n: (kind in paddle_program.SCHEMA, many) for n, (kind, many) in known.items()} == theirs, name


def _messages(file: object) -> list[object]:
    found = list(file.message_types_by_name.values())  # type: ignore[attr-defined]
    for message in found:
        found += message.nested_types
    return found


def test_the_text_of_a_network_is_taken_apart() -> None:
    net = caffe_net.read_text(rb"""
        layer { type: "Py" 'thon' python_param { module: "a\142" layer: "C" } }  # comment { }
        layers < type: CONVOLUTION blobs_lr: [1, 2.5e-3] input: ["x", "y"] >
        transform_param: { mean_file: "m.binaryproto" }
        list: [{ source: "one" }, { source: "two" }]
    """)
    assert net.layers == {"Python": 1, "CONVOLUTION": 1}
    assert net.python == ["ab.C"]
    assert net.files == [("mean_file", "m.binaryproto"), ("source", "one"), ("source", "two")]


@pytest.mark.parametrize(
    "text",
    [b"layer { type: ", b"layer { } }", b"layer [ }", b"a b: 1", b'"x"', b"layer { < } >", b": 3", b"{ }", b"\x00"],
)
def test_what_is_no_text_of_a_network(text: bytes) -> None:
    with pytest.raises(caffe_net.CaffeError):
        caffe_net.read_text(text)


def test_the_start_of_a_document_is_read_in_linear_time() -> None:
    assert not openvino_ir.looks_like(b"<!---->" * 9000 + b"<other/>")
    assert openvino_ir.looks_like(b"<?xml version='1.0'?><!-- <other> --> \n<net name='x'>")
    assert openvino_ir.perhaps(b"<!--" * 16_000)


def test_where_numbers_lie_is_taken_from_the_name(tmp_path: Path) -> None:
    assert openvino_ir.data_file("a.XML", b"<net>") == "a.bin"
    assert openvino_ir.data_file("a.xml", b"<svg>") is None
    assert ncnn_param.data_file("a.ncnn.param", b"7767517\n1 1\n") == "a.ncnn.bin"
