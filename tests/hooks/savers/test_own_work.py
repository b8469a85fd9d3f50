"""What the person's own kernels wrote loads again without a question; whatever else lies there is asked about."""

from __future__ import annotations

import io
import os
import pickle
import shelve
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Asker

from nbguard.approvals import AuditLog
from nbguard.approvals.own import OwnWork
from nbguard.errors import LoadBlocked
from nbguard.hooks.savers import ledger

pytestmark = [pytest.mark.usefixtures("guarded", "home"), pytest.mark.own_work]


class Mine:
    def __init__(self, value: int = 1) -> None:
        self.value = value
        self.array = np.arange(3)


def doubled(value: int) -> int:
    return 2 * value


class Remade:
    """Comes back through a function of the person's own."""

    def __reduce__(self) -> Any:
        return doubled, (21,)


def save_pickle(value: Any, path: str) -> None:
    with open(path, "wb") as file:
        pickle.dump(value, file)


def load_pickle(path: str) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


def save_open(value: Any, path: str) -> None:
    with open(path, "wb") as file:
        torch.save(value, file)


def save_pickler(value: Any, path: str) -> None:
    with open(path, "wb") as file:
        pickle.Pickler(file, 5).dump(value)


def save_array(value: Any, path: str) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([value, value], dtype=object))


def load_torch(path: str) -> Any:
    return torch.load(path, weights_only=False)


FILES: dict[str, tuple[Callable[[Any, str], Any], Callable[[str], Any]]] = {
    "pickle.dump": (save_pickle, load_pickle),
    "pickle.Pickler": (save_pickler, load_pickle),
    "torch.save": (torch.save, load_torch),
    "torch.save.file": (save_open, load_torch),
    "torch.save.legacy": (lambda v, p: torch.save(v, p, _use_new_zipfile_serialization=False), load_torch),
    "joblib.dump": (joblib.dump, joblib.load),
    "joblib.dump.compressed": (lambda v, p: joblib.dump(v, p, compress=3), joblib.load),
    "numpy.save": (
        save_array,
        lambda p: np.load(p, allow_pickle=True)[0],
    ),
    "DataFrame.to_pickle": (lambda v, p: pd.DataFrame({"a": [v]}).to_pickle(p), lambda p: pd.read_pickle(p)["a"][0]),
}


@pytest.mark.parametrize("saver", FILES)
def test_what_was_written_loads_without_a_question(saver: str, person: Asker) -> None:
    save, load = FILES[saver]
    save(Mine(7), "mine.bin")
    assert load("mine.bin").value == 7
    assert person.reports == []
    events = [e for e in AuditLog().entries() if e["event"].startswith("load.")]
    assert [e["event"] for e in events] == ["load.own"]
    assert events[0]["saver"] == saver.split(".file")[0].split(".legacy")[0].split(".compressed")[0]
    assert events[0]["verdict"] == "review"


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("saver", FILES)
def test_headless_too_and_nothing_that_was_changed(saver: str) -> None:
    save, load = FILES[saver]
    save(Mine(7), "mine.bin")
    assert load("mine.bin").value == 7
    data = bytearray(Path("mine.bin").read_bytes())
    data[len(data) // 2] ^= 1
    Path("mine.bin").write_bytes(data)
    with pytest.raises(LoadBlocked):
        load("mine.bin")


@pytest.mark.usefixtures("nobody")
def test_a_file_that_grew_at_its_end_is_not_what_was_written() -> None:
    save_pickle(Mine(), "mine.pkl")
    with open("mine.pkl", "ab") as file:
        file.write(pickle.dumps(Mine())[:-3])
    with pytest.raises(LoadBlocked):
        load_pickle("mine.pkl")


@pytest.mark.usefixtures("nobody")
def test_several_pickles_in_one_file() -> None:
    with open("many.pkl", "wb") as file:
        for number in range(3):
            pickle.dump(Mine(number), file)
    with open("many.pkl", "rb") as file:
        assert [pickle.load(file).value for _ in range(3)] == [0, 1, 2]


@pytest.mark.usefixtures("nobody")
def test_it_holds_for_the_bytes_wherever_they_lie() -> None:
    torch.save(Mine(3), "mine.pt")
    shutil.copy("mine.pt", "copy.pt")
    os.link("mine.pt", "link.pt")
    assert load_torch("copy.pt").value == load_torch("link.pt").value == 3


@pytest.mark.usefixtures("nobody")
def test_something_else_under_the_same_name_is_not() -> None:
    torch.save(Mine(3), "mine.pt")
    ledger.settle()
    Path("other.pt").write_bytes(Path("mine.pt").read_bytes().replace(b"value", b"valuf"))
    os.replace("other.pt", "mine.pt")
    with pytest.raises(LoadBlocked):
        load_torch("mine.pt")


def test_under_the_policy_strict_it_is_asked_about(person: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    torch.save(Mine(3), "mine.pt")
    load_torch("mine.pt")
    pickle.loads(pickle.dumps(Mine()))
    assert person.verdicts == ["review", "review"]


@pytest.mark.usefixtures("nobody")
def test_objects_that_come_back_through_a_function_of_the_persons_own() -> None:
    save_pickle([Remade(), Mine()], "remade.pkl")
    assert load_pickle("remade.pkl")[0] == 42
    assert pickle.loads(pickle.dumps(Remade())) == 42


@pytest.mark.usefixtures("nobody")
def test_round_trips_through_memory() -> None:
    assert pickle.loads(pickle.dumps(Mine(5))).value == 5
    assert pickle.loads(cloudpickle.dumps(Mine(5))).value == 5
    buffer = io.BytesIO()
    pickle.dump(Mine(6), buffer)
    buffer.seek(0)
    assert pickle.load(buffer).value == 6
    buffer = io.BytesIO()
    torch.save(Mine(7), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=False).value == 7


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int) -> None:
    assert pickle.loads(pickle.dumps([1, "x"], protocol)) == [1, "x"]
    assert pickle.loads(pickle.dumps(Mine(protocol), protocol)).value == protocol
    assert pickle.load(io.BytesIO(pickle.dumps({"a": 1.5}, protocol))) == {"a": 1.5}


@pytest.mark.usefixtures("nobody")
def test_functions_by_value() -> None:
    made = pickle.loads(cloudpickle.dumps(lambda x: x + 1))
    assert made(1) == 2
    with pytest.raises(LoadBlocked):
        pickle.loads(cloudpickle.dumps(lambda x: x + 2) + b"\n")


@pytest.mark.usefixtures("nobody")
def test_values_of_a_shelf_are_recorded() -> None:
    with shelve.open("shelf") as shelf:
        shelf["mine"] = Mine(9)
        data = shelf.dict[b"mine"]
    assert pickle.load(io.BytesIO(data)).value == 9
    ledger.settle()
    assert [w.saver for w in OwnWork().all()] == ["shelve"]


@pytest.mark.usefixtures("nobody")
def test_a_file_that_is_saved_again_and_again() -> None:
    """Within one tick of the file system's clock, at the same size."""
    for number in range(30):
        np.save("same.npy", np.array([Mine(number)], dtype=object))
        assert np.load("same.npy", allow_pickle=True)[0].value == number


@pytest.mark.usefixtures("nobody")
def test_a_saver_that_wrote_nothing_vouches_for_nothing() -> None:
    from nbguard.hooks.savers import SAVERS, engine

    Path("theirs.pt").write_bytes(b"theirs")
    os.utime("theirs.pt")
    saver = next(s for s in SAVERS if s.name == "torch.save")
    before = engine._Before.of(saver, "theirs.pt")
    assert before is not None
    before.begun += 3_600
    before.note(saver)
    ledger.settle()
    assert OwnWork().all() == ()


def test_in_the_place_of_c_functions() -> None:
    class Serializer:
        dumps = pickle.dumps
        dump = pickle.dump

    assert pickle.loads(Serializer().dumps([1])) == [1]
    assert b"pickle" in pickle.dumps(pickle.dumps), "by its name"
    assert pickle.dumps([1], 2, fix_imports=True) == b"\x80\x02]q\x00K\x01a."
    assert "pickle.dumps" in repr(pickle.dumps)
    buffers: list[Any] = []
    pickle.dumps(pickle.PickleBuffer(b"abc"), 5, buffer_callback=buffers.append)
    assert len(buffers) == 1


def test_known_harm_is_asked_about_whoever_wrote_it(person: Asker) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    person.choice = "refuse"
    torch.save(Harmful(), "harmful.pt")
    with pytest.raises(LoadBlocked):
        load_torch("harmful.pt")
    assert person.verdicts == ["danger"]
    assert len(OwnWork().all()) == 1
