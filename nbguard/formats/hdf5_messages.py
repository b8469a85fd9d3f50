"""What an HDF5 object header says: types, spaces, layouts, filters, attributes and links.

    kind = datatype(data)
    kind.size, kind.name             # 4, "float32"

Source: the HDF5 File Format Specification, version 3.0, section IV.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod

from nbguard.formats.hdf5_blocks import Blocks, Hdf5Error, take

DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOLS, ATTRIBUTE_INFO = 0x0B, 0x0C, 0x10, 0x11, 0x15
_CLASSES = ("int", "float", "time", "string", "bitfield", "opaque", "compound", "reference", "enum", "vlen", "array",
            "complex")  # fmt: skip
MAX_VALUE = 16 << 20
"""Bytes of one attribute's value, and of what it points to; a larger one is not read."""


@dataclass(frozen=True)
class Datatype:
    kind: str
    size: int
    """Bytes of one element."""
    base: Datatype | None = None
    """Of the elements of a vlen value or an array."""
    text: bool = False
    """A vlen value that is a string."""
    length: int = 0
    """Bytes that the description takes."""

    @property
    def name(self) -> str:
        if self.kind in ("int", "float"):
            return f"{self.kind}{self.size * 8}"
        if self.base is not None:
            return f"{self.kind}[{'string' if self.text else self.base.name}]"
        return f"{self.kind}{self.size}"


@dataclass(frozen=True)
class Layout:
    """Where a dataset's bytes lie."""

    kind: str
    """`compact`, `contiguous`, `chunked`, `virtual`, or `other` for one that is not known."""
    address: int = 0
    size: int = 0
    chunk: tuple[int, ...] = ()
    indexed: bool = False
    """A chunked layout of version 4 or later, whose index is none of a version 1 B-tree."""


@dataclass(frozen=True)
class Link:
    name: str
    kind: str
    """`hard`, `soft`, `external` or `custom`."""
    address: int = 0
    target: str = ""
    """Of a soft link the path; of an external one the file and the path in it."""


@dataclass(frozen=True)
class Attribute:
    name: str
    kind: Datatype | None
    shape: tuple[int, ...]
    values: tuple[bytes, ...] = ()
    """The strings of a string attribute; empty for numbers."""
    problem: str = field(default="")
    """Why the value could not be read, or empty."""


def datatype(data: bytes, depth: int = 0) -> Datatype:
    """Read a datatype. Raises Hdf5Error for one that is malformed or nested more deeply than any real one."""
    if depth > 16:
        raise Hdf5Error("A type in it is nested more deeply than any real one.")
    head = take(data, 0, 8)
    number, version = head[0] & 15, head[0] >> 4
    bits, size = int.from_bytes(head[1:4], "little"), int.from_bytes(head[4:8], "little")
    if number >= len(_CLASSES) or not 1 <= version <= 5:
        raise Hdf5Error("It holds a type that HDF5 does not have.")
    kind = _CLASSES[number]
    if kind == "vlen":
        base = datatype(data[8:], depth + 1)
        return Datatype(kind, size, base, bits & 15 == 1, 8 + base.length)
    if kind == "array":
        rank = take(data, 8, 1)[0]
        at = 9 + 4 * rank if version >= 3 else 12 + 8 * rank
        base = datatype(data[at:], depth + 1)
        return Datatype(kind, size, base, False, at + base.length)
    return Datatype(kind, size, None, False, len(data))


def dataspace(blocks: Blocks, data: bytes) -> tuple[int, ...] | None:
    """The shape, or None for an empty space."""
    version, rank, _ = take(data, 0, 3)
    if rank > 32:
        raise Hdf5Error("A shape in it has more dimensions than HDF5 allows.")
    if version == 2 and take(data, 3, 1)[0] == 2:
        return None
    if version not in (1, 2):
        raise Hdf5Error("A shape in it is written in a way that HDF5 does not have.")
    at = 8 if version == 1 else 4
    return tuple(blocks.length(data, at + i * blocks.length_size) for i in range(rank))


def layout(blocks: Blocks, data: bytes) -> Layout:
    """Read a data layout message of any version."""
    version = take(data, 0, 1)[0]
    o = blocks.offset_size
    if version in (1, 2):
        rank, number = data[1], data[2]
        at = 8 + (o if number else 0)
        dims = struct.unpack(f"<{rank}L", take(data, at, 4 * rank))
        if number == 0:
            return Layout("compact", 0, int.from_bytes(take(data, at + 4 * rank, 4), "little"))
        address = blocks.offset(data, 8)
        return Layout("contiguous", address, prod(dims)) if number == 1 else Layout("chunked", address, 0, dims)
    if version not in (3, 4, 5):
        return Layout("other")
    number = take(data, 1, 1)[0]
    if number == 0:
        return Layout("compact", 0, int.from_bytes(take(data, 2, 2), "little"))
    if number == 1:
        return Layout("contiguous", blocks.offset(data, 2), blocks.length(data, 2 + o))
    if number == 2 and version == 3:
        rank = take(data, 2, 1)[0]
        return Layout("chunked", blocks.offset(data, 3), 0, struct.unpack(f"<{rank}L", take(data, 3 + o, 4 * rank)))
    if number == 2:
        return Layout("chunked", indexed=True)
    return Layout("virtual") if number == 3 else Layout("other")


def filters(data: bytes) -> tuple[int, ...]:
    """The numbers of the filters that a dataset's bytes go through."""
    version, count = take(data, 0, 2)
    at = 8 if version == 1 else 2
    found: list[int] = []
    for _ in range(count):
        number = int.from_bytes(take(data, at, 2), "little")
        at += 2
        name = 0
        if version == 1 or number >= 256:
            name = int.from_bytes(take(data, at, 2), "little")
            at += 2
        values = int.from_bytes(take(data, at + 2, 2), "little")
        at += 4 + ((name + 7) // 8 * 8 if version == 1 else name) + 4 * values
        at += 4 if version == 1 and values % 2 else 0
        found.append(number)
    return tuple(found)


def link(blocks: Blocks, data: bytes) -> Link:
    """Read a link message, which is also what a fractal heap of links holds."""
    version, flags = take(data, 0, 2)
    if version != 1:
        raise Hdf5Error("A link in it is written in a way that HDF5 does not have.")
    at, number = 2, 0
    if flags & 8:
        number, at = take(data, at, 1)[0], at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(take(data, at, width), "little")
    name = text(take(data, at + width, size))
    at += width + size
    if number == 0:
        return Link(name, "hard", blocks.offset(data, at))
    value = take(data, at + 2, int.from_bytes(take(data, at, 2), "little"))
    if number == 1:
        return Link(name, "soft", target=text(value))
    if number == 64:
        parts = value[1:].split(b"\0")
        return Link(name, "external", target=":".join(text(p) for p in parts if p))
    return Link(name, "custom", target=f"kind {number}")


def attribute(blocks: Blocks, data: bytes) -> Attribute:
    """Read an attribute message; what makes its value unreadable is in `problem`."""
    version, flags = take(data, 0, 2)
    if version not in (1, 2, 3):
        raise Hdf5Error("An attribute in it is written in a way that HDF5 does not have.")
    name_size, type_size, space_size = struct.unpack("<3H", take(data, 2, 6))
    at = 9 if version == 3 else 8

    def part(size: int) -> bytes:
        nonlocal at
        found = take(data, at, size)
        at += (size + 7) // 8 * 8 if version == 1 else size
        return found

    name = text(part(name_size).split(b"\0")[0])
    raw_type, raw_space = part(type_size), part(space_size)
    if version > 1 and flags & 3:
        return Attribute(name, None, (), problem="its type is kept elsewhere in the file")
    kind, shape = datatype(raw_type), dataspace(blocks, raw_space)
    if shape is None:
        return Attribute(name, kind, ())
    return _valued(blocks, name, kind, shape, data[at:])


def _valued(blocks: Blocks, name: str, kind: Datatype, shape: tuple[int, ...], data: bytes) -> Attribute:
    number = prod(shape)
    if kind.kind not in ("string", "vlen"):
        return Attribute(name, kind, shape)
    if number * max(kind.size, 1) > MAX_VALUE:
        return Attribute(name, kind, shape, problem="its value is larger than what is read of one")
    values: list[bytes] = []
    total = 0
    for i in range(number):
        piece = take(data, i * kind.size, kind.size)
        if kind.kind == "vlen":
            piece = _pointed_to(blocks, kind, piece)
        total += len(piece)
        if total > MAX_VALUE:
            return Attribute(name, kind, shape, problem="its value is larger than what is read of one")
        values.append(piece)
    return Attribute(name, kind, shape, tuple(values))


def _pointed_to(blocks: Blocks, kind: Datatype, piece: bytes) -> bytes:
    assert kind.base is not None
    count = int.from_bytes(take(piece, 0, 4), "little")
    address = blocks.offset(piece, 4)
    index = int.from_bytes(take(piece, 4 + blocks.offset_size, 4), "little")
    if not count or not index:
        return b""
    data = blocks.global_object(address, index)
    return take(data, 0, count * (1 if kind.text else kind.base.size))


def text(data: bytes) -> str:
    """UTF-8 where the bytes are, else nothing is lost."""
    return data.decode("utf-8", "backslashreplace")
