"""Which globals a model file may name, what may be done with them, and why: data, reviewed like code.

    rule = lookup("collections", "OrderedDict")      # Rule(level="data", verbs={"newobj", "reduce", ...}, ...)
    trap = gadget("os", "system")                    # Gadget(what="...", why="...", effects=("os.system",))

`globals/*.toml` list names one by one, never by prefix: what is not listed is not known. `gadgets.toml` holds what is
known to do harm; there, and only there, a whole module may be named. Each group carries the reason for its place.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))  # importlib.resources alone would take longer than all else here
LEVELS = frozenset({"data", "library"})
VERBS = frozenset({"named", "newobj", "reduce", "build", "mutated"})


@dataclass(frozen=True)
class Rule:
    """What a listed global may be used for."""

    level: str
    """`data`: only explained data comes of it. `library`: an object of a known library, to be looked at."""
    verbs: frozenset[str]
    """Of `named` (always), `newobj`, `reduce`, `build`, `mutated`."""
    check: str
    """Name of the argument check that has to pass, or empty."""
    free: bool
    """Harmless with any arguments and any state; may pass where no contract is in force."""
    reason: str
    weights_only: bool = False
    """torch's restricted machine (`weights_only=True`) knows it by itself."""
    library: str = ""
    """Whose it is, as a person would say it."""


@dataclass(frozen=True)
class Gadget:
    """A global that is known to do harm when a file may call it."""

    what: str
    """What it does, as the end of the sentence "Loading this would …"."""
    why: str
    effects: tuple[str, ...] = ()
    """Prefixes of the audit events that it raises."""


class _Book:
    """All rules, read once."""

    def __init__(self) -> None:
        self.rules: dict[tuple[str, str], Rule] = {}
        self.gadgets: dict[tuple[str, str], Gadget] = {}
        self.modules: dict[str, Gadget] = {}
        for name, text in _texts():
            document = tomllib.loads(text)
            if name == "gadgets.toml":
                self._add_gadgets(document)
            else:
                self._add_globals(name, document)

    def _add_globals(self, file: str, document: Mapping[str, Any]) -> None:
        library = str(document["library"])
        for group in document["group"]:
            rule = Rule(
                level=group["level"],
                verbs=frozenset(group.get("verbs", ())) | {"named"},
                check=group.get("check", ""),
                free=group.get("free", False),
                reason=group["reason"],
                weights_only=group.get("weights_only", False),
                library=library,
            )
            if rule.level not in LEVELS or not rule.verbs <= VERBS or not rule.reason.strip():
                raise ValueError(f"{file}: a group of {group.get('module')!r} has no valid level, verbs or reason")
            for module, name in _names(group):
                if (module, name) in self.rules:
                    raise ValueError(f"{file}: {module}.{name} is listed twice")
                self.rules[module, name] = rule

    def _add_gadgets(self, document: Mapping[str, Any]) -> None:
        for group in document["group"]:
            trap = Gadget(group["what"], group["why"], tuple(group.get("effects", ())))
            for module in group.get("modules", "").split():
                self.modules[module] = trap
            for dotted in group.get("names", "").split():
                module, _, name = dotted.partition(":")
                self.gadgets[module, name] = trap


def read(path: str) -> str:
    """The text of a file of rules, by its path below this folder. Raises FileNotFoundError."""
    with open(os.path.join(_HERE, path), encoding="utf-8") as file:
        return file.read()


def _texts() -> Iterator[tuple[str, str]]:
    for name in ("gadgets.toml", *sorted(f"globals/{n}" for n in os.listdir(os.path.join(_HERE, "globals")))):
        if name.endswith(".toml"):
            yield name.rpartition("/")[2], read(name)


def _names(group: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`names` under `module` and each of its other spellings in `also`; `listed` holds lines of `module: Name Name`."""
    spellings = [group["module"], *group.get("also", "").split()] if "module" in group else []
    for name in group.get("names", "").split():
        for module in spellings:
            yield module, name
    for line in group.get("listed", "").splitlines():
        module, _, names = line.partition(":")
        for name in names.split():
            yield module.strip(), name


@lru_cache(maxsize=1)
def _book() -> _Book:
    return _Book()


def lookup(module: str, name: str) -> Rule | None:
    """The rule for exactly this global, as Python 3 spells it or as an old version did; None where it is not listed."""
    return _book().rules.get((module, name))


def gadget(module: str, name: str) -> Gadget | None:
    """What is known about a harmful global: by its exact name, by any prefix of a dotted name, or by its module."""
    book = _book()
    head = name
    while head:
        trap = book.gadgets.get((module, head))
        if trap is not None:
            return trap
        head = head.rpartition(".")[0]
    package = module
    while package:
        trap = book.modules.get(package)
        if trap is not None:
            return trap
        package = package.rpartition(".")[0]
    return None


def listed() -> Mapping[tuple[str, str], Rule]:
    """All rules by (module, name)."""
    return dict(_book().rules)


def version() -> str:
    """Digest of all rule data: 16 hex digits. Raises ValueError where the data is broken."""
    _book()
    return _digest()


@lru_cache(maxsize=1)
def _digest() -> str:
    digest = hashlib.sha256()
    tables = sorted(f"tables/{name}" for name in os.listdir(os.path.join(_HERE, "tables")) if name.endswith(".toml"))
    for name, text in (*_texts(), *((table, read(table)) for table in tables)):
        digest.update(name.encode() + b"\0" + text.encode() + b"\0")
    return digest.hexdigest()[:16]


def __getattr__(name: str) -> Any:
    if name == "VERSION":  # for who only notes it down: without reading the rules themselves
        return _digest()
    raise AttributeError(name)
