"""safetensors: a JSON header and raw numbers. Nothing in it can run.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats.safetensors_header import SafetensorsError, looks_like, read_header
from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.facts import Facts


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
        return facts


SCANNER = SafetensorsScanner()
