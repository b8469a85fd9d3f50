"""Which entries of the audit log a person means: by event, target, who, verdict, time.

wanted = EntryFilter(event="load.*", since=time.time() - 86_400)
[entry for entry in AuditLog().entries() if wanted.keeps(entry)]
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nbguard.approvals.filters import matches


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Everything that is given must hold. Words are compared without regard to case."""

    event: str = ""
    """A shell pattern (`load.*`), or part of the event."""
    target: str = ""
    """Likewise, of the target, or of one of several."""
    who: str = ""
    """Likewise, of who answered or, where nobody did, whose process it was."""
    verdict: str = ""
    since: float | None = None
    """Seconds since the epoch, this moment included."""
    until: float | None = None
    text: str = ""
    """Part of the entry as it is written down."""

    def keeps(self, entry: Mapping[str, Any]) -> bool:
        """Whether this entry is meant. Hostile or damaged ones are never an error."""
        moment = _moment(entry.get("time"))
        if (self.since is not None or self.until is not None) and moment is None:
            return False
        return (
            matches(self.event, str(entry.get("event", "")))
            and _any(self.target, entry, "target", "targets")
            and _any(self.who, entry, "who", "user")
            and (not self.verdict or self.verdict in _values(entry, "verdict", "verdicts"))
            and (self.since is None or moment is None or moment >= self.since)
            and (self.until is None or moment is None or moment < self.until)
            and (not self.text or self.text.casefold() in json.dumps(dict(entry), ensure_ascii=False).casefold())
        )


def _any(pattern: str, entry: Mapping[str, Any], *names: str) -> bool:
    return not pattern or any(matches(pattern, value) for value in _values(entry, *names))


def _values(entry: Mapping[str, Any], *names: str) -> Iterator[str]:
    for name in names:
        value = entry.get(name)
        yield from map(str, value if isinstance(value, list) else [] if value is None else [value])


def _moment(text: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
