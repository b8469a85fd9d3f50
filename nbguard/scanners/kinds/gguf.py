"""GGUF: metadata, a table and quantised numbers, and a chat template, which is a program.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats.gguf import KEPT, MAGIC, GgufError, GgufHeader, read_header
from nbguard.scanners import templates
from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.facts import Facts

TEMPLATE = "tokenizer.chat_template"
"""Key of the template; others follow behind a dot, and their names stand in the array `tokenizer.chat_templates`."""


class GgufScanner:
    name = "gguf"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(MAGIC)

    def scan(self, job: Job) -> Facts:
        try:
            header = read_header(job.view)
        except GgufError as error:
            return unverifiable(
                job,
                "gguf",
                "gguf.header",
                str(error),
                meaning="Readers have been made to read and write beyond their memory by such headers.",
                remedy="Download it again, or ask the publisher.",
            )
        facts = plain(job, "gguf")
        facts.blocks = [(t.name, t.offset, t.size, t.kind) for t in header.tensors]
        digest = hashlib.sha256()
        for at in range(0, header.length, 1 << 20):
            digest.update(job.view.read(at, min(1 << 20, header.length - at)))
        facts.marks.append(digest.hexdigest())
        facts.counts.update(tensors=len(header.tensors), tensor_bytes=header.nbytes)
        _templates(job, header, facts)
        return facts


SCANNER = GgufScanner()


def _templates(job: Job, header: GgufHeader, facts: Facts) -> None:
    for key, value in header.metadata.items():
        if key != TEMPLATE and not key.startswith(TEMPLATE + ".") and not key.endswith(".chat_template"):
            continue
        if isinstance(value, str):
            templates.judge(job, value, key, facts)
        elif not isinstance(value, list) or header.lengths.get(key, 0) > KEPT or not _texts(value):
            facts.unverifiable("gguf.template", job.path, key[:200], "A chat template is there that is no text.")
        else:
            for number, text in enumerate(value):
                templates.judge(job, text, f"{key} {number}", facts)


def _texts(value: list[object]) -> bool:
    return all(isinstance(item, str) for item in value)
