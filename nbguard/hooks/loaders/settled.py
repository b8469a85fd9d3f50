"""What this kernel's person has already accepted of one repository commit or folder.

    settled = Settled()
    settled.add(("hub", "org/name", commit), report, by_person=True)
    settled.covers(("hub", "org/name", commit), report_of_the_tokenizer)     # (why, True), or None: ask

Configuration, tokenizer, model and pipeline of one commit are one question. A later call opens further files; they are
scanned all the same, and the person is asked again where the verdict gets worse, where code or globals appear that were
not in what was accepted, where a serious finding is new, or where a file that was accepted has other bytes now.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nbguard.report.model import Report, Severity, Verdict

Key = tuple[str, ...]
"""Kind, place, and commit or identity of a source."""


@dataclass
class _Accepted:
    verdict: Verdict = Verdict.SAFE
    by_person: bool = False
    pins: dict[str, str] = field(default_factory=dict)
    code: set[str] = field(default_factory=set)
    globals: set[tuple[str, str]] = field(default_factory=set)
    findings: set[tuple[str, str, str, str]] = field(default_factory=set)


class Settled:
    """For one kernel; nothing of it is kept when the kernel ends."""

    def __init__(self) -> None:
        self._accepted: dict[Key, _Accepted] = {}
        self._lock = threading.Lock()

    def covers(self, key: Key, report: Report) -> tuple[str, bool] | None:
        """Why `report` needs no question any more, and whether a person accepted it; None where it needs one."""
        with self._lock:
            before = self._accepted.get(key)
            if before is None or report.verdict is Verdict.UNVERIFIABLE or report.verdict > before.verdict:
                return None
            if any(before.pins.get(f.path, f.pin) != f.pin for f in report.files):
                return None
            if not (_code(report) <= before.code and _globals(report) <= before.globals):
                return None
            if not serious(report) <= before.findings:
                return None
            return "Accepted before in this kernel, for the same source; nothing worse has appeared.", before.by_person

    def add(self, key: Key, report: Report, *, by_person: bool) -> None:
        """Remember that `report` was let through."""
        with self._lock:
            seen = self._accepted.setdefault(key, _Accepted(verdict=report.verdict))
            seen.verdict = max(seen.verdict, report.verdict)
            seen.by_person = seen.by_person or by_person
            seen.pins.update({f.path: f.pin for f in report.files})
            seen.code |= _code(report)
            seen.globals |= _globals(report)
            seen.findings |= serious(report)

    def covers_all(self, key: Key, marks: Mapping[str, Key], report: Report) -> tuple[str, bool] | None:
        """As `covers`, for a report on several sources: none of them needs a question.

        Args:
            marks: how the names of the files of each further source begin.
        """
        told = [self.covers(k, r) for k, r in _parts(key, marks, report)]
        known = [t for t in told if t is not None]
        if not known or len(known) < len(told):
            return None
        return known[0][0], all(by_person for _, by_person in known)

    def add_all(self, key: Key, marks: Mapping[str, Key], report: Report, *, by_person: bool) -> None:
        """As `add`, for a report on several sources."""
        for k, r in _parts(key, marks, report):
            self.add(k, r, by_person=by_person)

    def forget(self) -> None:
        with self._lock:
            self._accepted.clear()


def _parts(key: Key, marks: Mapping[str, Key], report: Report) -> list[tuple[Key, Report]]:
    """What a report says of each source that it is about, with the names that the files have there."""
    if not marks:
        return [(key, report)]
    found = [(key, _part(report, "", tuple(marks))), *((marks[mark], _part(report, mark)) for mark in marks)]
    return [(k, r) for k, r in found if r.files]


def _part(report: Report, mark: str, others: tuple[str, ...] = ()) -> Report:
    def mine(path: str) -> bool:
        return path.startswith(mark) and not path.startswith(others)

    files = tuple(replace(f, path=f.path.removeprefix(mark)) for f in report.files if mine(f.path))
    findings = tuple(replace(f, file=f.file.removeprefix(mark)) for f in report.findings if mine(f.file))
    return replace(report, files=files, findings=findings)


def _code(report: Report) -> set[str]:
    return {c.sha256 for c in (*report.contract.code, *report.contract.native)}


def _globals(report: Report) -> set[tuple[str, str]]:
    """Those that are more than explained data."""
    return {(g.module, g.name) for g in report.contract.globals if g.level != "data"}


def serious(report: Report) -> set[tuple[str, str, str, str]]:
    """The findings that a person has to be asked about where they are new."""
    found = (f for f in report.findings if f.severity >= Severity.HIGH)
    return {(f.rule, f.file, f.location, f.message) for f in found}
