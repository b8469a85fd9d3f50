"""What compiled Python reaches for, told by its instructions: modules, functions, what lies beneath Python's objects.

    dialect = dialect_of(3495)                  # the version by the number that its files begin with
    for harm in harms(code, dialect): ...

Everything that byte code calls it has to look up by a name, so the names are followed: what is imported, under which
name it is kept, which attribute of it is taken. A module that is handed on whole (`getattr(os, x)`) counts as if
everything in it was used. Which names mean harm stands in `rules/tables/code.toml`, as for sources.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from nbguard.formats.marshal_code import Code, Dialect
from nbguard.scanners.source.acts import Effects, effects
from nbguard.scanners.tables import table

MAX_USES = 400_000
"""Names that are followed in one file."""
_MODULE = "<module>"
_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
_BUILTINS = frozenset(dir(builtins))
RESULT = "()"
"""What a call gives back, which may be a module: `importlib.import_module("os").system`."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Harm:
    """Something that it reaches for."""

    name: str
    """`os.system`."""
    what: str
    """`runs a command`."""
    where: str
    """The function it is in; `<module>` for what runs at once."""


@lru_cache(maxsize=16)
def dialect_of(number: int) -> Dialect | None:
    """The instructions of the version whose files begin with this number; None where they are not known here."""
    known = table("bytecode")
    for version, (_, last) in known["numbers"].items():
        names = known["instructions"].get(version)
        if number == last and names is not None:
            pairs = (pair.rpartition("=") for pair in names)
            return Dialect(int(version.partition(".")[2]), {int(code): name for name, _, code in pairs})
    return None


def version_of(number: int) -> str:
    """`3.11` for the number at the start of a file; empty where no version is known that wrote it."""
    numbers = table("bytecode")["numbers"]
    return next((v for v, (first, last) in numbers.items() if first <= number <= last), "")


def harms(code: Code, dialect: Dialect) -> list[Harm]:
    """What the code and everything in it reaches for that no model needs, each once.

    Raises:
        ValueError: it is longer than is followed.
    """
    table_of = effects()
    wanted = table("bytecode")["harm"]
    kept: dict[str, str] = {}
    found: dict[tuple[str, str], Harm] = {}
    count = 0
    for part in (code, *code.inner()):
        for name in _uses(part, dialect, kept):
            count += 1
            if count > MAX_USES:
                raise ValueError("The byte code is longer than what is followed")
            what = _means(name, table_of, wanted["effects"], wanted["attributes"])
            if what:
                found.setdefault((name, what), Harm(name.rstrip(".")[:120], what, part.name[:80]))
    return list(found.values())


def _means(name: str, known: Effects, keys: frozenset[str], attributes: frozenset[str]) -> str:
    parts = name.split(".")
    if parts[0] in _BUILTINS and parts[0] not in ("open", "input"):
        name = f"builtins.{name}"
    for end in range(len(name.split(".")), 0, -1):
        effect = known.of(".".join(name.split(".")[:end]))
        if effect is not None and effect.key in keys:
            return effect.what
    if known.canonical(name) in known.guarded_modules and name != "sys":
        return "hands a whole module on, so that nobody sees what of it is used"
    if name in ("builtins.__import__", "importlib.__import__"):
        return "imports by a name that is given as text"
    if parts[0] in ("?", RESULT) and any(p in attributes for p in parts[1:]):
        return "reaches for what starts programs or lies beneath Python's objects"
    if parts[:2] == [RESULT, "system"]:
        return "reaches for what starts programs or lies beneath Python's objects"
    return "reaches for what lies beneath Python's objects" if _beneath(parts, attributes) else ""


def _beneath(parts: list[str], attributes: frozenset[str]) -> bool:
    return any(p.startswith("__") and p in attributes for p in parts)


def _uses(code: Code, dialect: Dialect, shared: dict[str, str]) -> Iterator[str]:
    """Dotted names that the code takes, `?` for what cannot be told. `shared`: what the module's names stand for."""
    own: dict[str, str] = {}
    current = imported = ""
    for operation, argument in code.instructions(dialect):
        name = code.named(operation, argument, dialect)
        if operation == "IMPORT_NAME":
            if current:
                yield current
            current, imported = "", (name or "?").lstrip(".")
            yield imported + "."
        elif operation == "IMPORT_FROM":
            last = imported.rpartition(".")[2]
            current = imported if name == last else f"{imported}.{name}"
        elif operation in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            current = f"{current or '?'}.{name}"
        elif operation.startswith(("STORE_NAME", "STORE_GLOBAL", "STORE_FAST", "STORE_DEREF")) and name is not None:
            meant = current or imported.partition(".")[0]
            keep = shared if operation in ("STORE_NAME", "STORE_GLOBAL") else own
            if current:
                yield current
            if meant and meant != "?":
                keep[name] = meant
            else:
                keep.pop(name, None)
            current = imported = ""
        elif operation.startswith("LOAD_") and name is not None:
            if current:
                yield current
            known = own.get(name) or shared.get(name)
            current = known or (name if operation in _LOADS else "")
        elif operation in ("PUSH_NULL", "SWAP", "ROT_TWO", "POP_TOP") and (imported or operation == "PUSH_NULL"):
            continue
        else:
            if current:
                yield current
            current = RESULT if operation.startswith("CALL") else ""
    if current:
        yield current


def strangers(code: Code, source: str) -> list[str]:
    """Names in the code that the source, which it should be compiled from, nowhere has; empty where it fits."""
    words = set(_WORD.findall(source)) | table("bytecode")["harm"]["compiler"]
    found: list[str] = []
    for name in sorted(code.all_names()):
        pieces = name.split(".")
        plain = [p for p in pieces if p and p not in words and not _mangled(p, words)]
        if plain:
            found.append(name[:100])
    return found


def _mangled(name: str, words: set[str]) -> bool:
    """`_Class__name` stands for `__name` in a class."""
    head, mark, tail = name.partition("__")
    return bool(mark) and head.startswith("_") and f"__{tail}" in words
