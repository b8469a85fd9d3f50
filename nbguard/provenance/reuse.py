"""Whether a name on the Hub still stands for the repository, and the owner, that were accepted.

    was = Accepted("org/name", when=accepted_at, owner_key="…", root_commit="…")
    [finding.message for finding in reused(facts, was)]
    # "The owner of this name changed since you accepted it."

An account or repository that was deleted or renamed frees its name, and anybody can take it. Content that was pinned by
digest or commit does not change by that; what comes next under the name is another's. Nothing is asked for here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nbguard.provenance.facts import HubFacts, moment
from nbguard.report.model import Finding, Severity

SLACK = timedelta(hours=1)
"""By how much clocks may differ."""

_MEANING = "A name that was given up can be taken by anybody; what stands under it now may be another's."
_REMEDY = "Load the commit that you accepted, or look at this repository as at one that you do not know."


@dataclass(frozen=True)
class Accepted:
    """What was known of a repository when it was accepted or locked; what is empty is not compared."""

    name: str
    """`org/name`, as it was asked for."""
    when: datetime
    """In UTC."""
    commit: str = ""
    repo_id: str = ""
    """As the Hub called it then."""
    repo_key: str = ""
    owner: str = ""
    owner_key: str = ""
    root_commit: str = ""
    """The first commit of its history."""
    created: datetime | None = None
    """When the repository was made, as the Hub said then."""
    revision: str = ""
    """The branch, tag or commit that was loaded."""

    @classmethod
    def of_entry(cls, entry: Mapping[str, object], when: object = None) -> Accepted | None:
        """From a record (`to_entry`) or a lockfile's entry; None without a name, or a time.

        Args:
            entry: `name` or `repo`, `when`, and what there is of the rest; what is of another type is left out.
            when: the time, where the entry does not hold it: a datetime, ISO 8601, or seconds since the epoch.
        """
        names = ("name", "commit", "repo_id", "repo_key", "owner", "owner_key", "root_commit", "revision")
        texts = {key: value for key in names if isinstance(value := entry.get(key), str)}
        name = texts.pop("name", "") or str(entry.get("repo") or "")
        found = moment(entry.get("when") if when is None else when)
        if not name or found is None:
            return None
        return cls(name, found, created=moment(entry.get("created")), **texts)

    def to_entry(self) -> dict[str, str]:
        """What there is to record, as text."""
        said = {
            "name": self.name, "when": self.when.isoformat(), "commit": self.commit, "repo_id": self.repo_id,
            "repo_key": self.repo_key, "owner": self.owner, "owner_key": self.owner_key,
            "root_commit": self.root_commit, "created": self.created.isoformat() if self.created else "",
            "revision": self.revision,
        }  # fmt: skip
        return {key: text for key, text in said.items() if text}

    @classmethod
    def of(cls, facts: HubFacts, when: datetime, *, root_commit: str = "", revision: str = "") -> Accepted:
        """What to record of a repository that is accepted now."""
        return cls(
            facts.requested or facts.repo_id, when, facts.commit, facts.repo_id, facts.repo_key, facts.owner,
            facts.owner_key, root_commit, facts.created, revision,
        )  # fmt: skip


def reused(
    facts: HubFacts, was: Accepted | None, *, root_commit: str = "", history: Collection[str] | None = None
) -> list[Finding]:
    """What speaks for a name that changed hands, the worst first; nothing where nothing does.

    Args:
        facts: what the Hub says now.
        was: what was recorded when it was accepted; None where it never was: then only redirects are found.
        root_commit: the first commit of the history now, where that was looked up.
        history: the commits of the history now, where they were listed to the first one.
    """
    found = _moved(facts)
    if was is not None:
        found += _changed(facts, was, root_commit, history)
    return sorted(found, key=lambda finding: -finding.severity)


def _moved(facts: HubFacts) -> list[Finding]:
    asked, answered = facts.requested, facts.repo_id
    if not asked or not answered or asked.lower() == answered.lower():
        return []
    other = asked.rpartition("/")[0].lower() != answered.rpartition("/")[0].lower()
    first = "/" not in asked  # names from before the Hub had publishers lead on to those they have now
    severity = Severity.INFO if first else Severity.HIGH if other else Severity.MEDIUM
    message = (
        f"The Hub answered with “{answered}” when it was asked for “{asked}”: the repository was moved or renamed."
    )
    meaning = "The old name only leads on as long as nobody takes it; whoever does is loaded from then on."
    remedy = f"If {answered} is whose you mean, load it by that name."
    return [_finding("moved", severity, facts, message, f"asked: {asked}\nanswered: {answered}", meaning, remedy)]


def _changed(facts: HubFacts, was: Accepted, root_commit: str, history: Collection[str] | None) -> list[Finding]:
    found: list[Finding] = []
    day = f"{was.when:%Y-%m-%d}"

    def say(rule: str, message: str, then: object, now: object, severity: Severity = Severity.HIGH) -> None:
        found.append(_finding(rule, severity, facts, message, f"then: {then}\nnow: {now}"))

    for rule, what, created, before in (
        ("recreated", "The repository", facts.created, was.created),
        ("new-owner-account", "The publisher's account", facts.owner_created, None),
    ):
        if created is not None and created > (before or was.when) + SLACK:
            if created <= was.when + SLACK:
                say(rule, f"{what} was made on {created:%Y-%m-%d}, and the one that you accepted is older.",
                    f"created {before:%Y-%m-%d}", f"created {created:%Y-%m-%d}")  # fmt: skip
                continue
            message = f"{what} was created on {created:%Y-%m-%d}, after you accepted this name on {day}."
            say(
                rule,
                f"{message} It is not the one that you accepted.",
                f"accepted {day}",
                f"created {created:%Y-%m-%d}",
            )
    if _differ(was.repo_key, facts.repo_key):
        say("other-repository", "Another repository has this name than the one that you accepted.",
            was.repo_key, facts.repo_key)  # fmt: skip
    if _differ(was.owner_key, facts.owner_key) or _differ(was.owner.lower(), facts.owner.lower()):
        say("owner-changed", "The owner of this name changed since you accepted it.",
            f"{was.owner} {was.owner_key}".strip(), f"{facts.owner} {facts.owner_key}".strip())  # fmt: skip
    if _differ(was.root_commit, root_commit):
        say("unknown-root", "The history of this repository begins with another commit than when you accepted it.",
            was.root_commit, root_commit)  # fmt: skip
    if history is not None and was.commit and was.commit not in history:
        say("commit-gone", "The commit that you accepted is no longer in the history of this repository.",
            was.commit, "not there", Severity.MEDIUM)  # fmt: skip
    return found


def _differ(then: str, now: str) -> bool:
    """Whether two recorded values are both there, and not the same."""
    return bool(then and now and then != now)


def _finding(
    rule: str, severity: Severity, facts: HubFacts, message: str, evidence: str,
    meaning: str = _MEANING, remedy: str = _REMEDY,
) -> Finding:  # fmt: skip
    return Finding(
        f"publisher.{rule}", severity, facts.requested or facts.repo_id, "", message, evidence, meaning, remedy
    )
