"""Formats that are known by their first bytes and that nothing here can judge yet; pictures and sounds.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import re

from nbguard.scanners.base import Job, plain, unread
from nbguard.scanners.facts import Facts

_UNREAD: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"lmgg", "ggml", "a GGML model"),
    (0, b"tjgg", "ggml", "a GGML model"),
    (0, b"fmgg", "ggml", "a GGML model"),
    (4, b"ET12", "executorch", "an ExecuTorch program"),
    (4, b"ET13", "executorch", "an ExecuTorch program"),
    (0, b"PAR1", "parquet", "a Parquet file"),
    (0, b"ARROW1", "arrow", "an Arrow file"),
    (0, b"SQLite format 3\0", "sqlite", "an SQLite database"),
    (0, b"RDX2\n", "rdata", "an R workspace"),
    (0, b"RDX3\n", "rdata", "an R workspace"),
    (0, b"TFDF", "tfdf", "a decision forest"),
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


_PROTOBUF: tuple[tuple[re.Pattern[bytes], tuple[str, ...], str, str], ...] = (
    (re.compile(rb"[\x08\x0a]"), (".mlmodel",), "coreml", "a Core ML model"),
    (re.compile(rb"[\x80-\x8f\xde\xdf]"), (".msgpack",), "msgpack", "a MessagePack file (Flax)"),
)
"""Formats without a mark of their own: (how they begin, extensions that make it likely or none, format, name)."""


def _which(job: Job) -> tuple[str, str] | None:
    head = job.head
    for pattern, suffixes, format, called in _PROTOBUF:
        if pattern.match(head) and (job.suffix in suffixes or not suffixes) and b"\0" in head:
            return format, called
    for offset, magic, format, called in _UNREAD:
        if head.startswith(magic, offset):
            return format, called
    if any(head.startswith(magic, offset) for offset, magic in _MEDIA):
        return "media", ""
    return None
