"""Python source: what it does the moment it is imported, and which files beside it it imports.

    facts = SCANNER.scan(job)

Importing a model's module runs everything that stands outside functions; loading the model then runs the constructors
of its classes. The syntax tree is followed (`nbguard.scanners.source`): what counts is what is called, by whatever
spelling. A call that only stands in some other function is listed for reading. Words are never evidence.
"""

from __future__ import annotations

import hashlib

from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.source.analysis import Analysis, TooMuchError, analyse
from nbguard.scanners.source.modules import IMPORT
from nbguard.scanners.source.spelling import oddities
from nbguard.scanners.source.telling import dangerous, finding_of, line

MAX_SOURCE = 4 << 20
"""Bytes; the largest of 6,190 honest files has a ninth."""
MAX_PARTS = 300_000
"""Commas, semicolons and ends of lines, which say what reading it takes; the largest honest file has a tenth."""
MAX_BRACES = 50_000
"""Opening braces: Python's parser takes a time that grows with the square of those in one formatted text."""
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
        parts = source.count(b",") + source.count(b";") + source.count(b"\n")
        if parts > MAX_PARTS or source.count(b"{") > MAX_BRACES:
            return unverifiable(job, "python", "code.size", "The source has more parts than any that people write.")
        facts = plain(job, "python", "code")
        name = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(name, hashlib.sha256(source).hexdigest(), "python"))
        if not source.strip():
            return facts
        try:
            found = analyse(source)
        except TooMuchError as error:
            facts.unverifiable("code.size", job.path, job.location, f"Nobody can say what it does: {error}.")
            return facts
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            facts.unverifiable(
                "code.syntax", job.path, job.location, f"Python cannot read this source: {str(error)[:150]}."
            )
            return facts
        _judge(job, source, found, facts)
        return facts


SCANNER = CodeScanner()
FORMATS = (
    Format(
        "python",
        "Python source",
        (".py", ".pyw", ".pyi"),
        "its extension: loaders import nothing else",
        "the syntax tree of every file: what it does when it is imported, when a model is built, and in each function; "
        "names are followed through imports, aliases, containers, classes and the files of the repository that import "
        "each other; told are commands, code made at run time, network, unpickling, native code, files, secrets, "
        "hooks, hidden names, and spelling that reads as something else",
        "what installed libraries do with what they are given, beyond the calls in `rules/tables/code.toml`; code that "
        "is fetched or unpacked while running (that it does so is told); syntax newer than this Python's",
        "*review* always, as code is for a person to read; *danger* where it acts while it is imported or built as no "
        "honest model does; *unverifiable* where Python cannot read it or it is more than is followed",
    ),
)


def under_another_name(job: Job) -> Facts:
    """What a text file would do if something ran it as Python; nothing where it is no Python, or would do no harm."""
    facts = Facts(format="")
    try:
        source = job.view.read(0, job.size)
        acts = [act for act in analyse(source).acts if dangerous(act)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return facts
    for act in acts[:1]:
        facts.add(
            Finding(
                "text.code",
                Severity.MEDIUM,
                job.path,
                job.location or f"line {act.line}",
                f"This text file is Python code that {act.effect.what} ({act.name[:80]}).",
                evidence=line(source.splitlines(), act.line),
                meaning="No loader runs a file of this name by itself; code that comes with it may.",
                remedy="Do not load it before you know what it is for.",
            ),
            Verdict.REVIEW,
        )
    return facts


def _judge(job: Job, source: bytes, found: Analysis, facts: Facts) -> None:
    lines = source.splitlines()
    facts.references += [f"py:{_beside(job.path, r)}" for r in dict.fromkeys(found.relative)]
    facts.references += [f"{IMPORT}{name[:200]}" for name in dict.fromkeys(found.absolute)]
    if found.only_text:
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
        facts.add(*finding_of(act, job.path, lines))
    for number, what in oddities(source):
        facts.add(
            Finding(
                "code.spelling",
                Severity.HIGH,
                job.path,
                f"line {number}",
                f"The code {what}.",
                evidence=line(lines, number),
                meaning="Whoever reads it sees something else than Python runs.",
                remedy="Do not load it before you know why.",
            ),
            Verdict.REVIEW,
        )
    if len(found.acts) > MOST_FINDINGS:
        worst = max(a.severity for a in found.acts[MOST_FINDINGS:])
        left = f"And {len(found.acts) - MOST_FINDINGS} more calls like these."
        at_load = any(dangerous(a) for a in found.acts[MOST_FINDINGS:])
        facts.add(Finding("code.more", worst, job.path, "", left), Verdict.DANGER if at_load else Verdict.REVIEW)


def _beside(path: str, relative: str) -> str:
    """`relative` from the folder of `path`; steps above the root stay as they are, and then name nothing."""
    parts = path.split("/")[:-1]
    for piece in relative.split("/"):
        if piece == ".." and parts:
            parts.pop()
        else:
            parts.append(piece)
    return "/".join(parts)
