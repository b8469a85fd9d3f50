"""Core ML's models: which kinds are in one, the classes and the other files it names, and where its weights lie.

    model = read(view)
    model.kinds, model.classes, model.blobs

Every message is walked by `coreml_schema`. The numbers of weights are not read. Source: `mlmodel/format/*.proto` of
coremltools 9; the weights beside a model, `mlmodel/src/MILBlob/Blob/StorageFormat.hpp`.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from typing import Any

from nbguard.formats.coreml_schema import SCHEMA
from nbguard.formats.protobuf import BYTES, VARINT, Budget, Field, WireError, fields
from nbguard.formats.protobuf_walk import Message, messages, one, text
from nbguard.formats.view import View

_KINDS = frozenset(n for n, (kind, _) in SCHEMA["Model"].items() if n >= 200)
_OPAQUE = {2000: "text classifier", 2001: "word tagger", 2004: "gazetteer", 2005: "word embedding",
           3000: "serialized model"}  # fmt: skip
"""Kinds that hold bytes which only Apple's own libraries read."""
_BITS = {1: 8, 10: 16, 11: 32, 12: 64, 13: 16, 21: 8, 22: 16, 23: 32, 24: 64, 25: 4, 31: 8, 32: 16, 33: 32, 34: 64,
         35: 4, 36: 2, 37: 1, 38: 6, 39: 3, 40: 8, 41: 8}  # fmt: skip
"""`MILSpec.DataType` → bits of one element."""
_KEPT = 200_000
"""Names that are kept."""
_LARGE = 4096
"""Bytes; fields of numbers beyond that are pinned by where they lie."""
WEIGHTS = ("weights/weight.bin", "weights/0-weight.bin", "weights/1-weight.bin")
"""What coremltools calls the files with weights, below the model's folder."""
WEIGHTS_HEAD = struct.Struct("<II56x")
_RECORD = struct.Struct("<IIQQ40x")  # what stands behind is left as it was in memory by older writers
_MARK = 0xDEADBEEF
_TYPES = range(1, 18)


class CoreMLError(WireError):
    """No model of Core ML that can be read to its end. One plain sentence."""


@dataclass(frozen=True)
class Blob:
    """Numbers in a file beside the model."""

    file: str
    """As the model says it: `@model_path/weights/weight.bin`. Hostile."""
    offset: int
    """Of the record that describes them, in bytes."""
    nbytes: int
    """Bytes that their shape and type ask for; 0 where neither says."""


@dataclass
class CoreMLModel:
    """What is in a model, those in its pipeline included."""

    version: int = 0
    kinds: list[str] = field(default_factory=list)
    classes: list[tuple[str, str]] = field(default_factory=list)
    """("layer" or "model", class that must be in the app)."""
    linked: list[tuple[str, str]] = field(default_factory=list)
    """(file, search path) of models that are elsewhere."""
    blobs: list[Blob] = field(default_factory=list)
    operations: Counter[str] = field(default_factory=Counter)
    opaque: list[str] = field(default_factory=list)
    blocks: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(what, offset, bytes, kind) of large fields of numbers in the model itself."""


def looks_like(view: View) -> bool:
    """Whether the fields on top are those of a `Model` with a version, a description and a kind, to the last byte."""
    known, seen = SCHEMA["Model"], set()
    try:
        for found in fields(view, 0, view.size, Budget(64)):
            if found.number not in known or found.wire != (VARINT if found.number in (1, 10) else BYTES):
                return False
            seen.add(found.number)
    except WireError:
        return False
    return {1, 2} <= seen and bool(seen & _KINDS)


def read(view: View) -> CoreMLModel:
    """Walk the whole model.

    Raises:
        CoreMLError: it breaks off, nests too deeply, or holds a field that Core ML does not define.
    """
    model = CoreMLModel()
    try:
        for message in messages(view, SCHEMA, "Model", 0, view.size):
            _message(view, model, message)
    except CoreMLError:
        raise
    except WireError as error:
        raise CoreMLError(str(error)) from error
    return model


def _message(view: View, model: CoreMLModel, message: Message) -> None:
    match message.name:
        case "Model":
            kinds = [f.number for f in message.fields if f.number in _KINDS]
            if len(kinds) != 1:
                raise CoreMLError("It is not one kind of model but none or several.")
            model.version = max(model.version, message.number(1))
            model.kinds.append(SCHEMA["Model"][kinds[0]][0])
            if kinds[0] in _OPAQUE:
                model.opaque.append(_OPAQUE[kinds[0]])
        case "CustomModel":
            _keep(model.classes, ("model", text(view, message.first(10))))
        case "CustomLayerParams":
            _keep(model.classes, ("layer", text(view, message.first(10))))
        case "LinkedModelFile":
            parts = [one(view, SCHEMA, "StringParameter", f) for f in message.all(1)[:1] + message.all(2)[:1]]
            names = [text(view, part.first(1)) for part in parts]
            _keep(model.linked, (names[0] if message.all(1) else "", names[-1] if message.all(2) else ""))
        case "MILSpec.Operation":
            model.operations[text(view, message.first(1))[:200]] += 1
            if len(model.operations) > _KEPT:
                raise CoreMLError("It has more kinds of operations than there are.")
        case "MILSpec.Value" if message.first(5) is not None:
            _keep(model.blobs, _blob(view, message))
        case _:
            known = SCHEMA[message.name]
            for found in message.fields:
                if found.length > _LARGE and known[found.number][0] in ("b", "f", "d", "v") and found.wire == BYTES:
                    _keep(model.blocks, (message.name, found.start, found.length, known[found.number][0]))


def _keep(rows: list[Any], row: object) -> None:
    if len(rows) >= _KEPT:
        raise CoreMLError("It holds more parts than are looked at.")
    rows.append(row)


def _blob(view: View, value: Message) -> Blob:
    place, kind = value.first(5), value.first(2)
    assert place is not None
    found = one(view, SCHEMA, "MILSpec.Value.BlobFileValue", place)
    return Blob(text(view, found.first(1)), found.number(2), _needed(view, kind) if kind is not None else 0)


def _needed(view: View, kind: Field) -> int:
    """Bytes of a tensor of this type; 0 for other types and for shapes that are not known."""
    tensor = one(view, SCHEMA, "MILSpec.ValueType", kind).first(1)
    if tensor is None:
        return 0
    shape = one(view, SCHEMA, "MILSpec.TensorType", tensor)
    sizes = []
    for found in shape.all(3)[:64]:
        fixed = one(view, SCHEMA, "MILSpec.Dimension", found).first(1)
        if fixed is None:
            return 0
        sizes.append(one(view, SCHEMA, "MILSpec.Dimension.ConstantDimension", fixed).number(1))
    return (prod(sizes) * _BITS.get(shape.number(1), 0) + 7) // 8


def is_weights(head: bytes) -> bool:
    """Whether these are the first bytes of the file with weights beside a model."""
    return len(head) >= 128 and head[4:8] == b"\2\0\0\0" and head[64:68] == b"\xef\xbe\xad\xde" and head[:4] != bytes(4)


def weights(view: View) -> list[tuple[str, int, int, str]]:
    """(name, offset, bytes, type) of every piece of a file with weights, to the last byte. Raises CoreMLError."""
    head = view.read(0, WEIGHTS_HEAD.size)
    if len(head) < WEIGHTS_HEAD.size:
        raise CoreMLError("It ends within its header.")
    count, version = WEIGHTS_HEAD.unpack(head)
    if version != 2 or count * _RECORD.size > view.size:
        raise CoreMLError("It does not hold as many pieces as it says.")
    found, at = [], WEIGHTS_HEAD.size
    for number in range(count):
        head = view.read(at, _RECORD.size)
        if len(head) < _RECORD.size:
            raise CoreMLError("It ends before its last piece.")
        mark, kind, size, offset = _RECORD.unpack(head)
        if mark != _MARK or kind not in _TYPES:
            raise CoreMLError("A piece of it is described in a way that Core ML does not write.")
        if offset != at + _RECORD.size or offset + size > view.size:
            raise CoreMLError("A piece of it lies outside of the file, or over another piece.")
        found.append((str(number), offset, size, f"mil-{kind}"))
        at = -(-(offset + size) // 64) * 64
    if found and found[-1][1] + found[-1][2] + 64 <= view.size:
        raise CoreMLError("Something lies behind its last piece.")
    return found


__all__ = ["Blob", "CoreMLError", "CoreMLModel", "is_weights", "looks_like", "read", "weights"]
