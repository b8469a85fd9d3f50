"""Several reports as one, for one question about all of them.

    report = combine([first, second], "2 loads of this cell")
    decision = strictest([decide(first, …), decide(second, …)])

The combined report is for people to read; what is approved and enforced stays with each report of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from nbguard.artifact.model import Artifact
from nbguard.policy import Decision
from nbguard.report.advice import Advice, Way
from nbguard.report.model import Contract, NotScanned, Report, Verdict
from nbguard.scanners.facts import merge_globals

V = TypeVar("V")
_ACTIONS = ("allow", "ask", "deny")
_FORMS = ("compact", "full", "danger", "blocked")


def combine(reports: Sequence[Report], target: str) -> Report:
    """One report that holds all findings, files and permissions, each named with the target it belongs to."""
    files = tuple(replace(f, path=_name(r, f.path)) for r in reports for f in r.files)
    parts = tuple(replace(f, path=_name(r, f.path)) for r in reports for f in r.artifact.files)
    return Report(
        target=target,
        artifact=Artifact(target, "directory", parts),
        files=files,
        findings=tuple(replace(f, file=_name(r, f.file)) for r in reports for f in r.findings),
        contract=_contract(reports),
        not_scanned=tuple(NotScanned(_name(r, n.path), n.why) for r in reports for n in r.not_scanned),
        summary=(_first(reports), *(f"{r.target}: {sentence}" for r in reports for sentence in r.summary)),
        provenance={"source": ", ".join(r.target for r in reports)[:1_000]}
        | {r.target: r.provenance.get("path") or r.artifact.commit or r.artifact.digest for r in reports},
        rules_version=reports[0].rules_version if reports else "",
        weights_only=all(r.weights_only for r in reports),
        seconds=sum(r.seconds for r in reports),
        floor=max((r.floor for r in reports), default=Verdict.SAFE),
        advice=_advice(reports),
    )


def strictest(decisions: Sequence[Decision]) -> Decision:
    """The strictest action and form; only what every decision offers is offered."""
    offers = [o for o in ("once", "always", "refuse") if all(o in d.offers for d in decisions)]
    worst = max(decisions, key=lambda d: (_ACTIONS.index(d.action), _FORMS.index(d.form)))
    rules = tuple(dict.fromkeys(itertools.chain.from_iterable(d.rules for d in decisions)))
    return replace(worst, offers=tuple(offers), rules=rules)


def _first(reports: Sequence[Report]) -> str:
    """All of them in one sentence; it may be the only one that is shown."""
    counts = [(v, sum(r.verdict is v for r in reports)) for v in sorted(Verdict, reverse=True)]
    told = ", ".join(f"{count} {verdict.word}" for verdict, count in counts if count)
    changed = sum(r.advice.since is not None and r.advice.since.differs for r in reports)
    since = f" {changed} changed since somebody accepted what had the name." if changed else ""
    return f"{len(reports)} would be loaded: {told}.{since}"


def _advice(reports: Sequence[Report]) -> Advice:
    """The name that was meant, of the first that has one, and the lines with their revisions together. Nothing that
    only one of the loads could do is offered for all of them."""
    meant = next((r.advice.meant for r in reports if r.advice.meant is not None), None)
    ways: list[Way] = []
    for kind in ("safetensors", "pinned"):
        found = [way for r in reports if (way := r.advice.way(kind)) is not None]
        if found:
            lines = "\n".join(dict.fromkeys(way.line for way in found))
            ways.append(Way(found[0].kind, lines, found[0].why if len(found) == 1 else _WHY[found[0].kind]))
    return Advice(meant=meant, ways=tuple(ways))


_WHY = {
    "safetensors": "For these there are files beside them that hold numbers only and cannot run code.",
    "pinned": "What a branch or tag stands for can change; these name the commits that were looked at.",
}


def _contract(reports: Sequence[Report]) -> Contract:
    every = [(r, r.contract) for r in reports]
    return Contract(
        programs=tuple(replace(p, file=_name(r, p.file)) for r, c in every for p in c.programs),
        globals=tuple(merge_globals([g for _, c in every for g in c.globals])),
        calls=tuple(call for _, c in every for call in c.calls),
        code=tuple(replace(f, path=_name(r, f.path)) for r, c in every for f in c.code),
        native=tuple(replace(f, path=_name(r, f.path)) for r, c in every for f in c.native),
        companions=tuple(_name(r, path) for r, c in every for path in c.companions),
        containers=_named((r, c.containers) for r, c in every),
        layout=_named((r, c.layout) for r, c in every),
        effects=tuple(sorted({effect for _, c in every for effect in c.effects})),
        local_modules={name: digest for _, c in every for name, digest in c.local_modules.items()},
    )


def _name(report: Report, path: str) -> str:
    return report.target if report.artifact.kind in ("path", "stream") else f"{report.target}/{path}"


def _named(tables: Iterable[tuple[Report, Mapping[str, V]]]) -> dict[str, V]:
    return {_name(report, path): value for report, table in tables for path, value in table.items()}
