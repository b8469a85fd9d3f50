"""Jinja templates taken into tokens, as Jinja's own lexer does with its default marks. Nothing is compiled.

    for tag in tags("{% for m in messages %}{{ m['content'] }}{% endfor %}"):
        tag.statement, tag.tokens

`parts` gives the text between them as well, in order.

Source: `jinja2/lexer.py`; a test compares the tokens with those of the installed library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_LINES = re.compile(r"\r\n|\r")
_BEGIN = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*-?%\}")
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<number>0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+"
    r"|(?<!\.)\d(?:_?\d)*(?:\.\d(?:_?\d)*)?(?:[eE][+-]?\d(?:_?\d)*)?|\d(?:_?\d)*)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<operator>//|\*\*|==|!=|>=|<=|[-+/*%~\[\](){}><=.:|,;])",
    re.S,
)
_CLOSE = {"}": "{", ")": "(", "]": "["}


class TemplateError(ValueError):
    """No template: Jinja would refuse it. The message is one plain sentence."""


class Token(NamedTuple):
    kind: str
    """`name`, `string`, `number` or `operator`."""
    text: str
    """As written; of strings, what they stand for."""


@dataclass(frozen=True)
class Tag:
    """One `{{ … }}` or `{% … %}`."""

    statement: bool
    tokens: tuple[Token, ...]
    line: int
    """Counted from 1."""


@dataclass(frozen=True)
class Text:
    """What stands between the tags."""

    text: str
    line: int
    """Of its first character, counted from 1."""
    comment: bool = False
    """It is no part of the prompt."""


def tags(source: str) -> Iterator[Tag]:
    """Every expression and statement of the template, in order; text, comments and raw blocks are passed over.

    Raises:
        TemplateError: a tag, a comment, a bracket or a raw block is not closed, or a character fits nowhere.
    """
    return (part for part in parts(source) if isinstance(part, Tag))


def parts(source: str) -> Iterator[Tag | Text]:
    """The tags and what stands between them, in order. Raises TemplateError as `tags` does."""
    source = _LINES.sub("\n", source)
    at, line, counted = 0, 1, 0
    while begin := _BEGIN.search(source, at):
        if begin.start() > at:
            line, counted = line + source.count("\n", counted, at), at
            yield Text(source[at : begin.start()], line)
        line, counted = line + source.count("\n", counted, begin.start()), begin.start()
        if begin[0] == "{#":
            close = source.find("#}", begin.end())
            if close < 0:
                raise TemplateError(f"A comment in line {line} of the template does not end.")
            at = close + 2
            yield Text(source[begin.end() : close], line, comment=True)
        elif raw := _RAW.match(source, begin.start()):
            end = _END_RAW.search(source, raw.end())
            if end is None:
                raise TemplateError(f"A raw block in line {line} of the template does not end.")
            at = end.end()
            yield Text(source[raw.end() : end.start()], line)
        else:
            statement = begin[0] == "{%"
            tokens, at = _inside(source, begin.end(), "%}" if statement else "}}", line)
            yield Tag(statement, tokens, line)
    if at < len(source):
        yield Text(source[at:], line + source.count("\n", counted, at))


def _inside(source: str, at: int, end: str, line: int) -> tuple[tuple[Token, ...], int]:
    """The tokens up to `end`, which counts only where no bracket is open."""
    if source[at : at + 1] in ("-", "+") and source[at + 1 : at + 2]:
        at += 1
    tokens: list[Token] = []
    opened: list[str] = []
    while True:
        if not opened:
            for mark in (end, f"-{end}", *((f"+{end}",) if end == "%}" else ())):
                if source.startswith(mark, at):
                    return tuple(tokens), at + len(mark)
        match = _TOKEN.match(source, at)
        if match is None:
            raise TemplateError(f"Line {line} of the template does not end, or holds a character that fits nowhere.")
        at = match.end()
        kind = str(match.lastgroup)
        if kind == "space":
            continue
        text = match[0]
        if kind == "operator" and text in "{([":
            opened.append(text)
        elif kind == "operator" and text in _CLOSE and (not opened or opened.pop() != _CLOSE[text]):
            raise TemplateError(f"The brackets in line {line} of the template do not match.")
        tokens.append(Token(kind, _plain(text) if kind == "string" else text))


def _plain(text: str) -> str:
    """What a string stands for: escapes as in Python."""
    try:
        return text[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError as error:
        raise TemplateError("A string in the template has an escape that there is not.") from error


__all__ = ["Tag", "TemplateError", "Text", "Token", "parts", "tags"]
