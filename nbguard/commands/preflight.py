"""Every load of a notebook that can be named, before any of its cells is run: scanned, one report, one answer.

    %safemodel preflight                 # the notebook that runs here
    nbguard preflight train.ipynb        # in a build: the reports, and an exit code as of `nbguard scan`

What is accepted in a notebook holds for that kernel until it ends, for exactly these contents. What cannot be named, or
is not there yet, is listed: it is asked about when it happens.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbguard.cell_loads import CellLoad, Reader
from nbguard.commands import looking
from nbguard.errors import LoadBlocked, TargetError
from nbguard.notebooks import Notebook, read, running
from nbguard.report.escape import terminal
from nbguard.report.model import Report, document

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.artifact.sources import Opened
    from nbguard.gate.answer import Answer
    from nbguard.policy import Decision

LOADER = "%safemodel preflight"
MOST = 256
"""Loads of one notebook that are looked into; the rest is asked about when it happens."""
MOST_LISTED = 40


@dataclass(frozen=True)
class Place:
    """One load of the notebook."""

    cell: int
    """Of all cells, from 1."""
    load: CellLoad

    def __str__(self) -> str:
        return f"cell {self.cell}, line {self.load.line}"


@dataclass(frozen=True)
class Later:
    """A load, or a cell, that cannot be looked into before it runs."""

    place: str
    loader: str
    why: str
    """One plain sentence; holds text of the notebook, and is not escaped."""

    def __str__(self) -> str:
        return f"{self.place}: {self.loader}: {self.why}" if self.loader else f"{self.place}: {self.why}"

    def to_json(self) -> dict[str, str]:
        return {"place": self.place, "loader": self.loader, "why": self.why}


@dataclass(frozen=True)
class Flight:
    """What was found in one notebook."""

    notebook: Notebook
    places: tuple[Place, ...]
    """Loads with a known target, each target once."""
    later: tuple[Later, ...]


def plan(book: Notebook, namespace: dict[str, Any] | None = None) -> Flight:
    """What the notebook's cells name, read from the first to the last."""
    reader = Reader(namespace)
    places: dict[tuple[str, str | None, bool], Place] = {}
    later: list[Later] = []
    for cell in book.cells:
        try:
            loads = reader.loads(cell.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            later.append(Later(f"cell {cell.number}", "", "it is not Python that can be read before it runs."))
            continue
        for load in loads:
            key = (load.target, load.revision, load.hub)
            place = Place(cell.number, load)
            if not load.target:
                what = f"{load.argument} is not known before it runs." if load.argument else "it names no file."
                later.append(Later(str(place), load.loader, what))
            elif key not in places and len(places) >= MOST:
                later.append(Later(str(place), load.loader, f"only {MOST} loads are looked into at once."))
            else:
                places.setdefault(key, place)
    return Flight(book, tuple(places.values()), tuple(later))


# in a notebook


def run(shell: Any, path: str | None = None) -> None:
    """Look into the notebook's loads and ask once for all of them.

    Raises:
        NotebookError: there is no such notebook, or it cannot be told which one runs.
        LoadBlocked: the answer is no.
    """
    here = path is None
    book = read(running(shell.user_ns) if path is None else os.path.expanduser(path))
    flight = plan(book, shell.user_ns if here else None)
    base = os.getcwd() if here else os.path.dirname(os.path.abspath(book.path))
    with contextlib.ExitStack() as handles:
        items, later = _looked_into(flight, base, handles, person=somebody_there())
        _print(_told(flight, items, later))
        asked = [item for item in items if item.decision.action == "ask" and item.decision.enforced]
        if asked:
            _ask(asked)


def ask(report: Report, decision: Decision, request: LoadRequest) -> Answer:
    """Ask the person. A seam: tests answer here."""
    from nbguard import gate

    return gate.ask(report, decision, request)


def somebody_there() -> bool:
    """Whether a question can be asked. A seam, too."""
    from nbguard import gate

    return gate.frontend() != "none"


def _ask(asked: list[looking.Item]) -> None:
    from nbguard import approvals

    report, decision, request = looking.question(asked, f"{len(asked)} loads of this notebook", loader=LOADER)
    answer = ask(report, decision, request)
    looking.record(
        f"preflight.{answer.choice}", asked, who=answer.who, reason=answer.reason, rules=list(decision.rules)
    )
    if answer.choice not in ("once", "always") or answer.choice not in decision.offers:
        raise LoadBlocked(
            "Refused: nothing of it is accepted for the notebook's run; each load is asked about.", report
        )
    looking.keep(asked, answer)
    held = approvals.hold([(item.report, item.opened) for item in asked], answer.who)
    print(f"Accepted for the notebook's run in this kernel: {held} of {len(asked)}. Anything else is asked about.")


def _looked_into(
    flight: Flight, base: str, handles: contextlib.ExitStack, *, person: bool
) -> tuple[list[looking.Item], list[Later]]:
    later = list(flight.later)
    where = {id(place.load): place for place in flight.places}

    def missing(load: CellLoad, why: str) -> None:
        later.append(Later(str(where[id(load)]), load.loader, why))

    loads = [place.load for place in flight.places]
    title = "Looking into what this notebook loads"
    found = looking.looked_into(
        loads, handles, title=title, missing=missing, person=person, opener=lambda load: opened(load, base)
    )
    return list(found), later


def opened(load: CellLoad, base: str) -> Opened:
    """What the load would open, as its loader would, with paths from `base`. Raises TargetError."""
    target = os.path.expanduser(load.target)
    place = target if os.path.isabs(target) else os.path.join(base, target)
    if load.hub and not os.path.exists(place):
        return looking.open_load(load)
    entry = load.named.entry if load.named is not None else None
    if entry is not None and entry.opens is not None and load.named is not None:
        return _by_entry(entry, load.named.parameter, place)
    return looking.open_load(dataclasses.replace(load, target=place, hub=False))


def _by_entry(entry: Any, parameter: str, place: str) -> Opened:
    """The files that a declared loader says it would open, companions among them."""
    from nbguard.artifact.sources import open_path
    from nbguard.hooks.caller import Caller
    from nbguard.hooks.loaders.entry import Call

    kind = inspect.Parameter.KEYWORD_ONLY
    names = list(dict.fromkeys((parameter, *entry.source)))
    signature = inspect.Signature([inspect.Parameter(name, kind, default=None) for name in names])
    call = Call(
        loader=entry, bound=signature.bind(**{parameter: place}), name=parameter, who=Caller("person", "__main__")
    )
    call.given = place
    with call.stack:
        try:
            found: Opened | None = entry.opens(call)
        except (TypeError, KeyError, AttributeError):
            found = None  # it looks at more of a call than a name: the file alone is looked into then
    return found if found is not None else open_path(place)


def _told(flight: Flight, items: Sequence[looking.Item], later: Sequence[Later]) -> list[str]:
    """What was found, line by line, escaped."""
    from datetime import UTC, datetime

    book = flight.notebook
    when = datetime.fromtimestamp(book.saved, UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"{terminal(os.path.basename(book.path), 120)}, as it was saved on {when}:"]
    if not items and not later:
        lines.append("No load that nbguard knows is named in it.")
    where = {id(place.load): place for place in flight.places}
    words = {"allow": "loads without a question", "ask": "is asked about now", "deny": "will be refused"}
    for item in items[:MOST_LISTED]:
        place, what = where[id(item.load)], words[item.decision.action]
        lines.append(
            f"  {place}: {terminal(item.load.loader, 60)} {terminal(item.load.target, 120)}: "
            f"{item.report.verdict.word}, {what if item.decision.enforced else 'loads: the policy only watches'}"
        )
        if item.decision.action == "deny" and item.decision.enforced:
            lines.append(f"    {terminal(item.decision.reason, 300)}")
    if later:
        lines.append("Asked about when it happens:")
        lines += [f"  {terminal(str(one), 300)}" for one in later[:MOST_LISTED]]
    left = max(0, len(items) - MOST_LISTED) + max(0, len(later) - MOST_LISTED)
    return [*lines, f"  and {left} more"] if left else lines


def _print(lines: list[str]) -> None:
    print("\n".join(lines))


# on the command line


def command(options: argparse.Namespace) -> int:
    """Print the reports on everything that the notebook names; the exit code is that of `nbguard scan`."""
    from nbguard.commands import scan
    from nbguard.report import text
    from nbguard.report.model import Severity

    flight = plan(read(options.notebook))
    base = os.path.dirname(os.path.abspath(flight.notebook.path))
    with contextlib.ExitStack() as handles:
        items, later = _looked_into(flight, base, handles, person=False)
        reports = [item.report for item in items]
        if options.format == "json":
            where = {id(place.load): str(place) for place in flight.places}
            out = document(reports)
            out["notebook"] = {
                "path": flight.notebook.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
                "loads": [
                    {"place": where[id(i.load)], "loader": i.load.loader, "target": i.load.target,
                     "decision": i.decision.action} for i in items
                ],
                "later": [one.to_json() for one in later],
            }  # fmt: skip
            print(json.dumps(out, indent=2))
        else:
            for report in reports:
                print(text.render(report) + "\n")
            _print(_told(flight, items, later))
        return scan.exit_code(reports, Severity[options.fail_on.upper()])


__all__ = ["Flight", "Later", "Place", "TargetError", "command", "opened", "plan", "run"]
