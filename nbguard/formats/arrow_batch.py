"""One batch of Arrow's columns: every buffer as long as its column needs, every offset and index where it may lead.

    rows = check(batch, columns, kept, unread)

Source: "Arrow columnar format", physical memory layout and the list of buffers by type.
"""

from __future__ import annotations

import operator
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nbguard.formats.view import Part, View, buffered

MAX_ROWS = 1 << 40
MAX_CHECKED = 1 << 30
"""Bytes of offsets and indices that are looked at in one file."""
NULL, INT, FLOAT, BINARY, TEXT, BOOL = range(1, 7)
LIST, STRUCT, FIXED_BINARY, FIXED_LIST, MAP, LARGE_BINARY, LARGE_TEXT, LARGE_LIST = 12, 13, 15, 16, 17, 19, 20, 21
_WIDE = (LARGE_BINARY, LARGE_TEXT, LARGE_LIST)
_BYTES = (BINARY, TEXT, LARGE_BINARY, LARGE_TEXT)
_LISTS = (LIST, MAP, LARGE_LIST)
_UNFOLLOWED = {14: "a union", 22: "runs", 23: "views", 24: "views", 25: "views", 26: "views"}


class ArrowError(ValueError):
    """A file that Arrow never writes. The message is one plain sentence."""


@dataclass(frozen=True)
class Column:
    """One field of a schema."""

    name: str
    type: int
    """Its number in the union `Type`."""
    width: int
    """Bits of one value; of a list of fixed size, how many it has."""
    children: list[Column]
    dictionary: int | None
    index: int
    """Bits of an index into the dictionary."""

    def layout(self) -> tuple[Any, ...]:
        """What decides how its buffers are read."""
        return (self.type, self.width, self.dictionary, self.index, tuple(c.layout() for c in self.children))


@dataclass(frozen=True)
class Batch:
    """Where a batch lies, and how it says it is put together."""

    view: View
    start: int
    body: int
    length: int
    nodes: list[tuple[int, int]]
    buffers: list[tuple[int, int]]
    compression: str | None


@dataclass
class Kept:
    """What is known from one batch to the next."""

    dictionaries: dict[int, int] = field(default_factory=dict)
    """Dictionary → how many values it has."""
    left: int = MAX_CHECKED


def width(kind: int, details: list[Any]) -> int:
    """Bits of one value of a type, by the table of it. Raises ArrowError."""
    bits: dict[int, Callable[[], Any]] = {
        INT: lambda: details[0],
        FLOAT: lambda: (16, 32, 64)[details[0]],
        BOOL: lambda: 1,
        7: lambda: details[2],
        8: lambda: (32, 64)[details[0]],
        9: lambda: details[1],
        10: lambda: 64,
        11: lambda: (32, 64, 128)[details[0]],
        FIXED_BINARY: lambda: 8 * details[0],
        FIXED_LIST: lambda: details[0],
        18: lambda: 64,
    }
    try:
        found = int(bits[kind]()) if kind in bits else 0
    except IndexError as error:
        raise ArrowError("A type does not say how large its values are.") from error
    allowed = {INT: (8, 16, 32, 64), 7: (32, 64, 128, 256), 9: (32, 64)}.get(kind)
    if not 0 <= found < 1 << 31 or (allowed and found not in allowed):
        raise ArrowError("A type has values of a size that there is not.")
    return found


def check(batch: Batch, columns: list[Column], kept: Kept, unread: list[str]) -> int:
    """The rows of a batch. Raises ArrowError where a buffer, an offset or an index leads nowhere."""
    if not 0 <= batch.length <= MAX_ROWS:
        raise ArrowError("A batch has a number of rows that there is not.")
    walk = _Walk(batch, kept)
    try:
        for column in columns:
            if walk.column(column) != batch.length:
                raise ArrowError("A column has another number of rows than its batch.")
    except _UnfollowedError as error:
        if str(error) not in unread:
            unread.append(str(error))
        return batch.length
    if next(walk.nodes, None) is not None or next(walk.buffers, None) is not None:
        raise ArrowError("A batch has more buffers than its columns need.")
    return batch.length


class _UnfollowedError(Exception):
    """A column of a kind whose insides are not followed, by its name."""


class _Walk:
    def __init__(self, batch: Batch, kept: Kept) -> None:
        self.batch, self.kept = batch, kept
        self.nodes: Iterator[tuple[int, int]] = iter(batch.nodes)
        self.buffers: Iterator[tuple[int, int]] = iter(batch.buffers)

    def column(self, column: Column) -> int:
        """Its rows, its buffers and those below it taken from the lists. Depth is that of the schema."""
        if column.type in _UNFOLLOWED:
            raise _UnfollowedError(_UNFOLLOWED[column.type])
        node = next(self.nodes, None)
        if node is None or not 0 <= node[1] <= node[0] <= MAX_ROWS:
            raise ArrowError("A batch does not say how many rows each of its columns has.")
        rows, nulls = node
        if column.type == NULL and column.dictionary is None:
            return rows
        valid = self.buffer((rows + 7) // 8 if nulls else 0)
        if column.dictionary is not None:
            self.indices(column, rows, valid if nulls else None)
        elif column.type in _BYTES:
            offsets = self.buffer((rows + 1) * self.wide(column) if rows else 0)
            data = self.buffer(0)
            self.offsets(offsets, rows, self.wide(column), data[2])
        elif column.type in _LISTS:
            offsets = self.buffer((rows + 1) * self.wide(column) if rows else 0)
            inner = self.only(column)
            self.offsets(offsets, rows, self.wide(column), inner)
        elif column.type == STRUCT:
            for child in column.children:
                if self.column(child) < rows:
                    raise ArrowError("A part of a column has fewer rows than the column.")
        elif column.type == FIXED_LIST:
            if self.only(column) < rows * column.width:
                raise ArrowError("A list of fixed size has fewer values than it needs.")
        else:
            if column.children:
                raise ArrowError("A column of plain values has parts.")
            self.buffer((rows * column.width + 7) // 8)
        return rows

    def wide(self, column: Column) -> int:
        return 8 if column.type in _WIDE else 4

    def only(self, column: Column) -> int:
        if len(column.children) != 1:
            raise ArrowError("A list has no values, or several kinds of them.")
        return self.column(column.children[0])

    def buffer(self, needed: int) -> tuple[int, int, int]:
        """(offset in the file, bytes there, bytes when unpacked) of the next buffer, which needs so many bytes."""
        found = next(self.buffers, None)
        if found is None or found[0] < 0 or found[1] < 0 or found[0] + found[1] > self.batch.body:
            raise ArrowError("A buffer of a batch leads out of it.")
        at, size = self.batch.start + found[0], found[1]
        plain = size
        if self.batch.compression is not None and size:
            plain = int.from_bytes(self.batch.view.read(at, 8), "little", signed=True)
            plain = size - 8 if plain == -1 else plain
            if size < 8 or not 0 <= plain <= max(size * 1100, 1 << 16) * 64:
                raise ArrowError("A compressed buffer says a length that none has.")
        if plain < needed:
            raise ArrowError("A buffer of a batch is shorter than its column needs.")
        return at, size, plain

    def content(self, buffer: tuple[int, int, int], needed: int) -> bytes:
        """The first bytes of a buffer, unpacked."""
        at, size, _ = buffer
        self.kept.left -= needed
        if self.kept.left < 0:
            raise ArrowError("It has more offsets than are looked at.")
        view = self.batch.view
        if self.batch.compression is None:
            return view.read(at, needed)
        if view.read(at, 8) == b"\xff" * 8:
            return view.read(at + 8, needed)
        return _unpacked(Part(view, at + 8, size - 8), self.batch.compression, needed)

    def offsets(self, buffer: tuple[int, int, int], rows: int, size: int, end: int) -> None:
        if not rows:
            return
        numbers = _numbers("i" if size == 4 else "q", self.content(buffer, (rows + 1) * size))
        if len(numbers) <= rows or numbers[0] < 0 or numbers[-1] > end:
            raise ArrowError("Offsets of a column lead out of its values.")
        if not all(map(operator.le, numbers, memoryview(numbers)[1:])):
            raise ArrowError("Offsets of a column go backwards.")

    def indices(self, column: Column, rows: int, valid: tuple[int, int, int] | None) -> None:
        code = {8: "b", 16: "h", 32: "i", 64: "q"}.get(column.index)
        if code is None:
            raise ArrowError("Indices into a dictionary have a size that there is not.")
        buffer = self.buffer(rows * column.index // 8)
        assert column.dictionary is not None
        count = self.kept.dictionaries.get(column.dictionary)
        if count is None and rows:
            raise ArrowError("A column has a dictionary that is not there.")
        numbers = _numbers(code, self.content(buffer, rows * column.index // 8))
        if len(numbers) < rows:
            raise ArrowError("It is cut off.")
        if not numbers or (min(numbers) >= 0 and max(numbers) < (count or 0)):
            return
        bits = self.content(valid, (rows + 7) // 8) if valid is not None else b""
        for row, number in enumerate(numbers):  # what has no value may have any index
            if (not bits or bits[row >> 3] >> (row & 7) & 1) and not 0 <= number < (count or 0):
                raise ArrowError("An index leads out of the dictionary of its column.")


def _numbers(code: str, data: bytes) -> array[int]:
    numbers = array(code)
    numbers.frombytes(data[: len(data) // numbers.itemsize * numbers.itemsize])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _unpacked(view: View, kind: str, needed: int) -> bytes:
    """The first `needed` bytes that come out of a compressed buffer. Raises ArrowError."""
    out = bytearray()
    try:
        with _opened(view, kind) as stream:
            while len(out) < needed and (part := stream.read(min(1 << 20, needed - len(out)))):
                out += part
    except Exception as error:
        raise ArrowError("A compressed buffer cannot be unpacked.") from error
    if len(out) < needed:
        raise ArrowError("A compressed buffer unpacks to less than its column needs.")
    return bytes(out)


def _opened(view: View, kind: str) -> Any:
    if kind == "lz4":
        import lz4.frame

        return lz4.frame.LZ4FrameFile(buffered(view))
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdFile(buffered(view))
