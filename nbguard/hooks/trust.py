"""Which code belongs to the installation, and which to the person.

    is_installed("/usr/lib/python3.11/json/__init__.py")    # True
    origin("sklearn")                                       # "installed", "local" or "missing"; imports nothing

Installed is what lies, by its real path, under the standard library or a site-packages folder. Everything else is the
person's own: cells, scripts, modules beside the notebook. The same line decides whose load it is and whether a module
that a pickle names is the library it claims to be: a `sklearn.py` beside the notebook is not scikit-learn.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Literal

Origin = Literal["installed", "local", "missing"]


@functools.cache
def roots() -> tuple[str, ...]:
    """Real paths, each with a separator at its end, of everything that counts as installed."""
    paths = sysconfig.get_paths()
    found = {paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    found.add(os.path.dirname(os.__file__))
    return tuple(sorted(os.path.realpath(p) + os.sep for p in found))


@functools.lru_cache(maxsize=8192)
def is_installed(filename: str) -> bool:
    """Whether code with this `co_filename` comes from the installation; frozen modules do, typed-in code does not."""
    if filename.startswith("<frozen "):
        return True
    if filename.startswith("<"):
        return False
    return os.path.realpath(filename).startswith(roots())


def origin(module: str) -> Origin:
    """Where importing `module` would lead, without importing it; what is imported already is judged by its file.

    A module that only an unusual finder knows (an editable install, a zip) counts as missing until it is imported:
    nothing vouches for it.
    """
    top = module.partition(".")[0]
    found = {_loaded_origin(name) for name in (module, top) if name in sys.modules}
    if "local" in found:
        return "local"
    if found:
        return "installed"
    if top in sys.builtin_module_names:
        return "installed"
    try:
        spec = PathFinder.find_spec(top)
    except (ImportError, ValueError, UnicodeError, OSError):
        return "missing"
    if spec is None:
        return "missing"
    places = [spec.origin] if spec.origin and spec.has_location else list(spec.submodule_search_locations or ())
    return (
        "installed"
        if places and all(is_installed(os.path.join(p, "")) or is_installed(p) for p in places)
        else ("installed" if spec.origin == "frozen" else "local")
    )


def _loaded_origin(name: str) -> Origin:
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        return "local"
    if name == "__main__":
        return "local"
    spec = module.__spec__
    if spec is not None and spec.origin in ("built-in", "frozen"):
        return "installed"
    file = getattr(module, "__file__", None) or (spec.origin if spec is not None else None)
    if isinstance(file, str):
        return "installed" if is_installed(file) else "local"
    if name.partition(".")[0] in sys.stdlib_module_names or _is_part_of_installed(name):
        return "installed"
    paths = list(getattr(module, "__path__", ()))
    return "installed" if paths and all(is_installed(os.path.join(str(p), "")) for p in paths) else "local"


def _is_part_of_installed(name: str) -> bool:
    """A submodule made in C or at run time, without a file of its own (`torch._C._nn`), goes with its parent."""
    parent = name.rpartition(".")[0]
    return bool(parent) and parent in sys.modules and _loaded_origin(parent) == "installed"
