"""PaddlePaddle's parameters (`.pdiparams`): tensors one behind the other, to the last byte.

    tensors = read(view)
    tensors[0]      # ("0", offset, bytes, "float32")

Source: `SerializeToStream` and `TensorToStream` in `phi/core/framework/dense_tensor_serialize.cc`: version, level of
detail, version, a description, and the numbers. Names are in the program.
"""

from __future__ import annotations

import struct
from math import prod

from nbguard.formats.paddle_program import SCHEMA
from nbguard.formats.protobuf import Budget, Field, WireError, signed
from nbguard.formats.protobuf_walk import numbers, one
from nbguard.formats.view import BytesView, View

MAX_TENSORS = 1_000_000
_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16, 32: 1, 33: 1}
_NAMES = {0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64", 20: "uint8",
          21: "int8", 22: "bfloat16", 23: "complex64", 24: "complex128", 32: "float8_e4m3fn",
          33: "float8_e5m2"}  # fmt: skip
"""`VarType.Type` → bytes of one element, and its name."""
_MAX_DESCRIPTION = 1024
_HEAD = struct.Struct("<IQ")


class PaddleTensorError(WireError):
    """No parameters that can be read to their end. One plain sentence."""


def looks_like(view: View) -> bool:
    """Whether it begins with one tensor that is described as PaddlePaddle describes them."""
    head = view.read(0, 64)
    if len(head) < 24 or head[:4] != bytes(4) or head[6:12] != bytes(6):
        return False
    try:
        _tensor(view, 0)
    except WireError:
        return False
    return True


def read(view: View) -> list[tuple[str, int, int, str]]:
    """(number, offset, bytes, type) of every tensor. Raises PaddleTensorError."""
    found: list[tuple[str, int, int, str]] = []
    at = 0
    while at < view.size:
        if len(found) >= MAX_TENSORS:
            raise PaddleTensorError("It holds more tensors than are looked at.")
        try:
            offset, size, kind = _tensor(view, at)
        except PaddleTensorError:
            raise
        except WireError as error:
            raise PaddleTensorError(str(error)) from error
        found.append((str(len(found)), offset, size, kind))
        at = offset + size
    return found


def _tensor(view: View, at: int) -> tuple[int, int, str]:
    """(offset of its numbers, their bytes, their type) of the tensor at `at`."""
    head = view.read(at, _HEAD.size)
    if len(head) < _HEAD.size:
        raise PaddleTensorError("It ends within a tensor.")
    version, levels = _HEAD.unpack(head)
    if version or levels > 64:
        raise PaddleTensorError("A tensor is of a version that PaddlePaddle does not write.")
    at += _HEAD.size
    for _ in range(levels):
        size = int.from_bytes(view.read(at, 8), "little")
        if size % 8 or at + 8 + size > view.size:
            raise PaddleTensorError("A tensor's level of detail leads out of the file.")
        at += 8 + size
    head = view.read(at, 8)
    if len(head) < 8:
        raise PaddleTensorError("It ends within a tensor.")
    version, length = struct.unpack("<Ii", head)
    if version or not 0 < length <= _MAX_DESCRIPTION or at + 8 + length > view.size:
        raise PaddleTensorError("A tensor is described in a way that PaddlePaddle does not write.")
    description = view.read(at + 8, length)
    inside = one(BytesView(description), SCHEMA, "VarType.TensorDesc", Field(1, 2, length, 0, length), Budget(512))
    kind = inside.number(1, -1)
    dims = [signed(n) for n in numbers(BytesView(description), inside.all(2), 64)]
    if kind not in _BYTES or any(n < 0 for n in dims):
        raise PaddleTensorError("A tensor is of a type or a shape that cannot be.")
    size = prod(dims) * _BYTES[kind]
    start = at + 8 + length
    if start + size > view.size:
        raise PaddleTensorError("A tensor is longer than the file.")
    return start, size, _NAMES[kind]


__all__ = ["PaddleTensorError", "looks_like", "read"]
