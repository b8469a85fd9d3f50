"""`nbguard approve` and `revoke`, and how approvals and entries of the audit log look as text.

nbguard approve model.pkl --reason "our own trainer" --expires 30d
nbguard revoke 1f2e3d4c --reason "superseded"
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nbguard.approvals import Approval
from nbguard.approvals.model import moment
from nbguard.commands import actions
from nbguard.policy import UNSAID
from nbguard.report.escape import terminal
from nbguard.report.model import Report

LINE = 120
"""Characters of one entry of the audit log, as text."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGESTS = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_FIRST = ("verdict", "artifact", "target", "targets", "approval", "who", "reason", "why", "loader")
_BOOKKEEPING = ("n", "time", "event", "user", "pid", "prev", "hash")


def approve(options: argparse.Namespace) -> int:
    """Show the report in short, record the approval. 0 when it was recorded; everything else is an error."""
    from nbguard.report import text

    def show(report: Report) -> None:
        lines = text.brief(report).split("\n")
        steps = len(text.next_steps(report))
        print("\n".join(lines[: len(lines) - steps]))

    given, report = actions.approve(
        options.target,
        revision=options.revision,
        reason=options.reason,
        expires=UNSAID if options.expires is None else actions.expiry(options.expires),
        digest=options.digest,
        accept_danger=options.i_accept_danger,
        show=show,
    )
    print(f"Approved as {given.id}, {until(given)}: {report.artifact.digest}")
    print(f"Take it back with:  nbguard revoke {given.id}")
    return 0


def revoke(options: argparse.Namespace) -> int:
    for approval in actions.revoke(options.what, options.reason):
        print(f"Revoked {approval.id}: {terminal(approval.target)}")
    return 0


def approval_lines(found: Sequence[Approval]) -> list[str]:
    """Two or three lines for each approval."""
    now = time.time()
    lines: list[str] = []
    for approval in found:
        lines.append(
            f"{approval.id}  {approval.verdict.word:<7}  {terminal(approval.target, 160)}  ({state(approval, now)})"
        )
        said = f": {terminal(approval.reason, 200)}" if approval.reason else ""
        lines.append(f"          by {terminal(approval.who, 60)}, {moment(approval.created)}{said}")
        if approval.origin is not None:
            lines.append(f"          from a bundle that {terminal(approval.origin.name, 64)} signed")
        if approval.revoked is not None and (approval.revoked_by or approval.revoked_why):
            why = f": {terminal(approval.revoked_why, 200)}" if approval.revoked_why else ""
            lines.append(f"          revoked by {terminal(approval.revoked_by or 'somebody', 120)}{why}")
    return lines


def state(approval: Approval, now: float) -> str:
    """`until …`, `expired …`, `revoked …` or `without an end`."""
    if approval.revoked is not None:
        return f"revoked {moment(approval.revoked)}"
    if approval.expires is not None and approval.expires <= now:
        return f"expired {moment(approval.expires)}"
    return until(approval)


def until(approval: Approval) -> str:
    return "without an end" if approval.expires is None else f"until {moment(approval.expires)}"


def _short(key: str, value: Any) -> str:
    """One value in at most 40 characters; of a path its end, which tells it from others."""
    text = value if isinstance(value, str) else _DIGESTS.sub(r"\1", json.dumps(value))
    if _DIGEST.fullmatch(text):
        return text[:12]
    whole = terminal(text, 4_000)
    if len(whole) <= 40:
        return whole
    return f"…{whole[-39:]}" if key == "target" else f"{whole[:39]}…"


def entry_line(entry: Mapping[str, Any]) -> str:
    """`12  2026-01-31 10:00:00  load.allowed  target=model.pt verdict=safe …`, about `LINE` characters; UTC.

    What matters most comes first, digests are short, and what has no room is in `--format json`.
    """
    number, time, event = (terminal(str(entry.get(key, "?")), 60) for key in ("n", "time", "event"))
    line = f"{number}  {time[:19].replace('T', ' ')}  {event} "
    left_out = False
    others = [key for key in entry if key not in (*_FIRST, *_BOOKKEEPING)]
    for key in (*_FIRST, *others):
        value = entry.get(key)
        if value in (None, "", []):
            continue
        part = f" {terminal(str(key), 20)}={_short(key, value)}"
        if len(line) + len(part) <= LINE:
            line += part
        else:
            left_out = True
    return f"{line} …" if left_out else line
