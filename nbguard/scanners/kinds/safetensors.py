"""safetensors: a JSON header and raw numbers. Nothing in it can run.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from nbguard.formats.safetensors_header import SafetensorsError, looks_like, read_header
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts

MAX_HIDDEN = 16 << 20
"""Bytes of one text of the metadata that are looked at for something that is hidden in it."""
_SCRIPT = re.compile(r"^\s*(?:#!.*\b(?:python|sh|bash|perl|node)\b|(?:import|from)\s+(?:os|sys|subprocess|socket)\b)")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{16,}+={0,2}\s*\Z")


class SafetensorsScanner:
    name = "safetensors"

    def recognise(self, job: Job) -> bool:
        return looks_like(job.view) or (job.suffix == ".safetensors" and not job.container)

    def scan(self, job: Job) -> Facts:
        try:
            header = read_header(job.view)
        except SafetensorsError as error:
            return unverifiable(
                job,
                "safetensors",
                "safetensors.header",
                str(error),
                meaning="Readers may disagree on what is in it.",
                remedy="Download it again, or ask the publisher.",
            )
        facts = plain(job, "safetensors")
        facts.blocks = [(name[:500], offset, size, kind) for name, kind, offset, size in header.tensors]
        facts.marks.append(hashlib.sha256(job.view.read(0, 8 + header.length)).hexdigest())
        facts.counts.update(tensors=len(header.tensors), tensor_bytes=header.nbytes)
        for key, text in header.metadata.items():
            _hidden(job, key, text, facts)
        return facts


SCANNER = SafetensorsScanner()
FORMATS = (
    Format(
        "safetensors",
        "safetensors",
        (".safetensors",),
        "a length and a JSON object behind it, or its name",
        "the header: bounds, overlaps, gaps, names that are there twice, sizes against shapes, what lies behind the "
        "last tensor; metadata that holds a pickle or a script",
        "the numbers: nothing in them can run. No tensor is read, however large the file",
        "*safe*; *review* for a pickle in the metadata; *unverifiable* where malformed",
    ),
)


def _hidden(job: Job, key: str, text: str, facts: Facts) -> None:
    """No reader runs metadata. A pickle in it waits for some program that does, and no trainer writes one there."""
    if _SCRIPT.match(text[:4096]):
        _tell(job, key, text[:200], "a script", Severity.LOW, Verdict.SAFE, facts)
    raw = _decoded(text) if 16 <= len(text) <= MAX_HIDDEN else None
    if raw is None or raw[:1] != b"\x80" or not _is_program(job, key, raw):
        return
    _tell(job, key, text[:200], "a pickle", Severity.MEDIUM, Verdict.REVIEW, facts)


def _decoded(text: str) -> bytes | None:
    """Bytes that were made a text: as base64, or each as a character."""
    if _BASE64.match(text):
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            return None
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def _is_program(job: Job, key: str, raw: bytes) -> bool:
    from nbguard.scanners.streams import as_pickle_too

    return bool(as_pickle_too(job.inside(raw, member=f"metadata {key[:100]}", container="nested")).programs)


def _tell(job: Job, key: str, shown: str, what: str, severity: Severity, verdict: Verdict, facts: Facts) -> None:
    facts.add(
        Finding(
            "safetensors.metadata",
            severity,
            job.path,
            f"metadata {key[:100]}",
            f"There is {what} in the metadata.",
            evidence=shown,
            meaning="Loading the tensors does not touch it; it may be meant for a program that reads the metadata.",
            remedy="Ask the publisher what it is for, or have the file saved again without metadata.",
        ),
        verdict,
    )
