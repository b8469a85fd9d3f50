"""The call that was stopped, as the person wrote it, with an argument more.

    call = written("from_pretrained")          # model = AutoModel.from_pretrained(repo)
    call.with_arguments({"revision": "1f3a…"})   # 'model = AutoModel.from_pretrained(repo, revision="1f3a…")'

Read from the source of the person's own frame (a cell, a script), at the place of the very call that is running. Where
that cannot be told, there is none, and a line is put together from what the loader was given.
"""

from __future__ import annotations

import ast
import json
import linecache
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from nbguard.hooks import caller

MOST_SOURCE = 2_000_000
"""Characters of a cell or script that are looked through."""
LONGEST = 600
"""Characters of a statement that are taken over whole; of a longer one, only the call is."""


@dataclass(frozen=True)
class Written:
    """One call in its statement."""

    source: str
    """Of the whole cell or script."""
    call: ast.Call
    statement: ast.stmt | None
    """The assignment or expression that the call is in; None where only the call can be taken over."""

    @property
    def assigned(self) -> str:
        """`model = `, where the statement only gives the call's result a name."""
        match self.statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if value is self.call:
                return f"{name} = "
        return ""

    def with_arguments(self, arguments: Mapping[str, Any]) -> str:
        """The statement, or the call alone, with these keywords added or put in the place of those that are there."""
        text = self.source
        lines = _starts(text)
        edits: list[tuple[int, int, str]] = []
        added: list[str] = []
        for name, value in arguments.items():
            there = next((k for k in self.call.keywords if k.arg == name), None)
            if there is not None:
                edits.append((*_span(there.value, lines, text), literal(value)))
            else:
                added.append(f"{name}={literal(value)}")
        begin, end = _span(self.call, lines, text)
        if added:
            inside = text[begin : end - 1].rstrip()
            comma = "" if inside.endswith(("(", ",")) else ", "
            comma = " " if inside.endswith(",") else comma
            edits.append((begin + len(inside), end - 1, comma + ", ".join(added)))
        if self.statement is not None:
            first, last = _span(self.statement, lines, text)
            if last - first <= LONGEST:
                begin, end = first, last
        out = text[begin:end]
        for start, stop, new in sorted(edits, reverse=True):
            out = out[: start - begin] + new + out[stop - begin :]
        head, newline, rest = out.partition("\n")
        return head + newline + textwrap.dedent(rest)


def written(function: str) -> Written | None:
    """The call of `function` (the last part of its name) that the person's innermost frame is in now."""
    frame = caller.person_frame()
    if frame is None:
        return None
    place = _place(frame.f_code, frame.f_lasti)
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    if place is None or not source or len(source) > MOST_SOURCE:
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # a magic, or a file that changed since it was run
    return _at(tree, source, place, function)


def line(loader: str, source: str, arguments: Mapping[str, Any], *, keyword: str = "") -> str:
    """A call put together: `AutoModel.from_pretrained("org/name", revision="…")`."""
    first = f"{keyword}={literal(source)}" if keyword else literal(source)
    return f"{loader}({', '.join([first, *(f'{name}={literal(value)}' for name, value in arguments.items())])})"


def literal(value: Any) -> str:
    """A value as Python source in ASCII, so that no letter in it can be read for another one."""
    if isinstance(value, str):
        # JSON's escapes are Python's too, but for characters beyond the basic plane, which JSON writes as two.
        return json.dumps(value) if all(ord(char) < 0x10000 for char in value) else ascii(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    return ascii(value)


def _place(code: CodeType, last: int) -> tuple[int, int, int, int] | None:
    """(first line, last line, first column, last column) of the call that runs; columns in bytes of UTF-8."""
    for number, positions in enumerate(code.co_positions()):
        if number == last // 2:
            first, final, begin, end = positions
            if first is None or final is None or begin is None or end is None:
                return None
            return first, final, begin, end
    return None


def _at(tree: ast.Module, source: str, place: tuple[int, int, int, int], function: str) -> Written | None:
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.stmt):
            continue
        for node in ast.walk(statement):
            if not isinstance(node, ast.Call):
                continue
            if (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset) != place:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name != function:
                return None
            return Written(source, node, _innermost(statement, node))
    return None


def _innermost(statement: ast.stmt, call: ast.Call) -> ast.stmt | None:
    """The simple statement that holds the call."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) and any(n is call for n in ast.walk(node)):
            return node
    return None


def _starts(text: str) -> list[int]:
    """Where each line starts, in characters; lines as Python's tokenizer counts them."""
    starts = [0]
    for row in text.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    return starts


def _span(node: ast.expr | ast.stmt, starts: list[int], text: str) -> tuple[int, int]:
    """Where the node is, in characters; its columns are in bytes of UTF-8."""

    def at(line: int, column: int) -> int:
        row = text[starts[line - 1] : starts[line]]
        return starts[line - 1] + len(row.encode("utf-8")[:column].decode("utf-8", "ignore"))

    return at(node.lineno, node.col_offset), at(node.end_lineno or node.lineno, node.end_col_offset or 0)
