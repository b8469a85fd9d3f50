"""R's code as text, and which functions it calls. Nothing is evaluated.

text(node)                     # "system(\"id\")"
judged = functions(node)       # judged.harmful == ["system"], judged.unknown == ["f"], …
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nbguard.formats import r_items as r
from nbguard.formats.r_items import Node
from nbguard.scanners.tables import table

MAX_TEXT = 1_500
"""Characters of one piece of code in a report."""
MAX_DEPTH = 40
_MARKS = frozenset(
    ("+", "-", "*", "/", "^", ":", "==", "!=", "<", ">", "<=", ">=", "&", "&&", "|", "||", "~", "<-", "<<-", "=",
     "%in%", "%%", "%/%", "%*%", "$", "@", "::", ":::")
)  # fmt: skip


@dataclass
class Functions:
    """The functions that a piece of code calls, by what the rules say of them."""

    harmful: list[str] = field(default_factory=list)
    look: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    plain: int = 0
    code: bool = False
    """A function or byte code is within it."""


def functions(node: Node) -> Functions:
    """Everything that `node` calls, at any depth."""
    rules = table("r")
    out = Functions()
    seen: set[int] = set()
    pending = [node]
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        pending += part.items
        if part.type in (r.CLOSURE, r.BYTECODE, r.SPECIAL, r.BUILTIN):
            out.code = True
        if part.type in (r.SPECIAL, r.BUILTIN):
            _sort(part.text, out, rules)
        if part.type == r.BYTECODE:  # its machine calls what stands among its constants
            for constant in part.items:
                if constant.type == r.SYMBOL and constant.text in rules["harmful"]["names"]:
                    _once(out.harmful, constant.text)
        if part.type == r.CALL and part.items:
            _call(part, out, rules)
    return out


def _call(part: Node, out: Functions, rules: dict[str, dict[str, frozenset[str]]]) -> None:
    head, *arguments = part.items
    if head.type == r.SYMBOL and head.text == "function":
        out.code = True
    elif head.type == r.SYMBOL:
        _sort(head.text, out, rules)
    elif head.type == r.CALL and head.items and head.items[0].text in ("::", ":::") and len(head.items) > 2:
        name = _word(head.items[2])
        if name not in rules["harmful"]["names"]:
            _once(out.unknown, f"{_word(head.items[1])}::{name}")
    elif head.type == r.STRINGS:  # "system"("id") is a call of system
        _sort(_word(head), out, rules)
    else:
        _once(out.unknown, "(a function that is computed)")
    if head.type == r.SYMBOL and head.text in rules["harmful"]["callers"]:
        for argument in arguments:
            if (name := _word(argument)) in rules["harmful"]["names"]:
                _once(out.harmful, name)


def _sort(name: str, out: Functions, rules: dict[str, dict[str, frozenset[str]]]) -> None:
    if name in rules["harmful"]["names"]:
        _once(out.harmful, name)
    elif name in rules["look"]["names"]:
        _once(out.look, name)
    elif name in rules["plain"]["names"]:
        out.plain += 1
    else:
        _once(out.unknown, name)


def _once(names: list[str], name: str) -> None:
    if len(names) < 50 and name not in names:
        names.append(name)


def _word(node: Node) -> str:
    """The name that a symbol or a single text is."""
    if node.type == r.SYMBOL:
        return node.text
    return node.items[0].text if node.type == r.STRINGS and node.length == 1 and node.items else ""


def text(node: Node) -> str:
    """`node` roughly as R would print it, at most `MAX_TEXT` characters."""
    parts, size = [], 0
    for part in _pieces(node, 0):
        parts.append(part)
        size += len(part)
        if size > MAX_TEXT:
            return "".join(parts)[:MAX_TEXT] + " …"
    return "".join(parts)


def _pieces(node: Node, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield "…"
    elif node.type in (r.CALL, r.PAIRS, r.DOTS):
        yield from _printed_call(node, depth)
    elif node.type == r.CLOSURE:
        yield "function("
        yield from _row(node.items[0], depth)
        yield ") "
        yield from _pieces(node.items[1], depth + 1)
    elif node.type == r.PROMISE:
        yield from _pieces(node.items[1], depth + 1)
    elif node.type == r.BYTECODE:
        yield "<byte code> "
        if node.items:
            yield from _pieces(node.items[0], depth + 1)
    elif node.type == r.EXPRESSIONS:
        for part in node.items:
            yield from _pieces(part, depth + 1)
            yield "; "
    elif node.type == r.STRINGS:
        yield _many([f'"{part.text}"' for part in node.items], node.length)
    elif node.type in (r.INTEGER, r.REAL):
        yield _many([f"{v:g}" for v in node.values], node.length)
    elif node.type == r.LOGICAL:
        yield _many([{0: "FALSE", 1: "TRUE"}.get(int(v), "NA") for v in node.values], node.length)
    else:
        yield node.text or ("" if node.type == r.MISSING else "<value>")


def _many(shown: list[str], length: int) -> str:
    if length == 1:
        return shown[0]
    return f"c({', '.join(shown)}{', …' if length > len(shown) else ''})"


def _printed_call(node: Node, depth: int) -> Iterator[str]:
    if not node.items:
        yield "()"
        return
    head, *arguments = node.items
    name = head.text if head.type == r.SYMBOL else ""
    if name == "{":
        yield "{ "
        for part in arguments:
            yield from _pieces(part, depth + 1)
            yield "; "
        yield "}"
    elif name in _MARKS and len(arguments) == 2:
        yield from _pieces(arguments[0], depth + 1)
        yield name if name in ("::", ":::", "$", "@") else f" {name} "
        yield from _pieces(arguments[1], depth + 1)
    elif name == "function" and arguments:
        yield "function("
        yield from _row(arguments[0], depth)
        yield ") "
        if len(arguments) > 1:
            yield from _pieces(arguments[1], depth + 1)
    else:
        yield from _pieces(head, depth + 1)
        yield "("
        yield from _row(Node(r.PAIRS, items=arguments, names=node.names[1:]), depth)
        yield ")"


def _row(node: Node, depth: int) -> Iterator[str]:
    for number, (part, name) in enumerate(zip(node.items, node.names, strict=False)):
        if number:
            yield ", "
        if name:
            yield name if part.type == r.MISSING else f"{name} = "
        yield from _pieces(part, depth + 1)
