"""The walk through ONNX models, against the library's own description of the format."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper, onnx_ml_pb2

from nbguard.formats import protobuf
from nbguard.formats.onnx_model import _UNPACKED, BITS, FIELDS, OnnxError, looks_like, read_model
from nbguard.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, WireError
from nbguard.formats.view import BytesView

WIRE = {
    FieldDescriptor.TYPE_MESSAGE: BYTES, FieldDescriptor.TYPE_STRING: BYTES, FieldDescriptor.TYPE_BYTES: BYTES,
    FieldDescriptor.TYPE_FLOAT: FIXED32, FieldDescriptor.TYPE_DOUBLE: FIXED64,
}  # fmt: skip
SCALARS = {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}


@pytest.mark.parametrize("message", FIELDS)
def test_the_fields_are_those_of_the_library(message: str) -> None:
    described = onnx_ml_pb2.DESCRIPTOR.message_types_by_name[message].fields
    expected, one_by_one = {}, {}
    for field in described:
        wire = WIRE.get(field.type, VARINT)
        packed = field.is_repeated and field.type not in SCALARS
        expected[field.number] = BYTES if packed else wire
        if packed:
            one_by_one[message, field.number] = wire
    assert FIELDS[message] == expected
    assert {k: v for k, v in _UNPACKED.items() if k[0] == message} == one_by_one


def test_the_types_are_those_of_the_library() -> None:
    assert {0, *BITS} == set(TensorProto.DataType.values())
    for number, (_, bits) in BITS.items():
        if bits >= 8:
            assert np.dtype(helper.tensor_dtype_to_np_dtype(number)).itemsize * 8 == bits or bits == 6


def branch(depth: int) -> onnx.GraphProto:
    inner = branch(depth - 1) if depth else None
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner) if inner else helper.make_node(
        "Constant", [], ["y"], value=numpy_helper.from_array(np.ones(3, np.float32), "inner")
    )  # fmt: skip
    return helper.make_graph([node], f"branch{depth}", [], [helper.make_tensor_value_info("y", 1, [3])])


def model() -> onnx.ModelProto:
    function = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                    [helper.make_opsetid("", 20)])  # fmt: skip
    nodes = [helper.make_node("Twice", ["x"], ["y"], domain="own"), *branch(2).node]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", 1, [3])], [helper.make_tensor_value_info("y", 1, [3])],
        [numpy_helper.from_array(np.arange(6, dtype=np.int64), "six"), helper.make_tensor("typed", 1, [2], [1.0, 2.0]),
         helper.make_tensor("words", 8, [2], [b"a", b"b"]), helper.make_tensor("small", 22, [3], [1, 2, 3])],
    )  # fmt: skip
    made = helper.make_model(graph, functions=[function], opset_imports=[helper.make_opsetid("", 20)])
    helper.set_model_props(made, {"author": "someone"})
    return made


def test_everything_in_a_model_is_found() -> None:
    view = BytesView(model().SerializeToString())
    assert looks_like(view)
    found = read_model(view)
    assert found.operators == {("own", "Twice"): 1, ("", "If"): 3, ("", "Constant"): 4, ("", "Add"): 1}
    assert found.functions == {("own", "Twice")}
    assert found.metadata == {"author": "someone"}
    assert [t[0] for t in found.tensors].count("inner") == 4
    name, kind, offset, size = next(t for t in found.tensors if t[0] == "six")
    assert (name, kind) == ("six", "int64")
    assert np.frombuffer(view.read(offset, size), np.int64).tolist() == list(range(6))
    assert found.problems == []


def cut(data: bytes) -> bytes:
    return data[:-5]


def unknown_field(data: bytes) -> bytes:
    return data + b"\xaa\x06\x01x"


def group(data: bytes) -> bytes:
    return data + b"\x0b\x0c"


def two_graphs(data: bytes) -> bytes:
    return data + b"\x3a\x00"


def too_deep(data: bytes) -> bytes:
    made = onnx.ModelProto.FromString(data)
    graph = made.graph
    for _ in range(40):
        graph = graph.node.add(op_type="If").attribute.add(name="then_branch", type=5).g
    return made.SerializeToString()


@pytest.mark.parametrize("change", [cut, unknown_field, group, two_graphs, too_deep])
def test_what_readers_disagree_on_is_an_error(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(OnnxError):
        read_model(BytesView(change(model().SerializeToString())))


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="t", data_type=1, dims=[-1], raw_data=b""),
        TensorProto(name="t", data_type=1, dims=[1 << 40, 1 << 40], raw_data=b""),
        TensorProto(name="t", data_type=99, dims=[1], raw_data=b"1234"),
        TensorProto(name="t", data_type=1, dims=[1], data_location=1),
    ],
)
def test_tensors_that_no_memory_holds_are_errors(tensor: TensorProto) -> None:
    made = model()
    made.graph.initializer.append(tensor)
    with pytest.raises(OnnxError):
        read_model(BytesView(made.SerializeToString()))


@pytest.mark.parametrize("number", ["-1", "1e3", " 1", "1_0", "٣"])
def test_places_are_plain_numbers(number: str) -> None:
    made = model()
    tensor = made.graph.initializer.add(name="t", data_type=1, dims=[1], data_location=1)
    for key, value in (("location", "w"), ("offset", number)):
        tensor.external_data.add(key=key, value=value)
    with pytest.raises(OnnxError):
        read_model(BytesView(made.SerializeToString()))


def test_other_messages_do_not_look_like_models() -> None:
    assert not looks_like(BytesView(b""))
    assert not looks_like(BytesView(TensorProto(name="t", dims=[3]).SerializeToString()))
    assert not looks_like(BytesView(b"\x08\x07\x12\x03abc"))


@pytest.mark.parametrize("data", [b"\x80" * 11, b"\x08", b"\x0a\x05abc", b"\x00\x01", b"\x0a\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(WireError):
        list(protobuf.fields(BytesView(data), 0, len(data)))


def test_fields_are_found_across_windows() -> None:
    made = TensorProto(name="n" * 70_000, doc_string="d" * 70_000, dims=[7] * 40_000).SerializeToString()
    assert [f.number for f in protobuf.fields(BytesView(made), 0, len(made))] == [1] * 40_000 + [8, 12]


def damaged(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(out))
        match random.randrange(4):
            case 0:
                out[at] = random.randrange(256)
            case 1:
                del out[at : at + random.randint(1, 6)]
            case 2:
                out[at:at] = random.randbytes(random.randint(1, 6))
            case 3:
                out[at : at + 8] = (1 << random.randrange(63)).to_bytes(8, "little")
    return bytes(out)


def test_of_damaged_models_nothing_is_overlooked_that_the_library_sees() -> None:
    made = model()
    for number in range(3):
        tensor = made.graph.initializer.add(name=f"t{number}", data_type=1, dims=[3], data_location=1)
        for key, value in (("location", f"data{number}.bin"), ("offset", str(number)), ("length", "12")):
            tensor.external_data.add(key=key, value=value)
    whole, random, both = made.SerializeToString(), Random(7), 0
    for _ in range(20_000):
        data = damaged(whole, random)
        try:
            mine = read_model(BytesView(data))
            theirs = onnx.ModelProto.FromString(data)
        except (OnnxError, DecodeError):
            continue
        both += 1
        outside = {e.value for t in theirs.graph.initializer for e in t.external_data if e.key == "location"}
        assert outside <= {e.location for e in mine.external}
        assert {(n.domain.removeprefix("ai.onnx"), n.op_type) for n in theirs.graph.node} <= set(mine.operators)
    assert both > 100
