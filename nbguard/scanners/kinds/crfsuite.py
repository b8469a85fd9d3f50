"""CRFsuite's models: features, labels and attributes, every index followed.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats.crfsuite_model import MAGIC, read
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed


class CrfsuiteScanner:
    name = "crfsuite"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(MAGIC)

    def scan(self, job: Job) -> Facts:
        try:
            model = read(job.view)
        except ValueError as error:
            return malformed(job, "crfsuite", error)
        facts = plain(job, "crfsuite")
        facts.blocks = list(model.places)
        facts.counts.update(arrays=len(model.places), array_bytes=job.size)
        return facts


SCANNER = CrfsuiteScanner()
FORMATS = (
    Format(
        "crfsuite",
        "CRFsuite",
        (".crfsuite", ".bin"),
        "the mark `lCRF` at its start",
        "every table, label, attribute and feature, to the last byte",
        "the weights themselves: numbers",
        "*safe*; *unverifiable* where an index or a length leads nowhere",
    ),
)
