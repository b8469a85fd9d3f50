"""How long an approval lasts, and whether it needs a reason.

expires = lifetime(current(), report.verdict)                    # where nobody said when
expires = lifetime(current(), report.verdict, asked=None)        # "never": PolicyError where that is too long
needs_reason(current(), report.verdict)
"""

from __future__ import annotations

import time
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from nbguard.policy.model import VERDICTS, Policy, PolicyError
from nbguard.report.model import Verdict

if TYPE_CHECKING:
    from nbguard.settings import Settings

DAY = 86_400.0


class Unsaid(Enum):
    """The type of `UNSAID`."""

    UNSAID = "unsaid"


UNSAID: Final = Unsaid.UNSAID
"""Nobody said when; None means never."""


def lifetime(
    policy: Policy, verdict: Verdict, asked: float | Unsaid | None = UNSAID, now: float | None = None
) -> float | None:
    """When an approval of this verdict ends, in seconds since the epoch; None: never.

    Raises:
        PolicyError: what was asked for is longer than the policy lets an approval last.
    """
    start = time.time() if now is None else now
    most = policy.approval_most_days
    if asked is UNSAID:
        days = policy.approval_days[VERDICTS.index(verdict.word)]
        days = min(days or most, most) if most else days
        return start + days * DAY if days else None
    if most and (asked is None or asked > start + (most + 1) * DAY):  # a date means its end, so up to a day more
        raise PolicyError(f"The policy {policy.name!r} lets no approval last longer than {most} days.")
    return asked


def needs_reason(policy: Policy, verdict: Verdict) -> bool:
    """Whether an approval of this verdict needs a reason."""
    return verdict.word in policy.approval_reasons


def narrowed(policy: Policy, settings: Settings) -> Policy:
    """The policy with what the settings ask for beyond it: shorter approvals, reasons for all of them."""
    if settings.approvals_days:
        most = settings.approvals_days
        policy = replace(policy, approval_most_days=min(policy.approval_most_days or most, most))
    if settings.approvals_reasons:
        policy = replace(
            policy,
            approval_reasons=VERDICTS,
            safe_offers=tuple(o for o in policy.safe_offers if o != "always"),
            review_offers=tuple(o for o in policy.review_offers if o != "always"),
        )
    return policy
