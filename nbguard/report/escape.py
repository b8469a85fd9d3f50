r"""The one place where text that came from a model is made harmless before it is shown.

    html("<img src=x onerror=alert(1)>")        # '&lt;img src=x onerror=alert(1)&gt;'
    terminal("model\x1b[2J\u202etxt")           # 'model\\x1b[2J\\u202etxt'

Names, strings and code out of a model are written by whoever made it. Markup in them must not run in a page, control
sequences must not drive a terminal, characters that turn or hide text must not make it read as something else, and no
string may be so long that it pushes the verdict off the screen.
"""

from __future__ import annotations

import html as _html
import unicodedata

LINE = 300
"""Characters of a one-line string that are shown."""

BLOCK = 2_000
"""Characters of a block (evidence, code) that are shown; findings bound theirs to the same."""

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that are drawn as nothing (Unicode's Default_Ignorable_Code_Point, and the empty Braille cell)."""

_MARKS_IN_A_ROW = 2
"""Combining marks on one letter that real text needs; more of them climb over the neighbouring lines."""


def is_hidden(char: str) -> bool:
    """Whether a reader does not see this letter, or sees a plain blank in its place."""
    category = unicodedata.category(char)
    if category in _HIDDEN_CATEGORIES or char in _BLANK:
        return True
    if category == "Zs":
        return char != " "
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _escaped(char: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    if short:
        return short
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def terminal(text: str, limit: int = LINE, *, block: bool = False) -> str:
    r"""`text` with everything that a terminal or a reader could be fooled by turned into a visible escape.

    Control characters, ANSI sequences, bidirectional and invisible characters, unassigned and private ones, lone
    surrogates (names that are not UTF-8) and every blank but the plain space become `\x1b`, `\u202e` and so on.
    With `block`, newlines and tabs stay. At most `limit` characters of `text` are shown, with a note of how many more
    there are; the result can be printed to any stream that takes its ordinary letters.
    """
    shown, left = text[:limit], len(text) - limit
    if shown.isascii() and shown.isprintable():
        out = shown
    else:
        pieces: list[str] = []
        marks = 0
        for char in shown:
            if block and char in "\n\t":
                pieces.append(char)
                continue
            if unicodedata.category(char) in ("Mn", "Me"):
                marks += 1
                if marks > _MARKS_IN_A_ROW:
                    pieces.append(_escaped(char))
                    continue
            else:
                marks = 0
            pieces.append(_escaped(char) if is_hidden(char) else char)
        out = "".join(pieces)
    return f"{out}… ({left:,} more characters)" if left > 0 else out


def html(text: str, limit: int = LINE, *, block: bool = False) -> str:
    """`text` for use between tags: as `terminal` shows it, with markup and mathematics switched off.

    Notebook pages typeset `$…$`, `\\(…\\)` and `\\begin` inside HTML outputs; each dollar and backslash is put into an
    element of its own, which their typesetters do not look across.
    """
    safe = attribute(text, limit, block=block)
    return safe.replace("\\", "<span>\\</span>").replace("$", "<span>$</span>")


def attribute(text: str, limit: int = LINE, *, block: bool = False) -> str:
    """`text` for use inside a quoted attribute."""
    return _html.escape(terminal(text, limit, block=block), quote=True)
