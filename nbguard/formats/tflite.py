"""TensorFlow Lite models: operations, tensors and buffers, every index checked.

    model = read(data)
    [op.name for op in model.operations], model.problems

The runtime follows most numbers in a model unchecked, so that each is checked here as the schema means it. Source:
`tensorflow/compiler/mlir/lite/schema/schema.fbs`. What an operation's options say is left to its own kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from nbguard.formats import flatbuffer
from nbguard.formats.flatbuffer import Numbers, Place, Scalar, Table, Tables, Text, Vector

IDENTIFIER = b"TFL3"
CUSTOM = 32
"""The `BuiltinOperator` of operations that go by a name."""
LAST_BUILTIN = 209
"""The last `BuiltinOperator` of TensorFlow 2.21."""
_UNION = Place()
_RUNS: dict[tuple[int, int], tuple[tuple[int, str], ...]] = {
    (1, 92): ((0, "i"), (1, "i")), (1, 93): ((0, "i"), (1, "i")), (1, 103): ((0, "i"),), (1, 16): ((0, "I"),),
    (2, 6): ((1, "i"),), (2, 7): ((6, "i"),), (2, 13): ((5, "i"),), (2, 14): ((2, "i"),),
    (2, 15): ((0, "i"), (1, "i")), (2, 21): ((1, "i"),),
}  # fmt: skip
"""(`BuiltinOptions` or `BuiltinOptions2`, kind of the options) → where in them the subgraphs stand that it runs: If,
While, CallOnce, Call, and those of StableHLO."""
_CASE = (2, 23)
"""The same, with a vector of subgraphs."""
_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2}
"""Bytes of one element, by `TensorType`; texts, handles and packed numbers are not here."""
_TYPES = ("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
          "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2",
          "uint4")  # fmt: skip
_TEXTS = 5
_MOST = 1 << 40
"""Elements of one tensor."""

_OPERATOR_CODE = Table("OperatorCode", Scalar("b"), Text(), Scalar("i", 1), Scalar("i"))
_QUANTIZATION = Table(
    "QuantizationParameters", Vector("f"), Vector("f"), Vector("f"), Vector("q"), Scalar("B"), _UNION, Scalar("i")
)
_DIMENSION = Table("DimensionMetadata", Scalar("b"), Scalar("i"), Scalar("B"), _UNION, Scalar("B"), _UNION)
_SPARSITY = Table("SparsityParameters", Vector("i"), Vector("i"), Tables(_DIMENSION))
_SUBTYPE = Table("VariantSubType", Vector("i"), Scalar("b"), Scalar("b"))
_TENSOR = Table(
    "Tensor", Vector("i"), Scalar("b"), Scalar("I"), Text(), _QUANTIZATION, Scalar("b"), _SPARSITY, Vector("i"),
    Scalar("b"), Tables(_SUBTYPE), Scalar("I"),
)  # fmt: skip
_OPERATOR = Table(
    "Operator", Scalar("I"), Vector("i"), Vector("i"), Scalar("B"), _UNION, Vector("B"), Scalar("b"), Vector("B"),
    Vector("i"), Scalar("Q"), Scalar("Q"), Scalar("B"), _UNION, Scalar("i", -1),
)  # fmt: skip
_SUBGRAPH = Table(
    "SubGraph", Tables(_TENSOR), Vector("i"), Vector("i"), Tables(_OPERATOR), Text(), Scalar("i", -1)
)  # fmt: skip
_BUFFER = Table("Buffer", Vector("B"), Scalar("Q"), Scalar("Q"))
_METADATA = Table("Metadata", Text(), Scalar("I"))
_TENSOR_MAP = Table("TensorMap", Text(), Scalar("I"))
_SIGNATURE = Table(
    "SignatureDef", Tables(_TENSOR_MAP), Tables(_TENSOR_MAP), Text(), Scalar("I"), Scalar("I")
)  # fmt: skip
_GROUP = Table("ExternalBufferGroup", Text())
_EXTERNAL = Table("ExternalBuffer", Scalar("I"), Scalar("I"), Scalar("Q"), Scalar("Q"), Text())
_MODEL = Table(
    "Model", Scalar("I"), Tables(_OPERATOR_CODE), Tables(_SUBGRAPH), Text(), Tables(_BUFFER), Vector("i"),
    Tables(_METADATA), Tables(_SIGNATURE), Tables(_GROUP), Tables(_EXTERNAL),
)  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One operation of a subgraph."""

    builtin: int
    name: str
    """Of a custom operation; empty for a built-in one."""
    options: bytes
    """Of a custom operation."""
    apart: bool
    """Whether its options lie behind the buffer."""


@dataclass
class LiteModel:
    operations: list[Operation] = field(default_factory=list)
    blocks: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(tensor, offset, bytes, type) of everything that is stored."""
    external: tuple[str, ...] = ()
    """Other files that it takes buffers from."""
    problems: list[str] = field(default_factory=list)
    tensors: int = 0

    def doubt(self, sentence: str) -> None:
        if sentence not in self.problems and len(self.problems) < 30:
            self.problems.append(sentence)


def read(data: bytes) -> LiteModel:
    """Read the whole model. Raises FlatBufferError where an offset leads out of it."""
    version, codes, graphs, _, buffers, metadata_buffers, metadata, signatures, groups, external = flatbuffer.read(
        data, _MODEL
    )
    model = LiteModel(external=tuple(g[0] or "?" for g in groups or ()) or (("?",) if external else ()))
    if version != 3:
        model.doubt("Its version is not the one that the runtime reads.")
    stored = [_stored(model, data, buffer) for buffer in buffers or ()]
    runs = [_graph(model, data, graph, codes or [], stored, len(graphs or ())) for graph in graphs or ()]
    if _endless(runs):
        model.doubt("Subgraphs in it run each other without an end.")
    _indices(model, metadata_buffers.values() if metadata_buffers else (), len(stored), "metadata")
    _indices(model, (entry[1] for entry in metadata or ()), len(stored), "metadata")
    for inputs, outputs, _, _, number in signatures or ():
        _indices(model, (number,), len(graphs or ()), "a signature")
        tensors = len((graphs or [])[number][0] or ()) if number < len(graphs or ()) else 0
        _indices(model, (row[1] for row in [*(inputs or ()), *(outputs or ())]), tensors, "a signature")
    return model


def _stored(model: LiteModel, data: bytes, buffer: list[Any]) -> tuple[int, int]:
    """(offset, bytes) of a buffer's data, which may lie behind the flat buffer."""
    vector, offset, size = buffer
    if offset > 1:
        if offset + size > len(data):
            model.doubt("A tensor's data lies beyond the end of the file.")
        return offset, size
    return (vector.offset, vector.count) if vector is not None else (0, 0)


def _graph(
    model: LiteModel, data: bytes, graph: list[Any], codes: list[list[Any]], stored: list[tuple[int, int]], graphs: int
) -> set[int]:
    """Check one subgraph; the numbers of those that its operations run."""
    runs: set[int] = set()
    tensors, inputs, outputs, operators, _, _ = graph
    tensors = tensors or []
    model.tensors += len(tensors)
    for row in (inputs, outputs):
        _indices(model, row.values() if row else (), len(tensors), "a subgraph")
    for tensor in tensors:
        _tensor(model, data, tensor, stored)
    for operator in operators or ():
        index, taken, made, kind, place, options, _, _, between, apart, apart_size, newer, newer_place, _ = operator
        for row in (taken, made, between):
            _indices(model, (n for n in row.values() if n != -1) if row else (), len(tensors), "an operation")
        wanted = _wanted(data, 1, kind, place) + _wanted(data, 2, newer, newer_place)
        _indices(model, wanted, graphs, "an operation")
        runs.update(wanted)
        if index >= len(codes):
            model.doubt("An operation is of a kind that is not there.")
            continue
        old, name, _, new = codes[index]
        builtin = max(old, new)
        if not 0 <= builtin <= LAST_BUILTIN:
            model.doubt("An operation is of a kind that TensorFlow Lite does not have.")
        raw = data[options.offset : options.offset + options.count] if options is not None else b""
        if apart > 1 and apart + apart_size > len(data):
            model.doubt("An operation's options lie beyond the end of the file.")
        if apart > 1:
            raw = data[apart : apart + apart_size]
        called = (name or "?") if builtin == CUSTOM else ""
        model.operations.append(Operation(builtin, called, raw, apart > 1))
    return runs


def _wanted(data: bytes, which: int, kind: int, place: int | None) -> list[int]:
    """The subgraphs that an operation's options name."""
    if place is None:
        return []
    if (which, kind) == _CASE:
        return [int(n) for n in flatbuffer.numbers(data, place, 0, "i")]
    return [int(flatbuffer.scalar(data, place, slot, code)) for slot, code in _RUNS.get((which, kind), ())]


def _endless(runs: list[set[int]]) -> bool:
    """Whether a subgraph leads back to itself: the runtime prepares them by calling itself for each."""
    left = {number: len(called & set(range(len(runs)))) for number, called in enumerate(runs)}
    callers: dict[int, list[int]] = {}
    for number, called in enumerate(runs):
        for other in called:
            callers.setdefault(other, []).append(number)
    done = [number for number, count in left.items() if not count]
    ended = 0
    while done:
        ended += 1
        for caller in callers.get(done.pop(), ()):
            left[caller] -= 1
            if not left[caller]:
                done.append(caller)
    return ended < len(runs)


def _tensor(model: LiteModel, data: bytes, tensor: list[Any], stored: list[tuple[int, int]]) -> None:
    shape, kind, buffer, name, _, _, sparse, *_ = tensor
    if not 0 <= kind < len(_TYPES):
        model.doubt("A tensor is of a type that TensorFlow Lite does not have.")
        return
    if buffer >= max(1, len(stored)):
        model.doubt("A tensor's data is in a buffer that is not there.")
        return
    dims: list[int] = list(shape.values()) if isinstance(shape, Numbers) and len(shape) <= 64 else []
    if (isinstance(shape, Numbers) and len(shape) > 64) or any(n < 0 for n in dims) or prod(dims) > _MOST:
        model.doubt("A tensor has a shape that cannot be.")
        return
    offset, size = stored[buffer] if stored else (0, 0)
    if not size:
        return
    needed = prod(dims) * _BYTES[kind] if kind in _BYTES else None
    if kind in (17, 20):
        needed = (prod(dims) + 1) // 2
    if kind == _TEXTS and offset + size <= len(data) and not _are_texts(data[offset : offset + size]):
        model.doubt("A tensor's texts lie outside of its data.")
    if sparse is None and needed is not None and needed != size:
        model.doubt("A tensor's data is not as large as its shape says.")
    model.blocks.append(((name or "")[:300], offset, size, _TYPES[kind]))


def _are_texts(data: bytes) -> bool:
    """A number of texts, their places and one for the end, the texts (`tensorflow/lite/string_util.h`)."""
    count = int.from_bytes(data[:4], "little", signed=True) if len(data) >= 4 else -1
    if count < 0 or 4 + 4 * (count + 1) > len(data):
        return False
    last = 4 + 4 * (count + 1)
    for (place,) in struct.iter_unpack("<i", data[4:last]):
        if not last <= place <= len(data):
            return False
        last = place
    return True


def _indices(model: LiteModel, numbers: Iterable[int], limit: int, of: str) -> None:
    if any(not 0 <= n < limit for n in numbers):
        model.doubt(f"A number in {of} leads to something that is not there.")


def flex_texts(options: bytes) -> list[bytes]:
    """The texts of a FlexBuffer that is a vector of texts: name and `NodeDef` of a Flex operation.

    Raises FlatBufferError for anything else. Source: flatbuffers.dev, "FlexBuffers" (`flexbuffers.h`).
    """
    if len(options) < 3:
        raise flatbuffer.FlatBufferError("A Flex operation does not say what it does.")
    width, kind = options[-1], options[-2]
    root = len(options) - 2 - width
    if width not in (1, 2, 4, 8) or root < 0 or kind >> 2 not in (10, 15):
        raise flatbuffer.FlatBufferError("A Flex operation says what it does in a way that is not known.")
    start = root - _number(options, root, width)
    step = 1 << (kind & 3)
    count = _number(options, start - step, step)
    if count > 16:
        raise flatbuffer.FlatBufferError("A Flex operation says what it does in a way that is not known.")
    found: list[bytes] = []
    for i in range(count):
        place = start + i * step
        packed = options[start + count * step + i] if kind >> 2 == 10 else 5 << 2
        if packed >> 2 not in (4, 5, 25):
            raise flatbuffer.FlatBufferError("A Flex operation says what it does in a way that is not known.")
        at = place - _number(options, place, step)
        inner = 1 << (packed & 3)
        size = _number(options, at - inner, inner)
        if at + size > len(options):
            raise flatbuffer.FlatBufferError("A Flex operation's description is cut off.")
        found.append(options[at : at + size])
    return found


def _number(data: bytes, at: int, width: int) -> int:
    if at < 0 or at + width > len(data):
        raise flatbuffer.FlatBufferError("A Flex operation's description is cut off.")
    return int.from_bytes(data[at : at + width], "little")
