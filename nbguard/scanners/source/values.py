"""What an expression may stand for.

Ref("os.system")            # something of another module, by its own name
Const("sys" + "tem")        # a value that the source gives away
Func(node, scope)           # a function of the files that are followed

An expression has a small set of them; where it could be anything, `UNKNOWN`, which carries how it came about (`MARKS`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nbguard.scanners.source.acts import effects

MOST_VALUES = 12
"""Values that one name may have at once; what is beyond is unknown."""
MOST_MEANINGS = 128
"""Functions and classes, and harmful things of other modules, among them; no honest name of 6,000 files has so many."""
MOST_CHARACTERS = 1 << 20
"""Of a text or bytes that are put together while reading."""

DECODED = "decoded"
"""Went through a decoder or decompressor, or was put together from numbers or pieces."""
FETCHED = "fetched"
"""Came over a network."""
MODULE_NAME = "__name__"
"""What `__name__` is taken to be."""
GIVEN = "given"
"""A parameter: whoever calls decides."""


class TooMuchError(ValueError):
    """More than is followed; the code is then unverifiable."""


@dataclass(frozen=True)
class Const:
    """A literal, or what was computed of literals."""

    value: Any
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ref:
    """Something outside of the files that are followed. `open()` is what calling `open` gives, `open().write` an
    attribute of that, `x[]` an element of `x`, and `?` a module whose name nobody can tell."""

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
    changes: int = 0
    """How often a name of it came to stand for something new of another module."""
    everywhere: set[str] = field(default_factory=set)
    """Those declared `global`."""
    file: str = ""
    """Of a module: its path."""
    stars: list[str] = field(default_factory=list)
    """Of a module: other modules that it takes all names of."""

    @property
    def module(self) -> Scope:
        """The module that it lies in."""
        scope: Scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def put(self, name: str, values: set[Value]) -> bool:
        """Add what a name may stand for; whether that was new."""
        scope: Scope = self
        while name in scope.outer and scope.parent is not None:
            scope = scope.module if name in scope.everywhere else scope.parent
            if scope.kind != "module" and name not in scope.names and name not in scope.outer:
                scope = _holder(scope, name)
        held = scope.names.setdefault(name, set())
        before = len(held)
        held |= values
        if len(held) != before and any(isinstance(v, Ref) for v in values):
            scope.changes += 1
        if len(held) > MOST_VALUES:
            scope.names[name] = _kept(held, name)
        return len(scope.names[name]) != before

    def get(self, name: str) -> set[Value] | None:
        scope: Scope | None = self
        first = True
        while scope is not None:
            if (scope.kind != "class" or first) and name in scope.names:
                return scope.names[name]
            scope, first = scope.parent, False
        return None


def _kept(held: set[Value], name: str) -> set[Value]:
    """Of many things that a name may stand for, those that could do something."""
    kept = {v for v in held if isinstance(v, Ref | Func | Class | Namespace | Instance)}
    if len(kept) > MOST_MEANINGS:
        known = effects()
        kept = {v for v in kept if not isinstance(v, Ref) or known.of(v.name) or known.module(v.name)}
    if len(kept) > MOST_MEANINGS:
        raise TooMuchError(f"the name {name[:40]!r} has more meanings than are followed")
    return {*kept, UNKNOWN}


def _holder(scope: Scope, name: str) -> Scope:
    """The function around this one that has the name; the scope itself where none has."""
    around: Scope | None = scope
    while around is not None and around.kind != "module":
        if name in around.names:
            return around
        around = around.parent
    return scope


@dataclass(frozen=True, eq=False)
class Namespace:
    """One of the files that are followed, as a module, or as the dictionary of its names (`globals()`)."""

    scope: Scope
    as_dictionary: bool = False

    def __hash__(self) -> int:
        return hash((id(self.scope), self.as_dictionary))

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Namespace) and self.scope is other.scope
        return same and isinstance(other, Namespace) and self.as_dictionary == other.as_dictionary


@dataclass(frozen=True, eq=False)
class Func:
    """A function or lambda of these files, as an object: with the variables around it, and what it is bound to."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    label: str
    bound: Class | None = None

    def __hash__(self) -> int:
        return hash((id(self.node), id(self.scope), id(self.bound)))

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Func) and self.node is other.node and self.bound is other.bound
        return same and isinstance(other, Func) and self.scope is other.scope


@dataclass(frozen=True, eq=False)
class Class:
    """A class of these files; its instances share its attributes here."""

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
    """An object of a class of these files."""

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


Value = Const | Ref | Unknown | Func | Class | Instance | Items | Table | Namespace
Values = set[Value]
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


def within(values: Iterable[Value], most: int = 256) -> Iterator[Value]:
    """The values, and what lists and dictionaries among them hold, at most `most` of them."""
    pending = list(values)
    while pending and most > 0:
        most -= 1
        value = pending.pop()
        yield value
        if isinstance(value, Items):
            pending += [v for part in value.values[:most] for v in part]
        elif isinstance(value, Table):
            pending += [v for _, held in value.by_key[:most] for v in held]
