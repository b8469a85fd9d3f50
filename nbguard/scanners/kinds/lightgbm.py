"""LightGBM's text models: trees of the size that the head says, every index followed.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats.lightgbm_text import MAX_SIZE, LightGBMError, looks_like, read
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import checked, malformed, meant_for


class LightGBMScanner:
    name = "lightgbm"

    def recognise(self, job: Job) -> bool:
        return looks_like(job.head) or meant_for(job, "lightgbm.")

    def scan(self, job: Job) -> Facts:
        try:
            return _judge(job)
        except ValueError as error:
            return malformed(job, "lightgbm", error)


def _judge(job: Job) -> Facts:
    if not looks_like(job.head):
        raise LightGBMError("LightGBM would be given something that is none of its models.")
    model = read(job.view)
    data = job.view.read(0, min(job.size, MAX_SIZE))
    return checked(job, "lightgbm-text", data, trees=model.trees, numbers=model.numbers)


SCANNER = LightGBMScanner()
FORMATS = (
    Format(
        "lightgbm-text",
        "LightGBM",
        (".txt",),
        "the word `tree` on its first line, and a version",
        "every tree, by the sizes that the head names; children, leaves, features, categories",
        "the weights themselves, and what the parameters at the end say",
        "*safe*; *unverifiable* where one leads nowhere",
    ),
)
