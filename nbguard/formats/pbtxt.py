"""Protocol buffers as text, as far as their fields go: `config.pbtxt` of Triton.

    read(b'backend: "python" parameters { key: "a" value: { string_value: "b" } }')
    # [("backend", "python"), ("parameters.key", "a"), ("parameters.value.string_value", "b")]

Every field that holds text or a word, with the names of the messages around it. Nothing is known of the fields' types.
Source: the specification of the text format (protobuf.dev).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_BYTES = 4 << 20
MAX_DEPTH = 100
MAX_FIELDS = 100_000
_TOKEN = re.compile(
    r"(?P<space>\s+|#[^\n]*)"
    r"|(?P<string>\"(?:[^\"\\\n]|\\[^\n])*\"|'(?:[^'\\\n]|\\[^\n])*')"
    r"|(?P<word>[A-Za-z0-9_.+-]+)"
    r"|(?P<mark>[{}<>\[\]:,;/])"
)
_OPEN = {"{": "}", "<": ">"}


def read(data: bytes) -> list[tuple[str, str]]:
    """(names, value) of every field with a value, in order. Raises ValueError, one plain sentence, where it is no such
    text, or is nested deeper or holds more than any configuration does."""
    if len(data) > MAX_BYTES:
        raise ValueError("It is larger than any configuration.")
    text = data.decode("utf-8-sig")
    out: list[tuple[str, str]] = []
    frames: list[tuple[str, str]] = []  # (what closes it, its name; of a list, the name of its field)
    field = ""
    text_of: str | None = None
    for kind, token in _tokens(text):
        if kind == "string":
            if not field:
                raise ValueError("A text stands where a name is expected.")
            text_of = (text_of or "") + _plain(token)
            continue
        if text_of is not None:  # texts that follow each other are one
            out.append((_name(frames, field), text_of))
            text_of, field = None, _field_behind(frames)
        if kind == "word" and not field:
            field = token
        elif kind == "word":
            out.append((_name(frames, field), token))
            field = _field_behind(frames)
        elif token in _OPEN and field:
            frames.append((_OPEN[token], field))
            field = ""
        elif token == "[" and field:
            frames.append(("]", field))
        elif token in "}>]":
            if not frames or frames.pop()[0] != token:
                raise ValueError("Its brackets do not match.")
            field = _field_behind(frames)
        elif token not in ":,;":
            raise ValueError("A bracket stands where none is expected.")
        if len(out) > MAX_FIELDS or len(frames) > MAX_DEPTH:
            raise ValueError("It holds more than any configuration does.")
    if text_of is not None:
        out.append((_name(frames, field), text_of))
    if frames:
        raise ValueError("It ends in the middle.")
    return out


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError("It holds a character that fits nowhere.")
        at = match.end()
        if match.lastgroup != "space":
            yield str(match.lastgroup), match[0]


def _name(frames: list[tuple[str, str]], field: str) -> str:
    """The names of the messages around a field, and its own."""
    return ".".join((*(name for closing, name in frames if closing != "]"), field))


def _field_behind(frames: list[tuple[str, str]]) -> str:
    """The field that goes on behind a value: that of the list, if one is open."""
    return frames[-1][1] if frames and frames[-1][0] == "]" else ""


def _plain(token: str) -> str:
    try:
        return token[1:-1].encode("latin-1", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError:
        raise ValueError("A text has an escape that there is not.") from None


__all__ = ["read"]
