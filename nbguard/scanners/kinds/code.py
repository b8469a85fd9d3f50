"""Python source: what it does the moment it is imported, and which files beside it it imports.

    facts = SCANNER.scan(job)

Importing a model's module runs everything that stands outside functions; loading the model then runs the constructors
of its classes. The syntax tree is followed (`nbguard.scanners.source`): what counts is what is called, by whatever
spelling. A call that only stands in some other function is listed for reading. Words are never evidence.
"""

from __future__ import annotations

import ast
import hashlib

from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.source.across import flows
from nbguard.scanners.source.acts import Act
from nbguard.scanners.source.analysis import Analysis, Machine, TooMuchError
from nbguard.scanners.source.spelling import documentation, oddities

MAX_SOURCE = 8 << 20
"""Bytes; no model's module comes near."""
MOST_FINDINGS = 60
"""Acts of one file that are listed; what is left is counted in one more finding."""


class CodeScanner:
    name = "python"

    def recognise(self, job: Job) -> bool:
        return job.suffix in (".py", ".pyw", ".pyi") and b"\0" not in job.head

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_SOURCE:
            return unverifiable(job, "python", "code.size", "The source file is larger than any that people write.")
        source = job.view.read(0, job.size)
        facts = plain(job, "python", "code")
        name = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(name, hashlib.sha256(source).hexdigest(), "python"))
        if not source.strip():
            return facts
        try:
            tree = ast.parse(source)
            found = Machine(tree).follow(tree)
        except TooMuchError as error:
            facts.unverifiable("code.size", job.path, job.location, f"Nobody can say what it does: {error}.")
            return facts
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            facts.unverifiable(
                "code.syntax", job.path, job.location, f"Python cannot read this source: {str(error)[:150]}."
            )
            return facts
        _judge(job, tree, source, found, facts)
        return facts


SCANNER = CodeScanner()


def _judge(job: Job, tree: ast.Module, source: bytes, found: Analysis, facts: Facts) -> None:
    lines = source.splitlines()
    facts.references += [f"py:{_beside(job.path, r)}" for r in found.relative]
    facts.references += flows(job.path, found)
    if documentation(tree):
        return
    facts.add(
        Finding(
            "code.remote",
            Severity.MEDIUM,
            job.path,
            job.location,
            "This is Python code that comes with the model.",
            meaning="A load that trusts remote code imports it: it then runs with all your rights.",
            remedy="Read it, or load the model with trust_remote_code=False.",
        ),
        Verdict.REVIEW,
    )
    for act in found.acts[:MOST_FINDINGS]:
        _tell(job, act, _line(lines, act.line), facts)
    for number, what in oddities(source):
        facts.add(
            Finding(
                "code.spelling",
                Severity.HIGH,
                job.path,
                f"line {number}",
                f"The code {what}.",
                evidence=_line(lines, number),
                meaning="Whoever reads it sees something else than Python runs.",
                remedy="Do not load it before you know why.",
            ),
            Verdict.REVIEW,
        )
    if len(found.acts) > MOST_FINDINGS:
        worst = max(a.severity for a in found.acts[MOST_FINDINGS:])
        left = f"And {len(found.acts) - MOST_FINDINGS} more calls like these."
        at_load = any(_dangerous(a) for a in found.acts[MOST_FINDINGS:])
        facts.add(Finding("code.more", worst, job.path, "", left), Verdict.DANGER if at_load else Verdict.REVIEW)


def _dangerous(act: Act) -> bool:
    return act.when != "function" and act.severity >= Severity.HIGH


def _tell(job: Job, act: Act, evidence: str, facts: Facts) -> None:
    """One act as a finding: what, when, and the way that leads there."""
    rule = {"import": "code.acts-at-import", "construction": "code.acts-at-load", "function": "code.can-act"}[act.when]
    way = " → ".join((*(label[:80] for label in act.chain[-6:]), act.name[:80]))
    if act.when != "function" and act.severity >= Severity.HIGH:
        meaning = "Of 1,695 honest model files that were looked at, none does that."
    elif act.when != "function":
        meaning = "It happens while the model is loading."
    else:
        meaning = "It does not run while the model is loading, but when that function is called."
    facts.add(
        Finding(
            rule,
            act.severity,
            job.path,
            f"line {act.line}",
            f"The code {act.effect.what} ({act.name[:80]}) {_WHEN[act.when]}.",
            evidence=f"{evidence}\n{way}" if len(act.chain) > 1 or act.chain[0] != "import" else evidence,
            meaning=meaning,
            remedy="Do not load it." if _dangerous(act) else "Read this function before you accept.",
        ),
        Verdict.DANGER if _dangerous(act) else Verdict.REVIEW,
    )


_WHEN = {
    "import": "as soon as it is imported",
    "construction": "when the model is built",
    "function": "in one of its functions",
}


def _line(lines: list[bytes], number: int) -> str:
    return lines[number - 1].strip()[:500].decode("utf-8", "backslashreplace") if 0 < number <= len(lines) else ""


def _beside(path: str, relative: str) -> str:
    """`relative` from the folder of `path`; steps above the root stay as they are, and then name nothing."""
    parts = path.split("/")[:-1]
    for piece in relative.split("/"):
        if piece == ".." and parts:
            parts.pop()
        else:
            parts.append(piece)
    return "/".join(parts)
