"""What has to hold for any bytes whatever: an answer comes, it can be sent, and nothing is read that is not there.

facts = look(data, "model.onnx")        # raises Broken where something does not hold
"""

from __future__ import annotations

import json

from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.facts import Facts
from nbguard.scanners.registry import examine

LIMITS = Limits(unpacked=64 << 20, members=2_000)
"""As a scan has them, but with less that may come out of compressed streams, so that a bomb shows early."""
MAX_READ = 1 << 31
"""Bytes that a reader may ask for at once, whatever the file claims."""


class Broken(AssertionError):  # noqa: N818 - what it says is that a promise is broken
    """Something that has to hold for any bytes does not; the message says what."""


class Watched(BytesView):
    """Bytes that notice whoever asks for what cannot be there."""

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length > MAX_READ:
            raise Broken(f"read({offset}, {length}) of {self.size} bytes")
        return super().read(offset, length)


def look(data: bytes, path: str, companions: frozenset[str] = frozenset(), loader: str | None = None) -> Facts:
    """Judge the bytes as a worker would, in this process.

    Raises:
        Broken: a read out of bounds, an answer that cannot be sent or is too long, something unread called safe, a
            reader that took all the memory or the stack there is.
    """
    job = Job(path, Watched(data), LIMITS, Budget(LIMITS.unpacked, LIMITS.members), loader, companions)
    facts = examine(job)
    sent = json.dumps(facts.to_json())
    if len(sent) > LIMITS.answer:
        raise Broken(f"an answer of {len(sent)} bytes")
    back = Facts.from_json(json.loads(sent))
    if back.verdict is not facts.verdict:
        raise Broken("the answer does not come back as it went")
    if facts.verdict is Verdict.SAFE and "unknown" in facts.format:
        raise Broken("nobody knows the format, and it is called safe")
    for finding in facts.findings:
        if finding.rule == "format.unrecognised":
            raise Broken(f"the question whether it is {facts.format} has no answer: {finding.message}")
        if finding.rule == "limits.memory":
            raise Broken(f"out of memory, or of stack: {finding.message}")
        if len(finding.message) > 2_000 or len(finding.evidence) > 4_000 or len(finding.location) > 1_000:
            raise Broken(f"a text without bounds in {finding.rule}")
    return facts
