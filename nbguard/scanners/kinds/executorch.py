"""ExecuTorch: programs for phones and small machines, and tensors apart from them.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import executorch
from nbguard.formats.executorch import Program
from nbguard.formats.flatbuffer import FlatBufferError
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unread
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed
from nbguard.scanners.tables import table

_FOLLOWS = "The runtime follows such numbers with few checks, into memory that is not the model's."
_OLD = b"ET13"
"""Seen in no released schema; files that bear it are of somebody's own."""


class ExecuTorchScanner:
    name = "executorch"

    def recognise(self, job: Job) -> bool:
        return job.head[4:8] in (*executorch.PROGRAM, executorch.TENSORS, _OLD)

    def scan(self, job: Job) -> Facts:
        mark = job.head[4:8]
        if mark == _OLD:
            return unread(job, "executorch", "an ExecuTorch program of another schema")
        format = "executorch-data" if mark == executorch.TENSORS else "executorch"
        try:
            read = executorch.read_tensors if mark == executorch.TENSORS else executorch.read_program
            program = read(job.view)
        except FlatBufferError as error:
            return malformed(job, format, error)
        return _judge(job, format, program)


SCANNER = ExecuTorchScanner()


def _judge(job: Job, format: str, program: Program) -> Facts:
    facts = plain(job, format)
    digest = hashlib.sha256()
    for at in range(0, program.length, 1 << 20):
        digest.update(job.view.read(at, min(1 << 20, program.length - at)))
    if format == "executorch":
        facts.code.append(CodeFile(job.path, digest.hexdigest(), "executorch"))
    facts.marks.append(digest.hexdigest())
    facts.blocks = list(program.blocks)
    facts.counts.update(
        tensors=program.tensors,
        tensor_bytes=sum(b[2] for b in program.blocks),
        operations=sum(program.operators.values()),
    )
    for sentence in program.problems:
        facts.unverifiable("executorch.bounds", job.path, job.location, sentence, meaning=_FOLLOWS)
    rules = table("executorch")
    foreign = sorted(o for o in program.operators if o.partition("::")[0] not in rules["namespaces"] or "::" not in o)
    if foreign:
        facts.add(
            Finding(
                "executorch.operator",
                Severity.MEDIUM,
                job.path,
                job.location,
                "It uses operators that ExecuTorch itself does not have.",
                ", ".join(foreign[:20])[:1000],
                "What they do depends on the library that is registered for them, not on this file.",
                "Load it only with libraries that you trust, and with none that came with the model.",
            ),
            Verdict.REVIEW,
        )
    if program.delegates:
        unknown = [d for d in program.delegates if d not in rules["backends"]]
        facts.add(
            Finding(
                "executorch.delegate",
                Severity.MEDIUM if unknown else Severity.LOW,
                job.path,
                job.location,
                "Parts of it are compiled for "
                + ("a backend that nobody here knows." if unknown else "a backend, in a form of its own."),
                ", ".join(f"{name} ({count})" for name, count in list(program.delegates.items())[:20])[:1000],
                "What these parts do was not read: the backend's library reads them, and runs what they say.",
                "Load it only from a publisher you trust.",
            ),
            Verdict.REVIEW,
        )
    return facts


FORMATS = (
    Format(
        "executorch",
        "ExecuTorch programs",
        (".pte",),
        "the identifier `ET12` at byte 4",
        "the header and the whole program: every table, value, instruction, list, tensor, constant and segment, and "
        "whether the numbers in them lead to something that is there; operators and backends by name",
        "the parts that were compiled for a backend (XNNPACK, Core ML, …): only that they lie within the file",
        "*safe*; *review* where it uses operators of other libraries or brings parts for a backend; *unverifiable* "
        "where a number leads nowhere, or for another schema",
    ),
    Format(
        "executorch-data",
        "ExecuTorch tensors apart from their program",
        (".ptd",),
        "the identifier `FT01` at byte 4",
        "the header, the table, and that each tensor is no larger than the data that is there for it",
        "the numbers themselves",
        "*safe*; *unverifiable* where a number leads out of the file",
    ),
)
