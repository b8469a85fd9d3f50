"""A report as static HTML: no script, no link to anywhere, light and dark.

    display(HTML(html.render(report)))                  # in a notebook
    Path("report.html").write_text(html.page([report])) # a page of its own

The same parts are used beside the buttons, after the decision, and for `nbguard scan --format html`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING

from nbguard.report import advised, sections, words
from nbguard.report.escape import html
from nbguard.report.model import Report, Verdict
from nbguard.report.words import Outcome

if TYPE_CHECKING:
    from nbguard.policy import Decision

_IGNORE = "tex2jax_ignore mathjax_ignore"
"""Classes under which notebook pages leave text alone that looks like mathematics."""

_OUTCOME_SYMBOLS = {"loaded": "✓", "refused": "✕", "stopped": "■"}


@functools.cache
def style() -> str:
    """The style sheet, in a `style` element. Its rules reach only what is inside `.nbguard`."""
    css = resources.files("nbguard.report").joinpath("report.css").read_text("utf-8")
    return f"<style>{css}</style>"


def wrap(report: Report, inside: str, *, extra: str = "", styled: bool = True) -> str:
    """`inside` as one report element with the verdict's class and a name for screen readers."""
    verdict = words.VERDICTS[report.verdict]
    classes = f"nbguard nbg-{report.verdict.word} {_IGNORE} {extra}".strip()
    label = f"nbguard report: {verdict.name}"
    sheet = style() if styled else ""
    return f'<div class="{classes}" role="region" aria-label="{label}">{sheet}{inside}</div>'


def outcome_line(outcome: Outcome) -> str:
    """What became of the load."""
    symbol = _OUTCOME_SYMBOLS[outcome.kind]
    return f'<div class="nbg-outcome"><div>{symbol}</div><div>{html(outcome.text, 600)}</div></div>'


def reason_line(report: Report, decision: Decision | None, outcome: Outcome | None) -> str:
    """Why the policy decided as it did, unless it only says again what stands above."""
    reason = decision.reason if decision is not None else ""
    said = words.VERDICTS[report.verdict].headline + (outcome.text if outcome else "")
    return "" if not reason or reason in said else f'<p class="nbg-part"><b>Policy:</b> {html(reason, 600)}</p>'


def body(
    report: Report, decision: Decision | None = None, outcome: Outcome | None = None, *, opened: bool = True
) -> str:
    """Everything below the verdict."""
    unread = report.verdict is Verdict.UNVERIFIABLE
    return (
        '<div class="nbg-body">'
        + advised.html(advised.lead(report))
        + sections.does(report)
        + reason_line(report, decision, outcome)
        + sections.findings(report, opened=opened)
        + advised.html(advised.since(report))
        + sections.picture(report)
        + '<div class="nbg-part"></div>'
        + sections.not_scanned(report, opened=unread and opened)
        + sections.contract(report)
        + advised.html(advised.lines(report))
        + sections.files(report)
        + sections.provenance(report, decision.rules if decision is not None else ())
        + "</div>"
    )


def render(
    report: Report,
    decision: Decision | None = None,
    *,
    outcome: Outcome | None = None,
    loader: str = "",
    opened: bool = True,
    styled: bool = True,
) -> str:
    """The whole report as a fragment, ready for `IPython.display.HTML`.

    Args:
        outcome: what became of the load, where it is already decided.
        loader: the public name of the loader that was stopped.
        opened: whether the worst findings are unfolded.
        styled: whether the style sheet is put in; a page brings it once.
    """
    told = outcome_line(outcome) if outcome else ""
    inside = sections.band(report, loader=loader) + told + body(report, decision, outcome, opened=opened)
    return wrap(report, inside, styled=styled)


def compact(report: Report, decision: Decision | None = None, *, outcome: Outcome | None = None) -> str:
    """One line that says the verdict and what became of the load, with the report folded behind it."""
    line = f"{_badge(report)}<span class='nbg-text'><b>{html(report.target, 120)}</b> {_said(report, outcome)}</span>"
    inside = f"<details><summary>{line}</summary>{body(report, decision, outcome, opened=False)}</details>"
    return wrap(report, inside, extra="nbg-compact")


def line(report: Report, *, safer: bool = False) -> str:
    """The compact line alone, without anything to unfold: it stands above the buttons of a safe load.

    Args:
        safer: whether what runs no code in its place is said under it, where there is something.
    """
    text = f"<span class='nbg-text'><b>{html(report.target, 120)}</b> {_said(report, None)}</span>"
    below = advised.html(advised.safer(report)) if safer else ""
    below = f'<div class="nbg-body">{below}</div>' if below else ""
    return wrap(report, f'<div class="nbg-line">{_badge(report)}{text}</div>{below}', extra="nbg-compact")


def _badge(report: Report) -> str:
    verdict = words.VERDICTS[report.verdict]
    return f'<span class="nbg-badge">{verdict.symbol} {verdict.name}</span>'


def _said(report: Report, outcome: Outcome | None) -> str:
    told = words.summary(report)[0]
    if outcome:
        return f"{html(outcome.text, 600)} <span class='nbg-quiet'>{html(told)}</span>"
    return html(" ".join((told, *words.coming(report))))


def page(reports: Iterable[Report], *, title: str = "nbguard report") -> str:
    """A page of its own for any number of reports. It loads nothing and runs nothing, and says so to the browser."""
    shown = "".join(render(r, styled=False) for r in reports)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html(title, 120)}</title>{style()}</head>"
        f'<body class="nbg-page">{shown or "<p>Nothing was scanned.</p>"}</body></html>\n'
    )
