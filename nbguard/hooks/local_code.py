"""The person's own modules in a contract: which ones, and what code stood in them.

    report = with_local_modules(report)     # report.contract.local_modules == {"__main__": "sha256…"}

A pickle that names `utils.Model` means whatever `utils` holds where it is loaded. The digest of that code is part of
the contract, and so of an approval: with other code behind the same name the question is asked again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
import types
from collections.abc import Iterable
from importlib.machinery import PathFinder

from nbguard import rules
from nbguard.hooks import trust
from nbguard.report.model import Finding, Report, Severity, Verdict

MOST_SOURCE = 16 << 20
"""Bytes of one source file that are hashed; a module beyond that gets no digest and is not let in."""


def with_local_modules(report: Report) -> Report:
    """The report with the digests of those modules that are the person's own, and at least *review* for them.

    A module of the person's that has the name of a library which the rules know is a danger: `sklearn.py` beside the
    notebook is not scikit-learn. It gets no digest, so that no answer lets it in.
    """
    names: dict[str, set[str]] = {}
    for use in report.contract.globals:
        for module in {use.module, *(raw for raw, _ in use.raw)}:
            if trust.origin(module) == "local":
                names.setdefault(module, set()).add(use.name)
    if not names:
        return report
    shadowing = {m for m in names if m.partition(".")[0] in _library_names()}
    digests = {m: d for m, used in names.items() if m not in shadowing and (d := digest(m, used)) is not None}
    contract = dataclasses.replace(report.contract, local_modules={**report.contract.local_modules, **digests})
    at_least = Verdict.DANGER if shadowing else Verdict.REVIEW
    loaded = {p.file for p in report.contract.programs}
    return dataclasses.replace(
        report,
        contract=contract,
        findings=(*(_shadow(report, m) for m in sorted(shadowing)), *report.findings),
        files=tuple(
            dataclasses.replace(f, verdict=max(f.verdict, at_least))
            if f.path in loaded or len(report.files) == 1
            else f
            for f in report.files
        ),
    )


@functools.cache
def _library_names() -> frozenset[str]:
    """Top-level modules of the standard library, and of the libraries that the rules know. `__main__` is nobody's."""
    listed = {module.partition(".")[0] for module, _ in rules.listed()}
    return frozenset({*listed, *sys.stdlib_module_names} - {"__main__"})


def _shadow(report: Report, module: str) -> Finding:
    shown = module[:100]
    return Finding(
        "pickle.shadowed-module",
        Severity.CRITICAL,
        next((p.file for p in report.contract.programs), ""),
        "",
        f"It needs the library {shown}, and here that name leads to a file of your own.",
        meaning="Importing it would run that file instead of the library.",
        remedy=f"Rename or remove the file {shown.partition('.')[0]}.py, or the folder of that name, and load again.",
    )


def digest(module: str, names: Iterable[str]) -> str | None:
    """SHA-256 of the code behind `names` in the person's own `module`; None where none can be told.

    A module with a file is its source and what is loaded of it; `__main__` is the code of the classes and functions
    that are named, without line numbers and file names, so that running a cell again changes nothing.
    """
    if module == "nbguard" or module.startswith("nbguard."):
        return None
    found = hashlib.sha256(module.encode("utf-8", "surrogatepass"))
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None) if module != "__main__" else None
    if loaded is None:
        spec = PathFinder.find_spec(module) if "." not in module else None
        file = spec.origin if spec is not None and spec.has_location else None
        if file is None:
            return None
    if isinstance(file, str):
        try:
            with open(file, "rb") as source:
                text = source.read(MOST_SOURCE + 1)
        except OSError:
            return None
        if len(text) > MOST_SOURCE:
            return None
        found.update(b"\0source\0" + text)
    if loaded is not None:
        for name in sorted(set(names)):
            value = resolve(loaded, name)
            if value is None:
                return None
            found.update(b"\0" + name.encode("utf-8", "surrogatepass") + b"\0")
            _add(found, value, set())
    return found.hexdigest()


def resolve(module: types.ModuleType, name: str) -> type | types.FunctionType | None:
    """The class or function of this very module behind a name, dots only through its own classes; None for all else.

    What a module merely imported (`from os import system`) is not its own, and neither is what hangs on a function.
    """
    value: object = module
    for part in name.split("."):
        space = vars(value) if isinstance(value, types.ModuleType | type) else {}
        value = space.get(part)
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if not isinstance(value, type | types.FunctionType) or value.__module__ != module.__name__:
            return None
        if value.__qualname__ != name and not name.startswith(value.__qualname__ + "."):
            return None
    return value if isinstance(value, type | types.FunctionType) else None


def _add(found: hashlib._Hash, value: object, seen: set[int]) -> None:
    """Feed what a class or function does into the digest."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, types.FunctionType):
        _add_code(found, value.__code__)
        found.update(repr(value.__defaults__).encode("utf-8", "backslashreplace")[:4096])
    elif isinstance(value, staticmethod | classmethod):
        _add(found, value.__func__, seen)
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            _add(found, part, seen)
    elif isinstance(value, type):
        for base in value.__mro__[1:]:
            found.update(f"\0base {base.__module__}.{base.__qualname__}".encode("utf-8", "backslashreplace"))
            if trust.origin(base.__module__) == "local":
                _add(found, base, seen)
        for name, member in sorted(vars(value).items()):
            if isinstance(member, types.FunctionType | staticmethod | classmethod | property | type):
                found.update(b"\0member " + name.encode("utf-8", "backslashreplace"))
                _add(found, member, seen)


def _add_code(found: hashlib._Hash, code: types.CodeType) -> None:
    found.update(code.co_code)
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        found.update(repr(names).encode("utf-8", "backslashreplace"))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _add_code(found, constant)
        elif isinstance(constant, frozenset):
            found.update(repr(sorted(map(repr, constant))).encode("utf-8", "backslashreplace"))
        else:
            found.update(repr(constant).encode("utf-8", "backslashreplace"))
