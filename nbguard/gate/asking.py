"""Who is asked, and how what was decided is told.

    answer = ask(report, decision, request)      # the widget, else typed text, else a refusal
    announce(report, decision, request)          # what was decided without a question

Every way that does not end with a person's own answer ends in a refusal.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

from nbguard.gate import faces
from nbguard.gate.answer import Answer, person, question
from nbguard.gate.pump import TapUnavailable
from nbguard.gate.turns import INTERRUPTED, CellEnded
from nbguard.report import text as report_text
from nbguard.report.model import Verdict
from nbguard.report.words import Outcome

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.gate.slot import Slot
    from nbguard.policy import Decision
    from nbguard.report.model import Report

log = logging.getLogger("nbguard")
MOST_NAMED = 12
"""Targets named in the line about what a cell's acceptance covered."""
_telling = threading.Lock()
_covered: tuple[Slot, list[str]] | None = None
"""Where that line of the last such cell stands, and what it names."""


def ask(report: Report, decision: Decision, request: LoadRequest) -> Answer:
    """See `nbguard.gate.ask`."""
    face = faces.frontend()
    if face == "none":
        return Answer("refuse", person(), "nobody could be asked", "none")
    asked = question(report, decision)
    if asked.form == "blocked" and not (asked.instead or asked.convert):
        # There is nothing to decide, so nothing waits: the report says what could not be read.
        _tell(report, decision, request, Outcome("refused", f"Nothing was loaded. {_why(report, decision)}"))
        return Answer("refuse", person(), _why(report, decision), face)
    try:
        if face == "widget":
            try:
                from nbguard.gate.widget import ask_in_cell

                return ask_in_cell(report, decision, request, asked)
            except (TapUnavailable, ImportError) as error:
                log.info("nbguard cannot use buttons here (%s); it asks with text", error)
        from nbguard.gate.terminal import ask_in_terminal

        return ask_in_terminal(report, decision, request, asked)
    except CellEnded:
        return Answer("refuse", person(), INTERRUPTED, face)


def announce(report: Report, decision: Decision, request: LoadRequest) -> None:
    """See `nbguard.gate.announce`."""
    if not decision.enforced and decision.action != "allow":
        told = Outcome("loaded", f"Loaded, for the policy only watches. Enforced, it would say: {decision.reason}")
    elif decision.action == "allow":
        told = Outcome("loaded", f"Loaded without a question: {decision.reason}")
    else:
        told = Outcome("refused", f"Nothing was loaded. {_why(report, decision)}")
    log.info("%s", report_text.outcome_line(report, told))
    _tell(report, decision, request, told)


def _why(report: Report, decision: Decision) -> str:
    if report.verdict is Verdict.UNVERIFIABLE:
        return "What could not be read to the end cannot be accepted."
    return decision.reason or "The policy does not let it be accepted."


def _tell(report: Report, decision: Decision, request: LoadRequest, told: Outcome) -> None:
    """Show an outcome in the cell or on a terminal. A script has the exception and the log."""
    if faces.kernel() is not None:
        if any(rule.startswith("approval.cell-") for rule in decision.rules):
            _tell_covered(report)
            return
        from nbguard.gate.slot import take
        from nbguard.gate.widget import show_static
        from nbguard.report import html as report_html

        slot = take()
        if told.kind == "loaded":
            page = report_html.compact(report, decision, outcome=told)
            slot.show_static(page, report_text.outcome_line(report, told))
        else:
            show_static(slot, report, decision, told, loader=request.loader)
    elif faces.frontend() == "terminal":
        print(report_text.outcome_line(report, told), file=sys.stderr)


def _tell_covered(report: Report) -> None:
    """One line in a cell for all loads that its acceptance covers: their report stands above, with the answer."""
    from nbguard.gate.slot import Slot, running_cell
    from nbguard.report.escape import html, terminal

    global _covered
    with _telling:
        slot, targets = _covered if _covered is not None and _covered[0].cell == running_cell() != "" else (Slot(), [])
        if report.target not in targets:
            targets.append(report.target)
        _covered = slot, targets
        words = "Loaded, as accepted for this cell: "
        names = ", ".join(f"<b>{html(target, 120)}</b>" for target in targets[:MOST_NAMED])
        more = f" and {len(targets) - MOST_NAMED} more" if len(targets) > MOST_NAMED else ""
        slot.show_static(
            f'<p class="tex2jax_ignore mathjax_ignore" style="color:var(--jp-ui-font-color2,#59636e)">'
            f"✓ {words}{names}{more}</p>",
            f"nbguard: {words}{', '.join(terminal(target, 120) for target in targets[:MOST_NAMED])}{more}",
        )
