"""The watched savers: what the person's own kernels write is recorded, so that it loads again without a question.

    watch_all(hooks)        # watch what is imported already, and the rest as soon as it is imported

A newcomer adds an entry to `declarations`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from nbguard.hooks.savers.declarations import SAVERS
from nbguard.hooks.savers.entry import FAMILIES, Family, Saver

if TYPE_CHECKING:
    from nbguard.hooks.installed import Installed

_OWN = (("pickle", "watch"), ("shelve", "watch_shelf"))
"""Modules that need more than an entry, and the function of `pickle_` that watches each."""


def watch_all(hooks: Installed) -> None:
    """Watch what is imported already, and the rest as soon as it is imported."""
    from nbguard.hooks.savers import memory

    memory.open_()
    hooks.on_undo(memory.close)
    for library, function in _OWN:
        hooks.imports.when_imported(library, _watching(function, hooks))
    by_module: dict[str, list[Saver]] = {}
    for saver in SAVERS:
        by_module.setdefault(saver.module, []).append(saver)
    for library, savers in by_module.items():
        hooks.imports.when_imported(library, _later(savers, hooks))


def _watching(function: str, hooks: Installed) -> Callable[[ModuleType], None]:
    def watch(module: ModuleType) -> None:
        getattr(importlib.import_module(f"{__name__}.pickle_"), function)(hooks, module)

    return watch


def _later(savers: list[Saver], hooks: Installed) -> Callable[[ModuleType], None]:
    def watch(module: ModuleType) -> None:
        from nbguard.hooks.savers.engine import watch as watch_these

        watch_these(hooks, module, savers)

    return watch


__all__ = ["FAMILIES", "SAVERS", "Family", "Saver", "watch_all"]
