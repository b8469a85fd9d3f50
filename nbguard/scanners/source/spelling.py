"""Source that reads as something else than it is: characters that are not seen, turn a line round, or only look alike.

for line, what in oddities(source):
    ...
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
import unicodedata
from collections.abc import Iterator

_TURNING = frozenset("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u202c\u2069")
"""Bidirectional controls (Unicode 15, UAX 9; CVE-2021-42574): what is shown is not the order that is run."""
_UNSEEN = frozenset("\u200c\u200d\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0") | {
    chr(n) for n in range(0xFE00, 0xFE10)
}
"""Of those, what Python lets stand in names; in texts, where honest tokenizers have them, they hide nothing."""
_UTF8 = ("utf-8", "utf-8-sig", "ascii", "us-ascii", "latin-1", "iso-8859-1", "iso8859-1")
_WORD = re.compile(r"[\w\uFE00-\uFE0F\u034f\u200c\u200d]+")
MOST = 20


def oddities(source: bytes) -> Iterator[tuple[int, str]]:
    """(line, what is odd about it), at most `MOST` of them."""
    yield from itertools.islice(_all(source), MOST)


def _all(source: bytes) -> Iterator[tuple[int, str]]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return
    if encoding.lower().replace("_", "-") not in _UTF8:
        yield 1, f"is written in the encoding {encoding[:40]}, in which plain text can be code"
    if text.isascii():
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.isascii():
            continue
        if _TURNING & set(line):
            yield number, "holds characters that turn the order in which it is shown"
    yield from _names(text)


def _names(text: str) -> Iterator[tuple[int, str]]:
    """Names that Python takes for others (compatibility characters), or that mix scripts."""
    lines = (line for line in text.splitlines() if not line.isascii())
    if not any(not word.isascii() and _odd(word) for line in lines for word in _WORD.findall(line)):
        return
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return
    for token in tokens:
        if token.type == tokenize.NAME and not token.string.isascii() and (what := _odd(token.string)):
            yield token.start[0], what


def _odd(word: str) -> str:
    """What is odd about a name; empty for nothing."""
    if _UNSEEN & set(word):
        return "has a name with characters that are not seen"
    plain = unicodedata.normalize("NFKC", word)
    if plain != word and plain.isascii():
        return f"spells {plain[:40]} with characters that only look like it"
    return "has a name that mixes letters of several scripts" if len(scripts(word)) > 1 else ""


def scripts(word: str) -> set[str]:
    """The scripts of a word's letters, by the first word of their Unicode names."""
    return {unicodedata.name(c, "?").partition(" ")[0] for c in word if c.isalpha()}


def documentation(tree: ast.Module) -> bool:
    """Whether a module is nothing but text."""
    return all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in tree.body)
