"""What was accepted for a moment, in this process and nowhere else: the loads of one cell, or of a notebook's run.

with accepted([(report, opened)], who="ada"):
    ...                                  # find(report, opened) knows them until here

hold([(report, opened)], who="ada")      # … until `release()`, the next `hold`, or the end of the process

find(report, opened)                     # accepted here, or approved before; else None
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.approvals import keys
from nbguard.approvals.model import Approval
from nbguard.approvals.store import Store
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


@dataclass(frozen=True, eq=False)
class _Accepted:
    """One report that a person accepted, and what large files were then."""

    approval: Approval
    report: Report
    identities: dict[str, str]
    """Path → identity of every large file, its digest where it was not downloaded yet; content with the same layout
    elsewhere is asked about."""

    def holds(self, report: Report, opened: Opened | None) -> bool:
        if self.approval.verdict < report.verdict or self.approval.severity < report.top_severity:
            return False
        same = self.report.artifact.digest == report.artifact.digest and keys.contract_key(
            self.report
        ) == keys.contract_key(report)
        if not same and not keys.covered(keys.files_of(self.report.artifact), keys.permissions_of(self.report), report):
            return False
        now = _identities(report, opened)
        return now is not None and all(self._same(path, identity, report, opened) for path, identity in now.items())

    def _same(self, path: str, identity: str, report: Report, opened: Opened | None) -> bool:
        """Whether the large file is the one that was accepted; what was known by its digest alone is hashed."""
        then = self.identities.get(path)
        if then == identity or then is None or not then.startswith(DIGEST):
            return then == identity
        name = keys.single_file(report.artifact) if path == "" else path
        handle = None if opened is None else next((f for f in opened.files if f.path == name), None)
        return handle is not None and then == DIGEST + handle.sha256()


DIGEST = "sha256:"
_lock = threading.Lock()
_in_force: list[_Accepted] = []
_held: list[_Accepted] = []
"""Those of them that were accepted for the notebook's coming run."""


def find(report: Report, opened: Opened | None = None) -> Approval | None:
    """The acceptance or approval in force for exactly this, or None. Raises RecordError; see `Store.find`."""
    if report.verdict is Verdict.UNVERIFIABLE:
        return None
    with _lock:
        candidates = tuple(_in_force)
    for accepted_here in candidates:
        if accepted_here.holds(report, opened):
            return accepted_here.approval
    return _young(Store().find(report, opened))


def _young(approval: Approval | None) -> Approval | None:
    """None for one that is older than the settings now let any approval become, whatever end it was given."""
    from nbguard import settings

    most = settings.load().approvals_days
    if approval is None or not most or time.time() < approval.created + (most + 1) * 86_400.0:
        return approval
    return None


@contextlib.contextmanager
def accepted(reports: Iterable[tuple[Report, Opened]], who: str) -> Iterator[None]:
    """Let these contents load without a further question until the block ends, in whatever thread.

    What is unverifiable is left out: nobody can accept it.
    """
    mine = _made(reports, who, "cell", "accepted for this cell")
    with _lock:
        _in_force.extend(mine)
    try:
        yield
    finally:
        with _lock:
            for one in mine:
                _in_force.remove(one)


def hold(reports: Iterable[tuple[Report, Opened]], who: str) -> int:
    """Let these contents load without a further question for as long as this process runs; what an earlier `hold` let
    load is asked about again. Returns how many are held: not what is unverifiable, nor what cannot be recognised."""
    mine = _made(reports, who, "run", "accepted before the notebook was run")
    release()
    with _lock:
        _in_force.extend(mine)
        _held.extend(mine)
    return len(mine)


def release() -> None:
    """What `hold` let load is asked about again."""
    with _lock:
        for one in _held:
            _in_force.remove(one)
        _held.clear()


def _made(reports: Iterable[tuple[Report, Opened]], who: str, kind: str, reason: str) -> list[_Accepted]:
    return [
        _Accepted(_approval(report, who, kind, reason), report, identities)
        for report, opened in reports
        if report.verdict is not Verdict.UNVERIFIABLE and (identities := _identities(report, opened)) is not None
    ]


def _approval(report: Report, who: str, kind: str, reason: str) -> Approval:
    return Approval(
        id=f"{kind}-{secrets.token_hex(4)}",
        artifact=report.artifact.digest,
        contract=report.contract.digest,
        created=time.time(),
        expires=None,
        who=who,
        reason=reason,
        verdict=report.verdict,
        severity=report.top_severity,
        target=report.target,
        rules_version=report.rules_version,
        momentary=True,
    )


def _identities(report: Report, opened: Opened | None) -> dict[str, str] | None:
    """Path → identity of every file whose bulk data the artifact's digest does not hold; None where one has none."""
    single = keys.single_file(report.artifact)
    out: dict[str, str] = {}
    for file in report.artifact.files:
        if file.inert or file.pin.startswith("sha256:"):
            continue
        handle = None if opened is None else next((f for f in opened.files if f.path == file.path), None)
        if handle is None or not handle.unchanged() or not (handle.digest or handle.identity):
            return None
        known = DIGEST + handle.digest if handle.identity is None else handle.identity.key()
        out["" if file.path == single else file.path] = known
    return out
