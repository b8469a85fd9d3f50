"""Notebooks that lie beside a model: what their cells do when somebody runs them.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners import scripts
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.kinds import script

MAX_NOTEBOOK = 100 << 20
MAX_CELLS = 10_000
MAX_CELL = 1 << 20
_MARK = re.compile(rb"\"nbformat\"\s*:\s*\d")
_SHELL = re.compile(r"^[^\S\n]*(?:!!?|%sx\s|%system\s)(.*)$", re.M)
_SHELL_CELL = re.compile(r"\s*%%(?:bash|sh|script|system|cmd|!)\b")
_MAGIC = re.compile(r"^(\s*)(?:[%!?].*|.*\?)$", re.M)
_EVENT = re.compile(r"<script\b[^>]*>|\bon(?:error|load|mouseover|focus)\s*=|javascript:", re.I)


class NotebookScanner:
    name = "notebook"

    def recognise(self, job: Job) -> bool:
        if not job.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or b"\0" in job.head:
            return False
        if job.suffix == ".ipynb":
            return True
        tail = job.view.read(max(0, job.size - 4_096), 4_096)  # nbformat writes its keys in alphabetical order
        return b'"cells"' in job.head and (_MARK.search(tail) or _MARK.search(job.head)) is not None

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_NOTEBOOK:
            return unverifiable(job, "notebook", "notebook.size", "The notebook is larger than any that is read.")
        data = job.view.read(0, job.size)
        try:
            book = json.loads(data)
            cells = book["cells"] if "cells" in book else [c for w in book["worksheets"] for c in w["cells"]]
            code = [_text(c.get("source", c.get("input"))) for c in cells[:MAX_CELLS] if c.get("cell_type") == "code"]
            outputs = [o for c in cells[:MAX_CELLS] for o in c.get("outputs") or ()]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return unverifiable(job, "notebook", "notebook.malformed", "This is no notebook that can be read.")
        facts = plain(job, "notebook", "code")
        name = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(name, hashlib.sha256(data).hexdigest(), "notebook"))
        facts.counts["cells"] = len(code)
        for number, source in enumerate(code, 1):
            _cell(job, source[:MAX_CELL], number, facts)
        active = sum(1 for o in outputs if _active(o))
        if active:
            facts.add(
                Finding(
                    "notebook.output",
                    Severity.LOW,
                    job.path,
                    job.location,
                    f"{active} of its saved outputs bring JavaScript.",
                    meaning="Jupyter runs it only in notebooks that you trusted or ran yourself.",
                    remedy="Clear the outputs before you trust it.",
                ),
                Verdict.REVIEW,
            )
        facts.verdict = max(facts.verdict, Verdict.REVIEW)
        return facts


SCANNER = NotebookScanner()
FORMATS = (
    Format(
        "notebook",
        "Jupyter notebook",
        (".ipynb",),
        "JSON with `cells` and `nbformat`",
        "the code cells, as Python and as shell commands (`!`, `%%bash`), and whether saved outputs bring JavaScript",
        "magics other than those of shells; what cells do that merely installs or downloads something. No loader of "
        "models opens a notebook",
        "inert beside a model; *review* by itself; *danger* where a cell opens a shell to another machine, sends "
        "secrets, or runs what it downloads or hides",
    ),
)
_GRAVE = frozenset({"hidden", "hook"})
"""Effects of Python that no notebook on a model needs; starting programs and fetching files is what notebooks do."""


def _text(source: Any) -> str:
    if isinstance(source, list):
        return "".join(str(line) for line in source)[: MAX_CELL + 1]
    return source if isinstance(source, str) else ""


def _cell(job: Job, source: str, number: int, facts: Facts) -> None:
    inner = job.inside(b"", member=f"cell {number}")
    if _SHELL_CELL.match(source):
        script.tell(inner, source.partition("\n")[2], facts)
        return
    commands = "\n".join(match[1] for match in _SHELL.finditer(source))
    if commands:
        script.tell(inner, commands, facts)
    _python(job, _MAGIC.sub(r"\1pass", source), number, facts)


def _python(job: Job, source: str, number: int, facts: Facts) -> None:
    """Code that hides what it runs is told; what a person reads in the cell is theirs to judge."""
    from nbguard.scanners.source import analyse
    from nbguard.scanners.source.spelling import oddities

    data = source.encode("utf-8", "surrogatepass")
    try:
        found = analyse(data)
        odd = list(oddities(data))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # another language's cell, or one that Python would not run
    for act in found.acts[: scripts.MOST_ACTS]:
        if act.effect.key in _GRAVE:
            _tell(job, number, act.line, f"{act.effect.what} ({act.name[:80]})", facts)
    for line, what in odd[:5]:
        _tell(job, number, line, what, facts)


def _tell(job: Job, number: int, line: int, what: str, facts: Facts) -> None:
    facts.add(
        Finding(
            "notebook.acts",
            Severity.HIGH,
            job.path,
            f"{job.location} cell {number} line {line}".strip(),
            f"A cell {what}.",
            meaning="It happens when somebody runs the notebook, not when the model is loaded.",
            remedy="Do not run that cell before you know why it does that.",
        ),
        Verdict.DANGER,
    )


def _active(output: Any) -> bool:
    data = output.get("data") if isinstance(output, dict) else None
    if not isinstance(data, dict):
        return False
    if "application/javascript" in data:
        return True
    held = _text(data.get("text/html")) + _text(data.get("image/svg+xml"))
    return _EVENT.search(held) is not None
