"""GGUF: metadata, a table and quantised numbers, and a chat template, which is a program.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
import re

from nbguard.formats.gguf import KEPT, MAGIC, GgufError, GgufHeader, read_header, split
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import templates
from nbguard.scanners.base import Format, Job, plain, unverifiable
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
            piece = split(header)
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
        if piece is not None:
            _pieces(job, *piece, facts)
        return facts


SCANNER = GgufScanner()
FORMATS = (
    Format(
        "gguf",
        "GGUF, versions 1 to 3, in either byte order",
        (".gguf",),
        "the mark `GGUF` at its start",
        "every key and value; the table of tensors: types, shapes, sizes, places, gaps; arrays that readers follow by "
        "the number of tokens; chat templates, expression by expression; the other pieces of a model that is split",
        "the numbers, and what a program does with keys of its own. Arrays of arrays are refused",
        "*safe*; *review* for templates with unusual words; *unverifiable* where a size or a place lies; *danger* for "
        "templates that reach for attributes with double underscores",
    ),
)
_PIECE = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf\Z", re.DOTALL)
"""How llama.cpp makes the names of the pieces from that of the first one (`llama_split_path`)."""


def _pieces(job: Job, number: int, count: int, facts: Facts) -> None:
    """The pieces that llama.cpp opens with the first one are named after it, whatever this one says of them."""
    base = job.name.rsplit("/", 1)[-1]
    name = _PIECE.match(base)
    if name is None or (int(name[2]) - 1, int(name[3])) != (number, count):
        facts.add(
            Finding(
                "gguf.split",
                Severity.LOW,
                job.path,
                job.location,
                f"It is piece {number + 1} of {count} of a model, and its name says otherwise.",
                meaning="A program that looks for the other pieces by name does not find them.",
            ),
            Verdict.REVIEW,
        )
        return
    stem = name[1]
    others = [f"{stem}-{n + 1:05}-of-{count:05}.gguf" for n in range(count) if n != number]
    facts.companions += [o for o in others if o in job.companions and o not in facts.companions]


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
