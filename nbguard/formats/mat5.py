"""MATLAB's files (version 5 to 7): every element, arrays as large as they say, compressed parts unpacked.

    found = read(view, limit=1 << 30)
    found.handles, found.objects        # what is more than data

Source: "MAT-File Format" of MathWorks, and `scipy/io/matlab/_mio5.py` for functions and objects, which it leaves out.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any

from nbguard.formats.view import BytesView, View

MAX_DEPTH = 60
MAX_ELEMENTS = 3_000_000
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Type of an element → bytes of one value."""
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_NUMBERS = range(6, 16)


class MatError(ValueError):
    """A file that MATLAB never writes. The message is one plain sentence."""


@dataclass
class MatFile:
    """What was read."""

    names: list[str] = field(default_factory=list)
    handles: list[str] = field(default_factory=list)
    """Functions, as the texts that belong to them."""
    objects: list[str] = field(default_factory=list)
    """Classes of objects."""
    elements: int = 0
    unpacked: int = 0


def looks_like(head: bytes) -> bool:
    """A text of 116 bytes, a version, and the mark of the byte order."""
    return len(head) >= 128 and head[124:128] in (b"\x00\x01IM", b"\x01\x00MI")


def read(view: View, *, limit: int) -> MatFile:
    """Read and check a file; `limit` is how many bytes its compressed parts may become together. Raises MatError."""
    head = view.read(0, 128)
    order = "<" if head[126:128] == b"IM" else ">"
    if not looks_like(head):
        raise MatError("It does not begin as a MATLAB file does.")
    out = MatFile()
    at = 128
    while at < view.size:
        kind, length, start = _tag(view, at, view.size, order)
        end = start + length
        if kind == _COMPRESSED:
            data = _unpacked(view.read(start, length), limit - out.unpacked)
            out.unpacked += len(data)
            _Reader(BytesView(data), order, out).all(0, len(data), alone=True)
            at = end
        elif kind == _MATRIX:
            _Reader(view, order, out).all(at, end, alone=True)
            at = end + -length % 8
        else:
            raise MatError("It holds something that is no variable.")
    return out


def _tag(view: View, at: int, end: int, order: str) -> tuple[int, int, int]:
    """(type, bytes, where they start) of the element at `at`."""
    head = view.read(at, 8)
    if len(head) < 8 or at + 8 > end:
        raise MatError("It is cut off.")
    kind, length = struct.unpack(f"{order}II", head)
    if kind >> 16:  # a small element: both in one word
        kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
        if length > 4:
            raise MatError("A small element in it is not small.")
    else:
        start = at + 8
    if start + length > end:
        raise MatError("An element leads out of what it lies in.")
    return kind, length, start


def _unpacked(data: bytes, limit: int) -> bytes:
    machine = zlib.decompressobj()
    try:
        out = machine.decompress(data, max(1, limit))
    except zlib.error as error:
        raise MatError("A compressed part of it is damaged.") from error
    if machine.unconsumed_tail:
        raise MatError("It unpacks to more than is read.")
    if not machine.eof or machine.unused_data:
        raise MatError("A compressed part of it is cut off, or goes on behind its end.")
    return out


class _Reader:
    """One variable and what lies in it, by a list of generators instead of calls."""

    def __init__(self, view: View, order: str, out: MatFile) -> None:
        self.view, self.order, self.out = view, order, out

    def all(self, at: int, end: int, *, alone: bool) -> None:
        stack: list[Generator[Any, int, int]] = [self.matrix(at, end, "")]
        value: int | None = None
        while stack:
            try:
                inner = stack[-1].send(value)  # type: ignore[arg-type]
            except StopIteration as done:
                stack.pop()
                value = done.value
                continue
            stack.append(inner)
            value = None
            if len(stack) > MAX_DEPTH:
                raise MatError("Its variables lie within each other more deeply than is followed.")
        if alone and value is not None and (value > end + 7 or value < end):
            raise MatError("A variable does not end where it should.")

    def element(self, at: int, end: int) -> tuple[int, int, int, int]:
        """(type, bytes, start, offset behind the padding)."""
        self.out.elements += 1
        if self.out.elements > MAX_ELEMENTS:
            raise MatError("It holds more elements than are looked at.")
        kind, length, start = _tag(self.view, at, end, self.order)
        return kind, length, start, at + 8 if start == at + 4 else start + length + -length % 8

    def integers(self, at: int, end: int) -> tuple[array[int], int]:
        kind, length, start, behind = self.element(at, end)
        if kind not in (5, 6) or length % 4:
            raise MatError("There is something else where whole numbers should stand.")
        return self._array(start, length), behind

    def _array(self, start: int, length: int) -> array[int]:
        numbers = array("i")
        numbers.frombytes(self.view.read(start, length))
        if (self.order == ">") != (sys.byteorder == "big"):
            numbers.byteswap()
        return numbers

    def text(self, at: int, end: int) -> tuple[str, int]:
        kind, length, start, behind = self.element(at, end)
        if kind not in (1, 2, 16):
            raise MatError("There is something else where a name should stand.")
        return self.view.read(start, min(length, 4096)).decode("utf-8", "backslashreplace"), behind

    def values(self, at: int, end: int, count: int) -> int:
        kind, length, _, behind = self.element(at, end)
        if kind not in _SIZES or length != count * _SIZES[kind]:
            raise MatError("An array has another number of values than it says.")
        return behind

    def matrix(self, at: int, end: int, handle: str) -> Generator[Any, int, int]:
        """One variable; gives the offset behind it."""
        kind, length, start, behind = self.element(at, end)
        if kind != _MATRIX:
            raise MatError("There is something else where a variable should stand.")
        if not length:
            return behind
        end = start + length
        flags, at = self.integers(start, end)
        if len(flags) != 2:
            raise MatError("A variable does not say what it is.")
        what = flags[0] & 0xFF
        if what == _OPAQUE:
            return (yield from self.opaque(at, end, behind))
        shape, at = self.integers(at, end)
        if not 1 < len(shape) <= 64 or any(n < 0 for n in shape):
            raise MatError("A variable has a shape that there is not.")
        count = prod(shape)
        name, at = self.text(at, end)
        if name and len(self.out.names) < 1_000:
            self.out.names.append(name[:200])
        parts = 2 if flags[0] & 0x800 else 1
        if what in _NUMBERS or what == _CHAR:
            for _ in range(parts):
                at = self.characters(at, end, count, handle) if what == _CHAR else self.values(at, end, count)
        elif what == _SPARSE:
            at = self.sparse(at, end, shape, parts, bool(flags[0] & 0x200))
        elif what in (_CELL, _STRUCT, _OBJECT):
            at = yield from self.several(what, at, end, count, handle)
        elif what == _FUNCTION:
            self.out.handles.append("")
            at = yield self.matrix(at, end, "handle")
        else:
            raise MatError("A variable is of a class that MATLAB does not have.")
        if at < end or at > end + 7:
            raise MatError("A variable is longer or shorter than what is in it.")
        return behind

    def characters(self, at: int, end: int, count: int, handle: str) -> int:
        kind, length, start, behind = self.element(at, end)
        if kind not in (1, 2, 3, 4, 16, 17, 18) or (kind != 16 and length != count * _SIZES[kind]):
            raise MatError("A text has another length than it says.")
        if handle and self.out.handles:
            wide = _SIZES[kind]
            code = {1: "utf-8", 2: "utf-16-le" if self.order == "<" else "utf-16-be", 4: "utf-32-le"}[wide]
            words = self.view.read(start, min(length, 2000)).decode(code, "backslashreplace")
            self.out.handles[-1] = f"{self.out.handles[-1]} {words}".strip()[:2000]
        return behind

    def several(self, what: int, at: int, end: int, count: int, handle: str) -> Generator[Any, int, int]:
        """Cells; or the fields of structures, after their names; of objects, after their class."""
        if what == _OBJECT:
            name, at = self.text(at, end)
            self.out.objects.append(name[:200])
        if what != _CELL:
            widths, at = self.integers(at, end)
            kind, length, _, at = self.element(at, end)
            width = widths[0] if widths else 0
            if kind not in (1, 2, 16) or (length and not 0 < width <= length) or (length and length % width):
                raise MatError("The names of a structure's fields do not fit.")
            count *= length // width if length else 0
        if count > (end - at) // 8:
            raise MatError("A variable has more parts than there are bytes.")
        for _ in range(count):
            at = yield self.matrix(at, end, handle)
        return at

    def sparse(self, at: int, end: int, shape: array[int], parts: int, logical: bool) -> int:
        """Rows and starts of columns, which readers follow: each where it may lead. MATLAB writes a byte for true."""
        rows, at = self.integers(at, end)
        starts, at = self.integers(at, end)
        if len(starts) != shape[1] + 1 or (len(starts) and starts[0] != 0):
            raise MatError("The columns of a sparse array do not fit.")
        used = starts[-1] if starts else 0
        if any(a > b for a, b in pairwise(starts)) or used > len(rows):
            raise MatError("The columns of a sparse array lead out of it.")
        if any(not 0 <= row < shape[0] for row in rows[:used]):
            raise MatError("A row of a sparse array leads out of it.")
        for _ in range(parts):
            kind, length, _, at = self.element(at, end)
            if kind not in _SIZES or length < used * (1 if logical else _SIZES[kind]):
                raise MatError("A sparse array has fewer values than it says.")
        return at

    def opaque(self, at: int, end: int, behind: int) -> Generator[Any, int, int]:
        """Objects of newer classes: a name, a system, a class, and a variable."""
        words: list[str] = []
        while at < end and len(words) < 4:
            kind, _, _, _ = self.element(at, end)
            if kind == _MATRIX:
                at = yield self.matrix(at, end, "")
                break
            word, at = self.text(at, end)
            words.append(word)
        if at < end or at > end + 7:
            raise MatError("An object is longer or shorter than what is in it.")
        self.out.objects.append(".".join(words[-2:])[:200])
        return behind
