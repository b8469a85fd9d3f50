"""What picklescan, fickling and modelscan hold for harmful is never safe here, and never left to a person's eye.

Their lists name functions, and whole modules by a star. For a star every public name of the module is tried as far as
this Python has it, and a name that nobody has. What our rules explain (`uuid.UUID` is a number) is left out by its
rule, and has to be data or an object that is only kept.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from functools import cache

import pytest
from bypasses import spellings
from pickle_forge import EMPTY_TUPLE, PROTO4, call, program, stack_name, text

from nbguard import rules
from nbguard.report.model import Verdict
from nbguard.scanners.pickle import scan_stream

CAUGHT = (Verdict.UNVERIFIABLE, Verdict.DANGER)
MODELSCAN = {
    "__builtin__": "eval compile getattr apply exec open breakpoint __import__",
    "builtins": "eval compile getattr apply exec open breakpoint __import__",
    "operator": "attrgetter",
}
"""modelscan 0.8.8, `settings.py`, "unsafe_globals"; it is not among the packages that tests need."""
MODELSCAN_MODULES = """
runpy os nt posix socket subprocess sys pty pickle _pickle bdb pdb shutil asyncio webbrowser httplib requests.api
aiohttp.client
"""
KEPT = {
    "operator.itemgetter": "takes an item by a literal key when it is called, and a file may not call it",
    "_operator.itemgetter": "the same under the name of its C module",
}
"""On a list of theirs, and only for a person to look at here: what it makes does nothing until something calls it."""
OWN_CLASSES = {
    "joblib": "its files carry classes of its own: one without a rule is looked at, and no call is let through",
}
"""Packages on a list of theirs as a whole that honest files name things of."""
NOT_IMPORTED = frozenset({"__main__", "antigravity", "this", "test", "pip", "joblib", "dill", "cloudpickle"})
"""Modules that are not imported for a list of their names: it does something or takes long."""


def picklescan_names() -> Iterator[tuple[str, str]]:
    from picklescan.scanner import _unsafe_globals

    for module, names in _unsafe_globals.items():
        for name in [names] if isinstance(names, str) else sorted(names):
            yield module, name


def fickling_names() -> Iterator[tuple[str, str]]:
    from fickling.analysis import UnsafeImportsML
    from fickling.fickle import BUILTIN_MODULE_NAMES, UNSAFE_IMPORTS

    for module in sorted(UNSAFE_IMPORTS - BUILTIN_MODULE_NAMES):
        yield module, "*"
    for module in sorted(UnsafeImportsML.UNSAFE_MODULES):
        yield module, "*"
    for module, names in UnsafeImportsML.UNSAFE_IMPORTS.items():
        for name in names:
            yield module, name


def modelscan_names() -> Iterator[tuple[str, str]]:
    for module, names in MODELSCAN.items():
        for name in names.split():
            yield module, name
    for module in MODELSCAN_MODULES.split():
        yield module, "*"


@cache
def listed() -> tuple[tuple[str, str], ...]:
    """(module, name or star), every one once."""
    return tuple(sorted({*picklescan_names(), *fickling_names(), *modelscan_names()}))


def public(module: str) -> list[str]:
    """The names of a module of the standard library that a pickle could take from it; one that nobody has otherwise."""
    if module in NOT_IMPORTED or module.partition(".")[0] in NOT_IMPORTED | {"torch", "numpy", "aiohttp", "requests"}:
        return ["anything"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = importlib.import_module(module)
    except Exception:  # noqa: BLE001 - a module of another system or another Python
        return ["anything"]
    return ["anything", *(n for n, value in vars(found).items() if callable(value) and not n.startswith("__"))]


@pytest.mark.parametrize(("module", "name"), listed(), ids=lambda part: part)
def test_what_another_scanner_lists_is_caught_when_it_is_called(module: str, name: str) -> None:
    missed = []
    for function in public(module) if name == "*" else [name]:
        facts, _ = scan_stream(program(call(stack_name(module, function), text("x")), proto=PROTO4), file="sample")
        if facts.verdict not in CAUGHT and not _explained(module, function):
            missed.append(f"{module}.{function}: {facts.verdict.word} {[f.message for f in facts.findings]}")
    assert not missed


@pytest.mark.parametrize(("module", "name"), listed(), ids=lambda part: part)
def test_what_another_scanner_lists_is_caught_when_it_is_only_named(module: str, name: str) -> None:
    missed = []
    for function in public(module) if name == "*" else [name]:
        if rules.lookup(module, function) is None and module not in OWN_CLASSES:
            facts, _ = scan_stream(program(stack_name(module, function), proto=PROTO4), file="sample")
            if facts.verdict not in CAUGHT:
                missed.append(f"{module}.{function}: {facts.verdict.word}")
    assert not missed


@pytest.mark.parametrize("dotted", KEPT)
def test_what_is_only_kept_is_looked_at_and_may_not_be_called(dotted: str) -> None:
    module, _, name = dotted.rpartition(".")
    made = call(stack_name(module, name), text("x"))
    assert scan_stream(program(made, proto=PROTO4), file="sample")[0].verdict is Verdict.REVIEW
    assert scan_stream(program(call(made, EMPTY_TUPLE), proto=PROTO4), file="sample")[0].verdict is Verdict.DANGER


def test_no_name_of_theirs_is_missed_however_it_is_written() -> None:
    """A few of each kind in every spelling; `test_bypasses.py` has the rest."""
    for module, name in (
        ("os", "system"),
        ("builtins", "eval"),
        ("pty", "spawn"),
        ("numpy.f2py.crackfortran", "myeval"),
    ):
        for how, data in spellings(module, name, text("x")):
            assert scan_stream(data, file="sample")[0].verdict in CAUGHT, (module, name, how)


def _explained(module: str, name: str) -> bool:
    """A rule of ours says what it is and what it may be used for: data, or an object that is only kept."""
    rule = rules.lookup(module, name)
    if f"{module}.{name}" in KEPT:
        return True
    return rule is not None and rule.level == "data" and bool(rule.verbs & {"newobj", "reduce"}) and rule.check == ""
