"""Pickle programs out of small expressions, spelled in every way that the pickle machine understands.

    payload = Call(Name("os", "system"), ("touch marker",))
    spelled(payload, Spelling(protocol=2, manner="inst"))       # a whole program, STOP included
    names(payload)                                              # {("os", "system")}

An honest pickler writes one spelling; an attacker may write any. All payloads that are made with this are harmless.
"""

from __future__ import annotations

import copyreg
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MANNERS = ("plain", "global", "inst", "obj", "newobj", "newobj_ex", "memo", "framed", "extension", "popped")
"""How calls and names are written. Those that a class alone allows raise for functions, as they would in an attack."""


@dataclass(frozen=True)
class Name:
    """A global."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A call of what an expression gives."""

    function: Any
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Make:
    """An instance by `__new__` alone."""

    cls: Any
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class State:
    """What an expression gives, after BUILD with a state."""

    subject: Any
    state: Any


@dataclass(frozen=True)
class Pair:
    """The second of two expressions; the first is run, and its result thrown away."""

    first: Any
    second: Any


@dataclass(frozen=True)
class Spelling:
    """One way to write a program."""

    protocol: int = 4
    manner: str = "plain"


def names(payload: Any) -> set[tuple[str, str]]:
    """(module, name) of every global in an expression."""
    if isinstance(payload, Name):
        return {(payload.module, payload.name)}
    return {found for part in _parts(payload) for found in names(part)}


def _parts(payload: Any) -> Iterator[Any]:
    match payload:
        case Call(head, arguments) | Make(head, arguments):
            yield head
            yield from arguments
        case State(first, second) | Pair(first, second):
            yield from (first, second)
        case list() | tuple() | set():
            yield from payload
        case dict():
            yield from itertools.chain(payload, payload.values())


def spelled(payload: Any, spelling: Spelling) -> bytes:
    """The whole program."""
    body = _Writer(spelling).write(payload)
    if spelling.manner == "framed":
        body = b"\x95" + struct.pack("<Q", len(body) + 1) + body
    header = b"" if spelling.protocol < 2 else b"\x80" + bytes([spelling.protocol])
    return header + body + b"."


class _Writer:
    def __init__(self, spelling: Spelling) -> None:
        self._protocol = spelling.protocol
        self._manner = spelling.manner
        self._memo = itertools.count(1)

    def write(self, value: Any) -> bytes:
        """The opcodes that leave `value` on the stack."""
        match value:
            case Name():
                done = self._name(value)
            case Call(function, arguments):
                done = self._call(function, arguments)
            case Make(cls, arguments):
                done = self.write(cls) + self._tuple(arguments) + b"\x81"
            case State(subject, state):
                done = self.write(subject) + self.write(state) + b"b"
            case Pair(first, second):
                done = self.write(first) + b"0" + self.write(second)
            case _:
                return self._data(value)
        if self._manner == "memo":
            index = next(self._memo)
            done += b"r" + struct.pack("<I", index) + b"0" + b"j" + struct.pack("<I", index)
        return done

    def _name(self, value: Name) -> bytes:
        if self._manner == "extension":
            code = _extension(value)
            return b"\x84" + struct.pack("<i", code)
        if self._protocol >= 4 and self._manner != "global":
            return self._text(value.module) + self._text(value.name) + b"\x93"
        return f"c{value.module}\n{value.name}\n".encode()

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> bytes:
        parts = b"".join(self.write(a) for a in arguments)
        match self._manner:
            case "inst" if isinstance(function, Name):
                return b"(" + parts + f"i{function.module}\n{function.name}\n".encode()
            case "obj":
                return b"(" + self.write(function) + parts + b"o"
            case "newobj":
                return self.write(function) + self._tuple(arguments) + b"\x81"
            case "newobj_ex":
                return self.write(function) + self._tuple(arguments) + b"}\x92"
            case "popped":
                return self.write(function) + self._tuple(arguments) + b"R2" + b"0"
        return self.write(function) + self._tuple(arguments) + b"R"

    def _tuple(self, values: tuple[Any, ...]) -> bytes:
        return b"(" + b"".join(self.write(v) for v in values) + b"t"

    def _text(self, value: str) -> bytes:
        if self._protocol == 0:
            escaped = value.replace("\\", "\\u005c").replace("\n", "\\u000a").replace("\r", "\\u000d")
            return b"V" + escaped.encode("raw-unicode-escape") + b"\n"
        data = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(data)) + data

    def _data(self, value: Any) -> bytes:
        match value:
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return f"L{value}L\n".encode() if self._protocol == 0 else b"J" + struct.pack("<i", value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return self._text(value)
            case bytes():
                return b"B" + struct.pack("<I", len(value)) + value
            case tuple():
                return self._tuple(value)
            case list():
                return b"](" + b"".join(self.write(v) for v in value) + b"e"
            case dict():
                return b"}(" + b"".join(self.write(k) + self.write(v) for k, v in value.items()) + b"u"
        raise TypeError(f"no opcodes for {type(value).__name__}")


_codes = itertools.count(0x4000)


def _extension(value: Name) -> int:
    """The extension code of a name, registered as a careless process might have done."""
    registry: dict[tuple[str, str], int] = copyreg._extension_registry  # type: ignore[attr-defined]  # private by name
    key = (value.module, value.name)
    if key not in registry:
        copyreg.add_extension(value.module, value.name, next(_codes))
    return registry[key]
