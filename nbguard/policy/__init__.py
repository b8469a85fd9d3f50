"""Policies: from a report to a decision.

decision = decide(report, current(), Situation(person=True))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbguard.policy.decide import decide
from nbguard.policy.lifetimes import UNSAID, Unsaid, lifetime, narrowed, needs_reason
from nbguard.policy.model import Action, Decision, Form, Policy, PolicyError, Situation
from nbguard.policy.presets import presets

if TYPE_CHECKING:
    from nbguard.report.model import Report

__all__ = [
    "UNSAID", "Action", "Decision", "Form", "Policy", "PolicyError", "Situation", "Unsaid", "current", "decide",
    "lifetime", "named", "needs_reason", "presets", "reason_asked",
]  # fmt: skip


def current() -> Policy:
    """The policy that holds now, read anew from all layers; `strict` where they cannot be understood."""
    from nbguard import settings

    found = settings.load()
    return narrowed(presets()[found.policy], found)


def reason_asked(report: Report) -> bool:
    """Whether the policy in force asks for a reason where this is approved."""
    return needs_reason(current(), report.verdict)


def named(name: str) -> Policy:
    """A policy by its name, with what the settings ask for beyond it."""
    from nbguard import settings

    return narrowed(presets()[name], settings.load())
