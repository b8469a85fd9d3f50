"""Our verdict and fickling's on every pickle that the tests know; wherever they differ, a reason is written down here.

Both are brought to three words: *clean*, *doubtful* (somebody should look, or it cannot be read) and *harmful*. A
difference without a reason fails, and so does a reason that explains nothing any more.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import signal
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bypasses import bypasses
from sample_set import samples

import nbguard

fickle = pytest.importorskip("fickling.fickle")
analysis = pytest.importorskip("fickling.analysis")

BESIDE = Path(__file__).parents[1] / "scanners"
SLOW = frozenset({"test_every_estimator_of_scikit_learn_is_for_review"})
"""What is left out of the files of tests that are gone over: hundreds of cases of one kind."""
OURS = {"safe": "clean", "review": "doubtful", "unverifiable": "doubtful", "danger": "harmful"}
SECONDS = 20
"""fickling may take for one pickle."""
STREAMS = frozenset({"pickle", "joblib", "torch-legacy"})
"""Formats that are pickles from their first byte."""
ARCHIVES = frozenset({"torch-zip", "torchscript", "torch-package", "torch-export", "npz", "zip", "nemo"})
"""Formats that may be zips with pickles in them."""
CONTAINERS = (b"\x93NUMPY", b"7z\xbc\xaf")
"""Beginnings of files that fickling does not open."""


@dataclass(frozen=True)
class Case:
    """One pickle, or several in a row, and what both say."""

    name: str
    data: bytes
    ours: str
    """safe, review, unverifiable or danger."""
    theirs: str
    """clean, doubtful, harmful, or error."""
    analyses: frozenset[str]
    """Which of fickling's analyses said something; for an error, its text alone."""
    modules: frozenset[str]
    """Modules that fickling holds for harmful."""

    @property
    def agreed(self) -> bool:
        return OURS[self.ours] == self.theirs


# --- why they differ

WHOLE = {
    "joblib.numpy_pickle": "fickling blocks joblib as a whole; the wrapper of an array is how joblib writes arrays",
    "joblib.numpy_pickle_compat": "the same, of the old format, whose files beside it are scanned or missed",
    "joblib.numpy_pickl_": "the same by its first part: no such module is there, so that the file cannot be read",
    "numpy.random._pickle": "each part of a module's name is looked up in fickling's list, and `_pickle` stands in it",
    "torch.jit._pickle": "the same: TorchScript names the types of its lists so, for PyTorch's own machine",
    "builtins": "fickling blocks what is not on its list of built-in functions; classes of data are on ours",
    "__builtin__": "the same by Python 2's name",
    "types": "fickling blocks types as a whole; SimpleNamespace only holds attributes",
    "uuid": "fickling blocks uuid for its private functions; the class UUID is one number",
    "functools": "fickling blocks functools; a partial that a file only keeps is shown to a person, with its function",
    "operator": "fickling blocks operator; an itemgetter that a file only keeps is shown to a person",
    "torch.storage": "fickling flags the function that loads bytes by its name; nbguard reads the bytes",
}
"""Modules that fickling calls harmful in files that are not, each with the reason."""

UNREAD = {
    "a protocol of the future": "fickling does not compare the number with what Python reads; Python refuses the file",
    "a frame beyond the end": "fickling skips frames; Python ends in an error for want of bytes",
}
"""Files that fickling finds clean, and that cannot be loaded."""

_NOT_KNOWN = frozenset({"NonStandardImports", "OvertlyBadEval", "UnusedVariables"})


def _begins_as_text(case: Case) -> bool:
    """Protocol 0 of Python 2: strings of bytes between quotes."""
    return b"S'" in case.data


REASONS: dict[str, tuple[str, Callable[[Case], bool]]] = {
    "blocked-modules": (
        "All that fickling calls harmful are modules of which the file uses a part that a rule of ours explains.",
        lambda c: c.theirs == "harmful" and c.ours != "danger" and bool(c.modules) and c.modules <= WHOLE.keys(),
    ),
    "no-danger-known": (
        "fickling knows no harm of the name and is left with a doubt; here a call that no rule explains is dangerous, "
        "and so are a gadget that it does not list and a use that its rule does not have.",
        lambda c: c.theirs == "doubtful" and c.ours == "danger" and bool(c.analyses) and c.analyses <= _NOT_KNOWN,
    ),
    "interpreter-stops": (
        "fickling's own interpreter gives up and says so; Python's machine goes on, and what it is told is harmful.",
        lambda c: c.theirs == "doubtful" and c.ours == "danger" and "InterpretationError" in c.analyses,
    ),
    "outside-the-standard-library": (
        "fickling takes any import from outside the standard library for a doubt; the data of numpy, pandas and torch "
        "is listed here one by one.",
        lambda c: c.theirs == "doubtful" and c.ours == "safe" and "NonStandardImports" in c.analyses
        and c.analyses <= _NOT_KNOWN,
    ),
    "unused-results": (
        "fickling takes a result that its source does not use again for a sign; that is how Python makes a set.",
        lambda c: c.theirs == "doubtful" and c.ours == "safe" and c.analyses == {"UnusedVariables"},
    ),
    "interpreter-stops-at-honest-data": (
        "fickling's interpreter appends to lists only; Python's pickler writes the same opcode for a deque.",
        lambda c: c.theirs == "doubtful" and c.ours == "safe" and c.analyses == {"InterpretationError"},
    ),
    "python-2-strings": (
        "The strings of Python 2 are bytes; fickling reads them as ASCII and fails on the first other letter.",
        lambda c: c.theirs in ("doubtful", "error") and c.ours == "safe" and _begins_as_text(c),
    ),
    "opcodes-that-fickling-lacks": (
        "fickling has no BYTEARRAY8, FLOAT and NEXT_BUFFER, which Python's pickler writes.",
        lambda c: c.theirs == "error" and any("Add support for Opcode" in a for a in c.analyses),
    ),
    "extension-codes": (
        "fickling fails on the import that an extension code stands for; no honest file has one.",
        lambda c: c.theirs == "error" and c.ours == "danger" and any("'Import' object" in a for a in c.analyses),
    ),
    "not-at-the-start": (
        "fickling needs an opcode at the start; what is compressed, empty or behind junk is no pickle to it.",
        lambda c: c.theirs == "error" and not _begins_as_text(c) and any("No pickle files" in a for a in c.analyses),
    ),
    "refused-by-python": (
        "Files that Python cannot load and fickling finds clean.",
        lambda c: c.theirs == "clean" and c.ours == "unverifiable" and any(label in c.name for label in UNREAD),
    ),
}  # fmt: skip
"""Reason → (why the two differ there, whether it is the reason for this case)."""


# --- the cases


@contextmanager
def _limited() -> Iterator[None]:
    """No more than SECONDS; where there are no such timers, as long as it takes."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError("fickling took too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judged(name: str, data: bytes, ours: str) -> Case:
    """What fickling says of `data`, beside ours."""
    severity = analysis.Severity
    try:
        with _limited():
            results = [analysis.check_safety(p) for p in fickle.StackedPickle.load(data, fail_on_decode_error=False)]
    except Exception as error:  # noqa: BLE001 - whatever it is, fickling has no verdict, and a reason is asked for
        return Case(name, data, ours, "error", frozenset({f"{type(error).__name__}: {error}"}), frozenset())
    found = [r for result in results for r in result.results if r.severity > severity.LIKELY_SAFE]
    worst = max((r.severity for r in found), default=severity.LIKELY_SAFE)
    harmful = worst >= severity.LIKELY_OVERTLY_MALICIOUS
    unsafe = [r.trigger for r in found if r.analysis_name in ("UnsafeImports", "UnsafeImportsML")]
    return Case(
        name,
        data,
        ours,
        "clean" if worst == severity.LIKELY_SAFE else "harmful" if harmful else "doubtful",
        frozenset(r.analysis_name or str(r.message) for r in found),
        frozenset(t.partition(" import ")[0].removeprefix("from ") for t in unsafe if t),
    )


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gone_over_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _of_tests(path: Path) -> Iterator[tuple[str, bytes, str]]:
    """Every program that the tests of a file hand to the scanner, and the verdict that they get."""
    module = _module(path)
    scan_stream = module.scan_stream
    seen: list[tuple[str, bytes, str]] = []
    label = ""

    def noted(data: Any, *arguments: Any, **more: Any) -> Any:
        facts, end = scan_stream(data, *arguments, **more)
        if isinstance(data, bytes):
            seen.append((f"{path.stem} {label} #{len(seen)}", data, facts.verdict.word))
        return facts, end

    module.scan_stream = noted  # type: ignore[attr-defined]
    for name, test in list(vars(module).items()):
        if not name.startswith("test_") or name in SLOW:
            continue
        rows = [mark.args[1] for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        if len(inspect.signature(test).parameters) == len(rows) <= 1:
            for row in rows[0] if rows else [None]:
                label = name if row is None else f"{name} {row}"
                test() if row is None else test(row)
    yield from seen


def _of_samples() -> Iterator[tuple[str, bytes, str]]:
    """The pickles of the sample set, those in zips one by one, with the verdict of the file that they are in."""
    for sample in samples():
        if not sample.available or sample.format not in STREAMS | ARCHIVES:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = sample.build(Path(folder))
            if not place.is_file() or place.stat().st_size > 1 << 20:
                continue
            data = place.read_bytes()
            if data.startswith(b"PK"):
                yield from _of_zip(sample.name, data)
            elif sample.format in STREAMS and not data.startswith(CONTAINERS):
                yield sample.name, data, nbguard.scan(str(place)).verdict.word


def _of_zip(name: str, data: bytes) -> Iterator[tuple[str, bytes, str]]:
    """The pickles in a zip, each judged by itself: what else is in the archive is not fickling's."""
    from nbguard.scanners.pickle import scan_stream

    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        return
    for member in archive.infolist():
        if member.flag_bits & 0x21 or member.file_size > 1 << 20:
            continue
        try:
            inner = archive.read(member)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError):
            continue
        if inner[:1] == b"\x80" and inner[1:2] <= b"\x05":
            facts, _ = scan_stream(inner, file=name, container="torch-zip")
            yield f"{name}!{member.filename}", inner, facts.verdict.word


def _of_bypasses() -> Iterator[tuple[str, bytes, str]]:
    with tempfile.TemporaryDirectory() as folder:
        for bypass in bypasses():
            data = bypass.data()
            if bypass.file.endswith((".pkl", ".bin", ".joblib")) and not data.startswith(CONTAINERS):
                place = Path(folder) / bypass.file
                place.write_bytes(data)
                yield f"bypass {bypass.name}", data, nbguard.scan(str(place)).verdict.word


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    """Every pickle once; two that are the same bytes are one."""
    everything = [
        *_of_samples(),
        *_of_bypasses(),
        *_of_tests(BESIDE / "test_pickle_attacks.py"),
        *_of_tests(BESIDE / "test_pickle_honest.py"),
    ]
    once = {(data, ours): name for name, data, ours in reversed(everything)}
    return tuple(judged(name, data, ours) for (data, ours), name in once.items())


def test_there_are_enough_cases_of_every_verdict(cases: tuple[Case, ...]) -> None:
    words = [c.ours for c in cases]
    assert len(cases) > 300
    assert all(words.count(word) > 10 for word in OURS), {word: words.count(word) for word in OURS}


def test_each_difference_is_explained(cases: tuple[Case, ...]) -> None:
    unexplained = [
        f"{c.name}: fickling {c.theirs} {sorted(c.analyses)} {sorted(c.modules)}, nbguard {c.ours}"
        for c in cases
        if not c.agreed and not any(holds(c) for _, holds in REASONS.values())
    ]
    assert unexplained == []


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_still_explains_something(reason: str, cases: tuple[Case, ...]) -> None:
    why, holds = REASONS[reason]
    assert why.endswith(".")
    assert any(holds(c) for c in cases if not c.agreed)


def test_each_module_that_is_called_harmful_is_still_called_so(cases: tuple[Case, ...]) -> None:
    called = {m for c in cases if not c.agreed and c.ours != "danger" for m in c.modules}
    assert called >= WHOLE.keys(), WHOLE.keys() - called


def test_what_fickling_calls_harmful_is_never_clean_here_without_a_rule_for_it(cases: tuple[Case, ...]) -> None:
    """The one direction that would be a hole: all of it is in `WHOLE`, by module."""
    for case in cases:
        if case.theirs == "harmful" and case.ours == "safe":
            assert case.modules, case.name
            assert case.modules <= WHOLE.keys(), case.name
