"""`%safemodel lock`: what this notebook loads, into `nbguard.lock` beside it.

    run(shell, options)

Without targets: what the cells of the notebook that runs here name, and what this session has loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbguard.commands.lock import Wanted, lock, lock_path, meant, of_notebook, tell
from nbguard.commands.lock import run as command
from nbguard.hooks import locked
from nbguard.report.model import Report

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


def run(shell: Any, options: argparse.Namespace) -> None:
    """`%safemodel lock`: without targets, what the notebook that runs here names, and what this session has loaded."""
    from nbguard.notebooks import NotebookError, running

    notebook = options.notebook
    if notebook is None and not options.lock and not os.environ.get(locked.VARIABLE):
        with contextlib.suppress(NotebookError):
            notebook = running(shell.user_ns)
    if options.check or options.upgrade:
        options.notebook = notebook
        command(options)
        return
    path = lock_path(options.lock, notebook)
    wanted = [Wanted(target, options.revision) for target in options.targets]
    later: list[str] = []
    if not wanted:
        if notebook is not None:
            found, later = of_notebook(notebook, shell.user_ns if options.notebook is None else None)
            wanted += found
        seen = {meant(one)[0] for one in wanted}
        wanted += [one for one in of_session() if meant(one)[0] not in seen]
    outcomes = lock(path, wanted, reason=options.reason, accept_danger=options.i_accept_danger,
                    ask=gate_ask if somebody_there() else None, show=not somebody_there())  # fmt: skip
    tell(path, outcomes, later, options.format)


def of_session() -> Iterator[Wanted]:
    """What was loaded in this session, from files and repositories, each once."""
    from nbguard import history

    seen: set[str] = set()
    for one in history.all_seen():
        report, kind = one.report, one.report.artifact.kind
        if one.what not in LOADED or kind == "stream":
            continue
        revision = report.provenance.get("revision")
        target = f"hf://{report.provenance.get('repo') or report.target}" if kind == "hub" else (
            report.provenance.get("path") or report.target
        )  # fmt: skip
        if target not in seen and (kind == "hub" or os.path.exists(target)):
            seen.add(target)
            yield Wanted(target, revision if kind == "hub" and revision != "main" else None)


LOADED = frozenset({"load.accepted", "load.approved", "load.allowed", "load.own", "load.settled"})


def somebody_there() -> bool:
    """Whether a question can be asked in the notebook. A seam: tests answer here."""
    from nbguard import gate

    return gate.frontend() != "none"


def gate_ask(report: Report, opened: Opened | None) -> tuple[bool, str]:
    """The question in the notebook, as for a load. A seam, too."""
    from nbguard import gate, policy
    from nbguard.artifact.model import LoadRequest

    request = LoadRequest("%safemodel lock", report.target, report.artifact.kind)
    decision = policy.decide(report, policy.current(), policy.Situation(person=True, request=request))
    if decision.action != "ask":
        return False, ""
    answer = gate.ask(report, decision, request)
    return answer.choice in ("once", "always") and answer.choice in decision.offers, answer.reason
