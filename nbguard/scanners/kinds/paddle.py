"""PaddlePaddle: programs of both kinds, and the parameters beside them.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import paddle_program, paddle_tensors
from nbguard.formats.paddle_program import PaddleProgram
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.companions import plain_location
from nbguard.scanners.configs import MAX_JSON
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed, structure
from nbguard.scanners.tables import table

_SHOWN = 20


class PaddleScanner:
    name = "paddle"

    def recognise(self, job: Job) -> bool:
        if paddle_tensors.looks_like(job.view) or _too_large(job):
            return True
        named = job.suffix in (".pdmodel", ".pdiparams") and b"\0" in job.head
        return named or (job.head[:1] == b"\n" and paddle_program.looks_like_proto(job.view))

    def scan(self, job: Job) -> Facts:
        if _too_large(job):
            return malformed(job, "paddle-json", ValueError("The program is larger than any real one."))
        if job.suffix == ".pdiparams" or (job.suffix != ".pdmodel" and job.head[:1] == b"\0"):
            return _tensors(job)
        try:
            program = paddle_program.read_proto(job.view, _wanted())
        except paddle_program.PaddleError as error:
            return malformed(job, "paddle-program", error)
        return _judge(job, plain(job, "paddle-program"), program)


SCANNER = PaddleScanner()


def _too_large(job: Job) -> bool:
    return job.size > MAX_JSON and paddle_program.looks_like_json(job.head)


def _wanted() -> frozenset[str]:
    rules = table("paddle")
    wanted: frozenset[str] = rules["harmful"] | rules["reads"]
    return wanted


def from_json(job: Job) -> Facts:
    """A program of version 3, which is JSON."""
    try:
        program = paddle_program.read_json(job.view.read(0, job.size), _wanted())
    except paddle_program.PaddleError as error:
        return malformed(job, "paddle-json", error)
    return _judge(job, Facts(format="paddle-json"), program)


def _tensors(job: Job) -> Facts:
    try:
        blocks = paddle_tensors.read(job.view)
    except paddle_tensors.PaddleTensorError as error:
        return malformed(job, "paddle-tensors", error)
    facts = plain(job, "paddle-tensors")
    facts.blocks = blocks
    facts.counts.update(tensors=len(blocks), tensor_bytes=sum(b[2] for b in blocks))
    if job.size > job.limits.whole:
        facts.marks.append(structure(job, blocks))
    return facts


def _judge(job: Job, facts: Facts, program: PaddleProgram) -> Facts:
    digest = hashlib.sha256()
    for at in range(0, job.size, 1 << 20):
        digest.update(job.view.read(at, 1 << 20))
    facts.code.append(CodeFile(job.path, digest.hexdigest(), facts.format))
    facts.marks.append(digest.hexdigest())
    facts.counts.update(operations=sum(program.operators.values()))
    for sentence in program.problems:
        facts.unverifiable(f"{facts.format}.malformed", job.path, job.location, sentence)
    rules = table("paddle")
    found: dict[str, list[str]] = {}
    for dialect, kind in program.operators:
        found.setdefault(_does(dialect, kind, rules), []).append(kind)
    for operator in found.get("harmful", [])[:_SHOWN]:
        _add(
            job,
            facts,
            Severity.CRITICAL,
            f"The operator {operator[:100]} writes files, calls Python, or reaches other machines.",
            _told(program, operator),
            "It does that when the model is run, with your rights.",
        )
    for operator in found.get("reads", [])[:_SHOWN]:
        told = _told(program, operator)
        outside = any(
            plain_location(v) is None for o, _, v in program.settings if o == operator and ("/" in v or "\\" in v)
        )
        _add(
            job,
            facts,
            Severity.CRITICAL if outside else Severity.HIGH,
            f"The operator {operator[:100]} reads a file" + (" outside of the model's folder." if outside else "."),
            told,
            "It would read a file of yours into the model, from where it can be sent on.",
        )
    if "compiled" in found:
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "A part of it is compiled for a library of its own.",
            ", ".join(sorted(found["compiled"])[:_SHOWN])[:1000],
            "What that part does was not read: the library reads it, and runs what it says.",
        )
    if "" in found:
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "It uses operators that PaddlePaddle itself is not known to have.",
            ", ".join(sorted(found[""])[:_SHOWN])[:1000],
            "What they do depends on the library that is registered for them, not on this file.",
        )
    return facts


def _does(dialect: str, kind: str, rules: dict[str, frozenset[str]]) -> str:
    """`harmful`, `reads`, `compiled`, `computes`, or an empty text for what nobody knows."""
    name = kind.rstrip("_")
    for forward in (name, name.removesuffix("_grad")):
        for what in ("harmful", "reads", "compiled"):
            if forward in rules[what]:
                return what
    if dialect in ("builtin", "cf", "dist_op", "pd_op") and (
        name in rules["structure"] or (dialect != "builtin" and name in rules["computes"])
    ):
        return "computes"
    return "computes" if dialect == "dist_op" else ""


def _told(program: PaddleProgram, operator: str) -> str:
    return ", ".join(f"{name}={value!r}" for o, name, value in program.settings if o == operator)[:1000]


def _add(job: Job, facts: Facts, severity: Severity, message: str, evidence: str, meaning: str) -> None:
    danger = severity is Severity.CRITICAL
    remedy = "Do not load it." if danger else "Load it only from a publisher you trust."
    facts.add(
        Finding("paddle.operator", severity, job.path, job.location, message, evidence, meaning, remedy),
        Verdict.DANGER if danger else Verdict.REVIEW,
    )


_PROGRAM = "every field against the published schema; operators by name, and the paths in attributes of those that read"
FORMATS = (
    Format(
        "paddle-program",
        "PaddlePaddle programs",
        (".pdmodel",),
        "the fields of a `ProgramDesc` whose first block has a number and a parent, to the last byte",
        _PROGRAM,
        "what shapes and attributes say to each other: PaddlePaddle checks these when it builds the operator",
        "*safe*; *review* for operators of libraries, compiled parts and those that read files; *unverifiable* for "
        "fields that are not known; *danger* for operators that write, call Python, or reach other machines",
    ),
    Format(
        "paddle-json",
        "PaddlePaddle programs, version 3",
        (".json",),
        "JSON with `base_code` and `program`, in whatever order",
        "operators of all regions by dialect and name, paths in attributes; and the same as a JSON of any other name",
        "types, shapes and attributes: PaddlePaddle checks these when it builds the operator",
        "as for `.pdmodel`; *unverifiable* where a name is there twice or an operator has none",
    ),
    Format(
        "paddle-tensors",
        "PaddlePaddle parameters",
        (".pdiparams",),
        "a tensor described as PaddlePaddle describes them at its start",
        "every tensor: version, level of detail, type, shape and length, to the last byte",
        "the numbers themselves; which tensor is which is in the program",
        "*safe*; *unverifiable* where a length leads out of the file or something else lies behind",
    ),
)
