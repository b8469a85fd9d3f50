"""MessagePack: gone through to its last byte, without building what it holds.

    found = look(view)
    found.whole                      # whether the bytes are exactly one value
    found.extensions                 # {0, 42}: types of a program's own that nothing here explains
    found.arrays                     # {"<f4", "|O"}: what readers of NumPy arrays would take the data for
    found.tensors                    # the arrays that Flax put in: (offset, length, type) each

Sources: the MessagePack specification (2.0, timestamp extension -1), `srsly.msgpack._msgpack_numpy` for arrays, and
`flax/serialization.py` (0.12) for its three types and for arrays in pieces (`_chunk`).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from nbguard.formats.view import View

MAX_VALUES = 6_000_000
"""Values of one file: a vocabulary of a million words takes two million."""
MAX_DEPTH = 200
TIMESTAMP = -1
"""The one extension type that the specification itself gives."""
ARRAY, COMPLEX, SCALAR = 1, 2, 3
"""Flax's extension types (`_MsgpackExtType`)."""
ITEMS = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
    "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "bfloat16": 2,
    "int4": 1, "uint4": 1, "int2": 1, "uint2": 1, "float8_e3m4": 1, "float8_e4m3": 1, "float8_e8m0fnu": 1,
    "float8_e4m3b11fnuz": 1, "float8_e4m3fn": 1, "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1,
    "float4_e2m1fn": 1,
}  # fmt: skip
"""Bytes of one element, by the names that NumPy and ml_dtypes give to numbers; every other type is refused."""
_PIECES = b"__msgpack_chunked_array__"
_WINDOW = 1 << 20
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4,
          0xD3: 8}  # fmt: skip
"""First byte → bytes that follow, of values without a length."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Binary and text: first byte → bytes of the length."""
_MANY = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Arrays and maps: first byte → bytes of the count, values for each."""
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_UNSIGNED = {0xCC, 0xCD, 0xCE, 0xCF}


@dataclass
class Walked:
    """What is in it."""

    values: int = 0
    extensions: set[int] = field(default_factory=set)
    """Extension types that are neither the specification's nor Flax's."""
    arrays: set[str] = field(default_factory=set)
    """Types of NumPy arrays as they are written; `?` for what is no plain text."""
    top: int = 0
    """The first byte."""
    whole: bool = False
    """The bytes are exactly one value, and no more of them than is looked at."""
    tensors: list[tuple[int, int, str]] = field(default_factory=list)
    """(offset, bytes, type) of each array that Flax wrote."""
    flax: bool = False
    """It holds something that only Flax writes."""
    problems: list[str] = field(default_factory=list)
    """What Flax would stumble over, each one plain sentence."""


@dataclass(slots=True)
class _Frame:
    """A map or an array that is being gone through."""

    left: int
    map: bool = False
    key: bytes | None = None
    """The key whose value comes next, where it is a short text."""
    role: bytes = b""
    """`shape` or `chunks` within an array in pieces."""
    pieces: bool = False
    shape: list[int] = field(default_factory=list)
    elements: int = 0
    """Of the pieces that were read."""


def walk(view: View) -> Walked | None:
    """None where it is not exactly one value, or more than is looked at. Raises OSError."""
    found = look(view)
    return found if found.whole else None


def look(view: View) -> Walked:
    """What is there up to the first byte that does not belong, or to the end. Raises OSError."""
    reader = _Reader(view)
    out = Walked()
    frames = [_Frame(1)]
    after_type = False
    while frames:
        frame = frames[-1]
        if not frame.left:
            frames.pop()
            _close(frame, frames, out)
            continue
        frame.left -= 1
        out.values += 1
        if out.values > MAX_VALUES or len(frames) > MAX_DEPTH:
            return out
        first = reader.take(1)
        if not first:
            return out
        code = first[0]
        if out.values == 1:
            out.top = code
        known = len(out.tensors)
        more, text = _one(reader, code, out)
        if more is None:
            return out
        if after_type:
            out.arrays.add(text.decode("ascii", "replace") if text is not None and len(text) < 40 else "?")
        after_type = text == b"type"
        if frame.map and frame.left % 2:  # a key: its value is still to come
            frame.key = text
            frame.pieces |= text == _PIECES
        else:
            _value(frame, code, text, out, known)
        if more:
            role = frame.key if frame.map and not frame.left % 2 and frame.key in (b"shape", b"chunks") else None
            frames.append(_Frame(more, code <= 0x8F or code in (0xDE, 0xDF), role=role or b""))
    out.whole = reader.at == view.size
    return out


def _value(frame: _Frame, code: int, text: bytes | None, out: Walked, known: int) -> None:
    """Keep what an array in pieces is put together from."""
    if frame.role == b"shape":
        frame.shape.append(_number(code, text))
    elif frame.role == b"chunks":
        if len(out.tensors) > known:
            _, length, kind = out.tensors[-1]
            frame.elements += length // ITEMS[kind]
        else:
            frame.elements = -(1 << 62)  # something that is no array


def _number(code: int, text: bytes | None) -> int:
    if code <= 0x7F:
        return code
    return int.from_bytes(text, "big") if code in _UNSIGNED and text is not None else -1


def _close(frame: _Frame, frames: list[_Frame], out: Walked) -> None:
    """Hand what was found in a shape or in pieces to the map that they are in, and check that map at its end."""
    if frame.role and frames:
        above = frames[-1]
        if frame.role == b"shape":
            above.shape = frame.shape
        else:
            above.elements = frame.elements
    if frame.pieces:
        out.flax = True
        if any(n < 0 for n in frame.shape) or len(frame.shape) > 32 or math.prod(frame.shape) != frame.elements:
            out.problems.append("The pieces of an array do not make up the shape that it says.")


def _one(reader: _Reader, code: int, out: Walked) -> tuple[int | None, bytes | None]:
    """(values that follow inside, None where it is broken; the text or bytes, where it is short)."""
    if code <= 0x7F or code >= 0xE0:
        return 0, None
    if code <= 0x8F:
        return 2 * (code & 0x0F), None
    if code <= 0x9F:
        return code & 0x0F, None
    if code <= 0xBF:
        return reader.text(code & 0x1F)
    if code in _FIXED:
        length = _FIXED[code]
        piece = reader.take(length)
        return (0 if len(piece) == length else None), (piece if code in _UNSIGNED else None)
    if code in _SIZED:
        sized = reader.number(_SIZED[code])
        return reader.text(sized) if sized is not None else (None, None)
    if code in _MANY:
        width, each = _MANY[code]
        count = reader.number(width)
        return (None if count is None or count > MAX_VALUES else count * each), None
    return _extension(reader, code, out), None


def _extension(reader: _Reader, code: int, out: Walked) -> int | None:
    length = _FIXEXT.get(code, reader.number(_EXT[code]) if code in _EXT else None)
    mark = reader.take(1)
    start = reader.at
    if length is None or not mark or not reader.skip(length):
        return None
    kind = struct.unpack("b", mark)[0]
    if kind in (ARRAY, SCALAR):
        head = reader.view.read(start, min(length, 2048))
        found = _array(head, length)
        if found is None:
            out.extensions.add(kind)
        elif isinstance(found, str):
            out.problems.append(found)
            out.flax = True
        else:
            at, size, name = found
            out.tensors.append((start + at, size, name))
            out.flax = True
    elif kind == COMPLEX:
        if not _complex(reader.view.read(start, min(length, 32)), length):
            out.extensions.add(kind)
    elif kind != TIMESTAMP:
        out.extensions.add(kind)
    return 0


def _array(head: bytes, length: int) -> tuple[int, int, str] | str | None:
    """(offset of the data, bytes, type) of an array of Flax's, a sentence where its numbers lie, None where it is none.

    `_ndarray_to_bytes`: three values, the shape as an array of whole numbers, the type's name, the bytes.
    """
    small = _Reader(_Bytes(head))
    if small.take(1) != b"\x93":
        return None
    shape = _shape(small)
    name = _text(small)
    if shape is None or name is None:
        return None
    code = small.take(1)
    width = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}.get(code)
    size = small.number(width) if width else None
    if size is None:
        return None
    kind = name.decode("ascii", "replace")
    if kind not in ITEMS:
        return f"An array is of a type that is no number: {kind[:40]!r}."
    if small.at + size != length:
        return "The bytes of an array do not end where it ends."
    if math.prod(shape) * ITEMS[kind] != size:
        return "An array has another number of bytes than its shape and type need."
    return small.at, size, kind


def _shape(small: _Reader) -> list[int] | None:
    first = small.take(1)
    if not first or not 0x90 <= first[0] <= 0x9F:  # a shape of sixteen and more dimensions is none of an array's
        return None
    shape = []
    for _ in range(first[0] & 0x0F):
        code = small.take(1)
        if not code:
            return None
        number = code[0] if code[0] <= 0x7F else small.number(_FIXED[code[0]]) if code[0] in _UNSIGNED else None
        if number is None:
            return None
        shape.append(number)
    return shape


def _text(small: _Reader) -> bytes | None:
    first = small.take(1)
    if not first:
        return None
    if 0xA0 <= first[0] <= 0xBF:
        length: int | None = first[0] & 0x1F
    elif first[0] in _SIZED:
        length = small.number(_SIZED[first[0]])
    else:
        return None
    if length is None or length > 1024:
        return None
    piece = small.take(length)
    return piece if len(piece) == length else None


def _complex(data: bytes, length: int) -> bool:
    """Two numbers in an array, as `msgpack.packb((x.real, x.imag))` writes them."""
    return length == 19 and data[:2] == b"\x92\xcb" and data[10:11] == b"\xcb"


class _Bytes:
    """Bytes in memory as a view, without a copy of what is read last."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class _Reader:
    """Small pieces in order, read in windows."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.at = 0
        self._start = 0
        self._window = b""

    def take(self, length: int) -> bytes:
        """`length` bytes, or none where they are not there."""
        here = self.at - self._start
        if here < 0 or here + length > len(self._window):
            self._start, self._window = self.at, self.view.read(self.at, max(_WINDOW, length))
            here = 0
        piece = self._window[here : here + length]
        if len(piece) < length:
            return b""
        self.at += length
        return piece

    def skip(self, length: int) -> bool:
        self.at += length
        return self.at <= self.view.size

    def number(self, width: int) -> int | None:
        piece = self.take(width)
        return int.from_bytes(piece, "big") if len(piece) == width else None

    def text(self, length: int) -> tuple[int | None, bytes | None]:
        if length <= 64:
            piece = self.take(length)
            return (0, piece) if len(piece) == length else (None, None)
        return (0 if self.skip(length) else None), None
