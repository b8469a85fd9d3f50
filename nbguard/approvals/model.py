"""What was decided, and by whom.

approval = Store().find(report, opened)
approval.id, approval.who, approval.expires
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, field
from typing import Any

from nbguard.errors import LoadBlocked
from nbguard.report.model import Severity, Verdict


class RecordError(LoadBlocked):
    """Approvals or the audit log cannot be read or written. Nothing is loaded then: what was decided, or is decided
    now, could not be known later. The message is one plain sentence."""


@dataclass(frozen=True)
class Origin:
    """Where an approval came from that was not given here: a signed bundle."""

    key: str
    """Id of the public key that signed the bundle, 64 hex digits."""
    name: str
    """Under which that key is trusted here."""
    bundle: str
    """Id of the bundle."""
    approval: str
    """Id of the approval where it was given."""
    imported: float
    """Seconds since the epoch."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "imported": moment(self.imported)}


@dataclass(frozen=True)
class Approval:
    """One recorded decision, on an artifact's content and on what loading it may do."""

    id: str
    """Eight hex digits."""
    artifact: str
    """`Artifact.digest` of what was approved."""
    contract: str
    """`Contract.digest` of what it may do."""
    created: float
    """Seconds since the epoch."""
    expires: float | None
    """Seconds since the epoch; None: never."""
    who: str
    reason: str
    verdict: Verdict
    """As judged when it was approved; content that is judged worse by later rules is asked about again."""
    severity: Severity
    """Of the worst finding then."""
    target: str
    """As the person named it. Hostile: escape it where it is shown."""
    rules_version: str
    revoked: float | None = None
    """Seconds since the epoch."""
    revoked_by: str = ""
    revoked_why: str = ""
    origin: Origin | None = None
    """None: given by this user, here."""
    bulk: tuple[str, ...] = field(default=())
    """Paths of the large files that were hashed whole."""
    momentary: bool = False
    """Accepted for the running cell only, and kept nowhere."""

    def active(self, now: float) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "target": self.target,
            "verdict": self.verdict.word,
            "severity": self.severity.word,
            "artifact": self.artifact,
            "contract": self.contract,
            "created": moment(self.created),
            "expires": None if self.expires is None else moment(self.expires),
            "revoked": None if self.revoked is None else moment(self.revoked),
            "revoked_by": self.revoked_by,
            "revoked_reason": self.revoked_why,
            "who": self.who,
            "reason": self.reason,
            "rules_version": self.rules_version,
            "hashed": list(self.bulk),
            "origin": None if self.origin is None else self.origin.to_json(),
        }


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
