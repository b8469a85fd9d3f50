"""Who scans what: every scanner that recognises the bytes judges them, and the findings of all count.

    facts = examine(job)

A file is what its loader takes it for. A polyglot is therefore judged as everything that any loader would see in it,
and everything is also offered to the pickle machine: no loader of pickles looks at names or at what else a file is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from nbguard.scanners import kinds
from nbguard.scanners.base import Format, Job, Scanner, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.other import judge as judge_other
from nbguard.scanners.other import words_too
from nbguard.scanners.streams import as_pickle_too, scan_pickles


@cache
def scanners() -> tuple[Scanner, ...]:
    """All scanners, one from each module under `kinds`, in the order of the modules' names."""
    names = sorted(m.name for m in pkgutil.iter_modules(kinds.__path__))
    modules = [importlib.import_module(f"{kinds.__name__}.{name}") for name in names]
    return tuple(m.SCANNER for m in modules if hasattr(m, "SCANNER"))


_BESIDE = (
    "nbguard.scanners.streams",
    "nbguard.scanners.other",
    "nbguard.scanners.configs",
    "nbguard.scanners.skops",
    "nbguard.scanners.torchscript",
    "nbguard.scanners.torch_export",
    "nbguard.scanners.templates",
    "nbguard.scanners.mlmodel",
)
"""Modules that judge formats and are no scanner by themselves: they are reached through one."""


def formats() -> tuple[Format, ...]:
    """Every format that some module here declares, by name; what docs/formats.md is made of."""
    names = [*_BESIDE, *(f"{kinds.__name__}.{m.name}" for m in pkgutil.iter_modules(kinds.__path__))]
    found = [f for name in names for f in getattr(importlib.import_module(name), "FORMATS", ())]
    return tuple(sorted(found, key=lambda f: f.name))


def examine(job: Job) -> Facts:
    """Judge one piece of bytes by every reading of it. Never raises for what is in the bytes."""
    from nbguard.scanners.kinds.zips import SCANNER as ZIPS

    if job.depth > job.limits.depth:
        return unverifiable(job, "unknown", "limits.depth", "Containers are nested more deeply than is followed.")
    readings = [guarded(job, s.name, s.scan) for s in scanners() if s.recognise(job)]
    if readings:
        readings += [guarded(job, "pickle", as_pickle_too), guarded(job, "json", words_too)]
    else:
        readings.append(guarded(job, "pickle", _otherwise))
    readings.append(guarded(job, "zip", ZIPS.embedded))
    return _together(readings)


def _otherwise(job: Job) -> Facts:
    """No format's own mark is there: a pickle, or something that only its content as a whole tells."""
    return scan_pickles(job) or judge_other(job)


def guarded(job: Job, name: str, scan: Callable[[Job], Facts]) -> Facts:
    """What `scan` finds; where it fails on hostile bytes, the facts that these could not be verified."""
    try:
        return scan(job)
    except (MemoryError, RecursionError):
        return unverifiable(job, name, "limits.memory", "Reading it takes more memory than allowed.")
    except (ValueError, OSError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        return unverifiable(job, name, f"{name}.malformed", sentence(error))


def _together(readings: list[Facts]) -> Facts:
    """One set of facts; the first reading gives the format, and only its picture of the bytes is kept."""
    first, *others = readings
    seen = {p.sha256 for p in first.programs}
    for other in others:
        if other.programs and other.verdict <= first.verdict and all(p.sha256 in seen for p in other.programs):
            continue  # the same programs under another name
        other.regions = {}
        other.containers = {k: v for k, v in other.containers.items() if k not in first.containers}
        if other.format not in ("", first.format):
            first.format = f"{first.format}+{other.format}"
        first.read_too(other)
    return first


def sentence(error: BaseException) -> str:
    """One bounded sentence for an error while reading hostile bytes."""
    text = str(error).strip() or type(error).__name__
    return f"It cannot be read: {text[:200].rstrip('.')}."
