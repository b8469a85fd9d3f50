"""`%safemodel status`: what holds in this session.

show(get_ipython())
"""

from __future__ import annotations

import html
from typing import Any


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
        ("Interception", "on" if hooks.installed() else "off: nothing is stopped (%load_ext nbguard turns it on)"),
        ("Policy", f"{found.policy}: {policy.current().about}"),
        ("Mode", f"{found.mode}: {mode[found.mode]}"),
        ("Questions", asks[gate.frontend()]),
        ("Approvals", _approvals()),
        ("Audit log", _audit()),
        ("Data", terminal(str(found.data_dir))),
    ]
    out += [("Problem", terminal(problem)) for problem in found.problems]
    out += [("Note", terminal(note)) for note in found.notes]
    seen = history.all_seen()
    out += [
        (f"Report {number}", f"{one.report.verdict.word}, {terminal(one.report.target, 100)} ({one.what})")
        for number, one in enumerate(reversed(seen[-10:]), 1)
    ]
    return out


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
