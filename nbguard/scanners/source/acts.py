"""Acts: calls that do something to the world, when they happen, and how they are reached.

    table = effects()
    table.of("os.system")           # Effect(what="runs a command", …)

The table is data: `rules/tables/code.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from nbguard.report.model import Severity
from nbguard.scanners.tables import table

When = Literal["import", "construction", "function"]
ORDER: dict[str, int] = {"import": 0, "construction": 1, "function": 2}


@dataclass(frozen=True)
class Effect:
    """One kind of act."""

    key: str
    what: str
    """`runs a command`, as part of a sentence."""
    at_load: Severity
    """How bad it is while the module is imported or the model is built."""
    later: Severity
    """How bad it is in any other function."""
    handed_on: bool
    """As bad when the function is only handed to something that may call it."""


@dataclass(frozen=True)
class Act:
    """Something that the source does."""

    effect: Effect
    name: str
    """What is called: `os.system`."""
    line: int
    when: When
    chain: tuple[str, ...]
    """From the entry to the act: `import`, `setup() line 12`."""

    @property
    def severity(self) -> Severity:
        return self.effect.later if self.when == "function" else self.effect.at_load


@dataclass(frozen=True)
class Outside:
    """A call of something that a file beside this one defines."""

    name: str
    """With a dot for each folder up, as in the import: `.helper.setup`."""
    line: int
    when: When
    root: str
    """The module's own function that the call lies in, or empty where the module itself calls."""


class Effects:
    """Which names do what."""

    def __init__(self) -> None:
        data = table("code")
        self._exact: dict[str, Effect] = {}
        self._below: dict[str, Effect] = {}
        self.by_key: dict[str, Effect] = {}
        for entry in data["effect"]:
            effect = Effect(
                entry["key"],
                entry["what"],
                Severity[entry["at_load"].upper()],
                Severity[entry["later"].upper()],
                bool(entry.get("handed_on", False)),
            )
            self.by_key[effect.key] = effect
            for name in entry.get("names", "").split():
                self._exact[name] = effect
            for name in entry.get("below", "").split():
                self._below[name] = effect
        self.harmless = data["harmless"]["names"]
        self.guarded_modules = data["reach"]["modules"]
        """Modules that hold so much harm that reaching into them by a computed name is an act by itself."""
        self.same: dict[str, str] = dict(pair.split("=") for pair in data["same"]["names"])
        self._through: frozenset[str] = data["same"]["through"]
        self.secrets = tuple(sorted(data["secrets"]["paths"]))
        self.secret_variables = tuple(sorted(data["secrets"]["variables"]))

    def of(self, name: str) -> Effect | None:
        """The effect of calling this name; None where none is known."""
        name = self.canonical(name)
        if name in self._exact:
            return self._exact[name]
        if name in self.harmless:
            return None
        head = name
        while "." in head:
            head = head.rpartition(".")[0]
            if head in self.harmless:
                return None
            if head in self._below:
                return self._below[head]
        return None

    def canonical(self, name: str) -> str:
        """Another name for the same thing (`posix.system`, `_io.open`, `shutil.os.remove`) as the usual one."""
        parts = name.split(".")
        inner = next((i for i in range(len(parts) - 2, 0, -1) if parts[i] in self._through), 0)
        parts = parts[inner:]
        two = ".".join(parts[:2])
        if two in self.same:
            return ".".join((self.same[two], *parts[2:]))
        return ".".join((self.same.get(parts[0], parts[0]), *parts[1:]))


@lru_cache(maxsize=1)
def effects() -> Effects:
    return Effects()
