"""How a name looks: letters of other alphabets, letters that are not seen, letters that are read for one another.

    skeleton("rnicrоsoft") == skeleton("microsoft")      # the first with a Cyrillic "о"
    odd("mеta-llama")       # "“е” (Cyrillic small letter ie) stands among Latin letters"

After UTS 39 (Unicode security mechanisms): a skeleton is what is left when invisible characters and marks are taken out
and each letter is replaced by the Latin one that it is confused with. The tables are those of confusable_homoglyphs and
`rules/lookalikes.toml`; two names with one skeleton look alike.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher

from nbguard.provenance.publishers import lookalikes
from nbguard.report.escape import is_hidden

_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of text (Unicode's Bidi_Control)."""
_BACKWARDS = "\u202e\u2067"
"""Those after which Latin letters, or whole runs, are shown from right to left."""
_SCRIPTLESS = frozenset({"COMMON", "INHERITED"})


@functools.lru_cache(maxsize=4096)
def skeleton(name: str) -> str:
    """`name` in Latin letters, those that are read for one another made the same."""
    out = latin(name)
    for seen, meant in lookalikes().substitutions:
        out = out.replace(seen, meant)
    return out.lower()


@functools.lru_cache(maxsize=4096)
def loose(name: str) -> str:
    """A skeleton that also takes capital and small letters, and `i` and `l`, for the same: `OpenAl` is `OpenAI`."""
    out = skeleton(name)
    for seen, meant in lookalikes().substitutions:
        if not seen.isupper():
            out = out.replace(seen, meant)
    return out.replace("i", "l")


def latin(name: str) -> str:
    """`name` as it is seen, in ASCII as far as each of its letters has a twin there."""
    if name.isascii() and name.isprintable():
        return name
    return "".join(_twin(char) for char in visible(unicodedata.normalize("NFKD", name)))


def visible(name: str) -> str:
    """`name` without what is not seen: invisible and bidirectional characters, marks on and between letters."""
    if name.isascii() and name.isprintable():
        return name
    for turn in _BACKWARDS:
        before, found, after = name.partition(turn)
        if found:
            turned, end, rest = after.partition("\u202c" if turn == "\u202e" else "\u2069")
            name = before + "".join(reversed(turned)) + end + rest
    return "".join(c for c in name if not is_hidden(c) and unicodedata.category(c) not in ("Mn", "Me"))


@functools.lru_cache(maxsize=2048)
def _twin(char: str) -> str:
    """The Latin letter, digit or separator that `char` is confused with; itself where there is none."""
    if char.isascii():
        return char
    if char in lookalikes().letters:
        return lookalikes().letters[char]
    if unicodedata.category(char) == "Pd":
        return "-"
    digit = unicodedata.decimal(char, None)
    from confusable_homoglyphs import confusables

    found = [
        str(twin["c"])
        for entry in confusables.is_confusable(char, greedy=True, preferred_aliases=[]) or ()
        for twin in entry["homoglyphs"]
        if len(twin["c"]) == 1 and twin["c"].isascii() and (twin["c"].isalnum() or twin["c"] in "-._")
    ]
    # of several, the one of the same case: a small letter is not read for a capital one
    same = [c for c in found if c.islower() == (unicodedata.category(char) != "Lu")]
    return (same or found or ([str(digit)] if digit is not None else [char]))[0]


def hidden(name: str) -> tuple[str, ...]:
    """What `name` has that is not seen, each once: `U+200B zero width space`."""
    if name.isascii() and name.isprintable():
        return ()
    return tuple(dict.fromkeys(_spelled(c) for c in name if is_hidden(c) or unicodedata.category(c) in ("Mn", "Me")))


def _spelled(char: str) -> str:
    turns = ", which turns the direction of text" if char in _TURNS else ""
    return f"U+{ord(char):04X} {unicodedata.name(char, 'a character without a name').lower()}{turns}"


def odd(name: str) -> str:
    """What is wrong with the letters of `name`, whatever it resembles, as a clause; empty where nothing is.

    A name on the Hub has only Latin letters, digits, `-`, `_` and `.`; nothing honest has others.
    """
    if name.isascii() and name.isprintable():
        return ""
    unseen = hidden(name)
    if unseen:
        return f"characters that are not seen stand in it ({', '.join(unseen[:3])})"
    foreign = [c for c in name if not c.isascii()]
    if any(c.isascii() and c.isalpha() for c in name) or len({script(c) for c in foreign} - _SCRIPTLESS) > 1:
        return f"{_named(foreign[0])} stands among letters of another alphabet"
    return f"it has letters that no name on the Hub has: {_named(foreign[0])}"


@functools.lru_cache(maxsize=1024)
def script(char: str) -> str:
    """Unicode's script of a letter: `LATIN`, `CYRILLIC`, `COMMON`."""
    from confusable_homoglyphs import categories

    return str(categories.alias(char))


def _named(char: str) -> str:
    return f"“{char}” ({unicodedata.name(char, 'a letter without a name').capitalize()})"


def substitutions(owner: str, known: str) -> str:
    """`“I” stands for “l”`, for each piece in which two names that look alike differ."""
    pieces: list[str] = []
    owner = visible(owner)
    for seen, meant in _pieces(owner, known):
        if seen.lower() == meant.lower():
            continue
        strange = next((ch for ch in seen if not ch.isascii()), "")
        named = f" ({unicodedata.name(strange, 'a letter without a name').capitalize()})" if strange else ""
        pieces.append(f"“{seen}”{named} stands for “{meant}”")
    return ", ".join(dict.fromkeys(pieces[:4])) or "letters that are read for one another"


def backwards(owner: str, known: str) -> bool:
    """Whether a small `o` would stand for a capital `Q`: `owen` is a name of its own, and `Owen` is read for `Qwen`."""
    return "Q" in known and any((seen, meant) == ("o", "Q") for seen, meant in _pieces(visible(owner), known))


def _pieces(owner: str, known: str) -> Iterator[tuple[str, str]]:
    """What differs between two names, aligned; a two-letter look-alike is kept in one piece (`rn` for `m`)."""
    pairs = lookalikes().substitutions
    a = b = 0
    while a < len(owner) and b < len(known):
        if owner[a] == known[b]:
            a, b = a + 1, b + 1
            continue
        for seen, meant in pairs:
            if owner.startswith(seen, a) and known[b : b + len(meant)].lower() == meant:
                yield owner[a : a + len(seen)], known[b : b + len(meant)]
                a, b = a + len(seen), b + len(meant)
                break
            if known.startswith(seen, b) and owner[a : a + len(meant)].lower() == meant:
                yield owner[a : a + len(meant)], known[b : b + len(seen)]
                a, b = a + len(meant), b + len(seen)
                break
        else:
            if not owner[a].isascii() or loose(owner[a]) == loose(known[b]):
                yield owner[a], known[b]
                a, b = a + 1, b + 1
                continue
            matcher = SequenceMatcher(None, owner[a:], known[b:], autojunk=False)
            for kind, i, j, m, n in matcher.get_opcodes():
                if kind != "equal":
                    yield owner[a + i : a + j], known[b + m : b + n]
            return
    if a < len(owner) or b < len(known):
        yield owner[a:], known[b:]
