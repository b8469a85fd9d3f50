"""Policies: from a report to a decision.

decision = decide(report, current(), Situation(person=True))
"""

from __future__ import annotations

from nbguard.policy.decide import decide
from nbguard.policy.model import Action, Decision, Form, Policy, PolicyError, Situation
from nbguard.policy.presets import presets

__all__ = ["Action", "Decision", "Form", "Policy", "PolicyError", "Situation", "current", "decide", "presets"]


def current() -> Policy:
    """The policy that holds now, read anew from all layers; `strict` where they cannot be understood."""
    from nbguard import settings

    return presets()[settings.load().policy]
