"""Acts: calls that do something to the world, when they happen, and how they are reached.

    table = effects()
    table.of("os.system")           # Effect(what="runs a command", …)

The table is data: `rules/tables/code.toml`.
"""

from __future__ import annotations

import sys
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
    in_use: Severity
    """How bad it is in what runs whenever a model is used: its `forward`, a tokenizer's `__call__`."""


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
    file: str = ""
    """Where the call stands."""
    in_use: bool = False
    """Whether it is what a model does whenever it is used: its `forward`, a tokenizer's `__call__`."""
    entry: tuple[str, int] = ("", 0)
    """The file, and the line in it, where the way to the call begins."""

    @property
    def severity(self) -> Severity:
        if self.when != "function":
            return self.effect.at_load
        return self.effect.in_use if self.in_use else self.effect.later


class Effects:
    """Which names do what."""

    def __init__(self) -> None:
        data = table("code")
        self._exact: dict[str, Effect] = {}
        self._below: dict[str, Effect] = {}
        self.by_key: dict[str, Effect] = {}
        for entry in data["effect"]:
            at_load, later = Severity[entry["at_load"].upper()], Severity[entry["later"].upper()]
            effect = Effect(
                entry["key"],
                entry["what"],
                at_load,
                later,
                bool(entry.get("handed_on", False)),
                Severity[entry["in_use"].upper()] if "in_use" in entry else max(later, min(at_load, Severity.HIGH)),
            )
            self.by_key[effect.key] = effect
            for name in entry.get("names", "").split():
                self._exact[name] = effect
            for name in entry.get("below", "").split():
                self._below[name] = effect
        self.harmless: frozenset[str] = data["harmless"]["names"]
        self.guarded_modules: frozenset[str] = data["reach"]["modules"]
        """Modules that hold so much harm that reaching into them by a computed name is an act by itself."""
        self.same: dict[str, str] = dict(pair.split("=") for pair in data["same"]["names"])
        self._through: frozenset[str] = data["same"]["through"]
        self.secrets = tuple(sorted(data["paths"]["secret"]))
        self.startup = tuple(sorted(data["paths"]["startup"]))
        self.secret_variables: frozenset[str] = data["variables"]["secret"]
        self.steering_variables: frozenset[str] = data["variables"]["steering"]
        self.methods = {name: key for key, names in data["methods"].items() for name in names}
        """Names of methods that tell what they do, whatever object they are called on: effect's key by name."""
        self.evaluating: frozenset[str] = data["texts"]["methods"]
        self.arguments = {word: key for key, words in data["arguments"].items() for word in words}
        """`weights_only=False`: effect's key."""
        self.fetching = tuple(sorted(data["addresses"]["verbs"]))
        self.writing = tuple(sorted(data["addresses"]["writers"]))
        self.telling = frozenset(word.partition("=")[0] for word in self.arguments)
        self.acting_imports: frozenset[str] = data["imports"]["acting"]
        self.replaced: frozenset[str] = data["replaced"]["names"]
        self.modules: frozenset[str] = data["replaced"]["modules"] | frozenset(sys.stdlib_module_names)

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

    def held(self, name: str) -> Effect | None:
        """The effect of a function that is taken hold of without being called: classes are no functions here."""
        if name.endswith(("()", "[]")):
            return None
        effect = self.of(name)
        if effect is None or not effect.handed_on or effect.key == "native":
            return None
        last = self.canonical(name).rpartition(".")[2]
        return effect if last[:1].islower() or last.startswith("_") else None

    def module(self, name: str) -> str | None:
        """The guarded module that a name stands for (`shutil.os` is `os`), None where it is something else."""
        usual = self.canonical(f"{name}.x")[:-2]
        return usual if usual in self.guarded_modules else None

    def called_on_anything(self, method: str) -> Effect | None:
        """What a method of this name does, whatever it is called on."""
        key = self.methods.get(method)
        return self.by_key[key] if key else None

    def replacing(self, name: str) -> bool:
        """Whether putting something else in the place of this name changes how Python or a loader works."""
        if "()" in name or "[]" in name:  # something that a function gave, or an element
            return False
        while True:
            if name in self.replaced:
                return True
            if "." not in name:
                return False
            name = name.rpartition(".")[0]

    @lru_cache(maxsize=4096)  # noqa: B019 - there is one table, for as long as the process lives
    def canonical(self, name: str) -> str:
        """Another name for the same thing (`posix.system`, `_io.open`, `random._os.remove`) as the usual one."""
        parts = name.split(".")
        inner = next((i for i in range(len(parts) - 2, 0, -1) if parts[i].strip("_") in self._through), 0)
        parts = parts[inner:]
        if inner:
            parts[0] = parts[0].strip("_")
        for length in (3, 2, 1):
            head = ".".join(parts[:length])
            if len(parts) >= length and head in self.same:
                return ".".join((self.same[head], *parts[length:]))
        return ".".join(parts)


@lru_cache(maxsize=1)
def effects() -> Effects:
    return Effects()
