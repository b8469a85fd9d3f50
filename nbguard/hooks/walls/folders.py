"""The wall for code in a folder that is put on `sys.path`: it runs only from the very bytes that were scanned.

    add(root, reach)               # modules below this folder are found here alone from now on
    module = module_at(path)       # one file of it, by its path

`torch.hub` puts the folder of a repository on `sys.path` and imports `hubconf.py`, which imports what lies beside it:
with a `__pycache__` that the interpreter prefers to the source, and native modules. Here a module below such a folder
is its source, read once, compared with the contracts that were accepted, and compiled (`walls/code.py`). What is in
none yet is handed to `reach`, which scans and decides on it, or raises. No `.pyc`, no native module and no archive is
taken.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FrozenImporter, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from nbguard.hooks.walls import code, code_effects, scope

Reach = Callable[[str, str], None]
"""Told the folder and the file's path in it; returns where the file is in an accepted contract now, else raises."""


Added = Callable[[str, Reach], Callable[[], None]]


def _make() -> tuple[Added, Callable[[str], tuple[str, Reach] | None], Callable[[], None]]:
    """The register of folders. It lives in a closure: no importable name leads to it."""
    roots: dict[str, Reach] = {}

    def add(root: str, reach: Reach) -> Callable[[], None]:
        """Returns what takes the folder out again, once nothing is imported from it any more."""
        place = os.path.realpath(root)
        roots[place] = reach
        forget = code_effects.repository_below(place)

        def remove() -> None:
            roots.pop(place, None)
            forget()

        return remove

    def of(path: str) -> tuple[str, Reach] | None:
        if not roots:
            return None
        place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        for name in {place, os.path.realpath(path)}:  # a link that leads out of the folder belongs to it too
            found = next(((r, roots[r]) for r in roots if name == r or name.startswith(r + os.sep)), None)
            if found is not None:
                return found
        return None

    return add, of, roots.clear


add, folder_of, _forget = _make()


def install(loaded: Callable[[ModuleType], None]) -> Callable[[], None]:
    """Put the finder in front of all others. Returns what undoes it."""
    finder = FolderFinder(loaded)
    sys.meta_path.insert(0, finder)

    def undo() -> None:
        _forget()
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    return undo


class FolderFinder(MetaPathFinder):
    """Finds what lies below a registered folder; every other module is left to the other finders."""

    def __init__(self, loaded: Callable[[ModuleType], None]) -> None:
        self.loaded = loaded

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        places = sys.path if path is None else path
        if not any(isinstance(p, str) and folder_of(p or os.curdir) for p in list(places)):
            return None
        with code_effects.outside(), scope.outside():
            return self._found(fullname, path)

    def _found(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        if path is None and (fullname in sys.builtin_module_names or FrozenImporter.find_spec(fullname) is not None):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None:
            return None
        if spec.origin is None:  # a folder without code of its own
            return spec if any(folder_of(p) for p in spec.submodule_search_locations or ()) else None
        if folder_of(spec.origin) is None:
            return None
        if type(spec.loader) is not SourceFileLoader:
            raise code.refuse(spec.origin, "", "it is no Python source, and only that was scanned")
        return verified(fullname, spec.origin, self.loaded, spec.submodule_search_locations)


def module_at(name: str, path: str, loaded: Callable[[ModuleType], None]) -> ModuleType:
    """The module that a file below a registered folder is, run from accepted bytes, under any name."""
    spec = verified(name, path, loaded, None)
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verified(name: str, path: str, loaded: Callable[[ModuleType], None], below: list[str] | None) -> ModuleSpec:
    """The spec of a module whose bytes are in an accepted contract. Raises what `reach` raises."""
    with code_effects.outside(), scope.outside():
        found = folder_of(path)
        if found is None:
            raise code.refuse(path, "", "it lies outside of the folder that was scanned")
        root, reach = found
        real = os.path.realpath(path)
        digest = _digest(path)
        if digest is not None and code.granted(digest) is None:
            if not real.startswith(root + os.sep):
                raise code.refuse(path, digest, "it is a link that leads out of the folder that was scanned")
            reach(root, os.path.relpath(real, root).replace(os.sep, "/"))
    spec = spec_from_file_location(
        name, path, loader=code.VerifiedLoader(path, loaded), submodule_search_locations=below
    )
    assert spec is not None
    return spec


def _digest(path: str) -> str | None:
    """Of the source; None where there is nothing in it that could run. The loader reads it again and compares."""
    with open(path, "rb") as file:
        source = file.read(code.MAX_SOURCE + 1)
    return hashlib.sha256(source).hexdigest() if source.strip() else None
