"""What a report says beyond the content: the name that was meant, what changed, and better ways to load.

    report.advice.meant                  # Meant("meta-llama/Llama-3.1-8B", …), where the name looks like that one
    report.advice.since                  # Since(…), where something else was accepted under this name before
    [way.line for way in report.advice.ways]     # lines to paste, the safetensors alternative first

Nothing in here decides: findings and the verdict do. Names, code and differences come from models: escape them where
they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Meant:
    """A well-known name that the one that was given looks like."""

    name: str
    """`meta-llama/Llama-3.1-8B`. Whether the Hub holds it was not looked up."""
    organisation: str
    how: str
    """One of `nbguard.provenance.likeness.How`, or `moved`."""
    detail: str
    """In which way, as the end of a sentence."""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "organisation": self.organisation, "how": self.how, "detail": self.detail}


@dataclass(frozen=True)
class CodeChange:
    """One file of code or configuration whose text is not the one that was accepted."""

    path: str
    diff: str
    """Unified, bounded; empty where there is none to show."""
    note: str = ""
    """Why there is no difference to show, or that it was cut."""

    def to_json(self) -> dict[str, str]:
        return {"path": self.path, "diff": self.diff, "note": self.note}


@dataclass(frozen=True)
class Since:
    """What is different from what was accepted under the same name before, and by whom that was."""

    target: str
    """As it was named then."""
    when: float
    """Seconds since the epoch."""
    who: str
    reason: str
    how: Literal["once", "always", "locked"]
    """`once`: accepted for one load. `always`: approved from then on. `locked`: written into `nbguard.lock`."""
    verdict: str
    """Then; the report holds the one now."""
    now: str
    approval: str = ""
    """Id of the approval that was given; empty where it was accepted once."""
    standing: str = ""
    """What became of that approval: `in force`, `expired`, `revoked`, or empty."""
    commit: str = ""
    """Of a repository, then."""
    same: bool = False
    """The content is exactly the one that was accepted."""
    approved: Since | None = None
    """Where this was accepted for one load only: the newest approval that was given to what had the name, without
    what is different from that."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    """Files that were there then, and that this load opens and that one did not."""
    globals_added: tuple[str, ...] = ()
    globals_removed: tuple[str, ...] = ()
    code: tuple[CodeChange, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anything of what was accepted is not so any more."""
        return bool(self.added or self.removed or self.changed or self.globals_added or self.globals_removed)

    def to_json(self) -> dict[str, Any]:
        from datetime import UTC, datetime

        return {
            "target": self.target,
            "when": datetime.fromtimestamp(self.when, UTC).isoformat(timespec="seconds"),
            "who": self.who,
            "reason": self.reason,
            "how": self.how,
            "verdict": {"then": self.verdict, "now": self.now},
            "approval": self.approval,
            "standing": self.standing,
            "commit": self.commit,
            "same": self.same,
            "approved": None if self.approved is None else self.approved.to_json(),
            "files": {"added": list(self.added), "removed": list(self.removed), "changed": list(self.changed),
                      "opened": list(self.opened)},
            "globals": {"added": list(self.globals_added), "removed": list(self.globals_removed)},
            "code": [change.to_json() for change in self.code],
        }  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A line to paste in place of the one that was stopped."""

    kind: Literal["safetensors", "convert", "pinned"]
    """`convert`: there are no safetensors, and they can be made; without a line, `why` says why not."""
    line: str
    """Python, or nothing. What of it comes from a model is a name that was checked, or a quoted string."""
    why: str
    """One plain sentence."""
    arguments: tuple[tuple[str, Any], ...] = ()
    """What the loader would be given besides, where it can be told to load that way at once."""

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "line": self.line, "why": self.why}


@dataclass(frozen=True)
class Advice:
    """All of it; empty where there is nothing to say."""

    meant: Meant | None = None
    since: Since | None = None
    ways: tuple[Way, ...] = field(default=())
    """The safetensors alternative first."""

    def way(self, kind: str) -> Way | None:
        """The first way of this kind."""
        return next((way for way in self.ways if way.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self.meant is not None:
            out["did_you_mean"] = self.meant.to_json()
        if self.since is not None:
            out["since_accepted"] = self.since.to_json()
        if self.ways:
            out["ways"] = [way.to_json() for way in self.ways]
        return out
