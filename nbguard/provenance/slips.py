"""How far apart two names are, for fingers and eyes: an edit distance in which likely slips cost little.

    cost("nvodia", "nvidia")        # 0.6: "o" is beside "i" on the keyboard
    cost("meta-lalma", "meta-llama")     # 0.5: two letters turned round
    cost("openzz", "openai")        # more than FAR: no slip

rapidfuzz measures the plain distance with transpositions (optimal string alignment) and rules out nearly every pair;
only what is within three edits is weighed here.
"""

from __future__ import annotations

import functools

from nbguard.provenance.letters import loose
from nbguard.provenance.publishers import lookalikes

FAR = 9.0
"""The cost of what is more than three edits away."""
TURNED = 0.5
"""Two neighbouring letters in the other order."""
DOUBLED = 0.5
"""A letter struck twice, or one of two equal ones left out."""
SEPARATOR = 0.4
"""A `-`, `_` or `.` left out or added."""
BESIDE = 0.6
"""A letter for its neighbour on the keyboard."""
ALIKE = 0.3
"""A letter for one that is read for it."""
VOWEL = 0.8
"""A vowel for another: names are spelled as they sound."""
OTHER = 1.0


def cost(one: str, other: str) -> float:
    """The least sum of slips that make `one` of `other` (in small letters); `FAR` where it takes more than three."""
    from rapidfuzz.distance import OSA

    if OSA.distance(one, other, score_cutoff=3) > 3:
        return FAR
    before: list[float] = []
    last = [0.0]
    for n, char in enumerate(other):
        last.append(last[-1] + _single(other, n, char))
    for n, char in enumerate(one):
        row = [last[0] + _single(one, n, char)]
        for m, meant in enumerate(other):
            best = min(
                last[m] + _swap(char, meant),
                last[m + 1] + _single(one, n, char),
                row[m] + _single(other, m, meant),
            )
            if n and m and char == other[m - 1] and one[n - 1] == meant and char != meant:
                best = min(best, before[m - 1] + TURNED)
            row.append(best)
        before, last = last, row
    return last[-1]


def _single(word: str, at: int, char: str) -> float:
    """The cost of a letter that only one of the two has."""
    if char in "-_. ":
        return SEPARATOR
    return DOUBLED if char in (word[at - 1 : at], word[at + 1 : at + 2]) else OTHER


def _swap(seen: str, meant: str) -> float:
    if seen == meant:
        return 0.0
    if loose(seen) == loose(meant):
        return ALIKE
    if beside(seen, meant):
        return BESIDE
    return VOWEL if seen in "aeiouy" and meant in "aeiouy" else OTHER


@functools.lru_cache(maxsize=4096)
def beside(one: str, other: str) -> bool:
    """Whether two keys touch: in one row, or in the next one below (which is set half a key to the right)."""
    places = {key: (r, c) for r, row in enumerate(lookalikes().keyboard) for c, key in enumerate(row)}
    if one not in places or other not in places:
        return False
    (r, c), (s, d) = sorted((places[one], places[other]))
    return (r == s and d - c == 1) or (s - r == 1 and c - d in (0, 1))


def described(one: str, other: str) -> str:
    """What was done to `other` to make `one`, as the end of a sentence."""
    if other.startswith(one) or one.startswith(other):
        rest = max(one, other, key=len)[min(len(one), len(other)) :]
        if rest:
            return f"“{rest}” was {'added' if one.startswith(other) else 'left out'}"
    if len(one) == len(other):
        places = [n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        if len(places) == 2 and places[1] - places[0] == 1 and one[places[0]] == other[places[1]] != one[places[1]]:
            return f"“{one[places[0] : places[1] + 1]}” is “{other[places[0] : places[1] + 1]}” turned round"
        if len(places) == 1:
            seen, meant = one[places[0]], other[places[0]]
            return f"“{seen}” stands for “{meant}”{' (a neighbour on the keyboard)' if beside(seen, meant) else ''}"
        return f"{len(places)} letters differ"
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    at = next((n for n, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    if longer[:at] + longer[at + 1 :] == shorter:
        return f"“{longer[at]}” was {'added' if longer is one else 'left out'}"
    return "some letters differ"
