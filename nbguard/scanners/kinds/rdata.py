"""R's files (`saveRDS`, `save`): data passes, code in them is shown, and what runs by itself stops.

facts = SCANNER.scan(job)

Data is vectors, lists, data frames, factors, and environments of them. Functions run when the model is used. A promise
runs as soon as the value is touched, whatever is done with it.
"""

from __future__ import annotations

import hashlib

from nbguard.formats import r_items as r
from nbguard.formats import r_serialize
from nbguard.formats.r_items import Code, Node, Reading
from nbguard.formats.r_serialize import RError
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.r_code import Functions, functions, text
from nbguard.scanners.tables import table

MOST_FINDINGS = 40
MAX_LENGTH = 1 << 33
"""Numbers of a sequence that stands in the file as its start, step and length."""
_NAMES = {"function": "a function", "call": "a call", "expression": "an expression"}


class RScanner:
    name = "rdata"

    def recognise(self, job: Job) -> bool:
        return r_serialize.looks_like(job.head[:64])

    def scan(self, job: Job) -> Facts:
        problem = ""
        try:
            found = r_serialize.read(job.view)
        except RError as error:
            found, problem = error.seen, str(error)  # type: ignore[attr-defined]
        facts = plain(job, "rdata")
        if problem:
            facts = unverifiable(job, "rdata", "rdata.malformed", problem)
        _judge(job, found, facts)
        facts.counts["values"] = found.items
        if job.size > job.limits.whole:
            digest = hashlib.sha256()
            for at in range(0, job.size, 1 << 22):
                digest.update(job.view.read(at, 1 << 22))
            facts.marks.append(digest.hexdigest())
        return facts


def _judge(job: Job, found: Reading, facts: Facts) -> None:
    rules = table("r")
    told: list[tuple[Finding, Verdict]] = []
    for code in found.code:
        if (one := _code(job, code, found)) is not None:
            told.append(one)
    told += [_alternative(job, *one) for one in found.classes if not _harmless(*one)]
    told.sort(key=lambda one: (-one[1], -one[0].severity))
    for finding, verdict in told[:MOST_FINDINGS]:
        facts.add(finding, verdict)
    if told[MOST_FINDINGS:]:
        facts.verdict = max(facts.verdict, *(verdict for _, verdict in told[MOST_FINDINGS:]))
        facts.summary.append(f"{len(told) - MOST_FINDINGS} more pieces of R code that are not listed one by one")
    if found.persistent:
        facts.unverifiable(
            "rdata.persistent",
            job.path,
            job.location,
            "It holds a place where R asks a function of the caller for the value.",
        )
    others = sorted(name for name in found.packages if name not in rules["packages"]["own"])
    if others:
        facts.add(
            Finding(
                "rdata.package",
                Severity.LOW,
                job.path,
                job.location,
                f"R loads the package {', '.join(others[:8])[:200]} while it reads the file.",
                meaning="The package as it is installed here runs its own code when it is loaded.",
                remedy="Check that you know the packages.",
            ),
            Verdict.REVIEW,
        )
    if found.active:
        facts.add(
            Finding(
                "rdata.active",
                Severity.MEDIUM,
                job.path,
                job.location,
                f"The value of {found.active[0][:80]!r} is what a function returns each time that it is looked at.",
                meaning="The function runs although nobody calls it by its name.",
                remedy="Read the functions that the report shows.",
            ),
            Verdict.REVIEW,
        )


def _code(job: Job, code: Code, found: Reading) -> tuple[Finding, Verdict] | None:
    used = functions(code.node)
    if code.kind == "promise":
        return _promise(job, code, used)
    if code.kind == "evaluated":  # its value is there, and was read; its expression does not run again
        return None if code.bound else _odd_promise(job, code)
    masked = table("r")["masked"]
    if code.top and found.image and code.kind == "function" and code.where in masked["hooks"]:
        return _finding(
            job, code, "rdata.hook", Severity.CRITICAL, f"It holds a function {code.where}, which R calls by itself.",
            "R runs it when it starts in the file's folder, or ends.", Verdict.DANGER,
        )  # fmt: skip
    if used.harmful:
        names = ", ".join(used.harmful[:6])
        return _finding(
            job, code, "rdata.harmful", Severity.CRITICAL, f"It holds {_NAMES[code.kind]} that uses {names[:200]}.",
            "Such functions run programs, fetch, overwrite or delete. They would when the model is used, or printed.",
            Verdict.DANGER,
        )  # fmt: skip
    if code.top and found.image and code.kind == "function" and code.where in masked["names"]:
        return _finding(
            job, code, "rdata.masks", Severity.HIGH,
            f"Loading it puts a function in the place of R's own {code.where[:80]}.",
            "Whoever calls that name afterwards calls what came with the file.", Verdict.DANGER,
        )  # fmt: skip
    if code.kind == "call" and not (used.look or used.unknown or used.code):
        return None  # a formula, or how the model was made
    if code.node.type in (r.SPECIAL, r.BUILTIN) and not (used.look or used.unknown):
        return None
    extra = " Its byte code is what runs; that need not be what stands here." if _has_bytecode(code.node) else ""
    names = ", ".join([*used.look, *used.unknown][:8])[:200]
    return _finding(
        job, code, "rdata.code", Severity.MEDIUM,
        f"It holds {_NAMES[code.kind]} of R" + (f", which uses {names}." if names else "."),
        f"It runs when the model is used, with all your rights.{extra}", Verdict.REVIEW,
    )  # fmt: skip


def _promise(job: Job, code: Code, used: Functions) -> tuple[Finding, Verdict]:
    calls = bool(used.harmful or used.look or used.unknown or used.plain or used.code)
    if used.harmful or (calls and not code.bound):
        return _finding(
            job, code, "rdata.promise", Severity.CRITICAL,
            "It holds an expression that R runs as soon as the value is looked at.",
            "Nothing has to be called for that: printing the value, or only naming it, runs the expression. "
            "Files that R writes hold such a thing nowhere but among the variables of a function.", Verdict.DANGER,
        )  # fmt: skip
    return _finding(
        job, code, "rdata.promise", Severity.MEDIUM,
        "Among the variables of a function is one whose value is not computed yet.",
        "The expression runs when the function looks at the variable.", Verdict.REVIEW,
    )  # fmt: skip


def _odd_promise(job: Job, code: Code) -> tuple[Finding, Verdict]:
    return _finding(
        job, code, "rdata.promise", Severity.MEDIUM,
        "It holds a promise that has its value, where R writes none.",
        "R takes the value and leaves the expression alone. Only a person puts such a thing there.", Verdict.REVIEW,
    )  # fmt: skip


def _finding(
    job: Job, code: Code, rule: str, severity: Severity, message: str, meaning: str, verdict: Verdict
) -> tuple[Finding, Verdict]:
    where = f"{job.member}!{code.where}" if job.member and code.where else code.where or job.location
    remedy = "Do not load it." if verdict is Verdict.DANGER else "Read the code before you accept."
    shown = text(code.node)
    return Finding(rule, severity, job.path, where[:200], message, shown, meaning, remedy), verdict


def _has_bytecode(node: Node) -> bool:
    return any(part.type == r.BYTECODE for part in (node, *node.items))


def _harmless(name: str, package: str, state: Node) -> bool:
    if package != "base" or name not in table("r")["alternative"]["plain"]:
        return False
    if name.startswith("compact_"):  # length, first and step, as three numbers
        return state.length == 3 and len(state.values) == 3 and 0 <= state.values[0] <= MAX_LENGTH
    return True


def _alternative(job: Job, name: str, package: str, state: Node) -> tuple[Finding, Verdict]:
    rules = table("r")["alternative"]
    if package == "base" and name in rules["plain"]:
        message = "It holds a sequence with a length that no sequence has."
        return (
            Finding("rdata.sequence", Severity.HIGH, job.path, job.location, message, meaning="It would fill memory."),
            Verdict.UNVERIFIABLE,
        )
    if name in rules["files"]:
        return (
            Finding(
                "rdata.file",
                Severity.CRITICAL,
                job.path,
                job.location,
                "Reading it makes R open another file of this machine, and may make that file writable through it.",
                evidence=f"{package}::{name} {text(state)}"[:500],
                meaning="What lies in that file becomes a value, and what is done to the value is done to the file.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )
    return (
        Finding(
            "rdata.alternative",
            Severity.MEDIUM,
            job.path,
            job.location,
            f"A value in it is kept in a way that the package {package[:80]!r} defines ({name[:80]}).",
            evidence=text(state)[:500],
            meaning="R loads that package while it reads the file, and has it make the value.",
            remedy="Check that you know the package.",
        ),
        Verdict.REVIEW,
    )


SCANNER = RScanner()
FORMATS = (
    Format(
        "rdata",
        "R's own files (`saveRDS`, `save`), also compressed",
        (".rds", ".RData", ".rda"),
        "`X`, `A` or `B` on a line of its own and a version, or `RDX2`, `RDX3` and their kind before it",
        "every item to the last byte; functions, calls, promises and byte code, and what they call; packages that R "
        "loads; vectors that are kept in other ways",
        "numbers and texts; byte code is not followed, only the names that it can call, and its source is shown; what "
        "functions of installed packages do with the data",
        "*safe* for data, formulas and the recorded call of a model; *review* for functions, other calls and packages; "
        "*danger* for promises outside of functions, for calls that run programs or change files, and for functions "
        "that take the place of R's own; *unverifiable* where an index or a length leads nowhere",
    ),
)
