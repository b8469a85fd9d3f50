"""The intercepted loaders: one declarative entry each, in the modules of `declarations`.

    table()                 # every entry, for documents, for finding loads in a notebook
    guard_all(hooks)        # guard what is imported already, and the rest as soon as it is imported

A newcomer adds an entry to a module of `declarations`, or a module there. What an entry cannot say is a function
`guard(hooks, module)` in a module here, which the entry names.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from nbguard.hooks.loaders import declarations
from nbguard.hooks.loaders.entry import Loader

if TYPE_CHECKING:
    from nbguard.hooks.installed import Installed


@cache
def table() -> tuple[Loader, ...]:
    """Every entry, in the order of the modules' names; imports none of the libraries."""
    names = sorted(m.name for m in pkgutil.iter_modules(declarations.__path__))
    modules = [importlib.import_module(f"{declarations.__name__}.{name}") for name in names]
    return tuple(loader for module in modules for loader in module.LOADERS)


def guard_all(hooks: Installed) -> None:
    """Guard what is imported already, and the rest as soon as it is imported."""
    by_module: dict[str, list[Loader]] = {}
    for loader in table():
        if loader.module:
            by_module.setdefault(loader.module, []).append(loader)
    for library, loaders in by_module.items():
        hooks.imports.when_imported(library, _later(loaders, hooks))
    from nbguard.hooks.loaders import transformers_

    hooks.on_undo(transformers_.install(hooks.imports))


def _later(loaders: list[Loader], hooks: Installed) -> Callable[[ModuleType], None]:
    def guard(module: ModuleType) -> None:
        for place in dict.fromkeys(loader.guard for loader in loaders if loader.guard):
            here, _, function = place.partition(":")
            getattr(importlib.import_module(f"{__name__}.{here}"), function)(hooks, module)
        if declared := [loader for loader in loaders if not loader.guard]:
            from nbguard.hooks.loaders.declared import guard_module

            guard_module(hooks, module, declared)

    return guard


__all__ = ["Loader", "guard_all", "table"]
