"""Zip directories, read as the two readers of the field read them, and where they would disagree.

    directory = read_directory(view)
    for entry in directory.entries:
        program = read_member(view, entry, limit=1 << 20)

PyTorch reads zips with miniz: the directory at its absolute offset, names without regard to case, the first of two
equal names, no check sums. Python's `zipfile` shifts all offsets when bytes lie before the archive, tells case apart
and takes the last of two equal names. A file on which the two could differ is one of which nobody can say what will
be loaded: every such difference is a `problem`. Sources: `miniz.c` (`mz_zip_reader_read_central_dir`,
`mz_zip_reader_locate_file_v2`), `caffe2/serialize/inline_container.cc`, CPython's `Lib/zipfile.py`, PKWARE's APPNOTE.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from dataclasses import dataclass, field, replace

from nbguard.formats import compression, zip_tensors
from nbguard.formats.view import View

LOCAL = b"PK\x03\x04"
_CENTRAL = b"PK\x01\x02"
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_TAIL = 22 + 0xFFFF
STORED, DEFLATED = 0, 8
BZIP2, LZMA, ZSTD, XZ = 12, 14, 93, 95
METHODS = (STORED, DEFLATED, BZIP2, LZMA, ZSTD, XZ)
"""What is read here. PyTorch reads the first two, Python's `zipfile` the first four, and ZSTD from 3.14 on."""
_DESCRIPTOR = b"PK\x07\x08"
MAX_ENTRIES = 200_000
MAX_DIRECTORY = 64 << 20
"""Bytes of central directory that are read; the largest sharded checkpoints need under 10 MB."""


class ZipError(ValueError):
    """This is no zip that can be read. The message is one plain sentence."""


@dataclass(frozen=True)
class ZipEntry:
    """One entry of the central directory."""

    name: str
    """UTF-8 where the bytes are, else latin-1 so that nothing is lost."""
    raw_name: bytes
    method: int
    flags: int
    crc: int
    compressed: int
    size: int
    header: int
    """Of the local header, from the start of the file."""
    data: int
    """Of the first byte of the data, from the start of the file."""
    mode: int = 0
    """Unix mode, from the external attributes; 0 where none is stored."""
    guessed: bool = False
    """Its own header was not read, and `data` is where it should be; for a tensor's bytes in a file read remotely."""


@dataclass
class ZipDirectory:
    """All entries in the directory's order, and what makes the reading doubtful."""

    entries: list[ZipEntry] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(rule, sentence)"""
    start: int = 0
    """Bytes that lie before the archive."""
    directory: tuple[int, int] = (0, 0)
    """(offset, length) of the central directory."""
    comment: int = 0
    """Bytes of the archive's comment."""
    gaps: int = 0
    """Bytes between the entries that belong to none of them."""

    def doubt(self, rule: str, sentence: str) -> None:
        if (rule, sentence) not in self.problems and len(self.problems) < 50:
            self.problems.append((rule, sentence))


def has_end(view: View) -> bool:
    """Whether the last 64 KiB hold the record by which every reader finds a zip."""
    return view.read(max(0, view.size - _TAIL), _TAIL).rfind(_END) >= 0


def read_directory(view: View, *, every: bool = True) -> ZipDirectory:
    """Read the central directory and every local header.

    Args:
        every: False to leave out the headers of what can only be tensors of PyTorch's, where each would cost a request.

    Raises:
        ZipError: there is none, or it cannot be read at all.
    """
    out = ZipDirectory()
    count, size, offset, end = _read_end(view, out)
    if size > MAX_DIRECTORY or count > MAX_ENTRIES:
        raise ZipError("The zip directory is larger than any model's.")
    at = end - size
    out.start = at - offset
    if at < 0 or out.start < 0:
        raise ZipError("The zip directory lies outside the file.")
    if out.start and view.read(0, 4) == LOCAL:
        out.doubt("zip.offsets", "Readers disagree on where this zip begins: its offsets do not fit its directory.")
        # What PyTorch reads lies at the absolute offset; read that one too, so that what is there is seen.
        if offset + size <= view.size and view.read(offset, 4) == _CENTRAL:
            at, out.start = offset, 0
    out.directory = (at, size)
    _read_entries(view, out, view.read(at, size), count, every)
    _place_guessed(view, out, at)
    _check_names(out)
    _check_ranges(view, out, at)
    return out


def _read_end(view: View, out: ZipDirectory) -> tuple[int, int, int, int]:
    """(entries, directory length, directory offset as written, where the directory ends)."""
    base = max(0, view.size - _TAIL)
    tail = view.read(base, _TAIL)
    found = tail.rfind(_END, 0, max(0, len(tail) - 18))
    if found < 0:
        raise ZipError("The end of the zip is missing: the file is cut off or no zip.")
    disk, start_disk, here, count, size, offset, comment = struct.unpack("<4H2LH", tail[found + 4 : found + 22])
    position = base + found
    out.comment = comment
    if found + 22 + comment != len(tail):
        out.doubt("zip.trailing", "Bytes follow the end of the zip; readers disagree on such files.")
    exact_end = found == len(tail) - 22 and comment == 0
    if not exact_end and tail.count(_END) > 1:
        out.doubt("zip.two-ends", "The file holds more than one end of a zip; readers may choose different ones.")
    if (disk, start_disk) != (0, 0) or here != count:
        out.doubt("zip.disks", "The zip says that it is spread over several disks.")
    end = position
    locator = view.read(position - 20, 20) if position >= 20 else b""
    if locator[:4] == _LOCATOR64:
        _, at64, _ = struct.unpack("<LQL", locator[4:])
        record = view.read(position - 76, 56) if position >= 76 else b""
        if record[:4] != _END64 or at64 != position - 76:
            out.doubt("zip.zip64", "The 64-bit end of the zip is not where it says; readers disagree on such files.")
            record = view.read(at64, 56)
        if record[:4] == _END64 and len(record) == 56:
            count64, size64, offset64 = struct.unpack("<3Q", record[32:56])
            for narrow, limit, wide in ((count, 0xFFFF, count64), (size, _MAX32, size64), (offset, _MAX32, offset64)):
                if narrow not in (limit, wide):
                    out.doubt("zip.zip64", "The two ends of the zip contradict each other.")
            return count64, size64, offset64, position - 76
    return count, size, offset, end


_MAX32 = 0xFFFFFFFF
_FOLDER = 0x10
"""The DOS attribute of a directory, among an entry's external attributes."""


def _read_entries(view: View, out: ZipDirectory, directory: bytes, count: int, every: bool) -> None:
    at = 0
    while at + 46 <= len(directory) and directory[at : at + 4] == _CENTRAL:
        flags, method = struct.unpack_from("<2H", directory, at + 8)
        crc, compressed, size, name_len, extra_len, comment_len = struct.unpack_from("<3L3H", directory, at + 16)
        attributes, header = struct.unpack_from("<2L", directory, at + 38)
        raw = directory[at + 46 : at + 46 + name_len]
        extra = directory[at + 46 + name_len : at + 46 + name_len + extra_len]
        at += 46 + name_len + extra_len + comment_len
        if len(out.entries) >= MAX_ENTRIES:
            raise ZipError("The zip directory is larger than any model's.")
        size, compressed, header = _wide(out, extra, size, compressed, header)
        if size and (attributes & _FOLDER or raw.endswith(b"/")):
            # miniz then reports success without reading, and PyTorch unpickles uninitialised memory.
            out.doubt("zip.folder", f"The entry {_decode(raw)[:100]} is marked as a folder and holds bytes.")
        header += out.start
        told = ZipEntry(_decode(raw), raw, method, flags, crc, compressed, size, header, header, guessed=True)
        stored = method == STORED and compressed == size
        if every or not (stored and zip_tensors.spared(view, raw, header, compressed, described=bool(flags & 8))):
            entry = _with_local(view, out, raw, method, flags, crc, compressed, size, header)
        else:
            entry = told
        out.entries.append(replace(entry, mode=attributes >> 16))
    if at != len(directory) or len(out.entries) != count:
        out.doubt("zip.directory", "The zip directory does not hold what its end says.")


def _wide(out: ZipDirectory, extra: bytes, size: int, compressed: int, header: int) -> tuple[int, int, int]:
    """64-bit sizes from the extra field 0x0001; anything in the extra fields that would rename an entry is a doubt."""
    at, wide = 0, False
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if tag == 1 and wide:
            out.doubt("zip.zip64", "An entry has two 64-bit sizes; readers take different ones.")
        if tag == 1:
            wide = True
            values = list(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
            try:
                size = values.pop(0) if size == _MAX32 else size
                compressed = values.pop(0) if compressed == _MAX32 else compressed
                header = values.pop(0) if header == _MAX32 else header
            except IndexError:
                out.doubt("zip.zip64", "A 64-bit size is announced and missing.")
        elif tag == 0x7075:
            out.doubt("zip.renamed", "An extra field gives an entry another name; not every reader looks at it.")
        at += 4 + length
    return size, compressed, header


def _with_local(
    view: View,
    out: ZipDirectory,
    raw: bytes,
    method: int,
    flags: int,
    crc: int,
    compressed: int,
    size: int,
    header: int,
) -> ZipEntry:
    """The entry with the place of its data, which only the local header tells."""
    name = _decode(raw)
    local = view.read(header, 30)
    data = header
    if len(local) < 30 or local[:4] != LOCAL:
        out.doubt("zip.local-header", f"The entry {name[:100]} has no header where the directory says.")
    else:
        local_flags, local_method = struct.unpack_from("<2H", local, 6)
        name_len, extra_len = struct.unpack_from("<2H", local, 26)
        data = header + 30 + name_len + extra_len
        if view.read(header + 30, name_len) != raw:
            out.doubt("zip.two-names", f"The entry {name[:100]} has another name in its own header.")
        if local_method != method:
            out.doubt("zip.method", f"The entry {name[:100]} has another compression in its own header.")
        _check_local(view, out, name, local, local_flags, (crc, compressed, size), data + compressed)
        if (flags ^ local_flags) & 1:
            out.doubt("zip.encrypted", f"The entry {name[:100]} is marked as encrypted in one of two places.")
    if flags & 0x2061:
        out.doubt("zip.encrypted", f"The entry {name[:100]} is marked as encrypted or patched; readers disagree on it.")
    if method not in METHODS:
        out.doubt("zip.method", f"The entry {name[:100]} is compressed with method {method}, which few readers know.")
    if method == STORED and compressed != size:
        out.doubt("zip.sizes", f"The entry {name[:100]} has two different sizes though it is not compressed.")
    if data + compressed > view.size:
        out.doubt("zip.truncated", f"The entry {name[:100]} reaches beyond the end of the file.")
    return ZipEntry(name, raw, method, flags, crc, compressed, size, header, data)


def _check_local(
    view: View, out: ZipDirectory, name: str, local: bytes, flags: int, told: tuple[int, int, int], behind: int
) -> None:
    """The entry's own header, or the descriptor behind its data, has to say what the directory says.

    Readers that take a zip as a stream go by these two.
    """
    if not flags & 8:
        own = list(struct.unpack_from("<3L", local, 14))
        extra_len = int.from_bytes(local[28:30], "little")
        if _MAX32 in own[1:]:
            extra = view.read(behind - told[1] - extra_len, extra_len)
            own[2], own[1], _ = _wide(out, extra, own[2], own[1], 0)
        if any(o not in (t, _MAX32) for o, t in zip(own, told, strict=True)):
            out.doubt("zip.sizes", f"The entry {name[:100]} has another size or check sum in its own header.")
        return
    if not told[1] and name.endswith("/"):
        return  # folders, of which some writers say so and write none
    found = view.read(behind, 24)
    layouts = [struct.pack(layout, *told) for layout in ("<LQQ", *(("<3L",) * (max(told) <= _MAX32)))]
    if not any(found.startswith((one, _DESCRIPTOR + one)) for one in layouts):
        out.doubt("zip.descriptor", f"What stands behind the entry {name[:100]} contradicts the directory.")


def _place_guessed(view: View, out: ZipDirectory, directory: int) -> None:
    """Give each entry whose header was left out the place that the next entry leaves for it."""
    order = sorted(range(len(out.entries)), key=lambda i: out.entries[i].header)
    starts = [out.entries[i].header for i in order] + [directory]
    for at, number in enumerate(order):
        entry = out.entries[number]
        if not entry.guessed:
            continue
        descriptor = (24 if entry.size >= _MAX32 else 16) if entry.flags & 8 else 0
        data = starts[at + 1] - descriptor - entry.compressed
        if 0 <= data - (entry.header + 30 + len(entry.raw_name)) <= zip_tensors.MAX_PADDING:
            out.entries[number] = replace(entry, data=data)
            continue
        e = entry
        args = (e.raw_name, e.method, e.flags, e.crc, e.compressed, e.size, e.header)
        out.entries[number] = replace(_with_local(view, out, *args), mode=entry.mode)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _check_names(out: ZipDirectory) -> None:
    seen: dict[bytes, bytes] = {}
    for entry in out.entries:
        raw = entry.raw_name
        folded = raw.lower()
        if folded in seen:
            how = "twice" if seen[folded] == raw else "in two spellings that differ in case only"
            out.doubt(
                "zip.duplicate-member",
                f"The entry {entry.name[:100]} is there {how}: PyTorch reads one of them and Python the other.",
            )
        seen[folded] = raw
        if b"\0" in raw:
            out.doubt("zip.name", "An entry's name holds a NUL byte, at which some readers cut it.")
        if b"\\" in raw or raw.startswith(b"/") or b".." in raw.split(b"/"):
            out.doubt("zip.name", f"The entry name {entry.name[:100]} leads out of the archive.")


def _check_ranges(view: View, out: ZipDirectory, directory: int) -> None:
    """Entries that share bytes are how a small file becomes a huge one, or two files in one."""
    behind = 0
    looked = 0
    for entry in sorted(out.entries, key=lambda e: e.header):
        if entry.header < behind:
            out.doubt("zip.overlap", f"The entry {entry.name[:100]} shares bytes with another one.")
        elif behind or not out.start:
            looked += _check_gap(view, out, behind, entry.header, looked)
        behind = max(behind, entry.data + entry.compressed)
    if behind > directory:
        out.doubt("zip.overlap", "An entry reaches into the zip directory.")
    elif out.entries or not out.start:
        _check_gap(view, out, behind, directory, looked)


def _check_gap(view: View, out: ZipDirectory, start: int, end: int, looked: int) -> int:
    """Count a gap, and look for an entry in it that only readers of streams see; bytes that were looked at."""
    gap = _beyond_descriptor(end - start)
    out.gaps += gap
    if not gap or looked > _MAX_GAPS:
        return 0
    piece = view.read(start, min(gap, _MAX_GAP))
    if LOCAL in piece:
        out.doubt("zip.hidden-entry", "There is an entry that the directory does not name: some readers see it.")
    return len(piece)


_MAX_GAP, _MAX_GAPS = 1 << 16, 64 << 20
"""Bytes that are looked at of one gap, and of all."""


def _beyond_descriptor(gap: int) -> int:
    """What is left of a gap when a data descriptor (12 to 24 bytes) may lie in it."""
    return gap if gap > 24 else 0


def read_member(view: View, entry: ZipEntry, *, limit: int) -> bytes:
    """The entry's decompressed bytes, at most `limit`. Its check sum is ignored, as PyTorch's reader does.

    Raises:
        ZipError: larger than `limit`, cut off, damaged, or compressed with something that is not read here.
    """
    if entry.size > limit:
        raise ZipError(f"The entry {entry.name[:100]} is larger ({entry.size:,} bytes) than what is read of one.")
    if entry.method == STORED:
        data = view.read(entry.data, entry.size)
    elif entry.method in METHODS:
        try:
            data = _inflate(view, entry, limit + (1 << 20))
        except Exception as error:
            # zlib, bz2, lzma and zstandard each have classes of their own for damaged input.
            raise ZipError(f"The entry {entry.name[:100]} cannot be decompressed.") from error
    else:
        raise ZipError(f"The entry {entry.name[:100]} is compressed with method {entry.method}.")
    if len(data) != entry.size:
        raise ZipError(f"The entry {entry.name[:100]} does not have the size that the directory says.")
    return data


def _inflate(view: View, entry: ZipEntry, most: int) -> bytes:
    """The entry's bytes, and one more where it holds more than the directory says."""
    packed = view.read(entry.data, min(entry.compressed, most))
    if entry.method == DEFLATED:
        return zlib.decompressobj(-15).decompress(packed, entry.size + 1)
    machine: compression.Machine
    if entry.method == BZIP2:
        machine = bz2.BZ2Decompressor()
    elif entry.method == ZSTD:
        machine = compression.zstd_machine()
    elif entry.method == XZ:
        machine = lzma.LZMADecompressor(lzma.FORMAT_XZ, compression.MAX_WINDOW)
    else:
        # APPNOTE 5.8.8: version, length of the settings, the settings, the bare stream.
        settings, packed = packed[4:9], packed[9:]
        window = min(int.from_bytes(settings[1:5], "little"), max(4096, entry.size))
        lc, rest = settings[0] % 9, settings[0] // 9
        lzma1 = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": rest % 5, "pb": rest // 5, "dict_size": max(4096, window)}
        machine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[lzma1])
    parts, got = [], 0
    while got <= entry.size and not machine.eof:
        part = machine.decompress(packed, entry.size + 1 - got)
        packed = b""
        parts.append(part)
        got += len(part)
        if not part and machine.needs_input:
            break
    return b"".join(parts)
