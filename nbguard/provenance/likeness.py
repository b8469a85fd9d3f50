"""In which way one name looks like a publisher's, and how sure that is.

    likeness("rnicrosoft", publishers()["microsoft"])
    # Likeness("homoglyph", "“rn” stands for “m”", 0.99)
    [publisher.name for publisher, _ in borrowed("bob", "Llama-3.1-8B-Instruct")]      # ["meta-llama"]

A confidence is no probability. It says how little else explains the name, so that hits can be put in order and a
threshold be set: from 0.95 the two names are the same to the eye; from 0.75 it is a slip, or a word around the name;
below 0.5 only the model's name is a known one, which honest copies have too.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from nbguard.provenance.letters import backwards, hidden, latin, loose, skeleton, substitutions, visible
from nbguard.provenance.publishers import Publisher, lookalikes, publishers
from nbguard.provenance.slips import cost, described

How = Literal[
    "invisible", "homoglyph", "typosquat", "separators", "word order", "affix", "case", "borrowed name", "re-upload"
]
CASE: How = "case"

SHORTEST = 5
"""Characters of a publisher's name below which one wrong letter says nothing: too many honest names are that near."""
LONG = 9
"""Characters from which two slips, one of them a likely one, still look like the name."""
ENOUGH = 7
"""Characters of a name that is told in the middle of other words although it is misspelled there."""


@dataclass(frozen=True)
class Likeness:
    """One way in which a name looks like a publisher's."""

    how: How
    detail: str
    """As the end of a sentence. May hold letters of the name."""
    confidence: float
    """0 to 1; see the head of this module."""


def likeness(owner: str, publisher: Publisher) -> Likeness | None:
    """In which way `owner` looks like the publisher's name, if it does; the way that explains most."""
    known = publisher.name
    if not publisher.verified and _core(known)[1]:  # `x-community`: the half of such a name is everybody's
        return _same_to_the_eye(owner, known) or _slip(owner, known, 1.0)
    return (
        _same_to_the_eye(owner, known)
        or _slip(owner, known)
        or _words_added(owner, known)
        or _ending_changed(owner, known)
        or _slip_among_words(owner, known)
    )


def _same_to_the_eye(owner: str, known: str) -> Likeness | None:
    if owner.lower() == known.lower():
        return Likeness(CASE, "capital and small letters differ", 0.9)
    alike = skeleton(owner) == skeleton(known) and not backwards(owner, known)
    unseen = hidden(owner)
    if alike and unseen and visible(owner).isascii():
        return Likeness("invisible", f"{', '.join(unseen[:3])} cannot be seen in it", 0.99)
    if alike:
        return Likeness("homoglyph", substitutions(owner, known), 0.99)
    if len(known) < SHORTEST:
        return None
    if _bare(owner) == _bare(known):
        return Likeness("separators", "separators were left out or added", 0.95)
    if loose(owner) == loose(known) and not backwards(owner, known):
        return Likeness("homoglyph", substitutions(owner, known), 0.95)
    if len(_words(known)) > 1 and sorted(_words(owner)) == sorted(_words(known)):
        return Likeness("word order", "its words stand in another order", 0.85)
    return None


def _bare(name: str) -> str:
    return skeleton(name).replace("-", "")


@functools.lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    """The words of a name, between its separators, with their letters made the same."""
    return tuple(word for word in skeleton(name).split("-") if word)


def _slip(owner: str, known: str, most: float = 2.0) -> Likeness | None:
    """A name that is a slip or two away, measured on what is read as well as on what was typed: a slip may come on top
    of a look-alike, and a slip can also make one (`trn` for `tran`)."""
    typed, name = latin(owner).lower(), known.lower()
    one, other = skeleton(owner), skeleton(known)
    if len(other) < SHORTEST:
        one, other = typed, name  # so short a name is not made shorter
        if len(other) < SHORTEST - 1 or not other.isalpha():
            return None
    elif owner[:1].isdigit() != known[:1].isdigit() and one[:1] != other[:1]:
        return None
    found = min(cost(one, other), cost(typed, name))
    if found > min(most, _most(typed, name)) or (found > 1 and one[:1] != other[:1]):
        return None
    alike = 1 - found / max(len(one), len(other))
    detail = described(typed, name)
    detail = described(one, other) if detail.endswith("differ") else detail
    return Likeness("typosquat", f"{detail}, {alike:.0%} alike", round(0.97 * alike, 2))


def _most(typed: str, known: str) -> float:
    """The cost of slips up to which a name of this length is still taken for a slip."""
    if known in lookalikes().common:
        near = 0.6 if len(known) > SHORTEST else 0.5
        return near if len(known) >= SHORTEST and len(typed) >= len(known) else -1.0
    if len(known) < SHORTEST:
        return 0.6 if typed[:1] == known[:1] else 0.5
    return 1.0 if len(known) < LONG else 1.7


def _words_added(owner: str, known: str) -> Likeness | None:
    """The whole name, with words around it that borrow its trust."""
    seen, meant = skeleton(owner), skeleton(known)
    if len(meant) < SHORTEST - 1:
        return None
    if meant in seen:
        before, _, after = seen.partition(meant)
        joined = (before and not before.endswith("-")) or (after and not after.startswith("-"))
        if not joined or len(meant) >= SHORTEST or (not before and after in _affixes()):
            found = _added([w for w in f"{before}-{after}".split("-") if w], owner, known)
            if found is not None:
                return found
    if seen.startswith(f"{meant}-") and len(_words(known)) > 1:  # no other name begins with just these words by chance
        more = re.split(r"[-_. ]+", owner)[len(_words(known)) :]
        return Likeness("affix", f"“{'-'.join(more)[:40]}” was added to the name", 0.65)
    meant, seen = _bare(known), _bare(owner)
    if len(meant) >= ENOUGH and meant != seen and (seen.startswith(meant) or seen.endswith(meant)):
        return _added([seen.removeprefix(meant) if seen.startswith(meant) else seen.removesuffix(meant)], owner, known)
    return None


def _added(words: list[str], owner: str, known: str, change: str = "") -> Likeness | None:
    """What the words say that were added to a name; None where they are not such as borrow its trust."""
    affixes = _affixes()
    numbers = {skeleton(number): number for number in _NUMBER.findall(owner.lower())}
    if not words or len(words) > 6 or not all(word in affixes or word in numbers for word in words):
        return None
    plain = [affixes.get(word) or numbers[word] for word in words]
    claimed = any(word in lookalikes().claims for word in plain)
    if known.lower() in lookalikes().common and not claimed:
        return None
    copied = all(word in lookalikes().reuploads for word in plain)
    detail = " and ".join(f"“{word}”" for word in plain[:3]) + f" was added to the name{change}"
    confidence = 0.85 if claimed else 0.6 if copied else 0.75
    return Likeness("affix", detail, confidence if not change else confidence - 0.05)


@functools.cache
def _affixes() -> dict[str, str]:
    """What is put around names, by how it looks: `officiaI` is `official`."""
    words = (*lookalikes().affixes, *lookalikes().reuploads)
    return {skeleton(form): word for word in words for form in (word, word.upper(), word.title())}


_NUMBER = re.compile(r"(?<![a-z0-9])v[0-9]{1,2}(?![a-z0-9])|(?<![0-9])[0-9]{1,4}(?![0-9])", re.ASCII)
"""What is put behind a name that is taken."""


@functools.lru_cache(maxsize=2048)
def _core(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a name without those at its ends that are put around names, and those."""
    words, taken = list(_words(name)), []
    while len(words) > 1 and words[-1] in _affixes():
        taken.append(words.pop())
    while len(words) > 1 and words[0] in _affixes():
        taken.append(words.pop(0))
    return tuple(words), tuple(taken)


@functools.lru_cache(maxsize=2048)
def _stem(known: str) -> tuple[str, str]:
    """A publisher's name without its ending, and that: `mistral`, `ai`. Empty where little would be left of it."""
    lowered = known.lower()
    for ending in lookalikes().endings:
        stem = lowered.removesuffix(ending).rstrip("-_.")
        if stem != lowered and len(stem) >= SHORTEST and not any(stem == name.lower() for name in publishers()):
            return skeleton(stem), ending
    return "", ""


def _ending_changed(owner: str, known: str) -> Likeness | None:
    """The publisher's name with its ending left out, or with another word in its place."""
    stem, ending = _stem(known)
    words, added = _core(owner)
    if not stem or "".join(words) != stem.replace("-", ""):
        return None
    plain = [_affixes()[word] for word in added]
    if stem in lookalikes().common and not any(word in lookalikes().claims for word in plain):
        return None
    if not added:
        return Likeness("typosquat", f"“{ending}” was left out, {1 - len(ending) / len(known):.0%} alike", 0.8)
    return Likeness("affix", f"{' and '.join(f'“{w}”' for w in plain[:3])} stands for “{ending}”", 0.75)


def _slip_among_words(owner: str, known: str) -> Likeness | None:
    """A misspelled name, or one without its separators, with words around it."""
    words, added = _core(owner)
    name = "-".join(words)
    if not added or len(known) < ENOUGH or known.lower() in lookalikes().common:
        return None
    if "".join(words) == _bare(known) or loose(name) == loose(known):
        return _added(list(added), owner, known, ", and other letters or separators changed")
    found = _slip(name, known)
    return None if found is None else _added(list(added), owner, known, f", and {found.detail}")


def borrowed(owner: str, model: str) -> list[tuple[Publisher, Likeness]]:
    """Publishers whose own model this would be by its name, where nothing was added that says whose it is."""
    found: list[tuple[Publisher, Likeness]] = []
    whose = f"“{owner}”" if owner else "a name without a publisher"
    for publisher in publishers().values():
        if not publisher.verified:
            continue
        named = re.sub(rf"^{re.escape(publisher.name)}[-_.]{{1,2}}", "", model, flags=re.IGNORECASE)
        pattern = publisher.claims(named) or publisher.claims(model)
        added = pattern and _remainder(named if publisher.claims(named) else model, pattern)
        if not pattern or added is None:
            continue
        if added:
            detail = f"“{publisher.name}” publishes such a model, and {whose} has it as “{added}”"
            found.append((publisher, Likeness("re-upload", detail, 0.2)))
        else:
            detail = f"“{publisher.name}” publishes a model of this name, and this one comes from {whose}"
            found.append((publisher, Likeness("borrowed name", detail, 0.45)))
    return sorted(found, key=lambda hit: -hit[1].confidence)[:3]


def _remainder(model: str, pattern: str) -> str | None:
    """What a name adds to a pattern besides size, version and kind: a form in which it was uploaded again, or nothing;
    None where it says more, and so whose it is."""
    rest = model.lower().removeprefix(pattern.rstrip("*").lower())
    pieces = [piece for piece in re.split(r"[-_.\s]+", rest) if piece]
    copied = [piece for piece in pieces if piece in lookalikes().reuploads]
    if not all(p in lookalikes().plain or p in lookalikes().reuploads or _SIZE.fullmatch(p) for p in pieces):
        return None
    return copied[0] if copied else ""


_SIZE = re.compile(r"v?[0-9]+[a-z]?|[a-z]?[0-9]+[bmk]?|[0-9]+x[0-9]+b?|a[0-9]+b?|[0-9]+b|e[0-9]+b")
"""`8b`, `v0`, `3`, `a3b`, `8x7b`, `1024k`."""
