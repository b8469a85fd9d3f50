"""Names that look like those of well-known publishers; nothing is looked up on the network.

    print(assess("meta-Ilama/Llama-3.1-8B"))
    # [CRITICAL] meta-Ilama/Llama-3.1-8B -> Looks like meta-llama (homoglyph): “I” stands for “l”
    resembles("meta-lalma/Llama-3.1-8B")[0].how      # "typosquat"
    assess_owner("meta-lalma").risk      # "critical"

A name is compared with those in `rules/publishers.toml`: by how its letters look (`letters`), by what fingers do
(`slips`), and by the words that are put around a name (`rules/lookalikes.toml`). A namespace that is itself in the list
is no look-alike of another one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from nbguard.provenance.letters import odd
from nbguard.provenance.likeness import CASE, How, Likeness, borrowed, likeness
from nbguard.provenance.publishers import Publisher, lookalikes, publishers
from nbguard.report.model import Severity

Risk = Literal["low", "medium", "high", "critical"]

LONGEST = 200
"""Characters of each part of a name that are compared; the Hub allows 96."""
NEAR = 0.88
"""Confidence from which a slip is the likelier explanation, even where a word was added to another name."""

_SEVERITIES: dict[How, Severity] = {
    "invisible": Severity.CRITICAL,
    "homoglyph": Severity.CRITICAL,
    "typosquat": Severity.CRITICAL,
    "separators": Severity.CRITICAL,
    "word order": Severity.HIGH,
    "affix": Severity.HIGH,
    "borrowed name": Severity.MEDIUM,
    "case": Severity.LOW,
    "re-upload": Severity.INFO,
}


@dataclass(frozen=True)
class Resemblance:
    """One well-known name that another one looks like."""

    repo_id: str
    """The name that was asked about. Hostile: escape it where it is shown."""
    meant: str
    """The name it looks like, with the model's part (as hostile as `repo_id`): `meta-llama/Llama-3.1-8B`."""
    publisher: Publisher
    how: How
    detail: str
    """In which way, as the end of a sentence: `“I” stands for “l”`. May hold letters of the name."""
    similarity: float
    """Of the two namespaces, 0 to 1: one minus the edit distance by the longer one's length."""
    confidence: float
    """How little else explains the name, 0 to 1; see `nbguard.provenance.likeness`."""

    @property
    def severity(self) -> Severity:
        return _SEVERITIES[self.how]


@dataclass(frozen=True)
class NameRisk:
    """What a repository's name alone says about it."""

    repo_id: str
    risk: Risk
    """`low`: a well-known publisher. `medium`: nobody in particular. `high`: no namespace, letters that no honest name
    has, or a well-known name with something added. `critical`: made to be taken for a well-known publisher."""
    reason: str
    """One line."""
    resemblances: tuple[Resemblance, ...] = ()
    known: bool = False
    """The namespace (or the old name without one) is in the list of publishers."""
    odd: str = ""
    """What is wrong with the letters of the name, whatever it resembles, as a clause."""

    def __str__(self) -> str:
        return f"[{self.risk.upper()}] {self.repo_id} -> {self.reason}"


@functools.lru_cache(maxsize=256)
def assess(repo_id: str) -> NameRisk:
    """What the name says: a trusted publisher, a look-alike, no namespace, or nothing in particular."""
    owner, model = _split(repo_id)
    if not owner:
        meant = lookalikes().moved.get(model)
        if meant is not None:
            return NameRisk(repo_id, "low", f"An old name of {meant}", known=True)
        return NameRisk(repo_id, "high", "No namespace: the name does not say whose it is", resembles(repo_id))
    return _judged(repo_id, owner, resembles(repo_id))


@functools.lru_cache(maxsize=256)
def assess_owner(name: str) -> NameRisk:
    """What a name of one word says as that of a publisher; one that no publisher has may be a model's without one."""
    found = assess(name) if name in lookalikes().moved else _judged(name, name, resembles(f"{name}/"))
    if found.risk == "medium" and not found.resemblances and not found.known:
        reason = "No namespace, and no known publisher has this name"
        return NameRisk(name, "high", reason, resembles(name), odd=found.odd)
    return found


def _judged(name: str, owner: str, found: tuple[Resemblance, ...]) -> NameRisk:
    known = publishers().get(owner)
    if known is not None:
        if known.verified:
            return NameRisk(name, "low", f"Trusted publisher ({known.organisation})", known=True)
        return NameRisk(name, "medium", f"Known name: {known.organisation}", known=True)
    strange = odd(name[: 2 * LONGEST])
    if not found:
        if strange:
            return NameRisk(name, "high", f"Not a name that the Hub allows: {strange}", odd=strange)
        return NameRisk(name, "medium", "Unknown publisher: verify it before use")
    first = found[0]
    risks: dict[Severity, Risk] = {Severity.CRITICAL: "critical", Severity.HIGH: "high"}
    reason = f"Looks like {first.publisher.name} ({first.how}): {first.detail}"
    return NameRisk(name, risks.get(first.severity, "high" if strange else "medium"), reason, found, odd=strange)


def resembles(repo_id: str) -> tuple[Resemblance, ...]:
    """The well-known names that `repo_id` looks like, the nearest first; none where its namespace is itself known."""
    owner, model = _split(repo_id)
    owner, model = owner[:LONGEST], model[:LONGEST]
    if owner in publishers() or (not owner and model in lookalikes().moved):
        return ()
    found: list[Resemblance] = []
    if owner:
        compared = [(p, likeness(owner, p)) for p in publishers().values()]
        found = [_resemblance(repo_id, owner, model, p, like) for p, like in compared if like is not None]
    if any(r.how == "affix" for r in found):  # a whole name with a word added says more than a name that is near
        found = [r for r in found if r.how != "typosquat" or r.confidence >= NEAR]
    if not any(r.severity >= Severity.HIGH or r.how == CASE for r in found):
        found += [_resemblance(repo_id, owner, model, p, like) for p, like in borrowed(owner, model)]
    return tuple(sorted(found, key=_nearest))


def _nearest(found: Resemblance) -> tuple[int, float, float]:
    """Of two names that words were added to, the longer one is meant: `CohereLabs-hf` is not `Cohere`."""
    by = (found.similarity, found.confidence) if found.how == "affix" else (found.confidence, found.similarity)
    return -int(found.severity), -by[0], -by[1]


def _split(repo_id: str) -> tuple[str, str]:
    """Owner and model; a repository of data (`datasets/org/name`) has an owner too."""
    owner, _, model = repo_id.rpartition("/")
    return owner.removeprefix("datasets/").removeprefix("spaces/"), model


def _resemblance(repo_id: str, owner: str, model: str, publisher: Publisher, like: Likeness) -> Resemblance:
    meant = f"{publisher.name}/{model}" if model else publisher.name
    alike = similarity(owner, publisher.name) if owner else 0.0
    return Resemblance(repo_id, meant, publisher, like.how, like.detail, alike, like.confidence)


def similarity(one: str, other: str) -> float:
    """0 to 1, by edit distance with transpositions; case does not count."""
    from rapidfuzz.distance import OSA

    return float(OSA.normalized_similarity(one.lower(), other.lower()))
