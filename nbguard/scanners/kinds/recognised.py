"""Formats that are known by their first bytes and that nothing here can judge yet; native code; pictures and sounds.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
import re

from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Job, plain, unread
from nbguard.scanners.facts import Facts

_UNREAD: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"RKNN", "rknn", "a model compiled for Rockchip's accelerators"),
    (0, b"\x0e\x03\x13\x01", "hdf4", "an HDF4 file"),
    (0, b"\x0c\xdb\x3a\x2a", "ocdbt", "a database of TensorStore's (orbax)"),
    (0, b"\x0c\xdb\x20\xde", "ocdbt", "a part of a database of TensorStore's (orbax)"),
    (0, b"FEA1", "feather", "a Feather file of version 1"),
    (0, b"\xac\xed\x00\x05", "java-serialized", "a serialized Java object"),
    (0, b"\0asm", "wasm", "a WebAssembly module"),
)
"""(offset, first bytes, format, what to call it). Sources: the formats' own descriptions."""
_NATIVE: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "an ELF library or program"),
    (b"MZ", "a Windows library or program"),
    (b"\xfe\xed\xfa\xce", "a macOS library or program"),
    (b"\xfe\xed\xfa\xcf", "a macOS library or program"),
    (b"\xce\xfa\xed\xfe", "a macOS library or program"),
    (b"\xcf\xfa\xed\xfe", "a macOS library or program"),
    (b"\xca\xfe\xba\xbe", "a macOS library or a Java class"),
    (b"!<arch>\n", "a static library"),
)
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
_BYTECODE = re.compile(rb"..\r\n", re.DOTALL)


class RecognisedScanner:
    name = "recognised"

    def recognise(self, job: Job) -> bool:
        return _which(job) is not None

    def scan(self, job: Job) -> Facts:
        found = _which(job)
        assert found is not None
        format, called = found
        if format == "native":
            return _native(job, called)
        if format == "media":
            return plain(job, "media")
        return unread(job, format, called)


SCANNER = RecognisedScanner()


def _which(job: Job) -> tuple[str, str] | None:
    head = job.head
    for offset, magic, format, called in _UNREAD:
        if head.startswith(magic, offset):
            return format, called
    for magic, called in _NATIVE:
        if head.startswith(magic) and (magic != b"MZ" or _is_pe(head)):
            return "native", called
    if (_BYTECODE.match(head) and b"\0" in head[:16]) and (
        job.suffix in (".pyc", ".pyo") or (head[3:4] == b"\n" and head[1:2] in (b"\r", b"\x0c", b"\x0d", b"\x0e"))
    ):
        return "native", "compiled Python"
    if any(head.startswith(magic, offset) for offset, magic in _MEDIA):
        return "media", ""
    return None


def _is_pe(head: bytes) -> bool:
    at = int.from_bytes(head[60:64], "little")
    return len(head) > 64 and (head.startswith(b"PE\0\0", at) or at >= len(head))


def _native(job: Job, called: str) -> Facts:
    facts = plain(job, "native", "code")
    digest = hashlib.sha256()
    for at in range(0, job.size, 1 << 20):
        digest.update(job.view.read(at, 1 << 20))
    facts.native.append(CodeFile(f"{job.path}!{job.member}" if job.member else job.path, digest.hexdigest(), "native"))
    facts.add(
        Finding(
            "native.library",
            Severity.HIGH,
            job.path,
            job.location,
            f"This is {called}: machine code that cannot be judged here.",
            meaning="Code that loads it runs it with all your rights.",
            remedy="Install native parts from a package you trust instead of taking them from a model's folder.",
        ),
        Verdict.REVIEW,
    )
    return facts
