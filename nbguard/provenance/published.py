"""What the Hub says about publisher and repository, in a report: rows, findings, and a verdict that is no better.

    report = with_publisher(report, opened.hub, before)
    report.provenance["owner"]      # "verified organisation: “The Organisation”"
    report.verdict                  # review at least where the Hub calls a file unsafe, or the name changed hands

`before` is what was recorded when something was accepted under the name (`record`). Nothing that a Hub says makes a
report better, and nothing about a repository that is merely new or little known makes it worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nbguard.artifact.hub_facts import History, HubSaid
from nbguard.provenance.facts import HubFacts, facts_from_model_info, findings, rows
from nbguard.provenance.reuse import Accepted, reused
from nbguard.report.model import Finding, Report, Severity, Verdict

FLOOR_FROM = Severity.HIGH
"""Severity from which the verdict is *review* at least."""
LEAST = Severity.LOW
"""What is less is a row of the provenance, and no finding."""
SAME = "This exact content is what was accepted, so it loads; what comes next under this name may be another's."


@dataclass(frozen=True)
class Before:
    """What was accepted under a name."""

    was: Accepted
    same: bool = False
    """Exactly what is looked at now was accepted: whoever has the name by now, the content is the same."""


def facts_of(hub: HubSaid) -> HubFacts:
    """What the Hub said; asks it for what was not asked for yet, and waits for that a few seconds at most."""
    return facts_from_model_info(hub.info, hub.overview(), requested=hub.requested, files=hub.files())


def with_publisher(
    report: Report, hub: HubSaid | None, before: Before | None = None, now: datetime | None = None
) -> Report:
    """`report` with what the Hub says; as it is for what no Hub was asked about, or where that is in it already."""
    if hub is None or "owner" in report.provenance:
        return report
    facts = facts_of(hub)
    moment = now or datetime.now(UTC)
    found = [f for f in findings(facts, moment) if f.severity >= LEAST]
    if facts.bad_files and not {path for path, _ in facts.bad_files} & {f.path for f in report.files if not f.inert}:
        found = [_beside(f) if f.rule == "publisher.hub-scan" else f for f in found]
    found = _said_once([*_reused(report, hub, facts, before), *found])
    told = {key: text[:300] for key, text in rows(facts, moment).items()}
    report = replace(report, provenance={**report.provenance, **told})
    return _flagged(report, found)


def record(hub: HubSaid | None, now: datetime | None = None) -> dict[str, str]:
    """What to keep of a repository that is accepted now (`Accepted.of_entry` reads it); empty where no Hub was asked.

    Asks for the history, so that a later load can tell whether it still begins with the same commit.
    """
    if hub is None:
        return {}
    facts = facts_of(hub)
    root = hub.history(facts.commit).root if facts.commit else ""
    return Accepted.of(facts, now or datetime.now(UTC), root_commit=root).to_entry()


def _reused(report: Report, hub: HubSaid, facts: HubFacts, before: Before | None) -> list[Finding]:
    was = before.was if before is not None else None
    history = History()
    # Another branch may begin with another commit, and need not hold the one that was accepted.
    same_branch = was is not None and was.revision in ("", report.provenance.get("revision"))
    if was is not None and same_branch and facts.commit and was.commit != facts.commit:
        history = hub.history(facts.commit)
    commits = history.commits if history.root and was is not None and was.revision else None
    found = [f for f in reused(facts, was, root_commit=history.root, history=commits) if f.severity >= LEAST]
    if before is not None and before.same:
        return [replace(f, severity=LEAST, meaning="", remedy=SAME) for f in found[:1]]
    return found


def _beside(finding: Finding) -> Finding:
    """Of files that are not opened: told, and no reason to refuse those that are."""
    severity = min(finding.severity, Severity.MEDIUM)
    return replace(finding, severity=severity, message=f"{finding.message} It is not opened here.")


def _said_once(found: list[Finding]) -> list[Finding]:
    """Why it matters and what to do, each once, however many signs there are of one thing."""
    told: set[str] = set()
    out = []
    for finding in sorted(found, key=lambda f: -f.severity):
        meaning = "" if finding.meaning in told else finding.meaning
        remedy = "" if finding.remedy in told else finding.remedy
        told |= {finding.meaning, finding.remedy}
        out.append(replace(finding, meaning=meaning, remedy=remedy))
    return out


def _flagged(report: Report, found: list[Finding]) -> Report:
    if not found:
        return report
    loud = tuple(f.message for f in sorted(found, key=lambda f: -f.severity) if f.severity >= Severity.MEDIUM)
    floor = Verdict.REVIEW if any(f.severity >= FLOOR_FROM for f in found) else Verdict.SAFE
    return replace(
        report,
        findings=tuple(sorted((*found, *report.findings), key=lambda f: -f.severity)),
        summary=(*loud[:3], *report.summary),
        floor=max(report.floor, floor),
    )
