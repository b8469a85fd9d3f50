"""Lists that belong to one framework: what its configurations and graphs may name.

    table("keras")["classes"]           # {"Dense", "Conv2D", …}
    table("tensorflow")["files"]

A string that runs over lines is a list of words; it comes back as a set.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache(maxsize=8)
def table(name: str) -> dict[str, Any]:
    """The table `name`.toml, word lists as frozensets. Raises FileNotFoundError for a table that is not there."""
    return _sets(tomllib.loads((files(__package__) / f"{name}.toml").read_text("utf-8")))


def texts() -> list[tuple[str, str]]:
    """(name, text) of every table, for the digest over all rules."""
    there = (entry for entry in files(__package__).iterdir() if entry.name.endswith(".toml"))
    return [(f"tables/{entry.name}", entry.read_text("utf-8")) for entry in sorted(there, key=lambda e: e.name)]


def _sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v if k in ("reason", "why", "what", "title") else _sets(v) for k, v in value.items()}
    return frozenset(value.split()) if isinstance(value, str) else value
