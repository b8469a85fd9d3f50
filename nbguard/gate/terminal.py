"""Asking with text: in a terminal, or in a notebook whose page has no buttons.

    answer = ask_in_terminal(report, decision, request, asked)

An empty answer, an end of input or anything that is not one of the words asked for refuses.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from nbguard.gate import faces, turns
from nbguard.gate.answer import Answer, Choice, Question, outcome, person
from nbguard.report import html as report_html
from nbguard.report import panel
from nbguard.report import text as report_text
from nbguard.report.escape import terminal

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.policy import Decision
    from nbguard.report.model import Report

ANYWAY = "load anyway"
"""What has to be typed, letter by letter, before danger loads."""

REPORT = "report"
"""What may be typed to see the whole report before the answer."""

_TRIES = 3

_TO_PASTE = {
    "safetensors": "The safer way, to paste:",
    "convert": "The safer way, to paste:",
    "pinned": "The call with its revision, to paste:",
}
_OFFERED: dict[Choice, str] = {
    "safetensors": "load the safetensors instead",
    "convert": "convert it to safetensors and load that",
    "once": "load it now",
    "always": "exactly this from now on",
}
"""What may be typed, and what it means."""


def ask_in_terminal(report: Report, decision: Decision, request: LoadRequest, asked: Question) -> Answer:
    """Print the report and read an answer.

    Raises:
        KeyboardInterrupt: the person pressed Ctrl-C or the stop button.
        turns.CellEnded: the cell was interrupted before this question's turn.
    """
    running = faces.kernel()
    with turns.interruptible(), turns.turn(running):
        _show(report, decision, request, short=asked.form == "compact")
        try:
            with turns.raising_here() if running is not None else contextlib.nullcontext():
                if asked.form == "danger":
                    choice, reason = _read_danger(report, asked)
                else:
                    choice, reason = _read(report, decision, request, asked)
        except EOFError:
            choice, reason = "refuse", "no answer"
        except NotImplementedError:  # ipykernel's StdinNotImplementedError: there is nobody to type
            return Answer("refuse", person(), "nobody could be asked", "none")
        except KeyboardInterrupt:
            if turns.interrupts_here():
                raise
            choice, reason = "refuse", turns.INTERRUPTED
    answer = Answer(choice, person(), reason, "terminal")
    _write(report_text.outcome_line(report, outcome(answer)))
    return answer


def colored() -> bool:
    """Whether standard output takes colours; `NO_COLOR` turns them off (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    return max(1, shutil.get_terminal_size().columns)


def _takes(text: str) -> bool:
    """Whether standard output can show `text` at all."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(text: str = "") -> None:
    """Print, with escapes for what the terminal's encoding lacks: a question must not fail over a letter."""
    if not _takes(text):
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    print(text)


def _show(report: Report, decision: Decision, request: LoadRequest, *, short: bool = False) -> None:
    if faces.kernel() is not None:
        from nbguard.gate.slot import take

        page = report_html.render(report, decision, loader=request.loader)
        take().show_static(page, report_text.render(report, decision))
        return
    print_report(report, decision, title=f"nbguard stopped {request.loader}", short=short)
    for way in report.advice.ways:  # once more without the frame, so that it can be copied
        if not way.line:
            continue
        _write(f"{_TO_PASTE[way.kind]}\n{terminal(way.line, 1_000, block=True)}")
    _write()


def print_report(report: Report, decision: Decision | None = None, *, title: str = "", short: bool = False) -> None:
    """A report in its frame, as this terminal can show it."""
    plain = not _takes("╭─│╯")
    _write(panel.render(report, decision, title=title, width=_columns(), color=colored(), plain=plain, short=short))


def _read(report: Report, decision: Decision, request: LoadRequest, asked: Question) -> tuple[Choice, str]:
    words: dict[str, Choice] = {"no": "refuse", "n": "refuse", "refuse": "refuse", "": "refuse"}
    ways: tuple[Choice, ...] = (*_harmless(asked), *asked.offers)
    offered = {choice: told for choice, told in _OFFERED.items() if choice in ways}
    verb = "download" if request.loader == "nbguard.download" else "load"
    if "once" in offered:
        offered["once"] = f"{verb} it now"
    words.update({choice: choice for choice in offered})
    # The verdict again: of a long report, its beginning is no longer on the screen.
    _write(f"nbguard {report_text.verdict_line(report)}")
    if faces.kernel() is not None:  # the box to type into may be all that one sees of it
        typed = " or ".join(f"{choice} ({told})" for choice, told in offered.items())
    else:
        for word, told in (*offered.items(), (REPORT, "show everything first"), ("Enter", f"do not {verb} it")):
            _write(f"  {word:<8} {told}")
        typed = " or ".join(offered)
    prompt = f"{verb.capitalize()} it? Type {typed}, or press Enter for no: "
    for _ in range(_TRIES):
        word = input(prompt).strip().lower()
        choice = words.get(word)
        if choice is not None:
            return choice, ""
        if word == REPORT:
            _show(report, decision, request)
        else:
            _write("That is none of the answers.")
    return "refuse", "no valid answer"


def _read_danger(report: Report, asked: Question) -> tuple[Choice, str]:
    _write(f"nbguard {report_text.verdict_line(report)}")
    for sentence in asked.ticks:
        _write(_point(sentence))
    _write("Do not load it. Press Enter to refuse.")
    for way in _harmless(asked):
        _write(f'Type "{way}" to {_OFFERED[way]}.')
    typed = input(f'If you must, type "{ANYWAY}": ').strip().lower()
    for way in _harmless(asked):
        if typed == way:
            return way, ""
    if typed != ANYWAY:
        return "refuse", ""
    reason = input("Why (kept in the audit log): ").strip()[:500]
    if not reason:
        return "refuse", "no reason was given"
    if asked.offers == ("always",):
        return "always", reason
    if "always" in asked.offers and input('Type "always" to allow exactly this content from now on: ') == "always":
        return "always", reason
    return "once", reason


def _harmless(asked: Question) -> tuple[Choice, ...]:
    """The way that runs no code, where there is one."""
    return ("safetensors",) if asked.instead else ("convert",) if asked.convert else ()


def _point(sentence: str) -> str:
    """One line of a list, cut and wrapped between words."""
    whole = terminal(sentence, 4_000)
    short = textwrap.shorten(whole, 400, placeholder=" …") if len(whole) > 400 else whole
    if len(short) < 40 < len(whole):  # one endless word, which has no place to be cut at
        short = terminal(sentence, 400)
    return textwrap.fill(
        short,
        max(20, min(panel.WIDEST, _columns())),
        initial_indent="  • ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=True,
    )
