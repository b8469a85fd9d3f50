"""What a person answered, and what the gate may offer them.

Answer("once", who="ada", reason="", face="widget")
"""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from nbguard.report.model import Report, Severity, Verdict
from nbguard.report.words import FindingGroup, Outcome, grouped

if TYPE_CHECKING:
    from nbguard.policy import Decision

Choice = Literal["once", "always", "refuse", "safetensors", "convert"]
Form = Literal["compact", "full", "danger", "blocked"]
Face = Literal["widget", "terminal", "none"]

MOST_TICKS = 12
"""Boxes to tick in a danger question. What is left is put together in the last one."""


@dataclass(frozen=True)
class Answer:
    """A decision, by whom, and through which face."""

    choice: Choice
    who: str
    reason: str
    """What the person typed, or why the gate refused for them; empty where they gave none."""
    face: Face


@dataclass(frozen=True)
class Question:
    """What may be asked about one report: the stricter of what the decision says and what the verdict allows."""

    form: Form
    offers: tuple[Choice, ...]
    """`once`, `always`; refusing is always possible."""
    ticks: tuple[str, ...]
    """One sentence for each finding that has to be ticked before danger can be accepted. Not escaped."""
    instead: bool = False
    """Whether the safetensors alternative can be loaded in its place: the harmless way, open in every form."""
    convert: bool = False
    """Whether it can be converted to safetensors, and that loaded: as harmless, since what is no data is refused."""


def question(report: Report, decision: Decision) -> Question:
    """The question for `report` under `decision`; fails closed where the two do not fit together."""
    way, asked = report.advice.way("safetensors"), _asked(report, decision)
    # Explained data is one click: there is nothing to steer away from, and the report says what else there is.
    instead = way is not None and bool(way.arguments) and asked.form != "compact"
    made = report.advice.way("convert")
    return replace(asked, instead=instead, convert=not instead and made is not None and bool(made.arguments))


def _asked(report: Report, decision: Decision) -> Question:
    offers: tuple[Choice, ...] = tuple(c for c in ("once", "always") if c in decision.offers)
    if report.verdict is Verdict.UNVERIFIABLE or decision.form == "blocked" or decision.action == "deny" or not offers:
        return Question("blocked", (), ())
    if report.verdict is Verdict.DANGER or decision.form == "danger":
        return Question("danger", offers, _ticks(report))
    if report.verdict is Verdict.SAFE and decision.form == "compact":
        return Question("compact", offers, ())
    return Question("full", offers, ())


def _ticks(report: Report) -> tuple[str, ...]:
    serious = [g for g in grouped(report.findings) if g.first.severity >= Severity.HIGH]
    if not serious:
        return ("This report's verdict is danger.",)
    if len(serious) <= MOST_TICKS:
        return tuple(map(_tick, serious))
    left = len(serious) - (MOST_TICKS - 1)
    return (*map(_tick, serious[: MOST_TICKS - 1]), f"And {left} more high and critical findings, shown in the report.")


def _tick(group: FindingGroup) -> str:
    more = f" and {len(group.places) - 1} more places" if len(group.places) > 1 else ""
    return f"{group.first.severity.word.upper()}: {group.first.message} ({group.first.file}{more})"


def person() -> str:
    """Who is asked: the Hub's user where there is one, else the account that runs this process."""
    name = os.environ.get("JUPYTERHUB_USER")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def outcome(answer: Answer) -> Outcome:
    """The sentence that stays in the notebook."""
    because = f" Reason given: {answer.reason}" if answer.reason else ""
    if answer.choice == "once":
        return Outcome("loaded", f"Accepted by {answer.who} for this one load.{because}")
    if answer.choice == "always":
        return Outcome("loaded", f"Accepted by {answer.who}, for exactly this content from now on.{because}")
    if answer.choice == "safetensors":
        return Outcome("refused", f"Not loaded: {answer.who} chose the safetensors in its place.")
    if answer.choice == "convert":
        return Outcome(
            "refused",
            f"Not loaded as it is: {answer.who} chose to have it converted to safetensors; that is loaded if it works.",
        )
    return Outcome("refused", f"Refused. Nothing was loaded.{because}")


INTERRUPTED = Outcome("stopped", "Interrupted; nothing was loaded.")
