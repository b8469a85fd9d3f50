"""The intercepted loaders, one module for each library.

    def guard(hooks: Hooks) -> None: ...        # each module has this one function; `TABLE` lists when it is called

A newcomer adds a module with `guard` and a line in `TABLE`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.hooks.installed import Installed

TABLE: tuple[tuple[str, str, str], ...] = (
    ("pickle", "pickle_", "guard"),
    ("torch.serialization", "torch_", "guard_load"),
    ("torch.jit._serialization", "torch_", "guard_script"),
    ("torch.package.package_importer", "torch_", "guard_package"),
    ("joblib.numpy_pickle", "joblib_", "guard"),
    ("numpy.lib._npyio_impl", "numpy_", "guard"),
    ("numpy.lib.npyio", "numpy_", "guard_old"),
    ("pandas.io.pickle", "pandas_", "guard"),
    ("dill._dill", "dill_", "guard"),
)
"""(module of the library, module here, function that guards it), called right after the library was imported."""


def guard_all(hooks: Installed) -> None:
    """Guard what is imported already, and the rest as soon as it is imported."""
    for library, here, function in TABLE:
        hooks.imports.when_imported(library, _later(here, function, hooks))
    from nbguard.hooks.loaders import transformers_

    hooks.on_undo(transformers_.install(hooks.imports))


def _later(here: str, function: str, hooks: Installed) -> Callable[[ModuleType], None]:
    def guard(module: ModuleType) -> None:
        getattr(importlib.import_module(f"{__name__}.{here}"), function)(hooks, module)

    return guard
