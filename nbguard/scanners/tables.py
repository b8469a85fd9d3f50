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
    found: dict[str, Any] = _sets(
        tomllib.loads((files("nbguard.rules") / "tables" / f"{name}.toml").read_text("utf-8"))
    )
    return found


def _sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v if k in ("reason", "why", "what", "title") else _sets(v) for k, v in value.items()}
    return frozenset(value.split()) if isinstance(value, str) else value
