"""ncnn's models: the text of their layers, and the file of numbers beside it.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import ncnn_param
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unread
from nbguard.scanners.companions import claim
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed
from nbguard.scanners.other import judge as judge_other
from nbguard.scanners.tables import table

_BINARY = ncnn_param.MAGIC.to_bytes(4, "little")
"""How the binary form of a `.param` begins."""


class NcnnScanner:
    name = "ncnn"

    def recognise(self, job: Job) -> bool:
        return ncnn_param.looks_like(job.head) or job.head.startswith(_BINARY)

    def scan(self, job: Job) -> Facts:
        if job.head.startswith(_BINARY):
            return unread(job, "ncnn-binary", "an ncnn model in binary form")
        try:
            model = ncnn_param.read(job.view)
        except ncnn_param.NcnnError as error:
            return malformed(job, "ncnn", error)
        facts = plain(job, "ncnn")
        data = job.view.read(0, ncnn_param.MAX_SIZE)
        facts.code.append(CodeFile(job.path, hashlib.sha256(data).hexdigest(), "ncnn"))
        facts.marks.append(facts.code[0].sha256)
        facts.counts.update(operations=sum(model.layers.values()))
        for sentence in model.problems:
            facts.unverifiable(
                "ncnn.malformed",
                job.path,
                job.location,
                sentence,
                meaning="ncnn makes room for what the text says first; older versions then write what comes.",
            )
        rules = table("ncnn")
        known = tuple(rules["pnnx"]) if model.by_pnnx else ()
        unknown = sorted(k for k in model.layers if k not in rules["layers"] and not (known and k.startswith(known)))
        if unknown:
            facts.add(
                Finding(
                    "ncnn.layer",
                    Severity.MEDIUM,
                    job.path,
                    job.location,
                    "It uses layers that ncnn itself does not have.",
                    ", ".join(unknown[:20])[:1000],
                    "The program that loads it registers code of its own for them.",
                    "Load it only with the program that it was made for.",
                ),
                Verdict.REVIEW,
            )
        name = ncnn_param.data_file(job.name.rsplit("/", 1)[-1], job.head)
        if name is not None and name in job.companions and not job.member:
            claim(facts, name, 0)
        text = judge_other(job)
        text.regions = {}
        facts.read_too(text)
        return facts


SCANNER = NcnnScanner()
FORMATS = (
    Format(
        "ncnn",
        "ncnn",
        (".param", ".bin"),
        "the number 7767517 and two counts at the start of a text; the `.bin` of the same name beside it is its data",
        "that there are as many layers and no more blobs than it says, that each layer names its blobs, the lengths of "
        "lists in settings, and layers that ncnn does not have",
        "what settings mean to a layer, and whether the `.bin` is as long as they ask for: ncnn looks at that itself; "
        "the `.bin` is taken for numbers and not read",
        "*safe*; *review* for layers of the program that loads it; *unverifiable* where counts and lines do not agree",
        untested="ncnn's converter is no part of the test environment; the text is built in code.",
    ),
    Format(
        "ncnn-binary",
        "ncnn in binary form",
        (".param.bin",),
        "the number 7767517 in its first four bytes",
        "nothing: the format is closely bound to the version of ncnn",
        "all of it",
        "*unverifiable*",
        untested="ncnn's converter is no part of the test environment; the text is built in code.",
    ),
)
