"""Formats that are known by their first bytes and that nothing here can judge yet; pictures and sounds.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.scanners.base import Job, plain, unread
from nbguard.scanners.facts import Facts

_UNREAD: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"RKNN", "rknn", "a model compiled for Rockchip's accelerators"),
    (0, b"\x0e\x03\x13\x01", "hdf4", "an HDF4 file"),
    (0, b"\x0c\xdb\x3a\x2a", "ocdbt", "a database of TensorStore's (orbax)"),
    (0, b"\x0c\xdb\x20\xde", "ocdbt", "a part of a database of TensorStore's (orbax)"),
    (0, b"FEA1", "feather", "a Feather file of version 1"),
)
"""(offset, first bytes, format, what to call it). Sources: the formats' own descriptions."""
_MEDIA: tuple[tuple[int, bytes], ...] = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"RIFF"),
    (0, b"%PDF-"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"fLaC"),
    (4, b"ftyp"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"wOFF"),
    (0, b"wOF2"),
    (0, b"\0\0\1\0\1\0"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"\x00\x05\x16\x07"),  # what macOS puts beside each file in an archive (AppleDouble)
    (0, b"\x00\x00\x00\x01Bud1"),  # .DS_Store
)


class RecognisedScanner:
    name = "recognised"

    def recognise(self, job: Job) -> bool:
        return _which(job) is not None

    def scan(self, job: Job) -> Facts:
        found = _which(job)
        assert found is not None
        format, called = found
        if format == "media":
            return plain(job, "media")
        return unread(job, format, called)


SCANNER = RecognisedScanner()


def _which(job: Job) -> tuple[str, str] | None:
    head = job.head
    for offset, magic, format, called in _UNREAD:
        if head.startswith(magic, offset):
            return format, called
    if any(head.startswith(magic, offset) for offset, magic in _MEDIA):
        return "media", ""
    return None
