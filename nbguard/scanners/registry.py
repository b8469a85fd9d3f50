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
from nbguard.scanners.tables import table


@cache
def scanners() -> tuple[Scanner, ...]:
    """All scanners, one from each module under `kinds`, in the order of the modules' names."""
    return _loaded(_names())


def candidates(job: Job) -> tuple[Scanner, ...]:
    """The scanners that may recognise the bytes, in the same order; modules of others need not be imported for it."""
    if not _plain_pickle(job):
        return scanners()
    marked = frozenset(name for name, marks in _marks().items() if any(_has(job, *mark) for mark in marks))
    return _of_pickles(marked) if marked else always()


def always() -> tuple[Scanner, ...]:
    """The scanners that are asked about everything."""
    return _of_pickles(frozenset())


@cache
def _of_pickles(marked: frozenset[str]) -> tuple[Scanner, ...]:
    left_out = (table("recognition")["pickle"]["never"] | _marks().keys()) - marked
    return _loaded(tuple(name for name in _names() if name not in left_out))


@cache
def _marks() -> dict[str, tuple[tuple[int, bytes], ...]]:
    """By scanner, (offset, bytes) of the marks that its formats have behind a first byte that may be any."""
    told = table("recognition")["pickle"]["marks"]
    split = {name: [word.partition(":") for word in sorted(words)] for name, words in told.items()}
    return {name: tuple((int(at), bytes.fromhex(mark)) for at, _, mark in words) for name, words in split.items()}


def _has(job: Job, offset: int, mark: bytes) -> bool:
    if offset >= 0:
        return job.head.startswith(mark, offset)
    return job.view.read(max(0, job.size + offset), len(mark)) == mark


def _plain_pickle(job: Job) -> bool:
    """Whether it begins as pickles of protocol 2 and later do, is called as they are, and is loaded as one."""
    usual = table("recognition")["pickle"]
    asked = job.loader is None or job.loader.partition(".")[0] in usual["loaders"]
    return job.head[:1] == b"\x80" and job.suffix in usual["suffixes"] and asked


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(kinds.__path__)))


@cache
def _loaded(names: tuple[str, ...]) -> tuple[Scanner, ...]:
    modules = [importlib.import_module(f"{kinds.__name__}.{name}") for name in names]
    return tuple(m.SCANNER for m in modules if hasattr(m, "SCANNER"))


_BESIDE = (
    "nbguard.scanners.zip_contents",
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


_HOSTILE = (ValueError, OSError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError)
"""What readers may fail with on hostile bytes."""


def examine(job: Job) -> Facts:
    """Judge one piece of bytes by every reading of it. Never raises for what is in the bytes."""
    from nbguard.scanners.kinds.zips import SCANNER as ZIPS

    if job.depth > job.limits.depth:
        return unverifiable(job, "unknown", "limits.depth", "Containers are nested more deeply than is followed.")
    readings = [facts for s in candidates(job) if (facts := _read(job, s)) is not None]
    if readings:
        readings += [guarded(job, "pickle", as_pickle_too), guarded(job, "json", words_too)]
    else:
        readings.append(guarded(job, "pickle", _otherwise))
    readings.append(guarded(job, "zip", ZIPS.embedded))
    return _together(readings)


def _read(job: Job, scanner: Scanner) -> Facts | None:
    """What the scanner finds; None where the bytes are none of its own. Failing at that question is no answer to it."""
    try:
        if not scanner.recognise(job):
            return None
    except (
        MemoryError,
        RecursionError,
        ValueError,
        OSError,
        EOFError,
        ArithmeticError,
        LookupError,
        TypeError,
    ) as error:
        return unverifiable(job, scanner.name, "format.unrecognised", sentence(error))
    return guarded(job, scanner.name, scanner.scan)


def _otherwise(job: Job) -> Facts:
    """No format's own mark is there: a pickle, or something that only its content as a whole tells."""
    return scan_pickles(job) or judge_other(job)


def guarded(job: Job, name: str, scan: Callable[[Job], Facts]) -> Facts:
    """What `scan` finds; where it fails on hostile bytes, the facts that these could not be verified."""
    try:
        return scan(job)
    except (MemoryError, RecursionError):
        return unverifiable(job, name, "limits.memory", "Reading it takes more memory than allowed.")
    except _HOSTILE as error:
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
