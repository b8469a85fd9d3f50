"""Names only: no data set is ever opened."""

from __future__ import annotations


def __getattr__(name: str) -> type:
    if name.startswith("_"):
        raise AttributeError(name)
    return type(name, (), {})
