"""Names that look like those of well-known publishers; nothing is looked up on the network.

    print(assess("meta-Ilama/Llama-3.1-8B"))
    # [CRITICAL] meta-Ilama/Llama-3.1-8B -> Looks like meta-llama/Llama-3.1-8B (homoglyph: “I” for “l”)
    resembles("meta-lalma/Llama-3.1-8B")[0].how      # "typosquat"

A name is compared with those in `rules/publishers.toml`, by what `rules/lookalikes.toml` says of letters that are read
for one another, by the confusable letters of Unicode (confusable_homoglyphs), and by edit distance with transpositions
(rapidfuzz). A namespace that is itself in the list is no look-alike of another one.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from nbguard.provenance.publishers import Publisher, lookalikes, publishers
from nbguard.report.model import Severity

How = Literal["homoglyph", "typosquat", "separators", "affix", "case", "borrowed name"]
Risk = Literal["low", "medium", "high", "critical"]

SHORTEST_TYPO = 5
"""Characters of a publisher's name below which one wrong letter says nothing: too many honest names are that near."""
TWO_TYPOS = 9
"""Characters from which two wrong letters still look like the name."""
NEAR = 0.85
"""Similarity above which a slip is the likelier explanation, even where a word was added to another name."""
LONGEST = 200
"""Characters of a name that are compared; the Hub allows 96 for each part."""

_SEVERITIES: dict[How, Severity] = {
    "homoglyph": Severity.CRITICAL,
    "typosquat": Severity.CRITICAL,
    "separators": Severity.CRITICAL,
    "affix": Severity.HIGH,
    "borrowed name": Severity.MEDIUM,
    "case": Severity.LOW,
}
_ORDER: tuple[How, ...] = ("case", "homoglyph", "separators", "typosquat", "affix", "borrowed name")
"""Of two ways in which one name looks like another, the one that explains more comes first."""


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

    @property
    def severity(self) -> Severity:
        return _SEVERITIES[self.how]


@dataclass(frozen=True)
class NameRisk:
    """What a repository's name alone says about it."""

    repo_id: str
    risk: Risk
    """`low`: a well-known publisher. `medium`: nobody in particular. `high`: no namespace, or a well-known name with
    something added. `critical`: made to be taken for a well-known publisher."""
    reason: str
    """One line."""
    resemblances: tuple[Resemblance, ...] = ()

    def __str__(self) -> str:
        return f"[{self.risk.upper()}] {self.repo_id} -> {self.reason}"


@functools.lru_cache(maxsize=256)
def assess(repo_id: str) -> NameRisk:
    """What the name says: a trusted publisher, a look-alike, no namespace, or nothing in particular."""
    owner = repo_id.rpartition("/")[0]
    if not owner:
        meant = lookalikes().moved.get(repo_id)
        if meant is not None:
            return NameRisk(repo_id, "low", f"An old name of {meant}")
        return NameRisk(repo_id, "high", "No namespace: the name does not say whose it is", resembles(repo_id))
    known = publishers().get(owner)
    if known is not None:
        if known.verified:
            return NameRisk(repo_id, "low", f"Trusted publisher ({known.organisation})")
        return NameRisk(repo_id, "medium", f"Known name: {known.organisation}")
    found = resembles(repo_id)
    if not found:
        return NameRisk(repo_id, "medium", "Unknown publisher: verify it before use")
    first = found[0]
    risks: dict[Severity, Risk] = {Severity.CRITICAL: "critical", Severity.HIGH: "high"}
    reason = f"Looks like {first.meant} ({first.how}: {first.detail})"
    return NameRisk(repo_id, risks.get(first.severity, "medium"), reason, found)


def resembles(repo_id: str) -> tuple[Resemblance, ...]:
    """The well-known names that `repo_id` looks like, the nearest first; none where its namespace is itself known."""
    owner, _, model = repo_id[:LONGEST].rpartition("/")
    if owner in publishers() or (not owner and model in lookalikes().moved):
        return ()
    found = [] if not owner else [r for p in publishers().values() if (r := _owner(repo_id, owner, model, p))]
    if any(r.how == "affix" for r in found):  # a whole name with a word added says more than a name that is near
        found = [r for r in found if r.how != "typosquat" or r.similarity > NEAR]
    if not any(r.severity >= Severity.HIGH or r.how == "case" for r in found):
        found += _borrowed(repo_id, owner, model)
    return tuple(sorted(found, key=lambda r: (-int(r.severity), _ORDER.index(r.how), -r.similarity)))


def _owner(repo_id: str, owner: str, model: str, publisher: Publisher) -> Resemblance | None:
    found = _how(owner, publisher.name)
    if found is None:
        return None
    how, detail = found
    return Resemblance(repo_id, f"{publisher.name}/{model}", publisher, how, detail, similarity(owner, publisher.name))


def similarity(one: str, other: str) -> float:
    """0 to 1, by edit distance with transpositions; case does not count."""
    from rapidfuzz.distance import OSA

    return float(OSA.normalized_similarity(one.lower(), other.lower()))


def _how(owner: str, known: str) -> tuple[How, str] | None:
    """In which way `owner` looks like `known`, if it does."""
    if owner.lower() == known.lower():
        return "case", "capital and small letters differ"
    if skeleton(owner) == skeleton(known):
        return "homoglyph", _substitutions(owner, known)
    bare, meant = _without_separators(owner), _without_separators(known)
    if bare == meant and len(meant) >= SHORTEST_TYPO:
        return "separators", "separators were left out or added"
    return _typo(owner, known) or _affix(owner, known)


@functools.lru_cache(maxsize=1024)
def skeleton(name: str) -> str:
    """`name` with all letters that are read for one another made the same; equal skeletons look alike."""
    out = _latin(unicodedata.normalize("NFKC", name))
    for seen, meant in lookalikes().substitutions:
        out = out.replace(seen, meant)
    return out.lower()


def _latin(name: str) -> str:
    """Letters of other alphabets that look like Latin ones (Unicode's confusables), written as those."""
    if name.isascii():
        return name
    return "".join(char if char.isascii() else _latin_letter(char) for char in name)


@functools.lru_cache(maxsize=1024)
def _latin_letter(char: str) -> str:
    from confusable_homoglyphs import confusables

    plain = unicodedata.normalize("NFD", char)[0]
    if plain.isascii():  # a letter with an accent
        return plain
    for entry in confusables.is_confusable(char, greedy=True, preferred_aliases=[]) or ():
        for twin in entry["homoglyphs"]:
            if len(twin["c"]) == 1 and twin["c"].isascii() and twin["c"].isalnum():
                return str(twin["c"])
    return char


def _without_separators(name: str) -> str:
    return re.sub(r"[-_. ]", "", name).lower()


def _typo(owner: str, known: str) -> tuple[How, str] | None:
    """A name that is one or two slips away, measured on what is read: a slip may come on top of a look-alike."""
    from rapidfuzz.distance import OSA

    one, other = skeleton(owner), skeleton(known)
    if len(other) < SHORTEST_TYPO or one[:1].isdigit() != other[:1].isdigit():
        return _short_typo(owner.lower(), known.lower())
    most = 2 if len(other) >= TWO_TYPOS else 1
    distance = OSA.distance(one, other, score_cutoff=most)
    if distance > most or (distance == 2 and one[0] != other[0]):  # two slips, and the first letter among them
        return None
    return "typosquat", f"{_slip(one, other, distance)}, {similarity(owner, known):.0%} alike"


def _short_typo(one: str, other: str) -> tuple[How, str] | None:
    """A short name with two letters turned round, or one doubled: no honest name comes about that way."""
    if len(other) != SHORTEST_TYPO - 1 or other.isdigit():
        return None
    doubled = any(one == other[: n + 1] + other[n:] for n in range(len(other)))
    turned = sorted(one) == sorted(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 2
    return ("typosquat", _slip(one, other, 1)) if doubled or turned else None


def _slip(one: str, other: str, distance: int) -> str:
    if distance != 1:
        missing = other.removeprefix(one)
        return f"“{missing}” was left out" if missing != other else f"{distance} letters differ"
    if len(one) == len(other):
        places = [n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        if len(places) == 2:
            return f"“{one[places[0] : places[1] + 1]}” is “{other[places[0] : places[1] + 1]}” turned round"
        seen, meant = one[places[0]], other[places[0]]
        beside = " (a neighbour on the keyboard)" if _neighbours(seen, meant) else ""
        return f"“{seen}” stands for “{meant}”{beside}"
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    at = next((n for n, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    return f"“{longer[at]}” was {'added' if longer is one else 'left out'}"


def _neighbours(one: str, other: str) -> bool:
    return any(one in row and other in row and abs(row.index(one) - row.index(other)) == 1 for row in _keyboard())


@functools.cache
def _keyboard() -> tuple[str, ...]:
    return lookalikes().keyboard


def _affix(owner: str, known: str) -> tuple[How, str] | None:
    lowered, meant = skeleton(owner), skeleton(known)
    if len(meant) < 4 or meant not in lowered:
        return None
    before, _, after = lowered.partition(meant)
    added = [piece for piece in re.split(r"[-_.]", f"{before}-{after}") if piece]
    affixes = {skeleton(a): a for a in lookalikes().affixes}
    joined = (not before or before.endswith("-")) and (not after or after.startswith("-"))
    if not added or not all(piece in affixes for piece in added) or not (joined or len(meant) >= SHORTEST_TYPO):
        return None
    words = " and ".join(f"“{affixes[piece]}”" for piece in added[:3])
    return "affix", f"{words} was added to the name"


def _substitutions(owner: str, known: str) -> str:
    """`“I” stands for “l”`, for each piece in which the two differ."""
    pieces: list[str] = []
    for kind, a, b, c, d in _pieces(owner, known):
        if kind == "equal" or owner[a:b].lower() == known[c:d].lower():
            continue
        seen, meant = owner[a:b], known[c:d]
        strange = next((ch for ch in seen if not ch.isascii()), "")
        named = f" ({unicodedata.name(strange, 'a letter without a name').capitalize()})" if strange else ""
        pieces.append(f"“{seen}”{named} stands for “{meant}”")
    return ", ".join(dict.fromkeys(pieces[:4])) or "letters that are read for one another"


def _pieces(owner: str, known: str) -> Iterator[tuple[str, int, int, int, int]]:
    """The aligned pieces of two names; a two-letter look-alike is kept in one piece (`rn` for `m`)."""
    pairs = lookalikes().substitutions
    a = b = 0
    while a < len(owner) and b < len(known):
        if owner[a] == known[b]:
            a, b = a + 1, b + 1
            continue
        for seen, meant in pairs:
            if owner.startswith(seen, a) and known[b : b + len(meant)].lower() == meant:
                yield "replace", a, a + len(seen), b, b + len(meant)
                a, b = a + len(seen), b + len(meant)
                break
            if known.startswith(seen, b) and owner[a : a + len(meant)].lower() == meant:
                yield "replace", a, a + len(meant), b, b + len(seen)
                a, b = a + len(meant), b + len(seen)
                break
        else:
            if not owner[a].isascii() or owner[a].lower() == known[b].lower():
                yield "replace", a, a + 1, b, b + 1
                a, b = a + 1, b + 1
                continue
            matcher = SequenceMatcher(None, owner[a:], known[b:], autojunk=False)
            yield from ((k, a + i, a + j, b + m, b + n) for k, i, j, m, n in matcher.get_opcodes())
            return
    if a < len(owner) or b < len(known):
        yield "replace", a, len(owner), b, len(known)


def _borrowed(repo_id: str, owner: str, model: str) -> list[Resemblance]:
    """Publishers whose own model this would be by its name, where nothing was added that says whose it is."""
    found = [p for p in publishers().values() if p.verified and (pattern := p.claims(model)) and _own(model, pattern)]
    whose = "a name without a publisher" if not owner else f"“{owner}”"
    return [
        Resemblance(
            repo_id,
            f"{publisher.name}/{model}",
            publisher,
            "borrowed name",
            f"“{publisher.name}” publishes a model of this name, and this one comes from {whose}",
            similarity(owner, publisher.name) if owner else 0.0,
        )
        for publisher in found[:3]
    ]


def _own(model: str, pattern: str) -> bool:
    """Whether what the name adds to the pattern says only size, version and kind."""
    rest = model.lower().removeprefix(pattern.rstrip("*").lower())
    pieces = [piece for piece in re.split(r"[-_.\s]+", rest) if piece]
    return all(piece in lookalikes().plain or _SIZE.fullmatch(piece) for piece in pieces)


_SIZE = re.compile(r"v?[0-9]+[a-z]?|[a-z]?[0-9]+[bmk]?|[0-9]+x[0-9]+b?|a[0-9]+b?|[0-9]+b|e[0-9]+b")
"""`8b`, `v0`, `3`, `a3b`, `8x7b`, `1024k`."""
