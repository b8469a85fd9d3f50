"""Which approvals a person means: by target, by who gave them, by what they were judged, by their age.

wanted = Filter(target="org/*", verdict="danger", state="all")
[a for a in Store().list(all_of_them=True) if wanted.keeps(a, time.time())]
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Literal, get_args

from nbguard.approvals.model import Approval

State = Literal["active", "expired", "revoked", "ended", "all"]
STATES: tuple[str, ...] = get_args(State)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Everything that is given must hold. Words are compared without regard to case."""

    target: str = ""
    """A shell pattern (`org/*`), or part of the target where it holds none of `*?[`."""
    who: str = ""
    """Likewise, of who gave it."""
    verdict: str = ""
    state: State = "active"
    older: float | None = None
    """Seconds: given at least so long ago."""
    newer: float | None = None
    """Seconds: given at most so long ago."""
    text: str = ""
    """Part of target, who, reason, id, a digest, or the reason of a revocation."""
    origin: str = ""
    """`here`, `bundle`, or the beginning of the id or the name of the key that signed the bundle."""

    def keeps(self, approval: Approval, now: float) -> bool:
        """Whether this one is meant; `now` in seconds since the epoch."""
        age = now - approval.created
        return (
            _in_state(approval, self.state, now)
            and matches(self.target, approval.target)
            and matches(self.who, approval.who)
            and (not self.verdict or approval.verdict.word == self.verdict)
            and (self.older is None or age >= self.older)
            and (self.newer is None or age <= self.newer)
            and self._holds_text(approval)
            and self._from(approval)
        )

    def _holds_text(self, approval: Approval) -> bool:
        wanted = self.text.casefold()
        said = (approval.target, approval.who, approval.reason, approval.revoked_by, approval.revoked_why)
        places = (*said, approval.id, approval.artifact, approval.contract)
        return not wanted or any(wanted in place.casefold() for place in places)

    def _from(self, approval: Approval) -> bool:
        if not self.origin:
            return True
        if approval.origin is None:
            return self.origin == "here"
        return self.origin == "bundle" or approval.origin.key.startswith(self.origin) or (
            approval.origin.name == self.origin
        )  # fmt: skip


def matches(pattern: str, value: str) -> bool:
    """Whether `value` fits a shell pattern, or holds it as a part; an empty pattern fits everything."""
    if not pattern:
        return True
    folded, text = pattern.casefold(), value.casefold()
    if any(sign in folded for sign in "*?["):
        return fnmatch.fnmatchcase(text, folded)
    return folded in text


def _in_state(approval: Approval, state: State, now: float) -> bool:
    expired = approval.expires is not None and approval.expires <= now
    match state:
        case "all":
            return True
        case "active":
            return approval.active(now)
        case "revoked":
            return approval.revoked is not None
        case "expired":
            return expired
        case _:
            return expired or approval.revoked is not None
