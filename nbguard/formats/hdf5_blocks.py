"""The blocks that an HDF5 file is put together from: both kinds of B-tree, local, global and fractal heaps.

    blocks = Blocks(view, start=0, offset_size=8, length_size=8)
    for name_offset, header in blocks.symbols(tree): ...
    blocks.global_object(address, index)

Every address is checked against the file, every node is read once, and all reading counts against one budget, so that
loops and bombs end in `Hdf5Error`. Source: the HDF5 File Format Specification, version 3.0, section III.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nbguard.formats.view import View

MAX_NODES = 400_000
"""Headers, tree nodes and heap blocks that are read of one file, all together."""
MAX_BLOCK = 64 << 20
"""Bytes of one block: heaps of the largest models' names stay under 1 MB."""


class Hdf5Error(ValueError):
    """The file is malformed, or is written in a way that is not read here. The message is one plain sentence."""


@dataclass(frozen=True)
class FractalHeap:
    """What is needed to find an object by its id; made by `Blocks.fractal_heap`."""

    address: int
    id_length: int
    max_managed: int
    checksummed: bool
    width: int
    first_block: int
    largest_block: int
    bits: int
    root: int
    rows: int
    huge: int
    """The tree of the objects that are too large for the heap's blocks."""

    @property
    def offset_size(self) -> int:
        return (self.bits + 7) // 8

    @property
    def length_size(self) -> int:
        by_block = (self.largest_block.bit_length() - 1 + 7) // 8
        return min(by_block, encoded_size(self.max_managed))


def encoded_size(limit: int) -> int:
    """Bytes that the library takes for numbers up to `limit` (`H5VM_limit_enc_size`)."""
    return (max(limit, 1).bit_length() - 1) // 8 + 1


class Blocks:
    """Reads blocks at addresses that count from `start`, where the superblock lies."""

    def __init__(self, view: View, start: int, offset_size: int, length_size: int) -> None:
        if offset_size not in (2, 4, 8) or length_size not in (2, 4, 8):
            raise Hdf5Error("The sizes of its addresses are none that HDF5 writes.")
        self.view, self.start = view, start
        self.offset_size, self.length_size = offset_size, length_size
        self.undefined = (1 << (8 * offset_size)) - 1
        self._nodes = 0
        self._collections: dict[int, dict[int, bytes]] = {}

    def count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Hdf5Error("It holds more blocks than any model's file.")

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises Hdf5Error beyond the file's end."""
        if length > MAX_BLOCK:
            raise Hdf5Error("One of its blocks is larger than any model's.")
        data = self.view.read(self.start + address, length) if address != self.undefined else b""
        if len(data) != length:
            raise Hdf5Error("An address in it lies outside the file.")
        return data

    def offset(self, data: bytes, at: int) -> int:
        return int.from_bytes(take(data, at, self.offset_size), "little")

    def length(self, data: bytes, at: int) -> int:
        return int.from_bytes(take(data, at, self.length_size), "little")

    # groups as HDF5 1.6 wrote them, and as h5py does by default

    def local_heap(self, address: int) -> bytes:
        """The data segment of a local heap, which holds the names of a group."""
        self.count()
        head = self.read(address, 8 + 2 * self.length_size + self.offset_size)
        _signature(head, b"HEAP")
        return self.read(self.offset(head, 8 + 2 * self.length_size), self.length(head, 8))

    def symbols(self, tree: int) -> Iterator[tuple[int, int, int, int]]:
        """(offset of the name in the heap, object header, kind of cache, first scratch number) of a group's entries."""
        size = 2 * self.offset_size + 24
        for _, leaf in self.tree_v1(tree, 0, self.length_size):
            self.count()
            head = self.read(leaf, 8)
            _signature(head, b"SNOD")
            count = struct.unpack_from("<H", head, 6)[0]
            rows = self.read(leaf + 8, count * size)
            for at in range(0, len(rows), size):
                name, header = self.offset(rows, at), self.offset(rows, at + self.offset_size)
                kind, _, scratch = struct.unpack_from("<3L", rows, at + 2 * self.offset_size)
                yield name, header, kind, scratch

    def tree_v1(self, root: int, kind: int, key_size: int) -> Iterator[tuple[bytes, int]]:
        """(key, child) of every entry on the lowest level of a version 1 B-tree; keys are raw."""
        pending, seen = [(root, -1)], set[int]()
        while pending:
            address, level = pending.pop()
            if address in seen:
                raise Hdf5Error("A tree in it leads back to itself.")
            seen.add(address)
            self.count()
            head_size = 8 + 2 * self.offset_size
            head = self.read(address, head_size)
            _signature(head, b"TREE")
            found, depth, used = head[4], head[5], struct.unpack_from("<H", head, 6)[0]
            if found != kind or level not in (-1, depth):
                raise Hdf5Error("A tree in it is not of the kind that belongs there.")
            step = key_size + self.offset_size
            body = self.read(address + head_size, used * step + key_size)
            entries = [
                (body[at : at + key_size], self.offset(body, at + key_size)) for at in range(0, used * step, step)
            ]
            if depth:
                pending += [(child, depth - 1) for _, child in reversed(entries)]
            else:
                yield from entries

    # values of variable length

    def global_object(self, address: int, index: int) -> bytes:
        """An object of a global heap collection, where strings of variable length lie."""
        if address not in self._collections:
            self._collections[address] = self._collection(address)
        found = self._collections[address].get(index)
        if found is None:
            raise Hdf5Error("A value in it points to a place where there is none.")
        return found

    def _collection(self, address: int) -> dict[int, bytes]:
        self.count()
        head_size = 8 + self.length_size
        head = self.read(address, head_size)
        _signature(head, b"GCOL")
        data = self.read(address, self.length(head, 8))
        objects: dict[int, bytes] = {}
        at = head_size
        while at + head_size <= len(data):
            index = struct.unpack_from("<H", data, at)[0]
            size = self.length(data, at + 8)
            if index == 0:
                break
            if at + head_size + size > len(data) or index in objects:
                raise Hdf5Error("A heap in it is malformed.")
            objects[index] = data[at + head_size : at + head_size + size]
            at += head_size + (size + 7) // 8 * 8
        return objects

    # groups and attributes as HDF5 1.8 and later store many of them

    def tree_v2(self, address: int, kind: int) -> Iterator[bytes]:
        """All records of a version 2 B-tree."""
        self.count()
        head = self.read(address, 16 + self.offset_size + 2 + self.length_size)
        _signature(head, b"BTHD")
        node_size, record, depth = struct.unpack_from("<LHH", head, 6)
        if head[5] != kind or not record or depth > 16 or node_size > MAX_BLOCK:
            raise Hdf5Error("A tree in it is not of the kind that belongs there.")
        root, count = self.offset(head, 16), struct.unpack_from("<H", head, 16 + self.offset_size)[0]
        most = [(node_size - 10) // record]
        if most[0] < 1:
            raise Hdf5Error("A tree in it is malformed.")
        count_size, total_sizes, totals = encoded_size(most[0]), [0], [most[0]]
        for level in range(1, depth + 1):
            pointer = self.offset_size + count_size + total_sizes[level - 1]
            most.append((node_size - 10 - pointer) // (record + pointer))
            totals.append((most[level] + 1) * totals[level - 1] + most[level])
            total_sizes.append(encoded_size(totals[level]))
        pending, seen = [(root, count, depth)] if count else [], set[int]()
        while pending:
            at, number, level = pending.pop()
            if at in seen:
                raise Hdf5Error("A tree in it leads back to itself.")
            seen.add(at)
            self.count()
            node = self.read(at, node_size)
            _signature(node, b"BTIN" if level else b"BTLF")
            if number > most[level]:
                raise Hdf5Error("A tree in it is malformed.")
            for i in range(number):
                yield take(node, 6 + i * record, record)
            if level:
                place = 6 + number * record
                for _ in range(number + 1):
                    child = self.offset(node, place)
                    held = take(node, place + self.offset_size, count_size)
                    pending.append((child, int.from_bytes(held, "little"), level - 1))
                    place += self.offset_size + count_size + total_sizes[level - 1]

    def fractal_heap(self, address: int) -> FractalHeap:
        self.count()
        o, n = self.offset_size, self.length_size
        head = self.read(address, 14 + 12 * n + 3 * o + 10)
        _signature(head, b"FRHP")
        id_length, filtered, flags, max_managed = struct.unpack_from("<HHBL", head, 5)
        if filtered:
            raise Hdf5Error("It keeps names in a compressed heap, which is not read here.")
        at = 14 + n + o + n + o + 8 * n
        width = struct.unpack_from("<H", head, at)[0]
        first, largest = self.length(head, at + 2), self.length(head, at + 2 + n)
        bits, _ = struct.unpack_from("<HH", head, at + 2 + 2 * n)
        root, rows = self.offset(head, at + 6 + 2 * n), struct.unpack_from("<H", head, at + 6 + 2 * n + o)[0]
        if not width or not first or first & (first - 1) or largest & (largest - 1) or largest < first or bits > 64:
            raise Hdf5Error("A heap in it is malformed.")
        return FractalHeap(
            address, id_length, max_managed, bool(flags & 2), width, first, largest, bits, root, rows,
            self.offset(head, 14 + n),
        )  # fmt: skip

    def heap_object(self, heap: FractalHeap, identifier: bytes) -> bytes:
        """The object that an id names."""
        kind = identifier[0] >> 4 & 3
        if kind == 2:
            size = (identifier[0] & 15) + 1
            return take(identifier, 1, size)
        if kind == 1:
            return self._huge(heap, int.from_bytes(identifier[1 : 1 + self.length_size], "little"))
        if kind != 0:
            raise Hdf5Error("It keeps a value in a way that HDF5 does not have.")
        offset = int.from_bytes(take(identifier, 1, heap.offset_size), "little")
        length = int.from_bytes(take(identifier, 1 + heap.offset_size, heap.length_size), "little")
        block, begins = self._block_of(heap, offset)
        return self.read(block + offset - begins, length)

    def _huge(self, heap: FractalHeap, number: int) -> bytes:
        o, n = self.offset_size, self.length_size
        for record in self.tree_v2(heap.huge, 1):
            if self.length(record, o + n) == number:
                return self.read(self.offset(record, 0), self.length(record, o))
        raise Hdf5Error("A value in it points to a place where there is none.")

    def _block_of(self, heap: FractalHeap, offset: int) -> tuple[int, int]:
        """(address of the direct block that holds this place of the heap, the place where it begins)."""
        if not heap.rows:
            return heap.root, 0
        direct_rows = heap.largest_block.bit_length() - heap.first_block.bit_length() + 2
        address, base, rows = heap.root, 0, heap.rows
        for _ in range(64):
            self.count()
            head = 5 + self.offset_size + heap.offset_size
            _signature(self.read(address, 4), b"FHIB")
            begins = base
            for row in range(rows):
                size = heap.first_block << max(0, row - 1)
                if offset < begins + size * heap.width:
                    column = (offset - begins) // size
                    entry = row * heap.width + column
                    child = self.offset(self.read(address + head + entry * self.offset_size, self.offset_size), 0)
                    begins += column * size
                    break
                begins += size * heap.width
            else:
                raise Hdf5Error("A heap in it is malformed.")
            if row < direct_rows:
                return child, begins
            address, base = child, begins
            rows = size.bit_length() - (heap.first_block * heap.width).bit_length() + 1
        raise Hdf5Error("A heap in it is malformed.")


def take(data: bytes, at: int, length: int) -> bytes:
    """Exactly `length` bytes of `data`."""
    part = data[at : at + length]
    if len(part) != length or at < 0:
        raise Hdf5Error("A block in it is cut off.")
    return part


def _signature(data: bytes, wanted: bytes) -> None:
    if data[:4] != wanted:
        raise Hdf5Error("A block in it is not what it should be.")
