"""Bounded text for what a stream handed to a global. Nothing here runs, follows cycles or grows with its input.

call_text("os.system", ("true",), {})     # "os.system('true')"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbguard.formats.pickle_machine import Inert, InertType

MAX_TEXT = 2000
"""Characters of evidence, as `Finding.evidence` says."""
_PIECE = 300
_ITEMS = 8
_DEPTH = 4


def call_text(target: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    """`target(…)` with literal arguments."""
    return f"{target[:200]}({arguments_text(arguments, keywords)})"[:MAX_TEXT]


def arguments_text(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    """The literal arguments of a call, without the brackets."""
    pieces = [value_text(a) for a in arguments[:_ITEMS]]
    pieces += [f"{str(k)[:80]}={value_text(v)}" for k, v in list(keywords.items())[:_ITEMS]]
    left = max(len(arguments) - _ITEMS, 0) + max(len(keywords) - _ITEMS, 0)
    if left:
        pieces.append(f"… {left} more")
    return ", ".join(pieces)[:MAX_TEXT]


def value_text(value: Any, depth: int = 0) -> str:
    """`repr` of plain data, the dotted name of a global, `<name object>` of what one made; a few hundred characters."""
    if isinstance(value, InertType):
        return value._seen.dotted[:200]
    if isinstance(value, Inert):
        return f"<{value._seen.dotted[:200]} object>"
    if isinstance(value, str | bytes | bytearray):
        cut = value[:_PIECE]
        text = repr(bytes(cut) if isinstance(cut, bytearray) else cut)
        return text if len(value) <= _PIECE else f"{text[:_PIECE]}… ({len(value)} in all)"
    if isinstance(value, bool | float | complex | None):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() < 512 else f"<a whole number of {value.bit_length()} bits>"
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, dict):
        pairs = [
            f"{value_text(k, depth + 1)}: {value_text(v, depth + 1)}"
            for _, (k, v) in zip(range(_ITEMS), value.items(), strict=False)
        ]
        return "{" + ", ".join(pairs) + (", …" if len(value) > _ITEMS else "") + "}"
    if isinstance(value, list | tuple | set | frozenset):
        inside = ", ".join(value_text(v, depth + 1) for _, v in zip(range(_ITEMS), value, strict=False))
        inside += ", …" if len(value) > _ITEMS else ""
        if isinstance(value, tuple):
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        return f"[{inside}]" if isinstance(value, list) else "{" + inside + "}"
    return f"<{type(value).__name__}>"
