"""Report → decision: the design's table as one pure function.

    decision = decide(report, presets()["balanced"], Situation(person=True, request=request))
    decision.action        # "allow", "ask" or "deny"

| verdict      | approved before                      | person there              | nobody there            |
|--------------|--------------------------------------|---------------------------|-------------------------|
| safe         | allow                                | one click, or by policy   | by policy               |
| review       | allow                                | full report               | deny                    |
| unverifiable | deny                                 | deny                      | deny                    |
| danger       | allow, where the policy counts it    | full report with hurdles  | deny                    |

A load that a library makes for itself raises no question: it is decided as where nobody is there. What this user's own
guarded kernels wrote loads whatever its verdict, save *unverifiable*, where the policy says so (`own_work`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.policy.model import Decision, Policy, Situation
from nbguard.report.model import Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.approvals.model import Approval


def decide(report: Report, policy: Policy, situation: Situation) -> Decision:
    """What happens to a load with this report. Touches nothing, asks nobody, reads no clock."""
    decision = _enforced(report, policy, situation)
    if situation.mode == "enforce":
        return decision
    return replace(decision, rules=(*decision.rules, f"mode.{situation.mode}"), enforced=False)


def _enforced(report: Report, policy: Policy, situation: Situation) -> Decision:
    rules = (f"policy.{policy.name}", f"verdict.{report.verdict.word}")
    own_work = situation.own and policy.own_work == "load" and report.verdict is not Verdict.UNVERIFIABLE
    if own_work and not _counts(report, situation):
        return Decision("allow", "compact", (), (*rules, "own.load"), situation.own)
    match report.verdict:
        case Verdict.SAFE:
            return _safe(report, policy, situation, rules)
        case Verdict.REVIEW:
            return _review(report, policy, situation, rules)
        case Verdict.DANGER:
            return _danger(report, policy, situation, rules)
        case _:
            reason = "No policy lets something load that could not be read to the end."
            return Decision("deny", "blocked", (), (*rules, "unverifiable.never"), reason)


def _safe(report: Report, policy: Policy, situation: Situation, rules: tuple[str, ...]) -> Decision:
    approved = _counts(report, situation)
    if approved:
        return _allowed(approved, rules)
    if _person(situation) and (name := _doubtful_name(report)):
        reason = "It holds only explained data, but under a name that a person should look at first."
        return Decision("ask", "full", _offers(policy.safe_offers), (*rules, name, "safe.person.ask"), reason)
    if _person(situation):
        if policy.safe_person == "allow":
            reason = f"It holds only explained data, which the policy {policy.name!r} loads without a question."
            return Decision("allow", "compact", (), (*rules, "safe.person.allow"), reason)
        reason = "It holds only explained data; one click loads it."
        return Decision("ask", "compact", _offers(policy.safe_offers), (*rules, "safe.person.ask"), reason)
    if policy.safe_headless == "allow":
        reason = f"It holds only explained data, which the policy {policy.name!r} loads where nobody can be asked."
        return Decision("allow", "compact", (), (*rules, "safe.headless.allow"), reason)
    if policy.safe_headless == "sources" and report.artifact.kind in policy.sources:
        reason = f"It holds only explained data from a source that the policy {policy.name!r} allows."
        return Decision("allow", "compact", (), (*rules, f"safe.headless.source.{report.artifact.kind}"), reason)
    if policy.safe_headless == "sources":
        reason = f"Its source is none that the policy {policy.name!r} allows where nobody can be asked."
        return Decision("deny", "full", (), (*rules, "safe.headless.source"), reason)
    reason = f"Nobody can be asked here, and the policy {policy.name!r} loads nothing then that nobody approved."
    return Decision("deny", "full", (), (*rules, "safe.headless.refuse"), reason)


def _review(report: Report, policy: Policy, situation: Situation, rules: tuple[str, ...]) -> Decision:
    approved = _counts(report, situation)
    if approved and policy.review_stored:
        return _allowed(approved, rules)
    if policy.review_person == "refuse":
        what = _only_name(report) or "It holds objects or code that a person should look at"
        reason = f"{what}, which the policy {policy.name!r} refuses."
        return Decision("deny", "blocked", (), (*rules, "review.refuse"), reason)
    if _person(situation) and (alike := _lookalike(report)):
        reason = "Its name was made to be taken for another one; the safe way is not to load it."
        offers = _offers(tuple(o for o in policy.review_offers if o == "once"))  # kept for good by a step of its own
        return Decision("ask", "danger", offers, (*rules, alike, "review.person.ask"), reason)
    if _person(situation):
        what = _only_name(report) or "It holds objects or code that a person should look at before it is loaded"
        reason = f"{what}."
        return Decision("ask", "full", _offers(policy.review_offers), (*rules, "review.person.ask"), reason)
    what = _only_name(report) or "It holds objects or code that a person should look at first"
    reason = f"{what}, and nobody can be asked here."
    return Decision("deny", "full", (), (*rules, "review.headless.refuse"), reason)


def _danger(report: Report, policy: Policy, situation: Situation, rules: tuple[str, ...]) -> Decision:
    approved = _counts(report, situation)
    if approved and policy.danger_stored:
        return _allowed(approved, rules)
    if policy.danger_person == "refuse":
        reason = (
            f"Loading it would do something harmful or unexplained, and the policy {policy.name!r} allows no exception."
        )
        return Decision("deny", "blocked", (), (*rules, "danger.never"), reason)
    if _person(situation):
        reason = "Loading it would do something harmful or unexplained; the safe way is not to load it."
        return Decision("ask", "danger", _offers(policy.danger_offers), (*rules, "danger.person.ask"), reason)
    reason = "Loading it would do something harmful or unexplained, and nobody can be asked here."
    return Decision("deny", "full", (), (*rules, "danger.headless.refuse"), reason)


def _lookalike(report: Report) -> str:
    """The rule that says that the name stands for another one; empty where none does."""
    return report.false_name.rule if report.false_name is not None else ""


def _only_name(report: Report) -> str:
    """What is wrong with the name, as a clause; empty where what is in the files needs a look as well."""
    if any(f.verdict is not Verdict.SAFE and not f.inert for f in report.files):
        return ""
    if _lookalike(report):
        return "Its name was made to be taken for another one's"
    return "Its name is one that a person should look at first" if _about_name(report, Severity.HIGH) else ""


def _doubtful_name(report: Report) -> str:
    """The rule that says that the name may be taken for another one's; empty where none does."""
    return _about_name(report, Severity.MEDIUM)


def _about_name(report: Report, least: Severity) -> str:
    return next((f.rule for f in report.findings if f.rule.startswith("name.") and f.severity >= least), "")


def _counts(report: Report, situation: Situation) -> Approval | None:
    """The approval, where one was given to something that was judged at least as badly as this report."""
    approval = situation.approved
    if approval is None or approval.verdict < report.verdict or approval.severity < report.top_severity:
        return None
    return approval


def _allowed(approval: Approval, rules: tuple[str, ...]) -> Decision:
    if approval.momentary:
        reason = f"It was {approval.reason}."
    else:
        reason = f"This exact content was approved before (approval {approval.id})."
    return Decision("allow", "compact", (), (*rules, f"approval.{approval.id}"), reason)


def _person(situation: Situation) -> bool:
    """Whether a question may be asked: somebody is there, and the call is the person's own."""
    return situation.person and (situation.request is None or situation.request.in_person_code)


def _offers(offers: tuple[str, ...]) -> tuple[str, ...]:
    return (*offers, "refuse")
