"""Whether the audit log is what was written: along the whole chain, over all of its segments.

    check(files)                     # AuditCheck(ok=True, entries=17, …)
    check_file(Path("exported.jsonl"))

A segment that was deleted on purpose stands in a later entry, `audit.pruned`, with the number and hash of its last
entry: the chain that is left begins there. Anything else that is missing shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbguard.approvals.audit_chain import GENESIS, Link, decoded, link, problem
from nbguard.approvals.audit_files import Files, lines

PRUNED = "audit.pruned"
"""The event of the entry that stands for segments that were deleted."""


@dataclass(frozen=True)
class AuditCheck:
    """What `verify` found."""

    ok: bool
    entries: int
    """Good entries, counted from the first that is there."""
    line: int | None = None
    """Number of the first bad line of its file, from 1; None where none is bad, or where lines are missing."""
    problem: str = ""
    """One plain sentence."""
    file: str = ""
    """Name of the file that the problem is in; empty for the segment that grows."""
    removed: int = 0
    """Entries before the first that is there, deleted on purpose."""
    removed_until: str = ""
    """Time of the last of them, ISO 8601."""


@dataclass
class _Walk:
    """The way along the chain."""

    last: Link
    good: int = 0
    pruned: dict[int, dict[str, Any]] | None = None
    """Number of a deleted segment → what the log says of it."""

    def step(self, line: bytes) -> str:
        wrong = problem(line, self.last)
        if not wrong:
            self.last = link(line)
            self.good += 1
            entry = decoded(line) or {}
            if entry.get("event") == PRUNED and isinstance(entry.get("segments"), list):
                said = {s["segment"]: s for s in entry["segments"] if isinstance(s, dict) and "segment" in s}
                self.pruned = (self.pruned or {}) | said
        return wrong


def check(files: Files) -> AuditCheck:
    """Go along the whole chain and compare its end with the head file; call it under the lock. Raises OSError,
    RecordError where the head is damaged."""
    head = files.read_head()
    finished = files.segments()
    numbers = [number for number, _ in finished]
    current = head.segment if head is not None else (numbers[-1] + 1 if numbers else 1)
    if numbers and numbers[-1] == current and head is not None and not _size(files.path):
        current += 1  # a writer died between finishing a segment and saying so
    walked = [*finished, (current, files.path)]
    first = walked[0][0]
    for (number, _), (following, _) in itertools.pairwise(walked):
        if following != number + 1:
            missing = files.segment(number + 1).name
            return AuditCheck(False, 0, None, f"The segment {missing!r} is missing.", missing)
    walk = _Walk(Link(0, GENESIS) if first == 1 else _start(walked))
    began = walk.last
    previous = ""
    for _, path in walked:
        name = "" if path == files.path else path.name
        before = walk.good
        for at, line in lines(path):
            wrong = walk.step(line)
            if wrong:
                return AuditCheck(False, walk.good, at, _told(walk, wrong, line, at, before, previous, name), name)
        previous = name
    if head is None:
        return AuditCheck(False, walk.good, None, "The head file is missing, so nobody can say whether entries are.")
    if walk.last.entries < head.entries:
        return AuditCheck(
            False,
            walk.good,
            None,
            f"The log ends after {walk.last.entries} entries, but {head.entries} had been written.",
        )
    if walk.last.entries == head.entries and walk.last.hash != head.hash:
        return AuditCheck(False, walk.good - 1, walk.good, f"Line {walk.good} is not the entry that was written last.")
    return _with_removed(walk, first, began)


def check_file(path: Path) -> AuditCheck:
    """Of a copy of the log in one file. It tells whether entries in it were changed, moved, or left out in between; not
    whether there were others before the first or after the last. Raises OSError."""
    path.stat()  # one that is not there is no empty one
    found = lines(path)
    first = next(found, None)
    if first is None:
        return AuditCheck(False, 0, None, "There is no entry in it.")
    entry = decoded(first[1]) or {}
    number = entry.get("n")
    start = Link(number - 1, str(entry.get("prev"))) if isinstance(number, int) and number > 1 else Link(0, GENESIS)
    walk = _Walk(start)
    for at, line in _again(first, found):
        wrong = walk.step(line)
        if wrong:
            return AuditCheck(False, walk.good, at, f"Line {at} {wrong}.", path.name)
    return AuditCheck(True, walk.good, removed=start.entries)


def check_part(paths: list[Path]) -> str:
    """What is wrong with these segments, one after another, or an empty string. Raises OSError."""
    walk = _Walk(_start([(0, path) for path in paths]))
    for path in paths:
        for at, line in lines(path):
            if wrong := walk.step(line):
                return f"Line {at} of {path.name!r} {wrong}."
    return ""


def _again(first: tuple[int, bytes], rest: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield first
    yield from rest


def _start(walked: list[tuple[int, Path]]) -> Link:
    """What the first entry that is left says of the one before it; whether that is so shows at the end."""
    for _, path in walked:
        for _, line in lines(path):
            entry = decoded(line) or {}
            number = entry.get("n")
            return Link(number - 1 if isinstance(number, int) else 0, str(entry.get("prev")))
    return Link(0, GENESIS)


def _told(walk: _Walk, wrong: str, line: bytes, at: int, before: int, previous: str, name: str) -> str:
    entry = decoded(line) or {}
    number = entry.get("n")
    where = f"Line {at} of {name!r}" if name else f"Line {at}"
    if at == 1 and walk.good and walk.good == before and isinstance(number, int) and number > walk.last.entries + 1:
        return (
            f"The segment {previous!r} ends after entry {walk.last.entries}, but the next one begins with entry"
            f" {number}: entries are missing at its end."
        )
    return f"{where} {wrong}."


def _with_removed(walk: _Walk, first: int, began: Link) -> AuditCheck:
    """In order, if what is missing before the first segment was deleted on purpose."""
    if first == 1:
        return AuditCheck(True, walk.good)
    said = (walk.pruned or {}).get(first - 1)
    if said is None or (said.get("last"), said.get("hash")) != (began.entries, began.hash):
        return AuditCheck(
            False,
            walk.good,
            None,
            f"{began.entries} entries before the first segment are missing, and no entry says that they were deleted.",
        )
    return AuditCheck(True, walk.good, removed=began.entries, removed_until=str(said.get("until", ""))[:40])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
