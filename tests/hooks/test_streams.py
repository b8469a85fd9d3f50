"""dill, cloudpickle, shelve and marshal: asked once, under the name that was called, and held to what was seen."""

from __future__ import annotations

import decimal
import io
import marshal
import os
import pickle
import shelve
import subprocess
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dill
import pytest
from conftest import Asker

from nbguard import LoadBlocked, hooks
from nbguard.scanners import scan

guarded = pytest.mark.usefixtures("guarded")
GOOD = pickle.dumps(OrderedDict(a=decimal.Decimal(1)))


class Touch:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def from_file(library: Any) -> Callable[[bytes, Path], Any]:
    def load(data: bytes, folder: Path) -> Any:
        (folder / "model").write_bytes(data)
        with (folder / "model").open("rb") as file:
            return library.load(file)

    return load


LOADERS: dict[str, Callable[[bytes, Path], Any]] = {
    "dill.load": from_file(dill),
    "dill.loads": lambda data, _: dill.loads(data),
    "cloudpickle.load": from_file(cloudpickle),
    "cloudpickle.loads": lambda data, _: cloudpickle.loads(data),
}


@guarded
@pytest.mark.parametrize("name", LOADERS)
def test_one_question_under_the_name_that_was_called(name: str, tmp_path: Path, person: Asker, marker: Path) -> None:
    load = LOADERS[name]
    assert load(GOOD, tmp_path) == OrderedDict(a=decimal.Decimal(1))
    assert [r.loader for r in person.requests] == [name]
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        load(pickle.dumps(Touch(marker)), tmp_path)
    assert person.verdicts == ["safe", "danger"]
    assert not marker.exists()


@guarded
@pytest.mark.usefixtures("fooled")
@pytest.mark.parametrize("name", LOADERS)
def test_with_a_blinded_scanner_the_walls_hold(name: str, tmp_path: Path, person: Asker, marker: Path) -> None:
    with pytest.raises(LoadBlocked):
        LOADERS[name](pickle.dumps(Touch(marker)), tmp_path)
    assert not marker.exists()


def test_libraries_that_were_imported_before_the_guard(tmp_path: Path) -> None:
    """And the same names again, once it has gone: what `cloudpickle.loads` is then is C's own function."""
    script = """
        import cloudpickle, dill, shelve, _pickle, pickle, os
        from nbguard import hooks, LoadBlocked
        from nbguard.hooks import walk
        asked = []
        walk._somebody_there = lambda: True
        walk.ask = lambda r, d, q: asked.append(q.loader) or __import__("nbguard.gate.answer").gate.answer.Answer(
            "refuse", "someone", "", "widget")
        walk.tell = lambda *a: None
        class Touch:
            def __reduce__(self): return os.mkdir, ("marker",)
        data = pickle.dumps(Touch())
        hooks.install()
        for load in (dill.loads, cloudpickle.loads, lambda d: shelve.Shelf({b"k": d})["k"]):
            try: load(data)
            except LoadBlocked: pass
            else: raise SystemExit("loaded")
        assert asked == ["dill.loads", "cloudpickle.loads", "shelve.Shelf"], asked
        hooks.uninstall()
        assert cloudpickle.loads is _pickle.loads
        assert not os.path.exists("marker")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@guarded
def test_dill_reads_one_pickle_after_another_and_points_objects_to_their_class(person: Asker) -> None:
    file = io.BytesIO(pickle.dumps([1]) + GOOD)
    assert dill.load(file) == [1]
    assert dill.load(file) == OrderedDict(a=decimal.Decimal(1))
    with pytest.raises(EOFError):
        dill.load(file)


# --- shelve


def shelf(path: Path, **values: Any) -> str:
    with shelve.open(str(path)) as made:
        for key, value in values.items():
            if isinstance(value, bytes):
                made.dict[key.encode()] = value
            else:
                made[key] = value
    return str(path)


VALUES = {"a": [1, 2], "b": OrderedDict(x=decimal.Decimal(1)), "c": {1, 2}}


def test_a_shelf_is_one_question_however_much_is_read(
    tmp_path: Path, person: Asker, request: pytest.FixtureRequest
) -> None:
    name = shelf(tmp_path / "values", **VALUES)
    request.getfixturevalue("guarded")
    with shelve.open(name) as found:
        assert {key: found[key] for key in found} == VALUES
        assert dict(found.items()) == VALUES
        assert found.get("a") == [1, 2]
    assert [r.loader for r in person.requests] == ["shelve.open"]
    assert person.verdicts == ["safe"]


def test_a_shelf_with_one_payload_is_refused_as_a_whole(
    tmp_path: Path, person: Asker, marker: Path, request: pytest.FixtureRequest
) -> None:
    name = shelf(tmp_path / "values", a=[1], payload=pickle.dumps(Touch(marker)))
    request.getfixturevalue("guarded")
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        shelve.DbfilenameShelf(name)
    assert person.verdicts == ["danger"]
    assert not marker.exists()


@guarded
@pytest.mark.own_work
def test_what_this_kernel_writes_reads_back_without_a_question(tmp_path: Path, person: Asker) -> None:
    with shelve.open(str(tmp_path / "new"), writeback=True) as made:
        made["mine"] = OrderedDict(x=decimal.Decimal(2))
        made["list"] = [1]
        made["list"].append(2)
    with shelve.open(str(tmp_path / "new")) as found:
        assert (found["mine"], found["list"]) == (OrderedDict(x=decimal.Decimal(2)), [1, 2])
    assert person.reports == []


def test_a_value_that_was_put_in_later_is_asked_about_when_it_is_read(
    tmp_path: Path, person: Asker, marker: Path, request: pytest.FixtureRequest
) -> None:
    name = shelf(tmp_path / "values", **VALUES)
    request.getfixturevalue("guarded")
    with shelve.open(name) as found:
        found.dict[b"a"] = pickle.dumps(Touch(marker))  # by somebody else, in the meantime
        assert found["b"] == VALUES["b"]
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            found["a"]
    assert [r.loader for r in person.requests] == ["shelve.open", "shelve.Shelf"]
    assert not marker.exists()


@guarded
def test_a_shelf_over_any_mapping_asks_for_each_value(person: Asker, marker: Path) -> None:
    over = shelve.Shelf({b"good": GOOD, b"bad": pickle.dumps(Touch(marker))})
    assert over["good"] == OrderedDict(a=decimal.Decimal(1))
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        over["bad"]
    with pytest.raises(KeyError):
        over["none"]
    assert person.verdicts == ["safe", "danger"]
    assert not marker.exists()


def test_a_shelf_is_given_back() -> None:
    before = shelve.Shelf.__getitem__.__code__, shelve.DbfilenameShelf.__init__.__code__, shelve.Unpickler
    hooks.install()
    hooks.uninstall()
    assert before == (shelve.Shelf.__getitem__.__code__, shelve.DbfilenameShelf.__init__.__code__, shelve.Unpickler)


# --- marshal

CODE = compile("import os\nos.mkdir('marker')", "model", "exec")
PLAIN = {"a": [1, 2.5, None, True, b"x", "y", 1 << 80, 1j], "t": (1, (2,)), "s": {1}, "f": frozenset({2})}


@guarded
def test_plain_values_of_marshal_load_and_byte_code_is_a_danger(tmp_path: Path, person: Asker) -> None:
    assert marshal.loads(marshal.dumps(PLAIN)) == PLAIN
    assert person.verdicts == ["safe"]
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        marshal.loads(marshal.dumps([1, {"deep": (CODE,)}]))
    report = person.reports[-1]
    assert (report.verdict.word, report.findings[0].rule) == ("danger", "marshal.code")
    assert "mkdir" in report.findings[0].evidence
    assert [code.kind for code in report.contract.code] == ["bytecode"]
    (tmp_path / "model").write_bytes(marshal.dumps(PLAIN) + marshal.dumps(CODE))
    with (tmp_path / "model").open("rb") as file, pytest.raises(LoadBlocked):
        marshal.load(file)
    assert [r.loader for r in person.requests] == ["marshal.loads", "marshal.loads", "marshal.load"]


@guarded
def test_objects_of_marshal_are_read_one_after_the_other(person: Asker) -> None:
    file = io.BytesIO(marshal.dumps([1]) + marshal.dumps("two"))
    assert [marshal.load(file), marshal.load(file)] == [[1], "two"]


@guarded
@pytest.mark.parametrize(
    "data", [marshal.dumps(CODE)[:40], b"\xe3", b"r\xff\xff\0\0", b"(\xff\xff\xff\x7f", b"(\1\0\0\0" * 5000, b"Q"]
)
def test_crafted_bytes_never_reach_marshal(data: bytes, person: Asker) -> None:
    with pytest.raises(LoadBlocked):
        marshal.loads(data)
    assert person.reports == []


@guarded
def test_imports_and_libraries_never_ask(tmp_path: Path, person: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "with_byte_code.py").write_text("VALUE = 7")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    import with_byte_code  # type: ignore[import-not-found]

    assert with_byte_code.VALUE == 7
    del sys.modules["with_byte_code"]
    assert list(tmp_path.rglob("*.pyc"))
    import with_byte_code as again  # read from its byte code this time

    assert again.VALUE == 7
    assert person.reports == []


def test_byte_code_under_any_name_is_seen_by_a_scan(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(marshal.dumps(CODE))
    report = scan(str(tmp_path / "weights.bin"))
    assert (report.verdict.word, report.files[0].format) == ("danger", "marshal")
