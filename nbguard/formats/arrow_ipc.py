"""Apache Arrow's files and streams (Feather too): the schema, and every batch as far as a reader follows it unseen.

    found = read(view)
    found.extensions        # [("column", "arrow.py_extension_type", b"\\x80\\x04…")]
    found.rows, found.unread

Readers in C++ take lengths and offsets from the batches as they are, unless they are asked to validate. Source:
`Message.fbs`, `Schema.fbs` and `File.fbs` of Arrow 21, and "Arrow columnar format" in its documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nbguard.formats import arrow_batch, flatbuffer
from nbguard.formats.arrow_batch import ArrowError, Batch, Column, Kept
from nbguard.formats.flatbuffer import FlatBufferError, Scalar, Table, Tables, Text, Vector
from nbguard.formats.view import View

MAGIC = b"ARROW1"
CONTINUES = b"\xff\xff\xff\xff"
MAX_METADATA = 64 << 20
"""Bytes of one message's description."""
MAX_MESSAGES = 200_000
MAX_COLUMNS = 200_000
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_BLOCK = "qi4xq"


@dataclass(frozen=True)
class Place:
    """A table whose kind another field says: where the offset to it lies."""


_PAIRS = Tables(Table("KeyValue", Text(), Text()))
_INT = Table("Int", Scalar("i"), Scalar("b"))
_ENCODING = Table("DictionaryEncoding", Scalar("q"), _INT, Scalar("b"), Scalar("h"))
_FIELD = Table("Field")
_FIELD.fields = (Text(), Scalar("b"), Scalar("B"), Place(), _ENCODING, Tables(_FIELD), _PAIRS)  # type: ignore[assignment]
_SCHEMA_TABLE = Table("Schema", Scalar("h"), Tables(_FIELD), _PAIRS, Vector("q"))
_MESSAGE = Table("Message", Scalar("h"), Scalar("B"), Place(), Scalar("q"), _PAIRS)  # type: ignore[arg-type]
_RECORDS = Table(
    "RecordBatch", Scalar("q"), Vector("qq"), Vector("qq"), Table("BodyCompression", Scalar("b"), Scalar("b")),
    Vector("q"),
)  # fmt: skip
_DICTIONARY_TABLE = Table("DictionaryBatch", Scalar("q"), _RECORDS, Scalar("b"))
_FOOTER = Table("Footer", Scalar("h"), _SCHEMA_TABLE, Vector(_BLOCK), Vector(_BLOCK), _PAIRS)
_SHORT, _WORD = Scalar("h"), Scalar("i")
_TYPES = {
    2: _INT,
    3: Table("FloatingPoint", _SHORT),
    7: Table("Decimal", _WORD, _WORD, Scalar("i", 128)),
    8: Table("Date", Scalar("h", 1)),
    9: Table("Time", Scalar("h", 1), Scalar("i", 32)),
    10: Table("Timestamp", _SHORT, Text()),
    11: Table("Interval", _SHORT),
    14: Table("Union", _SHORT, Vector("i")),
    15: Table("FixedSizeBinary", _WORD),
    16: Table("FixedSizeList", _WORD),
    17: Table("Map", Scalar("b")),
    18: Table("Duration", Scalar("h", 1)),
}
"""The tables of types that have something in them, by their number in the union `Type`."""
_LAST_TYPE = 26


class _Reader(flatbuffer._Reader):
    columns = 0
    """Of the schema, as far as it was read."""

    def field(self, at: int, field: Any, name: str, depth: int) -> Any:
        return at if isinstance(field, Place) else super().field(at, field, name, depth)


@dataclass
class ArrowFile:
    """What was read."""

    extensions: list[tuple[str, str, bytes]] = field(default_factory=list)
    """(column, name of its type, what that type keeps about itself) of every column of a type of its own."""
    columns: list[Column] = field(default_factory=list)
    metadata: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    unread: list[str] = field(default_factory=list)
    """Columns of kinds whose insides are not followed."""


def looks_like(head: bytes) -> bool:
    """Whether bytes begin as a file, or as a stream whose first message is a schema."""
    if head.startswith(MAGIC + b"\0\0"):
        return True
    length = int.from_bytes(head[4:8], "little")
    if not head.startswith(CONTINUES) or not 8 <= length <= MAX_METADATA or length % 8:
        return False
    try:  # a prefix will do: the table itself stands near its start
        _, kind, *_ = _message(head[8 : 8 + length])
    except FlatBufferError:
        return False
    return int(kind) == _SCHEMA


def read(view: View) -> ArrowFile:
    """Read and check a file or a stream. Raises ArrowError."""
    out = ArrowFile()
    try:
        if view.read(0, 6) == MAGIC:
            _file(view, out)
        else:
            _stream(view, 0, view.size, out, None)
    except FlatBufferError as error:
        raise ArrowError(str(error)) from error
    return out


def read_schema(message: bytes) -> ArrowFile:
    """One message that is a schema, as Parquet keeps it under `ARROW:schema`. Raises ArrowError."""
    out = ArrowFile()
    try:
        if message.startswith(CONTINUES):
            message = message[4:]
        length = int.from_bytes(message[:4], "little")
        if length != len(message) - 4:
            raise ArrowError("The schema in it does not have the length that it says.")
        reader, kind, at, _, _ = _message(message[4:])
        if kind != _SCHEMA or not at:
            raise ArrowError("What it keeps as its schema is none.")
        _schema(reader, reader.table(at, _SCHEMA_TABLE, 1), out)
    except FlatBufferError as error:
        raise ArrowError(str(error)) from error
    return out


def _message(data: bytes) -> tuple[_Reader, int, int, int, list[tuple[str, str]]]:
    """(reader, kind, place of what it is about, bytes of its body, pairs of text)."""
    reader = _Reader(data)
    _, kind, at, body, pairs = reader.table(0, _MESSAGE, 0)
    return reader, kind, at, body, [(k or "", v or "") for k, v in pairs or ()]


def _file(view: View, out: ArrowFile) -> None:
    tail = view.read(max(0, view.size - 10), 10)
    length = int.from_bytes(tail[:4], "little")
    start = view.size - 10 - length
    if tail[4:] != MAGIC or start < 8 or length > MAX_METADATA:
        raise ArrowError("It does not end as an Arrow file does.")
    reader = _Reader(view.read(start, length))
    _, schema, dictionaries, batches, _ = reader.table(0, _FOOTER, 0)
    if schema is None:
        raise ArrowError("There is no schema at its end.")
    _schema(reader, schema, out)
    blocks = {}
    for kind, listed in ((_DICTIONARY, dictionaries), (_BATCH, batches)):
        for offset, size, body in listed.values() if listed is not None else ():
            blocks[offset] = (kind, size, body)
    seen = _stream(view, 8, start, out, out.columns)
    if not blocks.items() <= seen.items():
        raise ArrowError("The list of its batches at the end does not fit what is there.")


def _stream(
    view: View, at: int, end: int, out: ArrowFile, columns: list[Column] | None
) -> dict[int, tuple[int, int, int]]:
    """Messages one after the other: offset → (kind, bytes of its description, of its body).

    `columns` are those of the file's end, which is what its readers go by.
    """
    seen: dict[int, tuple[int, int, int]] = {}
    kept = Kept()
    dictionaries: dict[int, Column] | None = None
    first = True
    while at < end:
        head = view.read(at, 8)
        if head[:4] != CONTINUES or len(head) < 8:
            raise ArrowError("There is no message where one should be.")
        length = int.from_bytes(head[4:], "little")
        if not length:
            at += 8
            break
        if length > MAX_METADATA or at + 8 + length > end or len(seen) > MAX_MESSAGES:
            raise ArrowError("A message is longer than the file, or there are too many.")
        reader, kind, place, body, _ = _message(view.read(at + 8, length))
        start = at + 8 + length
        if not 0 <= body <= end - start or not place:
            raise ArrowError("The body of a message leads out of the file.")
        if kind == _SCHEMA:
            if not first:
                raise ArrowError("It has a second schema.")
            listed = ArrowFile()
            _schema(reader, reader.table(place, _SCHEMA_TABLE, 1), listed)
            if columns is None:
                out.columns = columns = listed.columns
                out.metadata = listed.metadata
            elif [c.layout() for c in listed.columns] != [c.layout() for c in columns]:
                raise ArrowError("The schemas at its start and at its end are not the same.")
            out.extensions += [e for e in listed.extensions if e not in out.extensions]
        elif columns is None:
            raise ArrowError("It does not begin with its schema.")
        elif kind == _DICTIONARY:
            number, records, delta = reader.table(place, _DICTIONARY_TABLE, 1)
            if dictionaries is None:
                dictionaries = {c.dictionary: c for c in _all(columns) if c.dictionary is not None}
            values = _values(dictionaries.get(number))
            if values is None or records is None:
                raise ArrowError("There are values of a dictionary that no column has.")
            rows = arrow_batch.check(_batch(view, start, body, records), [values], kept, out.unread)
            kept.dictionaries[number] = rows + (kept.dictionaries.get(number, 0) if delta else 0)
        elif kind == _BATCH:
            records = reader.table(place, _RECORDS, 1)
            out.rows += arrow_batch.check(_batch(view, start, body, records), columns, kept, out.unread)
        else:
            raise ArrowError("It holds a message of a kind that tables do not have.")
        seen[at] = (kind, length + 8, body)
        at = start + body
        first = False
    if at != end or first:
        raise ArrowError("Something follows the end of its messages." if at < end else "There is no message in it.")
    return seen


def _batch(view: View, start: int, body: int, records: list[Any]) -> Batch:
    length, nodes, buffers, compression, _ = records
    if compression is not None and (compression[0] not in (0, 1) or compression[1] != 0):
        raise ArrowError("A batch is compressed in a way that Arrow does not have.")
    return Batch(
        view,
        start,
        body,
        length,
        list(nodes.values()) if nodes is not None else [],
        list(buffers.values()) if buffers is not None else [],
        None if compression is None else ("lz4", "zstd")[compression[0]],
    )


def _values(column: Column | None) -> Column | None:
    """The column of a dictionary's own values, by a column that has the dictionary."""
    return column and Column(column.name, column.type, column.width, column.children, None, 0)


def _all(columns: list[Column]) -> Iterator[Column]:
    pending = list(columns)
    while pending:
        column = pending.pop()
        yield column
        pending += column.children


def _schema(reader: _Reader, schema: list[Any], out: ArrowFile) -> None:
    order, fields, pairs, _ = schema
    if order:
        raise ArrowError("Its numbers are in the other byte order, which readers turn round and nobody checks here.")
    out.metadata = [(k or "", v or "") for k, v in pairs or ()]
    out.columns = [_column(reader, one, out, 0) for one in fields or ()]


def _column(reader: _Reader, one: list[Any], out: ArrowFile, depth: int) -> Column:
    name, _, kind, at, encoding, children, pairs = one
    reader.columns += 1
    if reader.columns > MAX_COLUMNS:
        raise ArrowError("It has more columns than are looked at.")
    if not 1 <= kind <= _LAST_TYPE or depth > flatbuffer.MAX_DEPTH:
        raise ArrowError("A column is of a type that Arrow does not have.")
    details = reader.table(at, _TYPES[kind], depth + 1) if kind in _TYPES and at else []
    named = {k or "": v or "" for k, v in pairs or ()}
    if "ARROW:extension:name" in named:
        raw = named.get("ARROW:extension:metadata", "").encode("utf-8", "surrogateescape")
        out.extensions.append((name or "", named["ARROW:extension:name"], raw))
    inner = [_column(reader, child, out, depth + 1) for child in children or ()]
    column = Column(name or "", kind, arrow_batch.width(kind, details), inner, None, 0)
    if encoding is not None:
        index = encoding[1][0] if encoding[1] is not None else 32
        column = Column(column.name, kind, column.width, inner, encoding[0], index)
    return column


__all__ = ["ArrowError", "ArrowFile", "looks_like", "read", "read_schema"]
