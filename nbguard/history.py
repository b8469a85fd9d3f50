"""The reports of this session, the newest last, for looking at one again.

note(report, "loaded: approved before")
recent(1)          # the last one
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.report.model import Report

KEPT = 50
"""Reports; older ones are in the audit log by their digests."""


@dataclass(frozen=True)
class Seen:
    """One report, and what it was made for."""

    report: Report
    what: str
    """`scanned`, or the event that the audit log holds: `load.allowed`, `load.refused`, …"""


_lock = threading.Lock()
_seen: deque[Seen] = deque(maxlen=KEPT)
_counts: Counter[str] = Counter()


def note(report: Report, what: str) -> None:
    with _lock:
        _seen.append(Seen(report, what))
        _counts[what] += 1


def recent(number: int = 1) -> Seen | None:
    """The `number`th report from the end, 1 for the last; None where there are not so many."""
    with _lock:
        return _seen[-number] if 1 <= number <= len(_seen) else None


def all_seen() -> tuple[Seen, ...]:
    """The oldest first."""
    with _lock:
        return tuple(_seen)


def counts() -> dict[str, int]:
    """How often each thing happened in this session: `scanned`, `load.allowed`, `load.refused`, …"""
    with _lock:
        return dict(_counts)
