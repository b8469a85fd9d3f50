"""A report in a frame, for a person at a terminal.

print(panel.render(report, decision, title="nbguard stopped torch.load", width=80, color=True))

The frame is rich's; what stands in it is what `report.text` writes. Text from a model is made harmless there, by
`report.escape`, and rich is never asked to read markup, emoji names or links out of any of it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from nbguard.report import text as report_text
from nbguard.report import words
from nbguard.report.escape import terminal
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.policy import Decision
    from nbguard.report.words import Outcome

WIDEST = 110
"""Columns; longer lines are hard to read."""

NARROWEST = 30
"""Columns below which a frame leaves no room for words."""

_FRAME = 4
"""Columns that the frame and the blank beside it take from each line."""

_BORDER = {
    Verdict.SAFE: "green",
    Verdict.REVIEW: "yellow",
    Verdict.UNVERIFIABLE: "magenta",
    Verdict.DANGER: "bold red",
}


def render(
    report: Report,
    decision: Decision | None = None,
    *,
    outcome: Outcome | None = None,
    title: str = "",
    width: int = 80,
    color: bool = False,
    plain: bool = False,
    short: bool = False,
) -> str:
    """A report in a frame of the verdict's colour; the verdict itself is written inside.

    Args:
        title: stands in the upper edge of the frame; may be hostile.
        width: columns of the terminal. Narrow ones get no frame, only its text.
        color: whether the terminal takes SGR sequences.
        plain: whether the frame has to be drawn in ASCII.
        short: only what it is and what loading it would do.
    """
    columns = min(WIDEST, width)
    inside = report_text.render(report, decision, outcome=outcome, width=columns - _FRAME, color=color, short=short)
    if columns < NARROWEST:
        return inside
    try:
        return _framed(report, inside, title, columns, color, plain)
    except ImportError:  # an environment whose rich is missing or broken still gets every word
        return inside


def _framed(report: Report, inside: str, title: str, columns: int, color: bool, plain: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    heading = terminal(title, 80) or words.VERDICTS[report.verdict].name
    out = io.StringIO()
    # Nothing of what rich would find out for itself (variables, notebooks, links) is left to it.
    options: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": False}
    console = Console(
        file=out, width=columns, height=1_000, force_terminal=color, force_jupyter=False, force_interactive=False,
        color_system="standard" if color else None, no_color=not color, legacy_windows=False, _environ={}, **options,
    )  # fmt: skip
    frame = Panel(
        Text.from_ansi(inside, overflow="fold"),
        title=Text(heading, overflow="ellipsis", no_wrap=True),
        title_align="left",
        border_style=_BORDER[report.verdict],
        box=box.ASCII if plain else box.ROUNDED,
        width=columns,
        padding=(0, 1),
    )
    console.print(frame, soft_wrap=False)
    return out.getvalue().rstrip("\n")
