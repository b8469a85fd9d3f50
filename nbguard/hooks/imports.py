"""Do something right after a module has been imported, at once where it already is.

    hooks = PostImport()
    hooks.when_imported("torch.serialization", guard_torch)
    hooks.remove()

One meta-path finder that looks at the names it was told and at no others. Submodules behind lazy loaders are seen too.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from nbguard.hooks.walls import code_effects, scope

Callback = Callable[[ModuleType], None]


class PostImport(MetaPathFinder):
    """Calls back with a module as soon as its own code has run."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callback]] = {}
        self._below: dict[str, list[Callback]] = {}
        self._finding = threading.local()

    def when_imported(self, name: str, callback: Callback) -> None:
        """Call `callback(module)` now if `name` is imported, and whenever it is imported from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        self._callbacks.setdefault(name, []).append(callback)
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            callback(module)

    def when_imported_below(self, package: str, callback: Callback) -> None:
        """As `when_imported`, for `package` and every module below it, those of a lazy package included."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        self._below.setdefault(package, []).append(callback)
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == package and isinstance(module, ModuleType):
                spec = module.__dict__.get("__spec__")
                if not getattr(spec, "_initializing", False):
                    callback(module)

    def remove(self) -> None:
        """Forget every callback and leave the import system as it was."""
        self._callbacks.clear()
        self._below.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that calls back. None for any other name."""
        if not self._wanted(fullname) or fullname in getattr(self._finding, "names", ()):
            return None
        self._finding.names = {*getattr(self._finding, "names", ()), fullname}
        try:
            for finder in list(sys.meta_path):
                find = getattr(finder, "find_spec", None)
                if finder is self or find is None:
                    continue
                spec: ModuleSpec | None = find(fullname, path, target)
                if spec is not None:
                    if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                        spec.loader = _Notifying(spec.loader, lambda module: self._notify(fullname, module))
                    return spec
            return None
        finally:
            self._finding.names = self._finding.names - {fullname}

    def _wanted(self, name: str) -> bool:
        return name in self._callbacks or name.partition(".")[0] in self._below

    def _notify(self, name: str, module: ModuleType) -> None:
        """Guarding a library is nbguard's own work: the walls of a load that asked for the import do not hold it."""
        with scope.outside(), code_effects.outside():
            for callback in (*self._callbacks.get(name, ()), *self._below.get(name.partition(".")[0], ())):
                callback(module)


class _Notifying(Loader):
    """Loads as the loader it wraps, then puts that one back and calls."""

    def __init__(self, wrapped: Any, done: Callback) -> None:
        self._wrapped = wrapped
        self._done = done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._wrapped.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._wrapped
        module.__loader__ = self._wrapped
        self._wrapped.exec_module(module)
        self._done(module)
