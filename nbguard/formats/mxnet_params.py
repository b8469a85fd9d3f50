"""MXNet's parameters (`.params`): arrays one behind the other, then their names, to the last byte.

    arrays = read(view)
    arrays[0]       # ("arg:fc1_weight", offset, bytes, "float32")

Source: `NDArray::Save` and `NDArray::Load` in `src/ndarray/ndarray.cc` of MXNet 1.9.1.
"""

from __future__ import annotations

import struct
from math import prod

from nbguard.formats.view import View

MAGIC = (0x112).to_bytes(8, "little")
MAX_ARRAYS = 1_000_000
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_BYTES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 8: 2, 9: 2, 10: 4, 11: 8, 12: 2}
_NAMES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16", "uint16", "uint32",
          "uint64", "bfloat16")  # fmt: skip
_AUXILIARY = {0: 0, 1: 1, 2: 2}
"""How an array is stored (densely, by rows, as CSR) → how many arrays of indices come with it."""


class MxnetError(ValueError):
    """No parameters that can be read to their end. One plain sentence."""


def read(view: View) -> list[tuple[str, int, int, str]]:
    """(name, offset, bytes, type) of every array. Raises MxnetError."""
    walk = _Walk(view)
    if view.read(0, 8) != MAGIC:
        raise MxnetError("It does not begin as parameters of MXNet do.")
    walk.at = 16
    count = walk.number("Q")
    if count > min(MAX_ARRAYS, view.size):
        raise MxnetError("It says that it has more arrays than are looked at.")
    arrays = [walk.array() for _ in range(count)]
    named = walk.number("Q")
    if named not in (0, count):
        raise MxnetError("It has not as many names as arrays.")
    names = []
    for _ in range(named):
        length = walk.number("Q")
        if length > 1 << 16:
            raise MxnetError("A name in it is longer than any real one.")
        names.append(walk.take(length).decode("utf-8", "backslashreplace"))
    if walk.at != view.size:
        raise MxnetError("Something lies behind its last name.")
    names = names or [str(n) for n in range(count)]
    return [(name[:300], *rest) for name, rest in zip(names, arrays, strict=True)]


class _Walk:
    def __init__(self, view: View) -> None:
        self.view = view
        self.at = 0

    def take(self, length: int) -> bytes:
        found = self.view.read(self.at, length)
        if len(found) < length:
            raise MxnetError("It ends before everything is there that it says.")
        self.at += length
        return found

    def number(self, code: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0])

    def shape(self, code: str = "q") -> list[int]:
        count = self.number("i")
        if not -1 <= count <= 64:
            raise MxnetError("An array has more dimensions than any real one.")
        found = [self.number(code) for _ in range(max(0, count))]
        if any(not 0 <= n < 1 << 48 for n in found):
            raise MxnetError("An array has a shape that cannot be.")
        return found if count >= 0 else [-1]

    def array(self) -> tuple[int, int, str]:
        """(offset of its numbers, their bytes, their type)."""
        magic = self.number("I")
        auxiliary, stored = 0, None
        if magic in (_V2, _V3):
            kind = self.number("i")
            if kind not in _AUXILIARY:
                raise MxnetError("An array is stored in a way that MXNet does not know.")
            auxiliary = _AUXILIARY[kind]
            stored = self.shape() if auxiliary else None
            dims = self.shape()
        elif magic == _V1:
            dims = self.shape()
        else:
            self.at -= 4
            dims = self.shape("I")
        if dims == [-1] or (not dims and magic != _V3):
            return self.at, 0, "none"
        self.take(8)  # where it lay: kind and number of the device
        type_flag = self.number("i")
        if type_flag not in _BYTES:
            raise MxnetError("An array is of a type that MXNet does not know.")
        inner = [(self.number("i"), self.shape()) for _ in range(auxiliary)]
        offset = self.at
        size = self.skip(prod(stored if stored is not None else dims) * _BYTES[type_flag])
        for kind, shape in inner:
            if kind not in _BYTES or shape == [-1]:
                raise MxnetError("The indices of an array are of a type that MXNet does not know.")
            self.skip(prod(shape) * _BYTES[kind])
        return offset, size, _NAMES[type_flag]

    def skip(self, size: int) -> int:
        if self.at + size > self.view.size:
            raise MxnetError("An array is longer than the file.")
        self.at += size
        return size


__all__ = ["MAGIC", "MxnetError", "read"]
