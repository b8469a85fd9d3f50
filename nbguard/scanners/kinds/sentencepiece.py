"""sentencepiece's models: every piece, and the rules of the normaliser, whose offsets the library follows unseen.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats.sentencepiece_model import looks_like, read
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import checked, malformed


class SentencePieceScanner:
    name = "sentencepiece"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(b"\x0a") and looks_like(job.view)

    def scan(self, job: Job) -> Facts:
        try:
            model = read(job.view)
        except ValueError as error:
            return malformed(job, "sentencepiece", error)
        facts = checked(job, "sentencepiece", job.view.read(0, job.size), trees=0, numbers=model.rules)
        facts.counts = {"pieces": model.pieces}
        return facts


SCANNER = SentencePieceScanner()
FORMATS = (
    Format(
        "sentencepiece",
        "sentencepiece",
        (".model", ".spm", ".vocab"),
        "its first entries are pieces: a text, a score, a type",
        "every field; pieces that are empty, double or of no type; the trie and the texts of the compiled rules, every "
        "offset that a search could follow",
        "the words themselves",
        "*safe*; *unverifiable* with fields that nobody knows, or where an offset or a length leads nowhere",
    ),
)
