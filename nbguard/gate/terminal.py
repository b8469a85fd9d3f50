"""Asking with text: in a terminal, or in a notebook whose page has no buttons.

    answer = ask_in_terminal(report, decision, request, asked)

An empty answer, an end of input or anything that is not one of the words asked for refuses.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from nbguard.gate import faces
from nbguard.gate.answer import Answer, Choice, Question, outcome, person
from nbguard.gate.pump import interruptible
from nbguard.report import html as report_html
from nbguard.report import text as report_text
from nbguard.report.escape import terminal

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.policy import Decision
    from nbguard.report.model import Report

ANYWAY = "load anyway"
"""What has to be typed, letter by letter, before danger loads."""

_TRIES = 3


def ask_in_terminal(report: Report, decision: Decision, request: LoadRequest, asked: Question) -> Answer:
    """Print the report and read an answer.

    Raises:
        KeyboardInterrupt: the person pressed Ctrl-C or the stop button.
    """
    _show(report, decision, request)
    with interruptible():
        try:
            choice, reason = _read_danger(report, asked) if asked.form == "danger" else _read(report, asked)
        except EOFError:
            choice, reason = "refuse", "no answer"
        except NotImplementedError:  # ipykernel's StdinNotImplementedError: there is nobody to type
            return Answer("refuse", person(), "nobody could be asked", "none")
    answer = Answer(choice, person(), reason, "terminal")
    print(report_text.outcome_line(report, outcome(answer)))
    return answer


def colored() -> bool:
    """Whether standard output takes colours; `NO_COLOR` turns them off (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _show(report: Report, decision: Decision, request: LoadRequest) -> None:
    if faces.kernel() is not None:
        from nbguard.gate.slot import take

        page = report_html.render(report, decision, loader=request.loader)
        take().show_static(page, report_text.render(report, decision))
        return
    width = min(110, shutil.get_terminal_size().columns)
    print(f"{terminal(request.loader, 80)} was stopped:")
    print(report_text.render(report, decision, width=width, color=colored()))
    print()


def _read(report: Report, asked: Question) -> tuple[Choice, str]:
    words: dict[str, Choice] = {"no": "refuse", "n": "refuse", "refuse": "refuse", "": "refuse"}
    offered = []
    if "once" in asked.offers:
        words["once"] = "once"
        offered.append("once (load it now)")
    if "always" in asked.offers:
        words["always"] = "always"
        offered.append("always (exactly this content from now on)")
    # The verdict again: of a long report, its beginning is no longer on the screen.
    print(f"nbguard {report_text.verdict_line(report)}")
    prompt = f"Load it? Type {' or '.join(offered)}, or press Enter for no: "
    for _ in range(_TRIES):
        choice = words.get(input(prompt).strip().lower())
        if choice is not None:
            return choice, ""
        print("That is none of the answers.")
    return "refuse", "no valid answer"


def _read_danger(report: Report, asked: Question) -> tuple[Choice, str]:
    print(f"nbguard {report_text.verdict_line(report)}")
    for sentence in asked.ticks:
        print(_point(sentence))
    print("Do not load it. Press Enter to refuse.")
    if input(f"If you must, type “{ANYWAY}”: ").strip().lower() != ANYWAY:
        return "refuse", ""
    reason = input("Why (kept in the audit log): ").strip()[:500]
    if not reason:
        return "refuse", "no reason was given"
    if asked.offers == ("always",):
        return "always", reason
    if "always" in asked.offers and input("Type “always” to allow exactly this content from now on: ") == "always":
        return "always", reason
    return "once", reason


def _point(sentence: str) -> str:
    """One line of a list, cut and wrapped between words."""
    whole = terminal(sentence, 4_000)
    short = textwrap.shorten(whole, 400, placeholder=" …") if len(whole) > 400 else whole
    if len(short) < 40 < len(whole):  # one endless word, which has no place to be cut at
        short = terminal(sentence, 400)
    width = max(40, min(110, shutil.get_terminal_size().columns))
    return textwrap.fill(
        short, width, initial_indent="  • ", subsequent_indent="    ", break_on_hyphens=False, break_long_words=True
    )
