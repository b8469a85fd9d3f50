"""Asking a person before a model loads: in the running cell, in a terminal, or not at all.

    answer = gate.ask(report, decision, request)
    if answer.choice == "refuse": ...

    with gate.progress("Scanning model.bin") as tell:
        tell(0.5, "archive/data.pkl")

`frontend()` says who is on the other side. Where nobody is, nothing waits: `ask` refuses at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbguard.gate.answer import Answer
from nbguard.gate.bar import progress
from nbguard.gate.faces import frontend

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.policy import Decision
    from nbguard.report.model import Report

__all__ = ["Answer", "announce", "ask", "frontend", "progress"]


def ask(report: Report, decision: Decision, request: LoadRequest) -> Answer:
    """Show the report and wait for a person's answer.

    Never answers anything but "refuse" where nobody can be asked, where the report is unverifiable, or for a choice
    that the decision does not offer.

    Raises:
        KeyboardInterrupt: the person interrupted the cell; nothing may be loaded.
    """
    from nbguard.gate.asking import ask as _ask

    return _ask(report, decision, request)


def announce(report: Report, decision: Decision, request: LoadRequest) -> None:
    """Say in one line what was loaded or refused without a question; a refusal brings its report along."""
    from nbguard.gate.asking import announce as _announce

    _announce(report, decision, request)
