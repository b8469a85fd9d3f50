"""The packed streams, folders and coders in the headers of a 7z, every count checked before it is followed.

    streams = read_streams(Reader(header, 1))
    streams.folders[0].coders

Source: `DOC/7zFormat.txt` of 7-Zip, whose names stand in the comments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

_END, _PACK, _UNPACK, _SUBSTREAMS, _SIZE, _CRC = 0x00, 0x06, 0x07, 0x08, 0x09, 0x0A
_FOLDER, _UNPACK_SIZE, _COUNT = 0x0B, 0x0C, 0x0D
MAX_FOLDERS = 200_000
MAX_CODERS = 8
"""In one folder; 7-Zip itself allows 32 and never uses more than 4."""


class SevenZipError(ValueError):
    """The headers of a 7z cannot be read. The message is one plain sentence."""


class Reader:
    """A header, read from its front. Every method raises SevenZipError where the bytes end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, length: int) -> bytes:
        if not 0 <= length <= self.left:
            raise SevenZipError("Its list of files ends in the middle of an entry.")
        self.at += length
        return self.data[self.at - length : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """A number of one to nine bytes: as many as the first byte has leading ones follow, lowest first."""
        first = self.byte()
        more = 0
        while more < 8 and first & 0x80 >> more:
            more += 1
        low = int.from_bytes(self.take(more), "little")
        return low if more >= 7 else low | (first & (0x7F >> more)) << 8 * more

    def count(self, least: int = 1) -> int:
        """A number of things that take at least `least` bits each of what is left."""
        value = self.number()
        if value * least > self.left * 8:
            raise SevenZipError("It says that it holds more than there is room for.")
        return value

    def bits(self, count: int) -> list[bool]:
        """A vector of bits, highest first."""
        data = self.take((count + 7) // 8)
        return [bool(data[n >> 3] & 0x80 >> (n & 7)) for n in range(count)]

    def flags(self, count: int) -> list[bool]:
        """The same, with a byte in front that says whether all are set."""
        return [True] * count if self.byte() else self.bits(count)

    def digests(self, count: int) -> list[int | None]:
        """Check sums of those that have one."""
        return [int.from_bytes(self.take(4), "little") if defined else None for defined in self.flags(count)]


@dataclass
class Coder:
    """One step of packing."""

    method: bytes
    properties: bytes
    inputs: int = 1
    outputs: int = 1
    size: int = 0
    """Bytes that come out when it is undone."""


@dataclass
class Folder:
    """What was packed as one."""

    coders: list[Coder]
    """In the order in which they are undone; as they stand where it is no plain chain."""
    chained: bool
    """Each coder has one input and one output."""
    inputs: int
    """Packed streams."""
    order: list[int] = field(default_factory=list)
    place: tuple[int, int] = (0, 0)
    """(offset, length) of its first packed stream, behind the first header."""
    size: int = 0
    crc: int | None = None
    parts: list[tuple[int, int | None]] = field(default_factory=list)
    """(size, check sum) of every file in it."""


@dataclass
class Streams:
    """A `StreamsInfo`."""

    folders: list[Folder] = field(default_factory=list)
    packed: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) of every packed stream, behind the first header."""


def read_streams(reader: Reader) -> Streams:
    """Read a `StreamsInfo` up to and with its end. Raises SevenZipError."""
    out, position, sizes = Streams(), 0, list[int]()
    kind = reader.number()
    if kind == _PACK:
        position, sizes = _pack_info(reader)
        kind = reader.number()
    for size in sizes:
        out.packed.append((position, size))
        position += size
    if kind == _UNPACK:
        out.folders = _unpack_info(reader)
        kind = reader.number()
    _assign(out)
    if kind == _SUBSTREAMS:
        _substreams(reader, out.folders)
        kind = reader.number()
    if kind != _END:
        raise SevenZipError("Its list of packed streams is malformed.")
    return out


def _assign(out: Streams) -> None:
    """Give each folder its packed streams, one after the other."""
    at = 0
    for folder in out.folders:
        if at + folder.inputs > len(out.packed):
            raise SevenZipError("It has fewer packed streams than it says.")
        folder.place = out.packed[at]
        at += folder.inputs
        folder.parts = [(folder.size, folder.crc)]


def _pack_info(reader: Reader) -> tuple[int, list[int]]:
    position, count = reader.number(), reader.count(8)
    sizes = [0] * count
    while (kind := reader.number()) != _END:
        if kind == _SIZE:
            sizes = [reader.number() for _ in range(count)]
        elif kind == _CRC:
            reader.digests(count)
        else:
            raise SevenZipError("Its list of packed streams is malformed.")
    return position, sizes


def _unpack_info(reader: Reader) -> list[Folder]:
    if reader.number() != _FOLDER:
        raise SevenZipError("Its list of packed streams is malformed.")
    count = reader.count(8)
    if count > MAX_FOLDERS:
        raise SevenZipError("It is cut into more parts than any model's archive.")
    if reader.byte():
        raise SevenZipError("Its list of packed streams lies elsewhere, which no writer does.")
    folders = [_folder(reader) for _ in range(count)]
    if reader.number() != _UNPACK_SIZE:
        raise SevenZipError("The sizes of what is packed are missing.")
    for folder in folders:
        for coder in folder.coders:
            for _ in range(coder.outputs):
                coder.size = reader.number()
        if folder.chained:
            folder.coders = [folder.coders[n] for n in folder.order]
        folder.size = folder.coders[-1].size
    while (kind := reader.number()) != _END:
        if kind != _CRC:
            raise SevenZipError("Its list of packed streams is malformed.")
        for folder, crc in zip(folders, reader.digests(count), strict=True):
            folder.crc = crc
    return folders


def _folder(reader: Reader) -> Folder:
    count = reader.number()
    if not 0 < count <= MAX_CODERS:
        raise SevenZipError("Something in it is packed in more steps than anybody uses.")
    coders = []
    for _ in range(count):
        first = reader.byte()
        if first & 0xC0:
            raise SevenZipError("A step of packing is described in a way that nobody writes.")
        coder = Coder(reader.take(first & 15), b"")
        if first & 0x10:
            coder.inputs, coder.outputs = reader.number(), reader.number()
            if not 0 < coder.inputs <= 32 or not 0 < coder.outputs <= 32:
                raise SevenZipError("A step of packing is described in a way that nobody writes.")
        if first & 0x20:
            coder.properties = reader.take(reader.number())
        coders.append(coder)
    total_in, total_out = sum(c.inputs for c in coders), sum(c.outputs for c in coders)
    pairs = [(reader.number(), reader.number()) for _ in range(total_out - 1)]
    inputs = total_in - len(pairs)
    if inputs < 1:
        raise SevenZipError("A step of packing is described in a way that nobody writes.")
    for _ in range(inputs if inputs > 1 else 0):
        reader.number()
    chained = inputs == 1 and all(c.inputs == c.outputs == 1 for c in coders)
    return Folder(coders, chained, inputs, _chain(count, pairs) if chained else [])


def _chain(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The coders from the packed stream on: the input of one is the output of the one before it."""
    feeds = {source: target for target, source in pairs}
    bound = {target for target, _ in pairs}
    first = [n for n in range(count) if n not in bound]
    order = first[:1]
    while order and len(order) <= count and order[-1] in feeds:
        order.append(feeds[order[-1]])
    if len(first) != 1 or sorted(order) != list(range(count)):
        raise SevenZipError("The steps of packing do not lead from one to the next.")
    return order


def _substreams(reader: Reader, folders: list[Folder]) -> None:
    """How folders are cut into files: `SubStreamsInfo`."""
    counts = [1] * len(folders)
    kind = reader.number()
    if kind == _COUNT:
        counts = [reader.number() for _ in folders]
        kind = reader.number()
    # Each file but the last of a folder has a size here, and each without a check sum of its own has one below.
    if sum(counts) > reader.left + len(folders) or sum(counts) > 1 << 20:
        raise SevenZipError("It says that it holds more than there is room for.")
    given = kind == _SIZE
    for folder, count in zip(folders, counts, strict=True):
        if count > 1 and not given:
            raise SevenZipError("The sizes of what is packed are missing.")
        sizes = [reader.number() for _ in range(count - 1)]
        rest = folder.size - sum(sizes)
        if rest < 0 and count:
            raise SevenZipError("The files in it are larger than what is packed.")
        folder.parts = [(size, None) for size in (*sizes, rest)] if count else []
        if count == 1:
            folder.parts = [(folder.size, folder.crc)]
    if given:
        kind = reader.number()
    if kind == _CRC:
        missing = [(f, n) for f in folders for n, (_, crc) in enumerate(f.parts) if len(f.parts) != 1 or crc is None]
        for (folder, n), crc in zip(missing, reader.digests(len(missing)), strict=True):
            folder.parts[n] = (folder.parts[n][0], crc)
        kind = reader.number()
    if kind != _END:
        raise SevenZipError("Its list of packed streams is malformed.")


def overlaps(places: list[tuple[int, int]]) -> bool:
    """Whether two packed streams share bytes."""
    ranges = sorted(p for p in places if p[1])
    return any(a[0] + a[1] > b[0] for a, b in pairwise(ranges))
