"""Importance matrices of llama.cpp (`imatrix.dat`), which lie beside quantized models.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats.imatrix import ImatrixError, begins, read
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed


class ImatrixScanner:
    name = "imatrix"

    def recognise(self, job: Job) -> bool:
        """It has no mark: what is so named, or what is one to the last byte."""
        if not begins(job.head):
            return False
        if job.suffix in (".dat", ".imatrix") and "imatrix" in job.name.rsplit("/", 1)[-1].lower():
            return True
        try:
            return bool(read(job.view).arrays)
        except ImatrixError:
            return False

    def scan(self, job: Job) -> Facts:
        try:
            found = read(job.view)
        except ImatrixError as error:
            return malformed(job, "imatrix", error)
        facts = plain(job, "imatrix")
        facts.blocks = [(name[:300], offset, size, "f4") for name, offset, size in found.arrays]
        digest, at = hashlib.sha256(), 0
        for _, offset, size in found.arrays:
            digest.update(job.view.read(at, offset - at))
            at = offset + size
        digest.update(job.view.read(at, job.size - at))
        facts.marks.append(digest.hexdigest())
        facts.counts.update(arrays=len(found.arrays), array_bytes=sum(size for _, _, size in found.arrays))
        return facts


SCANNER = ImatrixScanner()
FORMATS = (
    Format(
        "imatrix",
        "importance matrices of llama.cpp",
        ("imatrix.dat",),
        "names and rows of numbers that explain the file to its last byte, or its name and a first entry; those that"
        " are GGUF are read as that",
        "every name, and the length of every row, to the last byte",
        "the numbers themselves",
        "*safe*; *unverifiable* where a length lies, or something follows",
        untested="llama-imatrix is a program of llama.cpp and in no package; the file is built in code",
    ),
)
