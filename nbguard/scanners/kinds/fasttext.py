"""fastText's models: dictionary and matrices as long as they say, to the last byte.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats.fasttext_model import MAGIC, FastTextError, read
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed, meant_for


class FastTextScanner:
    name = "fasttext"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(MAGIC) or meant_for(job, "fasttext.")

    def scan(self, job: Job) -> Facts:
        try:
            return _judge(job)
        except ValueError as error:
            return malformed(job, "fasttext", error)


def _judge(job: Job) -> Facts:
    if not job.head.startswith(MAGIC):
        raise FastTextError("fastText would be given something that is none of its models.")
    model = read(job.view)
    facts = plain(job, "fasttext")
    facts.blocks = list(model.places)
    digest, at = hashlib.sha256(), 0
    while at < model.head:
        part = job.view.read(at, min(1 << 22, model.head - at))
        digest.update(part)
        at += len(part)
    facts.marks.append(digest.hexdigest())
    facts.counts.update(arrays=len(model.places), array_bytes=sum(size for _, _, size, _ in model.places))
    return facts


SCANNER = FastTextScanner()
FORMATS = (
    Format(
        "fasttext",
        "fastText",
        (".bin", ".ftz"),
        "its mark at the start",
        "the dictionary; the size of every matrix, to the last byte",
        "the weights themselves: numbers",
        "*safe*; *unverifiable* where a size lies",
    ),
)
