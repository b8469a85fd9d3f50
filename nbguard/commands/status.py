"""`%safemodel status`: what holds in this session.

show(get_ipython())
"""

from __future__ import annotations

import html
import sys
from typing import Any

from nbguard.report.words import plural


def show(shell: Any) -> None:
    """One small table, as HTML and as text."""
    from IPython.display import display

    rows = list(lines())
    text = "\n".join(f"{name + ':':<18}{value}" for name, value in rows)
    left = 'style="text-align:left"'
    cells = "".join(
        f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(value)}</td></tr>" for name, value in rows
    )
    display({"text/html": f"<table>{cells}</table>", "text/plain": text}, raw=True)


def lines() -> list[tuple[str, str]]:
    """(what, how it is) of everything that a person may want to know before they load something."""
    from nbguard import __version__, gate, history, hooks, policy, settings
    from nbguard.report.escape import terminal

    found = settings.load()
    mode = {"enforce": "loads are stopped", "warn": "nothing is stopped, only shown", "observe": "nothing is stopped"}
    asks = {
        "widget": "in the cell",
        "terminal": "in the terminal",
        "none": "nobody can be asked here: what the policy and approvals do not allow is refused",
    }
    out = [
        ("nbguard", __version__),
        ("Interception", _interception(hooks.installed(), found.may_turn_off)),
        ("Guarded", _guarded() if hooks.installed() else "nothing"),
        ("Policy", f"{found.policy}: {policy.current().about}"),
        ("Mode", f"{found.mode}: {mode[found.mode]}"),
        ("Questions", asks[gate.frontend()]),
        ("This session", _session(history.counts())),
        ("Approvals", _approvals()),
        ("Audit log", _audit()),
        ("Data", terminal(str(found.data_dir))),
    ]
    out += _lock()
    out += [("Problem", terminal(problem)) for problem in found.problems]
    out += [("Note", terminal(note)) for note in found.notes]
    seen = history.all_seen()
    out += [
        (f"Report {number}", f"{one.report.verdict.word}, {terminal(one.report.target, 100)} ({one.what})")
        for number, one in enumerate(reversed(seen[-10:]), 1)
    ]
    return out


def _lock() -> list[tuple[str, str]]:
    """The lock that holds here, where there is one."""
    from nbguard.hooks import locked
    from nbguard.report.escape import terminal

    found = locked.in_force()
    if found is None:
        return []
    many = plural(len(found.lock.entries), "source")
    return [("Lock", terminal(found.broken or f"{found.path}: {many}", 500))]


def _interception(on: bool, may_turn_off: bool) -> str:
    if not on:
        return "off: nothing is stopped; %safemodel on switches it on"
    return "on" if may_turn_off else "on; this site does not let it be switched off"


def _guarded() -> str:
    """`14 loaders of joblib, pickle and torch; 31 more when their libraries are imported`."""
    from nbguard.hooks.loaders import table

    here, later = [], 0
    for loader in table():
        library = loader.module.partition(".")[0] or loader.name.partition(".")[0]
        if loader.module in sys.modules or (not loader.module and library in sys.modules):
            here.append(library)
        else:
            later += 1
    libraries = sorted(set(here))
    more = f"; {later} more when their libraries are imported" if later else ""
    return f"{plural(len(here), 'loader')} of {', '.join(libraries) or 'no library yet'}{more}"


_TOLD = {
    "load.allowed": "loaded without a question",
    "load.settled": "covered by an answer before",
    "load.nested": "part of another load",
    "load.accepted": "accepted once",
    "load.approved": "always allowed",
    "load.refused": "refused",
    "load.interrupted": "interrupted",
    "load.violation": "stopped by their contract",
    "load.not_stopped": "not stopped, for the mode only watches",
    "scanned": "only scanned",
}
"""Event → what became of a load, in the order in which it is told."""


def _session(counts: dict[str, int]) -> str:
    told = [f"{counts[event]:,} {words}" for event, words in _TOLD.items() if counts.get(event)]
    return ", ".join(told) or "no load yet"


def _approvals() -> str:
    from nbguard.approvals import RecordError, Store

    try:
        return f"{len(Store().list())} in force"
    except RecordError as error:
        return str(error)


def _audit() -> str:
    from nbguard.approvals import AuditLog, RecordError

    try:
        check = AuditLog().verify()
    except RecordError as error:
        return str(error)
    return f"in order, {check.entries} entries" if check.ok else f"altered. {check.problem}"
