"""Lists that belong to one framework: what its configurations and graphs may name.

    table("keras")["classes"]           # {"Dense", "Conv2D", …}
    table("tensorflow")["files"]

A string that runs over lines is a list of words; it comes back as a set.

    of_python("telnetlib.Telnet")       # True, whichever version this is
"""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from typing import Any

from nbguard import rules


@cache
def table(name: str) -> dict[str, Any]:
    """The table `name`.toml, word lists as frozensets. Raises FileNotFoundError for a table that is not there."""
    found: dict[str, Any] = _sets(tomllib.loads(rules.read(f"tables/{name}.toml")))
    return found


def of_python(module: str) -> bool:
    """Whether the module belongs to the standard library, of this Python or of another version of it."""
    root = module.partition(".")[0]
    return root in sys.stdlib_module_names or root in table("python")["modules"]["others"]


def _sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v if k in ("reason", "why", "what", "title") else _sets(v) for k, v in value.items()}
    return frozenset(value.split()) if isinstance(value, str) else value
