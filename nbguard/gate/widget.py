"""Asking in the running cell, with buttons.

    answer = ask_in_cell(report, decision, request, asked)

Raises `pump.TapUnavailable` where this kernel's messages cannot be reached while it is busy, or the page cannot show
the controls; the caller asks in another way then.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbguard.gate import faces, turns
from nbguard.gate.answer import INTERRUPTED, Answer, Question, outcome, person
from nbguard.gate.machine import Effect, Machine
from nbguard.gate.pump import Tap, TapUnavailable, asks_state
from nbguard.gate.slot import Slot, take
from nbguard.gate.view import TYPE_INSTEAD, View
from nbguard.report import html as report_html
from nbguard.report import text as report_text
from nbguard.report.escape import html
from nbguard.report.words import Outcome

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.policy import Decision
    from nbguard.report.model import Report

TICK = 0.05
"""Seconds between two looks at the messages; short enough to feel immediate."""

UNSEEN = 4.0
"""Seconds without a sign of the page showing the controls, after which the question is typed. Jupyter's own pages only
show them once a person scrolls there: in those, what to do where there are no buttons is shown, and they stay."""

LINGER = 1.0
"""Seconds that the controls stay open in an idle kernel after the decision."""

FOCUS_WITHIN = 3.0
"""Seconds after the cell was started in which the question may take the keyboard. Later the person is probably typing
elsewhere, and would find their keys in the wrong place."""


def ask_in_cell(report: Report, decision: Decision, request: LoadRequest, asked: Question) -> Answer:
    """Show the report with its buttons and wait for one of them.

    Raises:
        KeyboardInterrupt: the cell was interrupted.
        TapUnavailable: this kernel cannot be listened to while it is busy, or the page cannot show controls.
        turns.CellEnded: the cell was interrupted before this question's turn.
    """
    running = faces.kernel()
    with turns.interruptible(), turns.turn(running):
        machine = Machine(
            digest=report.artifact.digest, form=asked.form, offers=asked.offers, ticks=len(asked.ticks),
            instead=asked.instead, convert=asked.convert,
        )  # fmt: skip
        view = View(report, decision, asked, machine, loader=request.loader)
        slot: Slot | None = None
        tap: Tap | None = None
        last = INTERRUPTED
        try:
            with Tap(running, view.comm_ids) as tap, _cell_end(machine):
                slot = take()
                slot.show(view.bundle())
                _serve(tap, view, machine)
            answer = Answer(machine.choice or "refuse", person(), machine.reason, "widget")
            last = outcome(answer)
            return answer
        except TapUnavailable:
            if slot is not None:
                slot.leave()  # the question that is typed stands in its place
                slot = None
            raise
        finally:
            page = "" if slot is None else show_static(slot, report, decision, last, loader=request.loader)
            if tap is not None and tap.another_page and page:
                view.settle(page)
            else:
                _close_later(running, view)


def show_static(slot: Slot, report: Report, decision: Decision | None, told: Outcome, *, loader: str = "") -> str:
    """What stays in the notebook: the verdict, what became of the load, and the report, without anything that acts.

    Returns its HTML.
    """
    from nbguard.report.model import Verdict

    if report.verdict is Verdict.SAFE:
        page = report_html.compact(report, decision, outcome=told)
        slot.show_static(page, report_text.outcome_line(report, told))
    else:
        opened = report.verdict is Verdict.UNVERIFIABLE  # nothing was asked before this, so nobody has read it yet
        page = report_html.render(report, decision, outcome=told, loader=loader, opened=opened)
        slot.show_static(page, report_text.render(report, decision, outcome=told))
    return page


def _close_later(running: Any, view: View) -> None:
    """Close the controls once the kernel is idle and what was already clicked has arrived.

    The second half of a double click would else find no comm and leave a warning in the cell. It decides nothing: the
    controls have no handlers of their own.
    """
    loop = getattr(running, "io_loop", None)
    if loop is None:
        view.close()
    else:
        loop.add_callback(lambda: loop.call_later(LINGER, view.close))


def _serve(tap: Tap, view: View, machine: Machine) -> None:
    """Hand the page's messages to the machine until it has decided."""
    started = time.monotonic()
    hint: Slot | None = None
    seen = False
    try:
        while machine.choice is None:
            message = tap.next(TICK)
            if message is not None:
                seen = True
                with tap.serving(message):
                    if asks_state(message["header"]["msg_type"], message["content"]):
                        tap.send_state(message)
                    else:
                        _take(message, view, machine)
            if hint is None and not seen and time.monotonic() - started > UNSEEN:
                if not faces.page_is_jupyters():
                    raise TapUnavailable("the page has not shown its controls")
                hint = Slot()
                hint.show_static(
                    f'<p style="color:var(--jp-ui-font-color2,#59636e)">{html(TYPE_INSTEAD)}</p>', TYPE_INSTEAD
                )
            elif hint is not None and machine.shown:
                hint.show_static("", "")
                hint = None
    finally:
        if hint is not None:
            hint.show_static("", "")


def _take(message: dict[str, Any], view: View, machine: Machine) -> None:
    comm_id = str(message["content"].get("comm_id"))
    data = message["content"].get("data")
    data = data if isinstance(data, dict) else {}
    effect = machine.receive(message)
    if effect is Effect.UNSHOWABLE:
        raise TapUnavailable("the page shows no controls")
    if effect is Effect.SHOWN:
        if _just_started():
            view.focus()
    elif effect is Effect.CHANGED:
        if isinstance(data.get("state"), dict):
            view.accept(comm_id, data["state"].get("value"))
        view.sync()
    elif effect is Effect.IGNORED and data.get("method") == "update":
        view.resend(comm_id)  # whatever the page believes, this is how it is


def _just_started() -> bool:
    """Whether the person has only just run this cell; by the page's clock, so a wrong clock means no."""
    header = faces.parent(faces.kernel()).get("header")
    date = header.get("date") if isinstance(header, dict) else None
    if not isinstance(date, datetime) or date.tzinfo is None:
        return False
    return abs((datetime.now(UTC) - date).total_seconds()) < FOCUS_WITHIN


@contextlib.contextmanager
def _cell_end(machine: Machine) -> Iterator[None]:
    """Where the stop button raises nothing, in threads and tasks of the background, hear of it all the same."""
    if turns.interrupts_here():
        yield
        return
    with turns.listening(lambda: machine.cancel(turns.INTERRUPTED)):
        yield
