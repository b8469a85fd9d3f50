"""Avro's files of objects: the schema in front, and the blocks of values behind it, by their sizes.

    found = read(view)
    found.codec, found.blocks
    found.classes           # classes of Java that the schema has its reader make

Source: "Object Container Files" in the specification of Avro 1.12; for the classes, `SpecificData` and `ReflectData` of
Avro's Java library (`java-class`, `java-key-class`, `java-element-class`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from nbguard.formats.view import View

MAGIC = b"Obj\x01"
MAX_HEAD = 16 << 20
"""Bytes of what stands in front of the blocks."""
MAX_BLOCKS = 5_000_000
CODECS = frozenset({"null", "deflate", "snappy", "bzip2", "xz", "zstandard", "lzma"})
PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
COMPLEX = frozenset({"record", "error", "enum", "array", "map", "fixed"})
CLASSES = ("java-class", "java-key-class", "java-element-class")


class AvroError(ValueError):
    """A file that no writer of Avro makes. The message is one plain sentence."""


@dataclass
class AvroFile:
    """What was read."""

    codec: str = "null"
    blocks: int = 0
    values: int = 0
    classes: list[str] = field(default_factory=list)
    head: int = 0
    """Bytes in front of the blocks."""


def read(view: View) -> AvroFile:
    """Read and check a file. Raises AvroError."""
    out = AvroFile()
    data = view.read(0, MAX_HEAD)
    if not data.startswith(MAGIC):
        raise AvroError("It does not begin as an Avro file does.")
    metadata, at = _metadata(data)
    sync = data[at : at + 16]
    if len(sync) < 16:
        raise AvroError("It is cut off, or has more in front of its values than is read.")
    out.head = at = at + 16
    out.codec = metadata.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if out.codec not in CODECS:
        raise AvroError("Its values are packed in a way that Avro does not have.")
    try:
        schema = json.loads(metadata[b"avro.schema"], object_pairs_hook=_unique)
    except (KeyError, ValueError, RecursionError) as error:
        raise AvroError("It has no schema that can be read.") from error
    _schema(schema, out)
    while at < view.size:
        head = view.read(at, 20)
        count, behind = _long(head, 0)
        size, behind = _long(head, behind)
        at += behind
        if count < 0 or size < 0 or at + size + 16 > view.size or view.read(at + size, 16) != sync:
            raise AvroError("A block of values is not as long as it says.")
        at += size + 16
        out.blocks += 1
        out.values += count
        if out.blocks > MAX_BLOCKS:
            raise AvroError("It has more blocks of values than are looked at.")
    return out


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AvroError("A name is there twice in its schema.")
    return found


def _metadata(data: bytes) -> tuple[dict[bytes, bytes], int]:
    found: dict[bytes, bytes] = {}
    at = len(MAGIC)
    while True:
        count, at = _long(data, at)
        if not count:
            return found, at
        if count < 0:
            count = -count
            _, at = _long(data, at)
        for _ in range(count):
            key, at = _bytes(data, at)
            value, at = _bytes(data, at)
            if key in found:
                raise AvroError("It says something about itself twice.")
            found[key] = value


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _long(data, at)
    if not 0 <= length <= len(data) - at:
        raise AvroError("A length in front of its values leads out of the file.")
    return data[at : at + length], at + length


def _long(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(at + 10, len(data))):
        value |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return (value >> 1) ^ -(value & 1), place + 1
        shift += 7
    raise AvroError("It is cut off, or a number in it does not end.")


def _schema(schema: Any, out: AvroFile) -> None:
    """Every type that it names is one of Avro's, or one that it defines itself."""
    pending: list[Any] = [schema]
    names: set[str] = set()
    used: set[str] = set()
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            used.add(part)
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            out.classes += [str(part[key]) for key in CLASSES if key in part]
            kind = part.get("type")
            if not isinstance(kind, str):  # a field, or a type within a type
                pending.append(kind)
                continue
            if isinstance(part.get("name"), str) and kind in COMPLEX:
                space = part.get("namespace")
                names |= {part["name"], part["name"].rpartition(".")[2], f"{space}.{part['name']}"}
            if kind in ("record", "error"):
                fields = part.get("fields")
                if not isinstance(fields, list) or not all(isinstance(f, dict) and "type" in f for f in fields):
                    raise AvroError("A record of its schema has no fields.")
                pending += fields
            elif kind in ("array", "map"):
                pending.append(part.get("items" if kind == "array" else "values"))
            elif kind not in ("enum", "fixed"):
                pending.append(kind)
        else:
            raise AvroError("A type in its schema is none.")
    strange = {
        name for name in used - PRIMITIVE - COMPLEX if name not in names and name.rpartition(".")[2] not in names
    }
    if strange:
        raise AvroError("A type in its schema is none of Avro's, and not defined there.")
