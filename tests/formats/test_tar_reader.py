"""Tars: read without a doubt, they hold what Python's tarfile finds; what others would read otherwise is a doubt."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_set.tars import entry, tarred, two_sizes

from nbguard.formats.tar_reader import TarError, read_tar
from nbguard.formats.view import BytesView

KINDS = {
    tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "link", tarfile.DIRTYPE: "folder", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
}  # fmt: skip
LONG = "folder/" * 20 + "ü" * 90
NAMES = ["a.txt", "folder/b.txt", LONG, "./c", "d" * 100, "e" * 101, "/f", "../g", "h\\i"]


def shown(name: str) -> str:
    """Bytes that are no UTF-8, as they stand in findings."""
    return name.encode("utf-8", "backslashreplace").decode()


def by_python(data: bytes) -> list[tuple[str, str, str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (shown(i.name), KINDS.get(i.type, "unknown"), shown(i.linkname), i.offset_data, i.size if i.isreg() else 0)
            for i in archive
        ]


def read_here(data: bytes) -> list[tuple[str, str, str, int, int]]:
    return [(e.name, e.kind, e.target, e.data, e.size) for e in read_tar(BytesView(data)).entries]


def rules(data: bytes) -> set[str]:
    return {rule for rule, _ in read_tar(BytesView(data)).problems}


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read_as_it_reads_it(format: int) -> None:
    members = [(name, b"x" * n * 300) for n, name in enumerate(NAMES)]
    links = [entry(f"l{n}", kind, name) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) for n, name in enumerate(NAMES)]
    data = tarred(
        *members, *links, entry("folder/sub", tarfile.DIRTYPE), entry("pipe", tarfile.FIFOTYPE), format=format
    )
    assert read_here(data) == by_python(data)
    assert not rules(data)


def _patch(at: int, value: bytes, kind: bytes | None = None) -> Callable[[], bytes]:
    def build() -> bytes:
        data = bytearray(tarred(("a.txt", b"text"), ("b.txt", b"more")))
        data[at : at + len(value)] = value
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
        return bytes(data)

    return build


def _pax(**records: str) -> bytes:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)


def _global() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "evil"}) as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (_patch(124, b"0000001 7\0"), "tar.number"),
        (_patch(156, b"5"), "tar.sizes"),
        (_patch(156, b"V"), "tar.kind"),
        (_patch(345, b"prefix\0"), "tar.prefix"),
        (_patch(124, b"00000777777\0"), "tar.truncated"),
        (lambda: _pax(path="b.txt", size="1024"), "tar.two-sizes"),
        (lambda: _pax(**{"GNU.sparse.major": "1"}), "tar.sparse"),
        (_global, "tar.global"),
        (two_sizes, "tar.two-sizes"),
        (lambda: tarred(("a", b"x")) + b"junk", "tar.trailing"),
        (lambda: tarred(("a", b"x"))[:1024] + b"junk", "tar.truncated"),
        (lambda: tarfile.TarInfo("n" * 200).tobuf(tarfile.GNU_FORMAT)[:1024] + bytes(1024), "tar.header"),
        (lambda: tarred(("a", b"x"))[:1024] + b"\1" * 512 + tarred(("b", b"y")), "tar.header"),
    ],
)
def test_every_trick_is_a_doubt(build: Callable[[], bytes], rule: str) -> None:
    assert rule in rules(build())


def test_entries_behind_a_damaged_header_are_seen_all_the_same() -> None:
    data = tarred(("a", b"x"))[:1024] + b"\1" * 512 + tarred(("b", b"y"))
    assert [e.name for e in read_tar(BytesView(data)).entries] == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"\0" * 1024, b"text" * 300])
def test_what_is_no_tar_is_refused(data: bytes) -> None:
    with pytest.raises(TarError):
        read_tar(BytesView(data))


def test_the_tar_that_python_tests_itself_with() -> None:
    import test

    found = sorted(Path(next(iter(test.__path__))).rglob("testtar.tar"))
    if not found:
        pytest.skip("this Python comes without its tests")
    data = found[0].read_bytes()
    here = {(e.name, e.data) for e in read_tar(BytesView(data)).entries if e.kind != "sparse"}
    there = {(name, at) for name, kind, _, at, _ in by_python(data) if kind != "unknown"}
    assert all("sparse" in name for name, _ in there - here), there - here


SEEDS = [tarred(("a.txt", b"text"), (LONG, b"x" * 600), entry("l", tarfile.SYMTYPE, "a.txt"), format=f)
         for f in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]  # fmt: skip


_CHANGES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 511), st.integers(0, 255)), max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1), _CHANGES)
def test_a_tar_without_doubts_is_read_as_python_reads_it(seed: int, changes: list[tuple[int, int, int]]) -> None:
    data = bytearray(SEEDS[seed])
    for block, at, value in changes:
        start = block * 512
        data[start + at] = value
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    try:
        directory = read_tar(BytesView(bytes(data)))
    except TarError:
        return
    if directory.problems:
        return
    try:
        expected = by_python(bytes(data))
    except (tarfile.TarError, ValueError, OverflowError):
        return  # Python's reader refuses what this one reads; nothing is loaded then
    assert [(n, k, at, s) for n, k, _, at, s in read_here(bytes(data))] == [
        (n, k, at, s) for n, k, _, at, s in expected
    ]
