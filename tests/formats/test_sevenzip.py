"""7z: what its own writers write is read, and every number in the headers is held against the bytes."""

from __future__ import annotations

import lzma
import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_set.sevenzips import FILTERS, packed
from seven_forge import Item, number, seven, wrapped

from nbguard.formats.sevenzip import SevenArchive, find, open_folder, read_archive
from nbguard.formats.sevenzip_coders import CoderError, undo
from nbguard.formats.sevenzip_headers import Reader, SevenZipError
from nbguard.formats.view import BytesView

CODE = b"".join(b"\xe8" + struct.pack("<l", n * 37 - 900) + b"\x90\xe9\x00\x01\x02\x00\x8b" for n in range(20_000))
"""Calls and jumps, which the filters for machine code rewrite."""
MEMBERS = {"a.txt": b"text" * 500, "empty": b"", "code.bin": CODE, "last.bin": random.Random(0).randbytes(3000)}


def contents(data: bytes) -> dict[str, bytes]:
    view = BytesView(data)
    archive = read_archive(view)
    assert not archive.problems
    out = {f.name: b"" for f in archive.files}
    for folder, files in archive.by_folder():
        unpacked = open_folder(view, archive, folder, limit=1 << 24)
        for file in files:
            out[file.name] = unpacked.read(file.offset, file.size)
            assert file.crc == zlib.crc32(out[file.name])
    return out


@pytest.mark.parametrize("filters", FILTERS)
def test_what_py7zr_writes_is_read(filters: str) -> None:
    assert contents(packed(MEMBERS, filters.split())) == MEMBERS


def test_what_is_forged_here_is_what_py7zr_reads() -> None:
    import io

    import py7zr

    data = seven([Item("a.txt", b"text"), Item("d", None), Item("e", b"")])
    with py7zr.SevenZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["a.txt", "d", "e"]
        assert archive.test() is not False
    assert [f.kind for f in read_archive(BytesView(data)).files] == ["file", "folder", "file"]


def test_filters_are_undone_to_the_last_byte() -> None:
    """liblzma keeps the last bytes back where a filter stands in front of LZMA without an end."""
    for size in (0, 1, 4, 5, 65_535, 65_536, 65_537, len(CODE)):
        data = CODE[:size]
        chain = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2}]
        filtered = lzma.decompress(
            lzma.compress(data, lzma.FORMAT_RAW, filters=chain), lzma.FORMAT_RAW, filters=chain[1:]
        )
        assert undo(b"\x03\x03\x01\x03", b"", filtered, size) == data


def test_numbers_of_every_length() -> None:
    for value, text in ((0x7F, b"\x7f"), (0x3FFF, b"\xbf\xff"), (0x1234, b"\x92\x34"), (1 << 62, number(1 << 62))):
        assert Reader(text).number() == value


def test_an_archive_behind_a_program_is_found() -> None:
    data = b"MZ" + b"7z\xbc\xaf\x27\x1c" + bytes(5000) + packed(MEMBERS)
    start = find(BytesView(data), 1 << 20)
    archive = read_archive(BytesView(data), start)
    assert [f.name for f in archive.files] == list(MEMBERS)
    assert find(BytesView(data[:4000]), 1 << 20) == -1


def test_an_archive_of_nothing() -> None:
    archive = read_archive(BytesView(wrapped(b"", b"")))
    assert not archive.files


def test_a_window_of_four_gigabytes_is_not_allocated() -> None:
    data = lzma.compress(b"text" * 100, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}])
    assert undo(b"\x03\x01\x01", b"\x5d\xff\xff\xff\xff", data, 400) == b"text" * 100


@pytest.mark.parametrize(
    ("method", "properties", "size"),
    [
        (b"\x00", b"", 5),
        (b"\x21", b"", 4),
        (b"\x21", b"\x29", 4),
        (b"\x03\x01\x01", b"\xff\0\0\0\0", 4),
        (b"\x03\x01\x01", b"\x08\0\0\1\0", 4),
        (b"\x03", b"", 4),
        (b"\x04", b"", 5),
        (b"\x04\x01\x08", b"", 4),
        (b"\x04\x02\x02", b"", 4),
        (b"\x04\xf7\x11\x01", b"", 4),
        (b"\x99", b"", 4),
        (b"\x06\xf1\x07\x01", b"", 4),
    ],
)
def test_what_cannot_be_undone_says_so(method: bytes, properties: bytes, size: int) -> None:
    with pytest.raises(CoderError):
        undo(method, properties, b"\xfftext"[1:], size)


HONEST = seven([Item("a.txt", b"text"), Item("d", None), Item("b.txt", b"more text"), Item("e", b"")])
SEEDS = [HONEST, packed({"a": b"x" * 99, "b": b"y"}), packed({"a": b"x" * 99}, ["X86", "LZMA"])]


def _resealed(data: bytearray, at: int, value: int) -> bytes:
    """Change a byte of the header and put the check sums right, so that the change is read."""
    offset, size = struct.unpack_from("<QQ", data, 12)
    if size and offset + size + 32 <= len(data):
        data[32 + offset + at % size] = value
        struct.pack_into("<L", data, 28, zlib.crc32(data[32 + offset : 32 + offset + size]))
        struct.pack_into("<L", data, 8, zlib.crc32(data[12:32]))
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_header_makes_it_raise_anything_else(seed: bytes, changes: list[tuple[int, int]]) -> None:
    data = seed
    for at, value in changes:
        data = _resealed(bytearray(data), at, value)
    view = BytesView(data)
    try:
        archive = read_archive(view)
        assert isinstance(archive, SevenArchive)
        for folder, files in archive.by_folder():
            unpacked = open_folder(view, archive, folder, limit=1 << 20)
            assert sum(f.size for f in files) <= max(unpacked.size, folder.size)
    except (SevenZipError, CoderError):
        pass


@pytest.mark.parametrize("length", range(0, len(HONEST), 3))
def test_what_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(SevenZipError):
        read_archive(BytesView(HONEST[:length]))


@pytest.mark.parametrize(
    "header",
    [
        b"\x01\x05" + number(1 << 60),
        b"\x01\x05" + number(3) + b"\x11" + number(3) + b"\x00a\x00\x00",
        b"\x01\x04\x06" + number(1 << 60) + number(1 << 50),
        b"\x01\x04\x06\x00\x01\x09\x05\x00\x07\x0b\x01\x00\x09",
        b"\x01\x04\x06\x00\x01\x09\x04\x00\x07\x0b\x01\x00\x02\x01\x00\x01\x00\x01\x01\x0c\x04\x04\x00\x00\x00",
        b"\x17\x06\x00\x01\x09\x04\x00\x07\x0b\x01\x00\x01\x01\x00\x0c" + number(1 << 40) + b"\x00\x00",
        b"\x99",
        b"",
        b"\x01\x02" + b"\x01" * 50,
    ],
)
def test_headers_that_lie_are_refused(header: bytes) -> None:
    with pytest.raises(SevenZipError):
        read_archive(BytesView(wrapped(b"text", header or b"\0")))
