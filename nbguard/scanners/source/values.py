"""What an expression may stand for.

Ref("os.system")            # something of another module, by its own name
Const("sys" + "tem")        # a value that the source gives away
Func(node, scope)           # a function of this module

An expression has a small set of them; where it could be anything, `UNKNOWN`, which carries how it came about (`MARKS`).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES = 12
"""Values that one name may have at once; what is beyond is unknown."""
MOST_CHARACTERS = 1 << 20
"""Of a text or bytes that are put together while reading."""

DECODED = "decoded"
"""Went through a decoder or decompressor, or was put together from numbers or pieces."""
FETCHED = "fetched"
"""Came over a network."""
GIVEN = "given"
"""A parameter: whoever calls decides."""


@dataclass(frozen=True)
class Const:
    """A literal, or what was computed of literals."""

    value: Any
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ref:
    """Something outside of this module. `open()` is what calling `open` gives, `open().write` an attribute of that."""

    name: str


@dataclass(frozen=True)
class Unknown:
    """Anything."""

    marks: frozenset[str] = frozenset()


@dataclass(eq=False)
class Scope:
    """The names of a module, function or class, and where to look on."""

    kind: str
    label: str
    parent: Scope | None = None
    names: dict[str, set[Value]] = field(default_factory=dict)
    outer: set[str] = field(default_factory=set)
    """Names declared `global` or `nonlocal`."""

    def put(self, name: str, values: set[Value]) -> bool:
        """Add what a name may stand for; whether that was new."""
        scope: Scope = self
        while name in scope.outer and scope.parent is not None:
            scope = scope.parent
        held = scope.names.setdefault(name, set())
        before = len(held)
        held |= values
        if len(held) > MOST_VALUES:
            kept = {v for v in held if isinstance(v, Ref | Func | Class)}
            scope.names[name] = {*list(kept)[:MOST_VALUES], UNKNOWN}
        return len(scope.names[name]) != before

    def get(self, name: str) -> set[Value] | None:
        scope: Scope | None = self
        first = True
        while scope is not None:
            if (scope.kind != "class" or first) and name in scope.names:
                return scope.names[name]
            scope, first = scope.parent, False
        return None


@dataclass(frozen=True, eq=False)
class Func:
    """A function or lambda of this module, as an object: with the instance that it is bound to."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    label: str
    bound: Class | None = None

    def __hash__(self) -> int:
        return hash((id(self.node), id(self.bound)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Func) and self.node is other.node and self.bound is other.bound


@dataclass(frozen=True, eq=False)
class Class:
    """A class of this module; its instances share its attributes here."""

    node: ast.ClassDef
    scope: Scope
    label: str
    bases: tuple[Value, ...] = ()

    def __hash__(self) -> int:
        return id(self.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Class) and self.node is other.node


@dataclass(frozen=True)
class Instance:
    """An object of a class of this module."""

    of: Class


@dataclass(frozen=True)
class Items:
    """A list, tuple or set, with what its places may hold."""

    values: tuple[frozenset[Value], ...]


@dataclass(frozen=True)
class Table:
    """A dictionary: by constant keys, and everything that it may hold under any key."""

    by_key: tuple[tuple[Any, frozenset[Value]], ...]

    def get(self, key: Any) -> frozenset[Value]:
        found = [values for k, values in self.by_key if k == key and type(k) is type(key)]
        return found[-1] if found else frozenset()

    def all(self) -> set[Value]:
        return {v for _, values in self.by_key for v in values}


Value = Const | Ref | Unknown | Func | Class | Instance | Items | Table
UNKNOWN = Unknown()


def marks_of(values: set[Value] | frozenset[Value]) -> frozenset[str]:
    """How any of these came about."""
    out: set[str] = set()
    for value in values:
        if isinstance(value, Const | Unknown):
            out |= value.marks
        elif isinstance(value, Items):
            out |= {m for part in value.values for m in marks_of(part)}
    return frozenset(out)


def constants(values: set[Value] | frozenset[Value], kind: type | tuple[type, ...]) -> list[Any]:
    """The constants of this type among them."""
    return [v.value for v in values if isinstance(v, Const) and isinstance(v.value, kind)]
