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


def _entry(key: bytes, value: bytes) -> Entry:
    numbers = {f.number: f.value for f in protobuf.fields(BytesView(value), 0, len(value)) if f.wire == protobuf.VARINT}
    name = key.decode("utf-8", "backslashreplace")
    return Entry(name, numbers.get(1, 0), numbers.get(3, 0), numbers.get(4, 0), numbers.get(5, 0))
