"""SQLite's databases: what the schema defines, read from its pages without SQLite.

    found = read(view)
    found.parts             # [("trigger", "t", "CREATE TRIGGER t …")]

Source: "Database File Format" of SQLite (sections 1.3, 1.5, 1.6, 2.1 and 2.6). Values of tables are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nbguard.formats.view import View

MAGIC = b"SQLite format 3\0"
MAX_PAGES = 20_000
"""Pages of the schema that are followed."""
MAX_TEXT = 1 << 20
"""Bytes of one definition."""
MAX_PARTS = 100_000


class SqliteError(ValueError):
    """No database that SQLite writes. The message is one plain sentence."""


@dataclass
class SqliteSchema:
    """What it defines."""

    parts: list[tuple[str, str, str]] = field(default_factory=list)
    """(kind, name, definition) of every table, index, view and trigger."""
    pages: int = 0


def read(view: View) -> SqliteSchema:
    """Read the schema. Raises SqliteError."""
    head = view.read(0, 100)
    if not head.startswith(MAGIC) or len(head) < 100:
        raise SqliteError("It does not begin as a database does.")
    size = int.from_bytes(head[16:18], "big")
    size = 65_536 if size == 1 else size
    if size < 512 or size & (size - 1) or view.size % size or head[21:24] != b"\x40\x20\x20":
        raise SqliteError("Its pages have a size that there is not.")
    return _Reader(view, size, size - head[20]).schema(int.from_bytes(head[56:60], "big"))


class _Reader:
    def __init__(self, view: View, size: int, usable: int) -> None:
        self.view, self.size, self.usable = view, size, usable
        self.out = SqliteSchema(pages=view.size // size)

    def schema(self, encoding: int) -> SqliteSchema:
        names = {0: "utf-8", 1: "utf-8", 2: "utf-16-le", 3: "utf-16-be"}
        if encoding not in names:
            raise SqliteError("Its texts are in an encoding that SQLite does not have.")
        pending, seen = [1], set[int]()
        while pending:
            number = pending.pop()
            if number in seen or len(seen) > MAX_PAGES:
                raise SqliteError("Its schema goes in a circle, or has more pages than are looked at.")
            seen.add(number)
            pending += self.page(number, names[encoding])
        return self.out

    def content(self, number: int) -> bytes:
        if not 1 <= number <= self.out.pages:
            raise SqliteError("Its schema leads to a page that is not there.")
        return self.view.read((number - 1) * self.size, self.size)

    def page(self, number: int, encoding: str) -> list[int]:
        """The pages below this one of the schema's table; what is on it goes into `out`."""
        data = self.content(number)
        start = 100 if number == 1 else 0
        kind, count = data[start], int.from_bytes(data[start + 3 : start + 5], "big")
        if kind not in (5, 13):
            raise SqliteError("A page of its schema is none.")
        head = start + (12 if kind == 5 else 8)
        if head + 2 * count > self.size:
            raise SqliteError("A page of its schema says that it holds more than it can.")
        below = []
        for cell in range(count):
            at = int.from_bytes(data[head + 2 * cell : head + 2 * cell + 2], "big")
            if kind == 5:
                below.append(int.from_bytes(data[at : at + 4], "big"))
            else:
                self.cell(data, at, encoding)
        return [*below, int.from_bytes(data[start + 8 : start + 12], "big")] if kind == 5 else below

    def cell(self, data: bytes, at: int, encoding: str) -> None:
        length, at = _varint(data, at)
        _, at = _varint(data, at)
        if length > MAX_TEXT or len(self.out.parts) >= MAX_PARTS:
            raise SqliteError("A definition in its schema is longer than is read, or there are too many.")
        record = self.payload(data, at, length)
        columns, place = [], 0
        size, place = _varint(record, 0)
        while place < size:
            kind, place = _varint(record, place)
            columns.append(kind)
        texts = []
        for kind in columns[:5]:
            width = (kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind]
            texts.append(record[place : place + width].decode(encoding, "backslashreplace") if kind >= 13 else "")
            place += width
        if len(texts) < 5 or place > len(record):
            raise SqliteError("An entry of its schema is none.")
        self.out.parts.append((texts[0][:20], texts[1][:200], texts[4]))

    def payload(self, data: bytes, at: int, length: int) -> bytes:
        """What a cell holds, with the pages that it goes on in (section 1.6)."""
        most = self.usable - 35
        if length <= most:
            return data[at : at + length]
        least = (self.usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (self.usable - 4)
        local = local if local <= most else least
        out = bytearray(data[at : at + local])
        number = int.from_bytes(data[at + local : at + local + 4], "big")
        while len(out) < length:
            page = self.content(number)
            out += page[4 : self.usable][: length - len(out)]
            number = int.from_bytes(page[:4], "big")
        return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(9):
        if at + step >= len(data):
            raise SqliteError("An entry of its schema is cut off.")
        byte = data[at + step]
        if step == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + step + 1
    raise SqliteError("An entry of its schema is cut off.")
