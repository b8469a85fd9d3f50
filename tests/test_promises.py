"""The four promises, each with tests that break when it does.

Each test stands for one promise as the README words it: what was scanned is what is loaded; what was accepted is all
that runs; unknown is never safe; nothing is hidden.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbguard
from nbguard.approvals import AuditLog
from nbguard.errors import LoadBlocked, NbguardError
from nbguard.gate.answer import Answer
from nbguard.hooks import walk
from nbguard.report.model import Report, Verdict

joblib = pytest.importorskip("joblib")
numpy = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")


class Touch:
    """A payload that writes a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def guarded() -> Iterator[None]:
    nbguard.install()
    yield
    nbguard.uninstall()


Person = Callable[[Callable[[Report], None]], None]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody who accepts everything; something may happen while the question is open."""

    def sits_there(meanwhile: Callable[[Report], None] = lambda report: None) -> None:
        def ask(report: Report, decision: Any, request: Any) -> Answer:
            meanwhile(report)
            return Answer("once", "someone", "", "widget")

        monkeypatch.setattr(walk, "ask", ask)
        monkeypatch.setattr(walk, "tell", lambda *a: None)
        monkeypatch.setattr(walk, "_somebody_there", lambda: True)

    return sits_there


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that calls everything explained data."""
    see = walk.scan

    def scan(request: Any, opened: Any) -> Report:
        report = see(request, opened)
        contract = dataclasses.replace(
            report.contract,
            globals=tuple(dataclasses.replace(g, level="data") for g in report.contract.globals),
        )
        files = tuple(dataclasses.replace(f, verdict=Verdict.SAFE) for f in report.files)
        return dataclasses.replace(report, files=files, contract=contract, findings=())

    monkeypatch.setattr(walk, "scan", scan)


def write_torch(content: object, path: Path) -> None:
    torch.save(content, path)


def write_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def write_npy(content: object, path: Path) -> None:
    with path.open("wb") as file:
        numpy.save(file, numpy.array([content], dtype=object), allow_pickle=True)


def load_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


LOADERS = {
    "torch zip": (write_torch, lambda p: torch.load(p, weights_only=False)),
    "torch legacy": (write_legacy, lambda p: torch.load(p, weights_only=False)),
    "pickle.load": (write_pickle, load_pickle),
    "pickle.loads": (write_pickle, lambda p: pickle.loads(p.read_bytes())),
    "joblib": (joblib.dump, joblib.load),
    "joblib zlib": (lambda c, p: joblib.dump(c, p, compress=3), joblib.load),
    "npy": (write_npy, lambda p: numpy.load(p, allow_pickle=True)),
}
every_loader = pytest.mark.parametrize(("write", "load"), LOADERS.values(), ids=LOADERS)


# 1. What was scanned is what is loaded.


@every_loader
def test_what_was_scanned_is_what_is_loaded(
    write: Any, load: Any, tmp_path: Path, marker: Path, guarded: None, person: Person
) -> None:
    """The file is exchanged while the person reads the report: in place, and by another file of the same name."""
    for how in ("in place", "renamed"):
        path, evil = tmp_path / "model", tmp_path / "evil"
        write({"weights": [1, 2]}, path)
        write({"weights": Touch(marker)}, evil)

        def exchange(report: Report, how: str = how, path: Path = path, evil: Path = evil) -> None:
            if how == "renamed":
                evil.replace(path)
            else:
                path.write_bytes(evil.read_bytes())

        person(exchange)
        try:
            loaded = load(path)
        except (NbguardError, RuntimeError, EOFError):
            loaded = None
        assert not marker.exists()
        inner = loaded[0] if isinstance(loaded, numpy.ndarray) else loaded
        assert inner in (None, {"weights": [1, 2]})


def test_a_file_object_with_two_faces_shows_only_one(marker: Path, guarded: None, person: Person) -> None:
    """What was scanned is what is loaded, also from something that answers each reading with something else."""

    class TwoFaced(io.BytesIO):
        reads = 0

        def _turn(self) -> None:
            self.reads += 1
            face = pickle.dumps([1]) if self.reads == 1 else pickle.dumps(Touch(marker))
            at = self.tell()
            super().seek(0)
            super().truncate()
            super().write(face)
            super().seek(at)

        def read(self, size: int | None = -1, /) -> bytes:
            self._turn()
            return super().read(size)

    person(lambda report: None)
    try:
        loaded = pickle.load(TwoFaced())
    except (LoadBlocked, EOFError):
        loaded = None
    assert loaded in (None, [1])
    assert not marker.exists()


# 2. What was accepted is all that runs.


@every_loader
def test_what_was_accepted_is_all_that_runs(
    write: Any, load: Any, tmp_path: Path, marker: Path, guarded: None, person: Person, blind: None
) -> None:
    """A scanner that was fooled, and a person who accepted what it said: the payload still does not run."""
    person(lambda report: None)
    path = tmp_path / "model"
    write({"weights": Touch(marker)}, path)
    with pytest.raises(LoadBlocked):
        load(path)
    assert not marker.exists()


@every_loader
def test_what_was_accepted_does_run(
    write: Any, load: Any, tmp_path: Path, guarded: None, person: Person, blind: None
) -> None:
    person(lambda report: None)
    path = tmp_path / "model"
    write({"weights": [1.0, 2.0], "epoch": 3}, path)
    loaded = load(path)
    assert (loaded[0] if isinstance(loaded, numpy.ndarray) else loaded) == {"weights": [1.0, 2.0], "epoch": 3}


# 3. Unknown is never safe.


def test_unknown_is_never_safe(tmp_path: Path, guarded: None, person: Person) -> None:
    """What cannot be read to the end is not loaded, though the person would accept it."""
    person(lambda report: None)
    whole = pickle.dumps({"weights": list(range(1000))})
    samples = {"cut off": whole[:-40], "empty": b"", "no pickle": b"\x00\xff\x13 no such format " * 9}
    for name, data in samples.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert nbguard.scan(str(path)).verdict is Verdict.UNVERIFIABLE, name
        with pytest.raises((LoadBlocked, EOFError)):
            load_pickle(path)


def test_a_scan_that_fails_is_no_permission(
    tmp_path: Path, guarded: None, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown is never safe: a scanner that crashes, or comes to no end, ends in a refusal."""
    person(lambda report: None)
    path = tmp_path / "model.pkl"
    write_pickle([1], path)

    def crash(request: Any, opened: Any) -> Report:
        raise RuntimeError("the scanner broke")

    monkeypatch.setattr(walk, "scan", crash)
    with pytest.raises((LoadBlocked, RuntimeError)):
        load_pickle(path)


def test_without_a_front_end_nothing_is_accepted(
    tmp_path: Path, marker: Path, guarded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown is never safe: where nobody can be asked, what needs an answer is refused at once."""
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    path = tmp_path / "model.pkl"
    write_pickle(Touch(marker), path)
    with pytest.raises(LoadBlocked, match="nbguard approve"):
        load_pickle(path)
    assert not marker.exists()


# 4. Nothing is hidden.


def test_nothing_is_hidden(tmp_path: Path, marker: Path, guarded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Automatic decisions are in the audit log with their rules, refusals too, and the log holds together."""
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    good, bad = tmp_path / "good.pkl", tmp_path / "bad.pkl"
    write_pickle([str(good)], good)
    write_pickle(Touch(marker), bad)
    load_pickle(good)
    with pytest.raises(LoadBlocked):
        load_pickle(bad)
    log = AuditLog()
    latest = list(log.entries())[-2:]
    assert [e["event"] for e in latest] == ["load.allowed", "load.refused"]
    assert all(e["rules"] for e in latest)
    assert log.verify().ok


def test_what_was_not_looked_at_is_said(tmp_path: Path) -> None:
    """Nothing is hidden: a link that leads out of the folder is named in the report."""
    folder = tmp_path / "repository"
    folder.mkdir()
    write_pickle([1], folder / "model.pkl")
    (folder / "elsewhere.bin").symlink_to("/etc/hostname")
    report = nbguard.scan(str(folder))
    assert [n.path for n in report.not_scanned] == ["elsewhere.bin"]
    assert "elsewhere.bin" in str(report.to_json()["not_scanned"])
