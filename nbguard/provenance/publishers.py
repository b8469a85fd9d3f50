"""Well-known publishers and the ways in which names are made to look alike: data, reviewed like code.

publishers()["meta-llama"].organisation      # "Meta"
publishers()["meta-llama"].claims("Llama-3.1-8B")      # True
lookalikes().affixes
"""

from __future__ import annotations

import fnmatch
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Publisher:
    """One namespace of the Hub that people know."""

    name: str
    """As it is written on the Hub."""
    organisation: str
    """Whose it is, for a person."""
    verified: bool
    """It is the namespace of the organisation it names; see the head of `publishers.toml`."""
    models: tuple[str, ...]
    """Patterns of its own models' names, with `*`; case does not count."""

    def claims(self, model: str) -> str:
        """The pattern under which `model` is one of this publisher's own; empty where it is none."""
        lowered = model.lower()
        return next((p for p in self.models if fnmatch.fnmatchcase(lowered, p.lower())), "")


@dataclass(frozen=True)
class Lookalikes:
    """What `lookalikes.toml` holds."""

    substitutions: tuple[tuple[str, str], ...]
    """What is read for what; the longer pieces come first."""
    letters: Mapping[str, str]
    """Letters of other alphabets → the ASCII that they are read for, beyond what the library of confusables knows."""
    affixes: frozenset[str]
    """What is put before or after a name to borrow its trust."""
    reuploads: frozenset[str]
    """What those add who upload models again, in another form."""
    claims: frozenset[str]
    """Those of the affixes that claim to be the publisher itself."""
    endings: tuple[str, ...]
    """What publishers have at the end of their names, and what is left out; the longer ones come first."""
    common: frozenset[str]
    """Names that are words or people's names as well."""
    plain: frozenset[str]
    keyboard: tuple[str, ...]
    moved: Mapping[str, str]


@functools.cache
def publishers() -> Mapping[str, Publisher]:
    """Namespace → publisher, in the order of the file."""
    found = {
        name: Publisher(name, entry["organisation"], entry["verified"], tuple(entry["models"]))
        for name, entry in _read("publishers.toml").items()
    }
    return MappingProxyType(found)


@functools.cache
def lookalikes() -> Lookalikes:
    """The ways in which names are made to look alike."""
    data = _read("lookalikes.toml")
    return Lookalikes(
        substitutions=tuple((seen, meant) for seen, meant in data["substitutions"]),
        letters=MappingProxyType(dict(data["letters"])),
        affixes=frozenset(data["affixes"]),
        reuploads=frozenset(data["reuploads"]),
        claims=frozenset(data["claims"]),
        endings=tuple(sorted(data["endings"], key=len, reverse=True)),
        common=frozenset(data["common"]),
        plain=frozenset(data["plain"]),
        keyboard=tuple(data["keyboard"]),
        moved=MappingProxyType(dict(data["moved"])),
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("nbguard.rules").joinpath(name).read_text("utf-8"))
