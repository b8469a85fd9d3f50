"""Scripts for shells and other interpreters, by their first line or by what they are called.

    facts = SCANNER.scan(job)

A script lies beside a model: no loader runs it. Whoever runs it by hand should know what it does.
"""

from __future__ import annotations

import hashlib

from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners import scripts
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts


class ScriptScanner:
    name = "script"

    def recognise(self, job: Job) -> bool:
        if b"\0" in job.head or job.suffix == ".py":
            return False
        text = job.suffix in (*scripts.SHELLS, *scripts.OTHERS)
        return text or job.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"#!")

    def scan(self, job: Job) -> Facts:
        if job.size > scripts.MAX_SCRIPT:
            return unverifiable(job, "script", "script.size", "The script is longer than any that is followed.")
        data = job.view.read(0, job.size)
        source = data.decode("utf-8", "replace")
        kind = scripts.program(source, job.name) or "a script"
        facts = plain(job, "script", "code")
        name = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(name, hashlib.sha256(data).hexdigest(), "script"))
        hidden = bool(job.suffix) and job.suffix not in (*scripts.SHELLS, *scripts.OTHERS)
        facts.add(
            Finding(
                "text.script" if hidden else "script.beside",
                Severity.LOW,
                job.path,
                job.location,
                f"There is a program in this file, whose name does not say so: {kind}."
                if hidden
                else f"This is {kind}.",
                meaning="Loading a model does not run it. Whoever runs it gives it all their rights.",
                remedy="Read it before you run it.",
            ),
            Verdict.REVIEW,
        )
        if "Python" in kind or "python" in kind:
            python(job, data, facts)
        tell(job, source, facts, hidden=hidden)
        return facts


SCANNER = ScriptScanner()
FORMATS = (
    Format(
        "script",
        "Scripts (shell, batch, PowerShell, Perl, …)",
        (".sh", ".bash", ".bat", ".ps1", ".pl"),
        "its first line (`#!`) or its extension",
        "which command's output reaches an interpreter, and what honest set-up scripts do not do: shells to other "
        "machines, things that start by themselves, keys, secrets that are sent, what is removed",
        "variables are not expanded and nothing is run, so that a command put together at run time is not seen; in "
        "languages other than shells only the patterns of the table are looked for. No loader runs a script",
        "inert beside a model; *review* by itself; *danger* where it does one of these things",
        untested="a script has no writer",
    ),
)


def tell(job: Job, source: str, facts: Facts, *, hidden: bool = False) -> None:
    """Add what running the script would do. `hidden`: it stands under a name that is no script's."""
    called = "cell" if job.suffix == ".ipynb" or "cell " in job.location else "script"
    for act in scripts.acts(source):
        if act.known:
            facts.add(
                Finding(
                    "script.installer",
                    Severity.LOW,
                    job.path,
                    f"{job.location} line {act.line}".strip(),
                    f"The {called} downloads a well-known installer and runs it.",
                    evidence=act.evidence,
                    meaning="Loading a model does not run it. Whoever does trusts that address with all their rights.",
                ),
                Verdict.REVIEW,
            )
            continue
        facts.add(
            Finding(
                f"script.{act.key}",
                Severity.HIGH,
                job.path,
                f"{job.location} line {act.line}".strip(),
                f"The {called} {act.what}{', and its name hides that it is one' if hidden else ''}.",
                evidence=act.evidence,
                meaning=f"It happens when somebody runs the {called}, with all their rights. No load does.",
                remedy="Do not run it.",
            ),
            Verdict.DANGER,
        )


def python(job: Job, source: bytes, facts: Facts) -> None:
    """Add the acts of Python source that is called something else: at worst *danger*, since it is no model's code."""
    from nbguard.scanners.source import analyse

    try:
        found = analyse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # no Python that Python would run
    for act in found.acts[: scripts.MOST_ACTS]:
        if act.severity < Severity.HIGH:
            continue
        facts.add(
            Finding(
                "script.python",
                Severity.HIGH,
                job.path,
                f"line {act.line}",
                f"There is Python in it that {act.effect.what} ({act.name[:80]}).",
                meaning="Loading a model does not run it; under such a name it may be meant to be overlooked.",
                remedy="Find out what runs this file before you use the model.",
            ),
            Verdict.DANGER,
        )
