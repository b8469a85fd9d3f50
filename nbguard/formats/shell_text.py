"""A shell script as its pipelines: enough of the language to see which command's output is handed to which.

    for line in pipelines('curl https://x | base64 -d | sh'):
        line.commands       # (("curl", "https://x"), ("base64", "-d"), ("sh",))

Quotes, comments, here-documents, line continuations and substitutions are followed; nothing is expanded or run. The
source is POSIX's Shell Command Language (2.2 quoting, 2.6 expansions, 2.7.4 here-documents).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE = 64 * 1024
"""Characters of one logical line that are taken apart; what is longer is cut."""
MAX_DEPTH = 8
"""Substitutions within substitutions."""
_HERE = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")


@dataclass(frozen=True)
class Pipeline:
    """Commands whose output goes into the next one."""

    line: int
    """Number of the line it starts on, from 1."""
    text: str
    commands: tuple[tuple[str, ...], ...]
    """The words of each, without quotes."""
    inner: tuple[str, ...]
    """The text of every substitution (`$(…)`, backticks, `<(…)`) in it."""


def logical_lines(source: str) -> Iterator[tuple[int, str]]:
    """(number, text) of each line, continued ones joined, comments and the bodies of here-documents left out.

    The body of a here-document that an interpreter gets is code of its own and is given as lines like all others.
    """
    lines = source.splitlines()
    at = 0
    while at < len(lines):
        start, text = at, lines[at]
        while text.endswith("\\") and not text.endswith("\\\\") and at + 1 < len(lines) and len(text) < MAX_LINE:
            at += 1
            text = text[:-1] + lines[at]
        at += 1
        here = _HERE.search(text)
        if here and not re.match(r"\s*(?:\S*/)?(?:sudo\s+)?(?:ba|z|da|k)?sh\b", text):
            while at < len(lines) and lines[at].strip() != here[2]:
                at += 1
            at += 1
        if text.strip() and not text.lstrip().startswith("#"):
            yield start + 1, text[:MAX_LINE]


def pipelines(source: str, *, depth: int = 0) -> Iterator[Pipeline]:
    """Every pipeline of the script, those within substitutions after the one that holds them."""
    for number, text in logical_lines(source):
        for part in _split(text, (";", "&&", "||", "&", "\n")):
            commands = tuple(tuple(_words(command)) for command in _split(part, ("|&", "|")))
            commands = tuple(c for c in commands if c)
            if not commands:
                continue
            inner = tuple(_substitutions(part))
            yield Pipeline(number, part.strip()[:2_000], commands, inner)
            if depth < MAX_DEPTH:
                for held in inner:
                    for found in pipelines(held, depth=depth + 1):
                        yield Pipeline(number, found.text, found.commands, found.inner)


def _split(text: str, marks: tuple[str, ...]) -> Iterator[str]:
    """The pieces between any of `marks`, as far as these stand outside quotes, brackets and substitutions."""
    quote, level, start, at = "", 0, 0, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char == "(":
            level += 1
        elif char == ")":
            level = max(0, level - 1)
        elif char == "#" and not level and (at == 0 or text[at - 1].isspace()):
            break
        elif not level:
            mark = next((m for m in marks if text.startswith(m, at)), None)
            redirect = mark == "&" and (text[at - 1 : at] in (">", "<", "|") or text[at + 1 : at + 2] == ">")
            if mark is not None and not redirect and not (mark == "|" and text.startswith("||", at)):
                yield text[start:at]
                at += len(mark)
                start = at
                continue
            if mark is not None and text.startswith("||", at):
                at += 2
                continue
        at += 1
    yield text[start:at]


def _words(command: str) -> Iterator[str]:
    """Words without their quotes; assignments before the command and the shell's own words are left out."""
    word, quote, at, any_ = [], "", 0, False
    level = 0
    words: list[str] = []
    while at <= len(command):
        char = command[at] if at < len(command) else " "
        if char == "\\" and quote != "'" and at + 1 < len(command):
            word.append(command[at + 1])
            at += 2
            any_ = True
            continue
        if quote:
            if char == quote:
                quote = ""
            else:
                word.append(char)
        elif char in "'\"":
            quote, any_ = char, True
        elif char in "({":
            level += 1
            if word:
                word.append(char)
        elif char in ")}":
            level -= 1
            if word:
                word.append(char)
        elif char.isspace() and (level <= 0 or not word or word[0] != "$"):
            if word or any_:
                words.append("".join(word))
            word, any_ = [], False
        else:
            word.append(char)
        at += 1
    while words and (re.match(r"[A-Za-z_]\w*=", words[0]) or words[0] in ("if", "while", "until", "!", "{", "(")):
        words.pop(0)
    yield from words


def _substitutions(text: str) -> Iterator[str]:
    """What stands in `$(…)`, `<(…)`, `>(…)` and backticks, outermost ones only."""
    at = 0
    single = False
    while at < len(text):
        char = text[at]
        if char == "\\" and not single:
            at += 2
            continue
        if char == "'":
            single = not single
        elif not single and char == "`":
            end = text.find("`", at + 1)
            if end < 0:
                return
            yield text[at + 1 : end]
            at = end
        elif not single and char in "$<>" and text[at + 1 : at + 2] == "(":
            end = _closing(text, at + 1)
            yield text[at + 2 : end]
            at = end
        at += 1


def _closing(text: str, at: int) -> int:
    level = 0
    for place in range(at, len(text)):
        level += text[place] == "("
        level -= text[place] == ")"
        if level == 0:
            return place
    return len(text)
