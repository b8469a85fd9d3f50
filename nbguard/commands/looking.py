"""Looking into several named loads before they happen, for one question about all of them.

    items = list(looked_into(loads, handles, title="Looking into what this cell loads", missing=print))
    report, decision, request = question(items, "2 loads of this cell", loader="%%safemodel")

Both `%%safemodel` and preflight go this way. It replaces nothing: each load is intercepted when it happens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.errors import TargetError

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.cell_loads import CellLoad
    from nbguard.gate.answer import Answer
    from nbguard.policy import Decision
    from nbguard.report.model import Report

Missing = Callable[["CellLoad", str], None]
"""Told of a load that cannot be looked into, with one plain sentence that says why."""


@dataclass(frozen=True, eq=False)
class Item:
    """One target, open, with its report and what is to happen to it."""

    load: CellLoad
    opened: Opened
    report: Report
    decision: Decision

    @property
    def request(self) -> LoadRequest:
        return LoadRequest(self.load.loader, self.load.target, self.opened.kind, revision=self.load.revision)


def unique(loads: Sequence[CellLoad]) -> list[CellLoad]:
    """Each target once, in the order in which they come."""
    found: dict[tuple[str, str | None, bool], CellLoad] = {}
    for load in loads:
        found.setdefault((load.target, load.revision, load.hub), load)
    return list(found.values())


def looked_into(
    loads: Sequence[CellLoad],
    handles: contextlib.ExitStack,
    *,
    title: str,
    missing: Missing,
    person: bool,
    opener: Callable[[CellLoad], Opened] | None = None,
) -> Iterator[Item]:
    """Open, scan and decide on each load; what cannot be found yet is told to `missing`.

    Args:
        person: whether a question can be asked.
        opener: opens a load's target; `open_load` by default.
    """
    from nbguard import gate, history
    from nbguard.commands import actions
    from nbguard.hooks.advice import advised

    if not loads:
        return
    with gate.progress(f"{title} ({len(loads)})") as moved:
        for number, load in enumerate(loads):

            def part(share: float, what: str, done: int = number) -> None:
                moved((done + share) / len(loads), what)

            try:
                opened = handles.enter_context((opener or open_load)(load))
                report = actions.scan_opened(opened, load.target, part)
            except TargetError as error:
                missing(load, str(error))
                continue
            history.note(report, "scanned")
            decision = decide(load, opened, report, person=person)
            if decision.action != "allow":
                request = LoadRequest(load.loader, load.target, opened.kind, revision=load.revision)
                report = advised(report, opened, request)
            yield Item(load, opened, report, decision)


def open_load(load: CellLoad) -> Opened:
    """Open what the load names, of a Hub's repository where it lies. Raises TargetError."""
    from nbguard.artifact.sources import open_path
    from nbguard.commands import actions

    return actions.open_target(load.target, load.revision, remote=True) if load.hub else open_path(load.target)


def decide(load: CellLoad, opened: Opened, report: Report, *, person: bool) -> Decision:
    """What the policy says of the load, as it would when it happens."""
    from nbguard import approvals, policy, settings
    from nbguard.hooks import own

    approved = approvals.find(report, opened)
    written = own.find(report, opened) if approved is None else None
    situation = policy.Situation(
        approved=approved,
        own=written.sentence if written is not None else "",
        person=person,
        request=LoadRequest(load.loader, load.target, opened.kind, revision=load.revision),
        mode=settings.load().mode,
    )
    return policy.decide(report, policy.current(), situation)


def question(asked: Sequence[Item], title: str, *, loader: str) -> tuple[Report, Decision, LoadRequest]:
    """One question about all of them; about a single one, its own."""
    if len(asked) == 1:
        return asked[0].report, asked[0].decision, asked[0].request
    from nbguard.commands.combined import combine, strictest

    report = combine([item.report for item in asked], title)
    return report, strictest([item.decision for item in asked]), LoadRequest(loader, title, "directory")


def keep(items: Sequence[Item], answer: Answer) -> None:
    """Write down what was accepted: as approvals where the answer was "always", and for later questions."""
    from nbguard import approvals, policy
    from nbguard.hooks.advice import remember

    for item in items:
        given = ""
        if answer.choice == "always":
            until = policy.lifetime(policy.current(), item.report.verdict)
            given = approvals.Store().remember(item.report, item.opened, answer.who, answer.reason, until).id
        remember(item.report, item.opened, answer.who, answer.reason, given)


def record(event: str, items: Sequence[Item], **more: Any) -> None:
    """An entry in the audit log about all of them."""
    from nbguard.approvals import AuditLog

    AuditLog().record(
        event,
        targets=[item.report.target for item in items],
        verdicts=[item.report.verdict.word for item in items],
        artifacts=[item.report.artifact.digest for item in items],
        **more,
    )
