"""HDF5 files, read without the HDF5 library: their groups, attributes, links, and where the data lies.

    tree = read(view)
    tree.attributes["/"]["model_config"].values
    [(d.path, d.kind.name, d.shape) for d in tree.datasets]

The library (and h5py over it) is a large parser in C that has had memory errors on crafted files, and opening a file
with it follows links into other files, external storage and filter plug-ins; so that structure is read here, in
Python, within bounds, and nothing that it points to outside of the file is opened. Every form that h5py or the
library writes by default or with `libver="latest"` is read; whatever else there is, is a `problem`.
Source: the HDF5 File Format Specification, version 3.0.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from nbguard.formats import hdf5_messages as messages
from nbguard.formats.hdf5_blocks import Blocks, Hdf5Error
from nbguard.formats.hdf5_messages import Attribute, Datatype, Layout, Link
from nbguard.formats.view import View, at_hand

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 100_000
MAX_ATTRIBUTES = 200_000
MAX_CHUNKS = 1_000_000
MAX_VALUES = 256 << 20
"""Bytes of all attribute values together."""
MAX_DEPTH = 128
"""Groups within groups."""
BUILT_IN_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
"""Filters of the library itself and of h5py; every other one is a plug-in, native code found by its number."""


@dataclass(frozen=True)
class Dataset:
    path: str
    kind: Datatype
    shape: tuple[int, ...]
    layout: Layout
    filters: tuple[int, ...]
    external: tuple[str, ...]
    """Names of other files that its bytes are to be taken from."""
    blocks: tuple[tuple[int, int], ...]
    """(offset in the file, bytes) of what is stored; empty where nothing is, or where the index is not followed."""

    @property
    def nbytes(self) -> int:
        """Bytes that it has in memory."""
        return prod(self.shape) * max(1, self.kind.size)


@dataclass
class Hdf5File:
    """Everything but the data itself."""

    start: int = 0
    """Of the superblock; what lies before is the user's own block."""
    attributes: dict[str, dict[str, Attribute]] = field(default_factory=dict)
    """By the path of their group or dataset."""
    datasets: list[Dataset] = field(default_factory=list)
    links: list[tuple[str, Link]] = field(default_factory=list)
    """Every link that is not a hard one, with its path."""
    objects: list[tuple[str, bytes]] = field(default_factory=list)
    """(dataset, value) of what PyTables, and pandas with it, unpickles when the dataset is read."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(where, sentence): what was not read, or on what readers could differ."""
    digest: str = ""
    """sha256 over all object headers and attribute values, in the order they were read."""

    def doubt(self, where: str, sentence: str) -> None:
        if len(self.problems) < 50 and (where, sentence) not in self.problems:
            self.problems.append((where, sentence))


def find(view: View, *, sparing: bool = False) -> int | None:
    """Offset of the superblock: at 0, 512, 1024, 2048 and so on, wherever the signature stands first.

    Args:
        sparing: look only where that costs no request (`view.at_hand`).
    """
    at = 0
    while at < view.size:
        if (not at or not sparing or at_hand(view, at, 8)) and view.read(at, 8) == SIGNATURE:
            return at
        at = at * 2 or 512
    return None


def read(view: View) -> Hdf5File:
    """Read the whole structure.

    Raises:
        Hdf5Error: there is no superblock, or one of a kind that is not known.
    """
    return _Reader(view).read()


class _Reader:
    def __init__(self, view: View) -> None:
        start = find(view)
        if start is None:
            raise Hdf5Error("There is no HDF5 superblock in it.")
        self.view = view
        self.file = Hdf5File(start)
        self.blocks, self.root = self._superblock(start)
        self._digest = hashlib.sha256()
        self._values = 0
        self._attributes = 0

    def _superblock(self, start: int) -> tuple[Blocks, int]:
        head = self.view.read(start, 160)
        version = head[8] if len(head) > 8 else 255
        if len(head) < 48 or version > 3:
            raise Hdf5Error("Its superblock is of a version that HDF5 does not have.")
        if version < 2:
            blocks = Blocks(self.view, start, head[13], head[14])
            at = 24 if version == 0 else 28
            base, driver = blocks.offset(head, at), blocks.offset(head, at + 3 * blocks.offset_size)
            root = blocks.offset(head, at + 5 * blocks.offset_size)
            if driver != blocks.undefined:
                self.file.doubt("/", "It says that it is spread over several files.")
        else:
            blocks = Blocks(self.view, start, head[9], head[10])
            base, root = blocks.offset(head, 12), blocks.offset(head, 12 + 3 * blocks.offset_size)
            extension = blocks.offset(head, 12 + blocks.offset_size)
            if extension != blocks.undefined:
                self._extension(blocks, extension)
        if base not in (0, start):
            self.file.doubt("/", "Its addresses are said to count from elsewhere than its superblock.")
        return blocks, root

    def _extension(self, blocks: Blocks, address: int) -> None:
        for kind, data, _ in self._messages(blocks, address):
            if kind == 0x14:
                self.file.doubt("/", "It says that it is spread over several files.")
            if kind == 0x0F and data:
                self.file.doubt("/", "It keeps parts of its headers in a common place, which is not read here.")

    def read(self) -> Hdf5File:
        pending: list[tuple[str, int, int]] = [("/", self.root, 0)]
        seen: set[int] = set()
        while pending:
            path, address, depth = pending.pop()
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_OBJECTS or depth > MAX_DEPTH:
                raise Hdf5Error("It holds more groups and datasets than any model's file.")
            try:
                links = self._object(path, address)
            except (Hdf5Error, struct.error, IndexError) as error:
                self.file.doubt(path, str(error) if isinstance(error, Hdf5Error) else "A block in it is cut off.")
                continue
            for link in reversed(links):
                below = f"{path.rstrip('/')}/{link.name}"
                if link.kind == "hard":
                    pending.append((below[:2000], link.address, depth + 1))
                else:
                    self.file.links.append((below[:2000], link))
        self.file.digest = self._digest.hexdigest()
        return self.file

    def _object(self, path: str, address: int) -> list[Link]:
        """Read one header: its attributes and data are kept, its links returned."""
        found = list(self._messages(self.blocks, address))
        links: list[Link] = []
        by_kind: dict[int, bytes] = {}
        for kind, data, flags in found:
            self._digest.update(struct.pack("<HL", kind, len(data)) + data)
            if flags & 2 and kind in (messages.DATASPACE, messages.DATATYPE, messages.ATTRIBUTE, messages.FILTERS):
                data = self._shared(kind, data)
            if kind == messages.LINK:
                links.append(messages.link(self.blocks, data))
            elif kind == messages.SYMBOLS:
                links += self._symbols(data)
            elif kind == messages.LINK_INFO:
                links += self._dense_links(data)
            elif kind == messages.ATTRIBUTE:
                self._attribute(path, data)
            elif kind == messages.ATTRIBUTE_INFO:
                self._dense_attributes(path, data)
            else:
                by_kind.setdefault(kind, data)
        names = [link.name for link in links]
        if len(set(names)) != len(names):
            self.file.doubt(path, "Two things in one group have the same name.")
        if messages.LAYOUT in by_kind and messages.DATATYPE in by_kind:
            self._dataset(path, by_kind)
            self._objects(path)
        return links

    def _messages(self, blocks: Blocks, address: int) -> Iterator[tuple[int, bytes, int]]:
        """(type, data, flags) of all messages of an object header of either version."""
        blocks.count()
        head = blocks.read(address, 16)
        if head[:4] == b"OHDR":
            yield from self._messages_v2(blocks, address)
            return
        if head[0] != 1:
            raise Hdf5Error("An object's header is not where it should be.")
        pending = [(address + 16, int.from_bytes(head[8:12], "little"))]
        seen: set[int] = set()
        while pending:
            at, size = pending.pop(0)
            if at in seen:
                raise Hdf5Error("A header in it leads back to itself.")
            seen.add(at)
            blocks.count()
            data = blocks.read(at, size)
            place = 0
            while place + 8 <= len(data):
                kind, length, flags = struct.unpack_from("<HHB", data, place)
                body = data[place + 8 : place + 8 + length]
                if len(body) != length:
                    raise Hdf5Error("A header in it is cut off.")
                if kind == messages.CONTINUATION:
                    pending.append((blocks.offset(body, 0), blocks.length(body, blocks.offset_size)))
                elif kind:
                    yield kind, body, flags
                place += 8 + length

    def _messages_v2(self, blocks: Blocks, address: int) -> Iterator[tuple[int, bytes, int]]:
        head = blocks.read(address, 16)
        flags = head[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(blocks.read(address + at, width), "little")
        pending = [(address + at + width, size)]
        head_size = 4 + (2 if flags & 4 else 0)
        seen: set[int] = set()
        while pending:
            place, length = pending.pop(0)
            if place in seen:
                raise Hdf5Error("A header in it leads back to itself.")
            seen.add(place)
            blocks.count()
            data = blocks.read(place, length)
            at = 0
            while at + head_size <= len(data):
                kind, size, marks = data[at], int.from_bytes(data[at + 1 : at + 3], "little"), data[at + 3]
                body = data[at + head_size : at + head_size + size]
                if len(body) != size:
                    raise Hdf5Error("A header in it is cut off.")
                if kind == messages.CONTINUATION:
                    block, size64 = blocks.offset(body, 0), blocks.length(body, blocks.offset_size)
                    if blocks.read(block, 4) != b"OCHK":
                        raise Hdf5Error("A header in it is not what it should be.")
                    pending.append((block + 4, size64 - 8))
                elif kind:
                    yield kind, body, marks
                at += head_size + size

    def _shared(self, kind: int, data: bytes) -> bytes:
        """The message that a shared one stands for: a committed datatype's, in another object's header."""
        version = data[0] if data else 0
        if version not in (1, 2, 3) or (version == 3 and data[1] != 2):
            raise Hdf5Error("It keeps parts of its headers in a common place, which is not read here.")
        address = self.blocks.offset(data, 8 if version == 1 else 2)
        for other, body, flags in self._messages(self.blocks, address):
            if other == kind and not flags & 2:
                return body
        raise Hdf5Error("A header in it points to one that is not there.")

    # groups

    def _symbols(self, data: bytes) -> list[Link]:
        tree, heap = self.blocks.offset(data, 0), self.blocks.offset(data, self.blocks.offset_size)
        names = self.blocks.local_heap(heap)
        links: list[Link] = []
        for name, header, kind, scratch in self.blocks.symbols(tree):
            called = _until_nul(names, name)
            if kind == 2:
                links.append(Link(called, "soft", target=_until_nul(names, scratch)))
            else:
                links.append(Link(called, "hard", header))
        return links

    def _dense_links(self, data: bytes) -> list[Link]:
        flags = data[1] if len(data) > 1 else 0
        at = 2 + (8 if flags & 1 else 0)
        heap_at, tree_at = self.blocks.offset(data, at), self.blocks.offset(data, at + self.blocks.offset_size)
        if heap_at == self.blocks.undefined:
            return []
        heap = self.blocks.fractal_heap(heap_at)
        records = self.blocks.tree_v2(tree_at, 5)
        return [messages.link(self.blocks, self.blocks.heap_object(heap, r[4:])) for r in records]

    # attributes

    def _dense_attributes(self, path: str, data: bytes) -> None:
        flags = data[1] if len(data) > 1 else 0
        at = 2 + (2 if flags & 1 else 0)
        heap_at, tree_at = self.blocks.offset(data, at), self.blocks.offset(data, at + self.blocks.offset_size)
        if heap_at == self.blocks.undefined:
            return
        heap = self.blocks.fractal_heap(heap_at)
        for record in self.blocks.tree_v2(tree_at, 8):
            body = self.blocks.heap_object(heap, record[:8])
            self._attribute(path, self._shared(messages.ATTRIBUTE, body) if record[8] & 2 else body)

    def _attribute(self, path: str, data: bytes) -> None:
        found = messages.attribute(self.blocks, data)
        self._attributes += 1
        self._values += sum(map(len, found.values))
        if self._attributes > MAX_ATTRIBUTES or self._values > MAX_VALUES:
            raise Hdf5Error("It holds more attributes than any model's file.")
        for value in found.values:
            self._digest.update(value)
        there = self.file.attributes.setdefault(path, {})
        if found.name in there:
            self.file.doubt(path, "Two attributes of one object have the same name.")
        if found.problem:
            self.file.doubt(path, f"The attribute {found.name[:100]} was not read: {found.problem}.")
        there[found.name] = found

    # data

    def _dataset(self, path: str, by_kind: dict[int, bytes]) -> None:
        kind = messages.datatype(by_kind[messages.DATATYPE])
        shape = messages.dataspace(self.blocks, by_kind[messages.DATASPACE]) if messages.DATASPACE in by_kind else None
        layout = messages.layout(self.blocks, by_kind[messages.LAYOUT])
        external = self._external(by_kind[messages.EXTERNAL_FILES]) if messages.EXTERNAL_FILES in by_kind else ()
        through = messages.filters(by_kind[messages.FILTERS]) if messages.FILTERS in by_kind else ()
        stored = () if external else tuple(self._stored(path, layout))
        self.file.datasets.append(
            Dataset(path, kind, (0,) if shape is None else shape, layout, through, external, stored)
        )

    def _objects(self, path: str) -> None:
        """Values of variable length that are pickles, as an attribute says (`tables/atom.py`, `ObjectAtom`)."""
        said = self.file.attributes.get(path, {}).get("PSEUDOATOM")
        if said is None or not any(v.split(b"\0")[0] == b"object" for v in said.values):
            return
        dataset = self.file.datasets[-1]
        unread = bool(dataset.filters) or dataset.layout.indexed or dataset.layout.kind == "compact"
        if dataset.kind.kind != "vlen" or unread or dataset.external:
            self.file.doubt(path, "It holds objects, which PyTables unpickles, in a way that is not read here.")
            return
        step = 8 + self.blocks.offset_size
        for offset, size in dataset.blocks:
            rows = self.view.read(offset, min(size, 64 << 20))
            for at in range(0, len(rows) - step + 1, step):
                count = int.from_bytes(rows[at : at + 4], "little")
                address = self.blocks.offset(rows, at + 4)
                index = int.from_bytes(rows[at + step - 4 : at + step], "little")
                if count and index:
                    value = self.blocks.global_object(address, index)[:count]
                    self._values += len(value)
                    if self._values > MAX_VALUES or len(self.file.objects) > MAX_ATTRIBUTES:
                        raise Hdf5Error("It holds more values than any model's file.")
                    self._digest.update(value)
                    self.file.objects.append((path, value))

    def _stored(self, path: str, layout: Layout) -> Iterator[tuple[int, int]]:
        blocks, start = self.blocks, self.file.start
        if layout.kind == "contiguous" and layout.address != blocks.undefined:
            if start + layout.address + layout.size > self.view.size:
                self.file.doubt(path, "Its data reaches beyond the end of the file.")
            yield start + layout.address, layout.size
        elif layout.kind == "chunked" and not layout.indexed and layout.address != blocks.undefined:
            for number, (key, child) in enumerate(blocks.tree_v1(layout.address, 1, 8 + 8 * len(layout.chunk))):
                size = int.from_bytes(key[:4], "little")
                if number > MAX_CHUNKS or start + child + size > self.view.size:
                    raise Hdf5Error("Its data reaches beyond the end of the file.")
                yield start + child, size

    def _external(self, data: bytes) -> tuple[str, ...]:
        """The file names of a list of external data files."""
        used = int.from_bytes(data[6:8], "little")
        names = self.blocks.local_heap(self.blocks.offset(data, 8))
        at, step = 8 + self.blocks.offset_size, 3 * self.blocks.length_size
        return tuple(_until_nul(names, self.blocks.length(data, at + i * step)) for i in range(min(used, 1000))) or (
            "?",
        )


def _until_nul(heap: bytes, at: int) -> str:
    if at >= len(heap):
        raise Hdf5Error("A name in it lies outside of its heap.")
    return messages.text(heap[at : heap.find(b"\0", at) if heap.find(b"\0", at) >= 0 else len(heap)])
