"""The wall for source code: what a repository brings along runs only from the very bytes that were scanned.

    undo = install(loaded)
    accept(grant)                                   # its contract's code may run from now on
    get_class_in_module(original, "Model", path)    # reads once, compares the digest, compiles those bytes

transformers and diffusers copy remote code into a modules cache and import it from there: a second copy, which anybody
who can write to the home directory can change, with a `__pycache__` beside it that the interpreter prefers to the
source. So modules below `ROOTS` are found by this finder alone, read once, compared with the contracts of grants,
compiled from those bytes, and executed under the wall for effects. No `.pyc`, no native module is taken from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.errors import ContractViolation
from nbguard.hooks import grants
from nbguard.hooks.walls import code_effects

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant

ROOTS = {
    "transformers_modules": ("transformers.utils.hub", "transformers.dynamic_module_utils"),
    "diffusers_modules": ("diffusers.utils.constants", "diffusers.utils.dynamic_modules_utils"),
}
"""Package in the modules cache → the library's modules that say where that lies, and what a file imports beside it."""
MAX_SOURCE = 16 << 20
"""Bytes of one source file."""
_importing = threading.RLock()


def _make() -> tuple[
    Callable[[Grant], None],
    Callable[[str], Grant | None],
    Callable[[str, Grant], None],
    Callable[[str], Grant | None],
    Callable[[], None],
]:
    """The register of accepted code. It lives in a closure: no importable name leads to it."""
    accepted: dict[str, Grant] = {}
    modules: dict[str, Grant] = {}

    def accept(grant: Grant) -> None:
        """Let the code of an accepted contract run until the kernel ends: modules are imported at any later time."""
        accepted.update({file.sha256: grant for file in grant.contract.code})

    def granted(sha256: str) -> Grant | None:
        """The grant whose contract holds source with this digest."""
        return accepted.get(sha256) or next(iter(grants.by_code(sha256)), None)

    def forget() -> None:
        accepted.clear()
        modules.clear()

    return accept, granted, modules.__setitem__, modules.get, forget


accept, granted, _ran_under, grant_of, _forget = _make()


def install(loaded: Callable[[ModuleType], None]) -> Callable[[], None]:
    """Put the finder in front of all others. Returns what undoes it.

    Args:
        loaded: called with every module that has run.
    """
    finder = Finder(loaded)
    sys.meta_path.insert(0, finder)
    quiet_threads = code_effects.announce_threads()

    def undo() -> None:
        _forget()
        quiet_threads()
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    return undo


def get_class_in_module(
    original: Callable[..., Any], class_name: str, module_path: str | os.PathLike[str], *, force_reload: bool = False
) -> Any:
    """In place of transformers' function of this name: the class, from a module whose bytes are in a contract."""
    return getattr(module_at(module_path, force_reload=force_reload), class_name)


def module_at(module_path: str | os.PathLike[str], *, force_reload: bool = False) -> ModuleType:
    """The module at a path in the modules cache, run from bytes that are in a contract; run anew where these differ."""
    path = os.path.normpath(os.fspath(module_path))
    name = path.removesuffix(".py").replace(os.path.sep, ".")
    if name.partition(".")[0] not in ROOTS:
        raise refuse(path, "", "it lies outside of the modules cache")
    with _importing:
        if force_reload:
            sys.modules.pop(name, None)
        module = sys.modules.get(name)
        now = _digest_with_relatives(name, os.path.join(_cache(name), path))
        if module is None or getattr(module, "__transformers_module_hash__", "") != now:
            _execute(name, module)
            sys.modules[name].__dict__["__transformers_module_hash__"] = now
        return sys.modules[name]


def _execute(name: str, there: ModuleType | None) -> None:
    finder = next((f for f in sys.meta_path if isinstance(f, Finder)), None)
    spec = (finder or Finder(lambda module: None)).find_spec(name, None)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = there if there is not None else module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as the import system does: its own relative imports may lead back
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if there is None:
            sys.modules.pop(name, None)
        raise


class Finder(MetaPathFinder):
    """Finds every module below `ROOTS`, and lets no other finder find one."""

    def __init__(self, loaded: Callable[[ModuleType], None]) -> None:
        self._loaded = loaded

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ROOTS:
            return None
        place = os.path.join(_cache(fullname), *fullname.split("."))
        start = os.path.join(place, "__init__.py")
        if os.path.isfile(start):
            return spec_from_file_location(
                fullname, start, loader=VerifiedLoader(start, self._loaded), submodule_search_locations=[place]
            )
        if os.path.isfile(f"{place}.py"):
            file = f"{place}.py"
            return spec_from_file_location(fullname, file, loader=VerifiedLoader(file, self._loaded))
        if os.path.isdir(place):
            spec = ModuleSpec(fullname, VerifiedLoader(None, self._loaded), is_package=True)
            spec.submodule_search_locations = [place]
            return spec
        raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


class VerifiedLoader(Loader):
    """Compiles a module from bytes that were read once and found in a contract."""

    def __init__(self, path: str | None, loaded: Callable[[ModuleType], None]) -> None:
        self.path = path
        self._loaded = loaded
        self._source: bytes | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self.path is None:
            return
        with code_effects.outside():  # a relative import of code that is itself being imported comes through here too
            source = self._source = _read(self.path)
            if not source.strip():
                return  # the empty `__init__.py` that transformers puts into its folders: nothing to run
            digest = hashlib.sha256(source).hexdigest()
            grant = granted(digest)
            if grant is None:
                _stop(self.path, digest, "its content is in no contract that was accepted")
            else:
                _ran_under(module.__name__, grant)
            # A function made of the module's code runs as the module does, and its call raises no audit event of its
            # own: inside the wall every `exec` is then one that the code itself asked for.
            run = FunctionType(compile(source, self.path, "exec", dont_inherit=True), module.__dict__)
        with code_effects.importing(grant) if grant is not None and grant.enforced else contextlib.nullcontext():
            run()
        with code_effects.outside():
            self._loaded(module)

    def get_source(self, fullname: str) -> str | None:
        """For tracebacks and `inspect`: the source that was run, not what the file holds now."""
        return None if self._source is None else self._source.decode("utf-8", "replace")


def _stop(path: str, digest: str, why: str) -> None:
    """Refuse, or only note it where the site observes and stops nothing."""
    from nbguard import settings
    from nbguard.hooks import walk

    if settings.load().mode == "enforce":
        raise refuse(path, digest, why)
    walk.note("code.not_stopped", path=ascii(path)[1:-1], sha256=digest, why=why)


def refuse(path: str, digest: str, why: str) -> ContractViolation:
    """The refusal, final for the request that is on, and in the audit log."""
    from nbguard.hooks import walk

    shown = ascii(path)[1:-1]
    violation = ContractViolation(
        f"nbguard stopped code before it ran: {shown} (sha256 {digest or 'not read'}): {why}. "
        "Delete the file, so that it is copied again from the repository, and load once more."
    )
    walk.note("code.refused", path=shown, sha256=digest, why=why)
    grants.refuse(violation)
    return violation


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_SOURCE + 1)
    if len(data) > MAX_SOURCE:
        raise refuse(path, "", f"it is larger than {MAX_SOURCE >> 20} MiB")
    return data


def _cache(name: str) -> str:
    """Where the library of a module below `ROOTS` keeps copies of remote code."""
    return str(importlib.import_module(ROOTS[name.partition(".")[0]][0]).HF_MODULES_CACHE)


def _digest_with_relatives(name: str, path: str) -> str:
    """Over the file and what it imports from beside it, as transformers does, to see whether it must be run again."""
    library = importlib.import_module(ROOTS[name.partition(".")[0]][1])
    files = [path, *sorted(library.get_relative_import_files(path))]
    return hashlib.sha256(b"".join(os.fsencode(f) + _read(os.fspath(f)) for f in files)).hexdigest()
