"""Protocol buffers as text, as far as their fields go: `config.pbtxt` of Triton.

    read(b'backend: "python" parameters { key: "a" value: { string_value: "b" } }')
    # [("backend", "python"), ("parameters.key", "a"), ("parameters.value.string_value", "b")]

Every field that holds text or a word, with the names of the messages around it. Nothing is known of the fields' types.
Source: the specification of the text format (protobuf.dev).
"""

from __future__ import annotations

import re

MAX_BYTES = 4 << 20
MAX_DEPTH = 100
MAX_FIELDS = 100_000
_TOKEN = re.compile(
    r"(?P<space>\s+|#[^\n]*)"
    r"|(?P<string>\"(?:[^\"\\\n]|\\[^\n])*\"|'(?:[^'\\\n]|\\[^\n])*')"
    r"|(?P<word>-?[A-Za-z0-9_.+-]+|\[[A-Za-z0-9_./-]+\](?=\s*[:{<]))"
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
    names: list[str] = []
    closing: list[str] = []
    field, listed, at = "", 0, 0
    value: str | None = None
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError("It holds a character that fits nowhere.")
        at = match.end()
        kind, token = str(match.lastgroup), match[0]
        if kind == "space":
            continue
        if kind == "string":
            if not field:
                raise ValueError("A text stands where a name is expected.")
            value = (value or "") + _plain(token)
            continue
        if value is not None:
            out.append((".".join((*names, field)), value))
            field, value = (field, None) if listed else ("", None)
        if len(out) > MAX_FIELDS:
            raise ValueError("It holds more than any configuration does.")
        if kind == "word" and not field:
            field = token
        elif kind == "word":
            out.append((".".join((*names, field)), token))
            field = field if listed else ""
        elif token in _OPEN and field:
            names.append(field)
            closing.append(_OPEN[token])
            field = ""
            if len(names) > MAX_DEPTH:
                raise ValueError("It is nested too deeply.")
        elif token in "}>":
            if not closing or closing.pop() != token:
                raise ValueError("Its brackets do not match.")
            last = names.pop()
            field = last if listed and len(names) < listed else ""
        elif token == "[" and field and not listed:
            listed = len(names) + 1
        elif token == "]" and listed == len(names) + 1:
            listed, field = 0, ""
        elif token not in ":,;":
            raise ValueError("A bracket stands where none is expected.")
    if value is not None:
        out.append((".".join((*names, field)), value))
    if closing or listed:
        raise ValueError("It ends in the middle.")
    return out


def _plain(token: str) -> str:
    try:
        return token[1:-1].encode("latin-1", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError:
        raise ValueError("A text has an escape that there is not.") from None


__all__ = ["read"]
