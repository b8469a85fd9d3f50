"""7z archives: the headers, and the files that they describe.

    archive = read_archive(view)
    for folder, files in archive.by_folder():
        data = open_folder(view, archive, folder, limit=1 << 28)      # a view
        for file in files:
            data.read(file.offset, file.size)

A *folder* is what was packed as one (a solid block of several files); its *coders* are undone one after the other.
Every count and size is checked against the bytes that are there before anything is made of it. Source:
`DOC/7zFormat.txt` of 7-Zip, and `CPP/7zip/Archive/7z/7zIn.cpp` where that is silent.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbguard.formats.sevenzip_coders import AES, COPY, ENCRYPTED, CoderError, called, undo
from nbguard.formats.sevenzip_headers import Folder, Reader, SevenZipError, Streams, overlaps, read_streams
from nbguard.formats.view import BytesView, Part, View

MAGIC = b"7z\xbc\xaf\x27\x1c"
FIRST = 32
"""Bytes of the first header."""
MAX_HEADER = 32 << 20
"""Bytes, packed or not."""
MAX_FILES = 200_000
_NESTED_HEADERS = 4
_EMPTY_STREAM, _EMPTY_FILE, _ANTI, _NAMES, _ATTRIBUTES = 0x0E, 0x0F, 0x10, 0x11, 0x15
_IGNORED = (0x12, 0x13, 0x14, 0x16, 0x18, 0x19)
"""Times, a comment, start positions and fillers."""
_UNIX = 0x8000
"""In an entry's attributes: the upper half holds a Unix mode (p7zip's and 7-Zip's habit)."""
_REPARSE, _DIRECTORY = 0x400, 0x10


@dataclass(frozen=True)
class SevenFile:
    """One entry."""

    name: str
    kind: str
    """`file`, `folder`, `link`, `device`, `fifo`, or `anti` (an order to delete a file when unpacking)."""
    mode: int
    """Unix permissions, 0 where none are stored."""
    size: int = 0
    folder: int = -1
    """Index of the folder that holds its bytes; -1 where it has none."""
    offset: int = 0
    """In the folder's unpacked bytes."""
    crc: int | None = None


@dataclass
class SevenArchive:
    """What the headers say."""

    start: int = 0
    end: int = 0
    files: list[SevenFile] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(rule, sentence)"""

    def doubt(self, rule: str, sentence: str) -> None:
        if (rule, sentence) not in self.problems and len(self.problems) < 50:
            self.problems.append((rule, sentence))

    def by_folder(self) -> Iterator[tuple[Folder, list[SevenFile]]]:
        """Each folder with its files, in the order of their bytes."""
        out: list[list[SevenFile]] = [[] for _ in self.folders]
        for file in self.files:
            if file.folder >= 0:
                out[file.folder].append(file)
        return zip(self.folders, out, strict=True)


def find(view: View, within: int) -> int:
    """Where a 7z begins behind something else, as 7-Zip looks for one; -1 where none begins in the first bytes."""
    data = view.read(0, within)
    at = data.find(MAGIC)
    for _ in range(64):
        if at < 0:
            break
        head = view.read(at, FIRST)
        if len(head) == FIRST and zlib.crc32(head[12:FIRST]) == int.from_bytes(head[8:12], "little"):
            return at
        at = data.find(MAGIC, at + 1)
    return -1


def read_archive(view: View, start: int = 0) -> SevenArchive:
    """Read the headers of the archive that begins at `start`.

    Raises:
        SevenZipError: they are cut off, damaged, encrypted, or larger than any model's.
    """
    head = view.read(start, FIRST)
    if len(head) < FIRST or not head.startswith(MAGIC):
        raise SevenZipError("It is cut off within its first header.")
    if zlib.crc32(head[12:FIRST]) != int.from_bytes(head[8:12], "little"):
        raise SevenZipError("Its first header is damaged: the check sum is wrong.")
    if head[6] != 0:
        raise SevenZipError("It is of a version of 7z that nobody here knows.")
    offset, size, crc = (int.from_bytes(head[a:b], "little") for a, b in ((12, 20), (20, 28), (28, 32)))
    out = SevenArchive(start, start + FIRST + offset + size)
    if out.end > view.size:
        raise SevenZipError("Its list of files lies beyond the end: it is cut off, or one part of several.")
    if out.end < view.size:
        out.doubt("7z.trailing", "Bytes follow the end of the 7z, which no reader of it sees.")
    if not size:
        return out
    if size > MAX_HEADER:
        raise SevenZipError("Its list of files is larger than any model's.")
    header = _checked(view.read(start + FIRST + offset, size), crc)
    used = [(offset, size)]
    for _ in range(_NESTED_HEADERS):
        if header[:1] == b"\x01":
            used += _main(Reader(header, 1), out)
            _check_places(out, used)
            return out
        if header[:1] != b"\x17":
            break
        header = _unpacked(view, out, Reader(header, 1), used)
    raise SevenZipError("Its list of files is of no kind that is known.")


def _checked(data: bytes, crc: int | None) -> bytes:
    if crc is not None and zlib.crc32(data) != crc:
        raise SevenZipError("Its list of files is damaged: the check sum is wrong.")
    return data


def _unpacked(view: View, out: SevenArchive, reader: Reader, used: list[tuple[int, int]]) -> bytes:
    """The header that another one says how to unpack (`EncodedHeader`)."""
    streams = read_streams(reader)
    if len(streams.folders) != 1:
        raise SevenZipError("Its list of files is packed in a way that nobody writes.")
    folder = streams.folders[0]
    used += streams.packed
    try:
        data = open_folder(view, out, folder, limit=MAX_HEADER)
    except CoderError as error:
        if error.encrypted:
            raise SevenZipError("Its list of files is encrypted: nobody without the password can read it.") from error
        raise SevenZipError(f"Its list of files cannot be unpacked. {str(error)[:150]}") from error
    return _checked(data.read(0, data.size), folder.crc)


def open_folder(view: View, archive: SevenArchive, folder: Folder, *, limit: int) -> View:
    """The unpacked bytes of a folder, at most `limit`; where nothing is packed, the place where they lie.

    Raises:
        CoderError: the coders are not known, need a password, or do not give what the headers promise.
    """
    offset, length = folder.place
    place = Part(view, archive.start + FIRST + offset, length)
    if place.size != length:
        raise CoderError("A packed stream reaches beyond the end of the file.")
    if not folder.chained:
        names = ", ".join(called(coder.method) for coder in folder.coders)
        if any(coder.method == AES for coder in folder.coders):
            raise CoderError(ENCRYPTED, encrypted=True)
        raise CoderError(f"It is packed with several streams at once ({names}), which nbguard does not read.")
    if all(c.method == COPY and c.size == length for c in folder.coders):
        return place
    if length > limit or any(c.size > limit for c in folder.coders):
        raise CoderError("It unpacks to more than is read.")
    data = place.read(0, length)
    for coder in folder.coders:
        data = undo(coder.method, coder.properties, data, coder.size)
    return BytesView(data)


def _main(reader: Reader, out: SevenArchive) -> list[tuple[int, int]]:
    """Read the `Header`; the places of its packed streams."""
    kind, places = reader.number(), list[tuple[int, int]]()
    if kind == 0x02:  # ArchiveProperties, which nobody writes
        while reader.number():
            reader.take(reader.number())
        kind = reader.number()
    if kind == 0x03:
        raise SevenZipError("It has a second list of streams, which no writer makes.")
    streams = Streams()
    if kind == 0x04:
        streams = read_streams(reader)
        places = streams.packed
        out.folders = streams.folders
        kind = reader.number()
    if kind == 0x05:
        _files(reader, out)
        kind = reader.number()
    if kind != 0x00:
        raise SevenZipError("Its list of files is malformed.")
    if reader.left:
        out.doubt("7z.header", "Its list of files goes on behind its end.")
    return places


def _files(reader: Reader, out: SevenArchive) -> None:
    """Read the `FilesInfo`."""
    count = reader.count()
    if count > MAX_FILES:
        raise SevenZipError("It holds more entries than any model's archive.")
    names: list[str] = []
    attributes: list[int] = [0] * count
    empty = [False] * count
    no_folder: list[bool] = []
    anti: list[bool] = []
    seen: set[int] = set()
    while (kind := reader.number()) != 0:
        part = Reader(reader.take(reader.number()))
        if kind in seen and kind != 0x19:
            out.doubt("7z.header", "Its list of files says the same thing twice; readers may take different ones.")
        seen.add(kind)
        if kind == _EMPTY_STREAM:
            empty = part.bits(count)
        elif kind == _EMPTY_FILE:
            no_folder = part.bits(sum(empty))
        elif kind == _ANTI:
            anti = part.bits(sum(empty))
        elif kind == _NAMES:
            names = _names(part, count)
        elif kind == _ATTRIBUTES:
            attributes = _attributes(part, count)
        elif kind not in _IGNORED:
            out.doubt("7z.header", "Its list of files says something about them that nobody here knows.")
    if len(names) != count:
        raise SevenZipError("The names of its files are missing.")
    parts = ((n, size, crc) for n, folder in enumerate(out.folders) for size, crc in folder.parts)
    offsets = [0] * len(out.folders)
    number = 0  # among the entries without a stream
    for name, attribute, hollow in zip(names, attributes, empty, strict=True):
        if hollow:
            kind_ = "file" if number < len(no_folder) and no_folder[number] else "folder"
            kind_ = "anti" if number < len(anti) and anti[number] else kind_
            number += 1
            out.files.append(SevenFile(name, kind_, _mode(attribute) & 0o7777))
            continue
        found = next(parts, None)
        if found is None:
            raise SevenZipError("It names more files than it holds.")
        n, size, crc = found
        out.files.append(SevenFile(name, _kind(attribute), _mode(attribute) & 0o7777, size, n, offsets[n], crc))
        offsets[n] += size
    if next(parts, None) is not None:
        out.doubt("7z.header", "It holds bytes that belong to no file.")


def _names(part: Reader, count: int) -> list[str]:
    if part.byte():
        raise SevenZipError("The names of its files lie elsewhere, which no writer does.")
    text = part.take(part.left).decode("utf-16-le", "replace")
    names = text.split("\0")
    if len(names) != count + 1 or names[-1]:
        raise SevenZipError("The names of its files are malformed.")
    return names[:-1]


def _attributes(part: Reader, count: int) -> list[int]:
    defined = part.flags(count)
    if part.byte():
        raise SevenZipError("The attributes of its files lie elsewhere, which no writer does.")
    return [int.from_bytes(part.take(4), "little") if d else 0 for d in defined]


def _mode(attribute: int) -> int:
    return attribute >> 16 if attribute & _UNIX else 0


def _kind(attribute: int) -> str:
    mode = _mode(attribute)
    if stat.S_ISLNK(mode) or attribute & _REPARSE:
        return "link"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "device"
    return "fifo" if stat.S_ISFIFO(mode) else "file"


def _check_places(out: SevenArchive, used: list[tuple[int, int]]) -> None:
    """Streams that share bytes make a huge archive of a small one; bytes of none are hidden from its readers."""
    if overlaps(used):
        out.doubt("7z.overlap", "Parts of it share bytes, which no writer makes.")
    if sum(length for _, length in used) < out.end - out.start - FIRST:
        out.doubt("7z.hidden", "It holds bytes that belong to none of its parts.")
