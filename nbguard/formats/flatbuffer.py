"""FlatBuffers: every offset of a table followed within bounds, by a description of its fields.

    KEY = Table("key", Text(), Text())
    root = read(data, KEY)
    root[0]                 # the first field: a text, None where it is left out

Source: flatbuffers.dev, "FlatBuffer Internals"; the checks are those of its C++ `Verifier`, with limits on depth and on
the number of tables. Numbers in vectors stay where they are; `Numbers.values()` reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 32
MAX_TABLES = 5_000_000
"""Tables and texts of one buffer, each offset counted."""


class FlatBufferError(ValueError):
    """An offset leads outside of the buffer, or a field is malformed. One plain sentence."""


@dataclass(frozen=True)
class Scalar:
    """A number that lies in its table: `i`, `d`, `b`, … of `struct`."""

    code: str
    default: int | float = 0


@dataclass(frozen=True)
class Text:
    """A text with a length in front and a zero behind."""


@dataclass(frozen=True)
class Vector:
    """Numbers, or structs without offsets, laid end to end: `code` describes one element."""

    code: str


@dataclass(frozen=True)
class Place:
    """A table of a kind that another field says: where it begins, for `scalar` and `vector`."""


@dataclass(frozen=True)
class Tables:
    """A vector of tables, or of texts."""

    of: Table | Text


@dataclass(frozen=True)
class Union:
    """One of several tables; which one says the field in front of it, a `Scalar("B")` that counts from one."""

    of: tuple[Table, ...]


class Table:
    """The fields of a table, in the order of its schema."""

    def __init__(self, name: str, *fields: Scalar | Text | Vector | Tables | Table | Union | Place) -> None:
        self.name = name
        self.fields = fields


@dataclass(frozen=True)
class Numbers:
    """A vector where it lies."""

    data: bytes
    code: str
    offset: int
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def nbytes(self) -> int:
        return self.count * struct.calcsize("<" + self.code)

    def values(self) -> Iterator[Any]:
        """The numbers; tuples where an element has several."""
        single = len(self.code) == 1
        place = memoryview(self.data)[self.offset : self.offset + self.nbytes]
        for row in struct.iter_unpack("<" + self.code, place):
            yield row[0] if single else row


def read(data: bytes, table: Table) -> list[Any]:
    """The root table's fields in the schema's order, tables as such lists. Raises FlatBufferError."""
    return _Reader(data).table(0, table, 0)


def scalar(data: bytes, place: int, slot: int, code: str) -> Any:
    """A number in the table at `place`, nothing where it is left out. Raises FlatBufferError."""
    reader = _Reader(data)
    at = reader.slot(place, slot)
    return reader.number(code, at) if at else 0


def numbers(data: bytes, place: int, slot: int, code: str) -> list[Any]:
    """A vector of numbers in the table at `place`, empty where it is left out. Raises FlatBufferError."""
    reader = _Reader(data)
    at = reader.slot(place, slot)
    return list(reader.vector(at, code).values()) if at else []


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = MAX_TABLES

    def number(self, code: str, at: int) -> Any:
        size = struct.calcsize("<" + code)
        if not 0 <= at <= len(self.data) - size:
            raise FlatBufferError("An offset in the buffer leads outside of it.")
        return struct.unpack_from("<" + code, self.data, at)[0]

    def follow(self, at: int) -> int:
        """Where the unsigned offset at `at` leads; it counts from itself, forwards only."""
        distance: int = self.number("I", at)
        if distance < 4:
            raise FlatBufferError("An offset in the buffer leads to itself.")
        self.left -= 1
        if self.left < 0:
            raise FlatBufferError("The buffer has more tables than are followed.")
        return at + distance

    def slot(self, start: int, index: int) -> int:
        """Where a field of the table at `start` lies; 0 where it is left out."""
        fields = start - self.number("i", start)
        length, size = self.number("H", fields), self.number("H", fields + 2)
        inside = self.number("H", fields + 4 + 2 * index) if 6 + 2 * index <= length else 0
        if inside and not 4 <= inside < size:
            raise FlatBufferError("A field of a table lies outside of it.")
        return int(start + inside) if inside else 0

    def table(self, at: int, table: Table, depth: int) -> list[Any]:
        """The table that the offset at `at` leads to."""
        if depth > MAX_DEPTH:
            raise FlatBufferError("The buffer's tables are nested too deeply.")
        start = self.follow(at)
        fields = start - self.number("i", start)
        length, size = self.number("H", fields), self.number("H", fields + 2)
        if length < 4 or length % 2 or size < 4 or start + size > len(self.data):
            raise FlatBufferError(f"The table {table.name} is malformed.")
        if fields + length > len(self.data):
            raise FlatBufferError(f"The fields of the table {table.name} lie outside of the buffer.")
        found: list[Any] = []
        for index, field in enumerate(table.fields):
            slot = 4 + 2 * index
            inside = self.number("H", fields + slot) if slot + 2 <= length else 0
            if inside and not 4 <= inside < size:
                raise FlatBufferError(f"A field of the table {table.name} lies outside of it.")
            if isinstance(field, Union):
                found.append(self.union(start + inside if inside else 0, field, found[-1], table.name, depth))
                continue
            found.append(self.field(start + inside if inside else 0, field, table.name, depth))
        if any(
            self.number("H", fields + slot) for slot in range(4 + 2 * len(table.fields), length, 2)
        ):  # a field that is not described would not be looked at
            raise FlatBufferError(f"The table {table.name} has a field that is not known here.")
        return found

    def field(self, at: int, field: Any, name: str, depth: int) -> Any:
        if isinstance(field, Scalar):
            return self.number(field.code, at) if at else field.default
        if not at:
            return None
        if isinstance(field, Table):
            return self.table(at, field, depth + 1)
        if isinstance(field, Text):
            return self.text(at)
        if isinstance(field, Place):
            return self.follow(at)
        if isinstance(field, Vector):
            return self.vector(at, field.code)
        one: Callable[[int], Any] = (
            self.text if isinstance(field.of, Text) else lambda place: self.table(place, field.of, depth + 1)
        )
        places = self.vector(at, "I")
        return [one(places.offset + 4 * n) for n in range(len(places))]

    def union(self, at: int, field: Union, kind: int, name: str, depth: int) -> Any:
        if bool(kind) != bool(at) or kind > len(field.of):
            raise FlatBufferError(f"A field of the table {name} is of a kind that is not known here.")
        return self.table(at, field.of[kind - 1], depth + 1) if at else None

    def vector(self, at: int, code: str) -> Numbers:
        start = self.follow(at)
        count = self.number("I", start)
        if count * struct.calcsize("<" + code) > len(self.data) - start - 4:
            raise FlatBufferError("A vector in the buffer is longer than the buffer.")
        return Numbers(self.data, code, start + 4, count)

    def text(self, at: int) -> str:
        text = self.vector(at, "B")
        end = text.offset + text.count
        if self.data[end : end + 1] != b"\0":
            raise FlatBufferError("A text in the buffer has no end.")
        return self.data[text.offset : end].decode("utf-8", "backslashreplace")
