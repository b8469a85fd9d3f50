"""Parquet: the description at its end, and where it says that each column lies.

    found = read(view)
    found.schema            # what Arrow keeps about its columns, or None
    found.elsewhere         # other files that columns lie in

Source: `parquet.thrift` of parquet-format 2.11. Pages are not unpacked: their readers check what they take from them.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from nbguard.formats import thrift_compact
from nbguard.formats.thrift_compact import ThriftError
from nbguard.formats.view import View

MAGIC = b"PAR1"
ENCRYPTED = b"PARE"
MAX_FOOTER = 128 << 20
"""Bytes of the description."""
ARROW = b"ARROW:schema"
_TYPES, _CODECS = range(8), range(8)
_ENCODINGS = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 9})


class ParquetError(ValueError):
    """A file that no writer of Parquet makes. The message is one plain sentence."""


@dataclass
class ParquetFile:
    """What was read."""

    rows: int = 0
    columns: int = 0
    schema: bytes | None = None
    """The message of Arrow's that describes the columns once more."""
    metadata: list[tuple[str, bytes]] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    places: list[tuple[str, int, int]] = field(default_factory=list)
    """(column, offset, bytes) of every part of a column."""
    footer: bytes = b""
    encrypted: bool = False


def read(view: View) -> ParquetFile:
    """Read and check a file. Raises ParquetError."""
    out = ParquetFile()
    tail = view.read(max(0, view.size - 8), 8)
    if view.read(0, 4) == ENCRYPTED or tail[4:] == ENCRYPTED:
        out.encrypted = True
        return out
    length = int.from_bytes(tail[:4], "little")
    start = view.size - 8 - length
    if tail[4:] != MAGIC or start < 4 or length > MAX_FOOTER:
        raise ParquetError("It does not end as a Parquet file does.")
    out.footer = view.read(start, length)
    try:
        _footer(thrift_compact.read(out.footer), start, out)
    except ThriftError as error:
        raise ParquetError(str(error)) from error
    except (TypeError, AttributeError, KeyError, IndexError) as error:
        raise ParquetError("Its description has values of other kinds than it should.") from error
    return out


def _footer(found: dict[int, Any], end: int, out: ParquetFile) -> None:
    out.encrypted = 8 in found
    leaves = _schema(found[2])
    out.columns = len(leaves)
    out.rows = _number(found[3])
    for pair in found.get(5, ()):
        key, value = bytes(pair[1]), bytes(pair.get(2, b""))
        out.metadata.append((key[:200].decode("utf-8", "backslashreplace"), value))
        if key == ARROW:
            try:
                out.schema = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError) as error:
                raise ParquetError("What it keeps as its schema is none.") from error
    rows = 0
    for group in found.get(4, ()):
        rows += _number(group[3])
        if len(group[1]) != len(leaves):
            raise ParquetError("A group of rows has another number of columns than its schema.")
        for chunk, (name, kind) in zip(group[1], leaves, strict=True):
            _chunk(chunk, name, kind, end, out)
    if rows != out.rows:
        raise ParquetError("Its groups do not have as many rows as the file.")


def _schema(elements: list[dict[int, Any]]) -> list[tuple[str, int]]:
    """(name, type) of the columns that hold values; the schema is a tree, laid out from its root on."""
    leaves = []
    pending = [1]
    for element in elements:
        if not pending:
            raise ParquetError("Its schema has parts that belong to nothing.")
        pending[-1] -= 1
        children = element.get(5, 0)
        if children:
            pending.append(_number(children))
            if len(pending) > 200:
                raise ParquetError("Its schema is nested too deeply.")
        else:
            kind = element.get(1)
            if kind not in _TYPES and len(elements) > 1:
                raise ParquetError("A column is of a type that Parquet does not have.")
            if kind is not None:
                leaves.append((bytes(element[4])[:100].decode("utf-8", "backslashreplace"), kind))
        while pending and not pending[-1]:
            pending.pop()
    if pending:
        raise ParquetError("Its schema is cut off.")
    return leaves


def _chunk(chunk: dict[int, Any], name: str, kind: int, end: int, out: ParquetFile) -> None:
    if path := chunk.get(1):
        out.elsewhere.append(bytes(path)[:500].decode("utf-8", "backslashreplace"))
        return
    if 8 in chunk or 3 not in chunk:
        out.encrypted = True
        return
    meta = chunk[3]
    if meta[1] != kind or meta[4] not in _CODECS or not _ENCODINGS.issuperset(meta[2]):
        raise ParquetError(
            "A column is of another type than in the schema, or packed in a way that Parquet does not have."
        )
    places = [_number(meta[n]) for n in (9, 11) if meta.get(n)]
    size = _number(meta[7])
    _number(meta[5]), _number(meta[6])
    at = min(places, default=0)
    if at < 4 or at + size > end or max(places) >= at + max(size, 1):
        raise ParquetError("A column lies outside of the file's data.")
    out.places.append((name, at, size))


def _number(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ParquetError("A number in its description is none that it can be.")
    return value
