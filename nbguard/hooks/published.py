"""What the Hub says about the publisher of what is open, beside what was accepted under that name before.

    report = published(report, opened)
    versions.remember(…, hub=record(report, opened))

Nothing is asked for local files, or offline. What cannot be told is left out; no load depends on it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nbguard.provenance import published as provenance
from nbguard.provenance.reuse import Accepted
from nbguard.report.model import Report

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


def published(report: Report, opened: Opened, now: datetime | None = None) -> Report:
    """`report` with what the Hub says, compared with what was last accepted under this name."""
    if opened.hub is None:
        return report
    from nbguard.approvals import RecordError, versions

    try:
        found = versions.hub_before(report)
    except RecordError:
        found = None  # said elsewhere: what was accepted cannot be told
    was = Accepted.of_entry(found[0]) if found is not None else None
    before = provenance.Before(was, found[1]) if was is not None and found is not None else None
    return provenance.with_publisher(report, opened.hub, before, now)


def record(report: Report, opened: Opened | None, now: datetime | None = None) -> dict[str, str]:
    """What to keep of the Hub's words with an acceptance."""
    if opened is None or opened.hub is None:
        return {}
    kept = provenance.record(opened.hub, now or datetime.now(UTC))
    revision = report.provenance.get("revision", "")
    return {**kept, **({"revision": revision} if revision else {})}
