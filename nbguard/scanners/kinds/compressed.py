"""Compressed streams: joblib's and pandas' compressions, judged by what comes out.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats import compression
from nbguard.report.model import Verdict
from nbguard.scanners.base import Job, unread, unverifiable
from nbguard.scanners.facts import Facts

_UNREAD = {
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\x1f\x9d": "compress",
}


class CompressedScanner:
    name = "compressed"

    def recognise(self, job: Job) -> bool:
        return compression.detect(job.head[:4096]) is not None or job.head.startswith(tuple(_UNREAD))

    def scan(self, job: Job) -> Facts:
        from nbguard.scanners.registry import examine

        for magic, name in _UNREAD.items():
            if job.head.startswith(magic):
                return unread(job, name, f"a {name} archive")
        kind = compression.detect(job.head[:4096])
        assert kind is not None
        try:
            data, problem = compression.decompress(job.view, kind, limit=max(0, job.budget.unpacked)), ""
        except compression.CompressionError as error:
            data, problem = error.seen, str(error)
        if not job.budget.take(len(data)):
            return unverifiable(job, kind, "limits.unpacked", "It unpacks to more than is read.")
        chain = f"{job.compression}+{kind}" if job.compression else kind
        facts = examine(job.inside(data, compression=chain))
        if not job.member:
            facts.containers[job.path] = f"{facts.format}+{kind}"
        facts.format = f"{facts.format}+{kind}"
        facts.regions = {"code" if facts.programs else "data": job.size}
        if problem:
            facts.unverifiable("compression.damaged", job.path, job.location, problem)
            facts.verdict = max(facts.verdict, Verdict.UNVERIFIABLE)
        return facts


SCANNER = CompressedScanner()
