"""TensorFlow's checkpoints: the index of a bundle, a sorted table of what lies where in the data files.

    for entry in read(view): entry.name, entry.kind, entry.shard, entry.offset, entry.size

Sources: `tensorflow/core/util/tensor_bundle/tensor_bundle.h`, `tensor_bundle.proto`, and LevelDB's table format, which
the index is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from nbguard.formats import protobuf
from nbguard.formats.protobuf import WireError
from nbguard.formats.view import BytesView, View

MAGIC = bytes.fromhex("57fb808b247547db")
"""The last eight bytes of a table."""
MAX_BLOCK = 64 << 20
MAX_ENTRIES = 1_000_000


class BundleError(ValueError):
    """The index cannot be read. One plain sentence."""


@dataclass(frozen=True)
class Entry:
    """One tensor."""

    name: str
    kind: int
    """`DataType`."""
    shard: int
    offset: int
    size: int


def looks_like(view: View) -> bool:
    """Whether it ends as a table does."""
    return view.size >= 48 and view.read(view.size - 8, 8) == MAGIC


def read(view: View) -> list[Entry]:
    """All tensors. Raises BundleError."""
    try:
        footer = view.read(view.size - 48, 40)
        _, at = _handle(footer, 0)
        index, _ = _handle(footer, at)
        found: list[Entry] = []
        for _, value in _entries(_block(view, index)):
            handle, _ = _handle(value, 0)
            for key, entry in _entries(_block(view, handle)):
                if key:
                    found.append(_entry(key, entry))
                if len(found) > MAX_ENTRIES:
                    raise BundleError("The checkpoint holds more tensors than any real one.")
        return found
    except (WireError, IndexError) as error:
        raise BundleError("The checkpoint's index is malformed.") from error


def digest(entries: list[Entry]) -> str:
    """sha256 over what lies where."""
    rows = (f"{e.name}\0{e.kind}\0{e.shard}\0{e.offset}\0{e.size}\n" for e in entries)
    return hashlib.sha256("".join(rows).encode("utf-8", "surrogatepass")).hexdigest()


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """((offset, size), where it ends) of a block."""
    offset, at = protobuf.varint(data, at)
    size, at = protobuf.varint(data, at)
    return (offset, size), at


def _block(view: View, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    if size > MAX_BLOCK or offset + size + 5 > view.size:
        raise BundleError("The checkpoint's index is malformed.")
    data = view.read(offset, size + 1)
    if data[-1] != 0:
        raise BundleError("The checkpoint's index is compressed, which is not read here.")
    restarts = int.from_bytes(data[size - 4 : size], "little")
    if 4 * restarts + 4 > size:
        raise BundleError("The checkpoint's index is malformed.")
    return data[: size - 4 - 4 * restarts]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) in their order; a key shares a beginning with the one before it."""
    at, key = 0, b""
    while at < len(block):
        shared, at = protobuf.varint(block, at)
        own, at = protobuf.varint(block, at)
        length, at = protobuf.varint(block, at)
        if shared > len(key) or at + own + length > len(block) or shared + own > 1 << 16:
            raise BundleError("The checkpoint's index is malformed.")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


_BYTES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 14: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8}
"""Bytes of one element, by `DataType`; the others take as many as they need."""


def _entry(key: bytes, value: bytes) -> Entry:
    """`BundleEntryProto`: type, shape, shard, offset, size, check sum, slices."""
    numbers: dict[int, int] = {}
    elements, sliced = 1, False
    view = BytesView(value)
    for found in protobuf.fields(view, 0, len(value)):
        if found.wire == protobuf.VARINT:
            numbers[found.number] = protobuf.signed(found.value)
        elif found.number == 2 and found.wire == protobuf.BYTES:
            elements = _elements(view, found)
        sliced = sliced or found.number == 7
    name = key.decode("utf-8", "backslashreplace")
    entry = Entry(name, numbers.get(1, 0), numbers.get(3, 0), numbers.get(4, 0), numbers.get(5, 0))
    if min(entry.shard, entry.offset, entry.size) < 0 or elements < 0:
        raise BundleError("The checkpoint's index holds a place before the beginning of a file.")
    width = _BYTES.get(entry.kind)
    if width is not None and not sliced and entry.size != width * elements:
        raise BundleError(f"The tensor {name[:100]} does not have the size that its shape says.")
    return entry


def _elements(view: View, outer: protobuf.Field) -> int:
    """Of a `TensorShapeProto`; below zero where one of its sizes is."""
    out = 1
    for dim in protobuf.fields(view, outer.start, outer.start + outer.length):
        if dim.number != 2 or dim.wire != protobuf.BYTES:
            continue
        size = 0
        for part in protobuf.fields(view, dim.start, dim.start + dim.length):
            size = protobuf.signed(part.value) if part.number == 1 and part.wire == protobuf.VARINT else size
        out *= size
        if size < 0 or out >= 1 << 62:
            return -1
    return out
