"""Zip directories: what both readers agree on is read, and what they could disagree on is a doubt."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.formats.view import BytesView
from nbguard.formats.zip_reader import ZipDirectory, ZipError, has_end, read_directory, read_member


def make(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names are what some of these are about
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.comment = comment
            for name, data in members:
                archive.writestr(name, data)
    return out.getvalue()


def rules(data: bytes) -> set[str]:
    return {rule for rule, _ in read_directory(BytesView(data)).problems}


HONEST = make(("a/data.pkl", b"program"), ("a/data/0", b"0" * 100))


def test_an_honest_zip_is_read_without_doubt() -> None:
    directory = read_directory(BytesView(HONEST))
    assert not directory.problems
    assert [e.name for e in directory.entries] == ["a/data.pkl", "a/data/0"]
    assert read_member(BytesView(HONEST), directory.entries[0], limit=100) == b"program"
    entry = directory.entries[1]
    assert HONEST[entry.data : entry.data + entry.size] == b"0" * 100


def test_compressed_members_are_bounded() -> None:
    data = make(("bomb", b"\0" * 5_000_000), method=zipfile.ZIP_DEFLATED)
    assert len(data) < 10_000
    (entry,) = read_directory(BytesView(data)).entries
    assert len(read_member(BytesView(data), entry, limit=5_000_000)) == 5_000_000
    with pytest.raises(ZipError, match="larger"):
        read_member(BytesView(data), entry, limit=4_999_999)


def test_a_member_that_lies_about_its_size_is_not_unpacked_further() -> None:
    data = bytearray(make(("bomb", b"\0" * 1_000_000), method=zipfile.ZIP_DEFLATED))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, 10)
    (entry,) = read_directory(BytesView(bytes(data))).entries
    with pytest.raises(ZipError, match="size"):
        read_member(BytesView(bytes(data)), entry, limit=100)


def test_duplicate_names_are_a_doubt() -> None:
    """Row 19: PyTorch takes the first of two equal names, zipfile the last."""
    assert rules(make(("a/data.pkl", b"good"), ("a/data.pkl", b"evil"))) == {"zip.duplicate-member"}


def test_names_that_differ_in_case_are_a_doubt() -> None:
    """Row 19: zipfile reads data.pkl, PyTorch the DATA.PKL before it."""
    assert rules(make(("a/DATA.PKL", b"evil"), ("a/data.pkl", b"good"))) == {"zip.duplicate-member"}


def _patch(offset: int, value: bytes, where: bytes = b"PK\x01\x02") -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        at = data.index(where) + offset
        return data[:at] + value + data[at + len(value) :]

    return apply


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        (_patch(8, b"\x01"), "zip.encrypted"),  # the flag alone: zipfile refuses, PyTorch reads on
        (_patch(30, b"b/data.pkl", b"PK\x03\x04"), "zip.two-names"),
        (_patch(10, b"\x08"), "zip.method"),
        (_patch(10, b"\x0c"), "zip.method"),
        (_patch(24, b"\xff"), "zip.sizes"),
        (_patch(38, b"\x10"), "zip.folder"),  # PyTorch then unpickles uninitialised memory
        (_patch(42, b"\x01"), "zip.local-header"),
        (_patch(20, b"\xff\xff\xff\x00"), "zip.truncated"),
        (lambda data: data + b"junk", "zip.trailing"),
        (lambda data: data[:-2] + b"\x18\0" + data[-22:-2] + b"\x02\0xx", "zip.two-ends"),
        (_patch(10, b"\x09\x00", b"PK\x05\x06"), "zip.directory"),
    ],
)
def test_every_trick_is_a_doubt(trick: Callable[[bytes], bytes], expected: str) -> None:
    try:
        assert expected in rules(trick(HONEST))
    except ZipError:
        pytest.fail("the zip should be read, so that what is in it is seen")


def test_an_offset_that_only_zipfile_corrects_is_a_doubt() -> None:
    """Bytes before the archive: zipfile shifts every offset by them, PyTorch takes offsets as they stand."""
    data = b"PK\x03\x04" + b"\0" * 40 + HONEST
    assert "zip.offsets" in rules(data)


def test_a_zip_behind_something_else_is_read_as_zipfile_does() -> None:
    directory = read_directory(BytesView(b"\x80\x04N." + HONEST))
    assert directory.start == 4
    assert not directory.problems
    data = b"\x80\x04N." + HONEST
    assert read_member(BytesView(data), directory.entries[0], limit=100) == b"program"


def test_overlapping_entries_are_a_doubt() -> None:
    data = bytearray(make(("a", b"x" * 50), ("b", b"y" * 50)))
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, second + 42, 0)
    assert "zip.overlap" in rules(bytes(data))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\\b"])
def test_names_that_lead_out_are_a_doubt(name: str) -> None:
    assert "zip.name" in rules(make((name, b"")))


def test_a_name_with_a_nul_is_a_doubt() -> None:
    data = make(("aXb", b"")).replace(b"aXb", b"a\0b")
    assert "zip.name" in rules(data)


@pytest.mark.parametrize("length", [0, 1, 21, len(HONEST) // 2, len(HONEST) - 1])
def test_what_is_cut_off_is_no_zip(length: int) -> None:
    with pytest.raises(ZipError):
        read_directory(BytesView(HONEST[:length]))


def test_has_end() -> None:
    assert has_end(BytesView(HONEST))
    assert not has_end(BytesView(b"\x80\x04N."))


def test_sixty_four_bit_archives_are_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("a/x", "w", force_zip64=True) as member:
        member.write(b"12345")
    directory = read_directory(BytesView(out.getvalue()))
    assert not directory.problems
    assert directory.entries[0].size == 5


def test_a_second_end_of_sixty_four_bits_elsewhere_is_a_doubt() -> None:
    at = HONEST.rindex(b"PK\x05\x06")
    other = b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 2, 2, 10, 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1)
    try:
        found = rules(HONEST[:at] + other + locator + HONEST[at:])
    except ZipError:
        return
    assert "zip.zip64" in found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_make_it_raise_anything_else(data: st.DataObject) -> None:
    broken = bytearray(HONEST)
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        directory = read_directory(BytesView(bytes(broken)))
        assert isinstance(directory, ZipDirectory)
        for entry in directory.entries:
            read_member(BytesView(bytes(broken)), entry, limit=10_000)
    except ZipError:
        pass
