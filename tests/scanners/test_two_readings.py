"""Bytes that are read in two ways: both count, and nothing is said twice."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

from nbguard.report import words
from nbguard.report.model import Severity, Verdict
from nbguard.scanners import scan


class Call:
    """Pickles as a call of a function; nothing in these tests loads one."""

    def __init__(self, function: object, argument: str) -> None:
        self.function, self.argument = function, argument

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return self.function, (self.argument,)


def test_a_pickle_that_joblib_may_read_too_names_its_harm_once(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Call(joblib.load, "other.joblib")))
    report = scan(str(path))
    assert report.verdict is Verdict.DANGER
    critical = [f for f in report.findings if f.severity is Severity.CRITICAL]
    assert len(critical) == 1
    assert critical[0].location != "@ 0x0"
    assert {p.container for p in report.contract.programs} == {"joblib", "pickle"}
    told = words.contract_sentences(report)[0]
    assert "1 pickle program:" in told
    assert words.size(path.stat().st_size) in told


def test_the_head_of_an_array_is_not_told_as_a_broken_pickle(tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([Call(os.system, "true")], dtype=object), allow_pickle=True)
    report = scan(str(path))
    assert report.verdict is Verdict.DANGER
    assert [f.rule for f in report.findings] == ["pickle.gadget"]


def test_a_program_among_the_numbers_of_an_array_still_counts(tmp_path: Path) -> None:
    path = tmp_path / "numbers.npy"
    np.save(path, np.frombuffer(pickle.dumps(Call(os.system, "true")), dtype="u1"))
    assert scan(str(path)).verdict is Verdict.DANGER


def objects(*values: object) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


MIXED: dict[str, object] = {
    "a key in the place": {"train": objects("a"), "val": objects("b"), "test": objects("c")},
    "a class in the place": {"labels": objects("yes", "no")},
    "a key that is no name": {"a": 1, "b": 2, "my key": 3, "o": objects("x")},
    "arrays in arrays": {"o": objects(objects(1, 2), {"z": objects("x")})},
}


@pytest.mark.parametrize("name", MIXED)
def test_an_array_of_objects_is_no_harm_to_a_reader_with_another_memo(name: str, tmp_path: Path) -> None:
    """`numpy`, as numpy's own pickle keeps it, is another text to who reads it with the outer program's memo."""
    joblib.dump(MIXED[name], tmp_path / "m.joblib")
    report = scan(str(tmp_path / "m.joblib"))
    assert report.verdict is Verdict.SAFE, [f.message for f in report.findings]


def test_what_else_the_outer_memo_makes_of_it_still_counts(tmp_path: Path) -> None:
    """The same file, with a payload in the array that joblib takes for an item and others for their own."""
    out = tmp_path / "m.joblib"
    joblib.dump({"labels": objects("yes", Call(os.system, "true"))}, out)
    assert scan(str(out)).verdict is Verdict.DANGER
    data = out.read_bytes()
    with_extension = data.replace(b"\x8c\x03yes", b"\x82\x01\x8c\x00", 1)
    assert with_extension != data
    out.write_bytes(with_extension)
    assert scan(str(out)).verdict is Verdict.DANGER


def test_harm_behind_bytes_that_are_no_program_is_told(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    harmful = pickle.dumps(Call(os.system, "true"))
    for between in (b"\xfe", b"\xfe" * 1000, b"\x00\x80\x04junk\xff"):
        place.write_bytes(pickle.dumps({"a": 1}) + between + harmful)
        assert scan(str(place)).verdict is Verdict.DANGER, between[:8]


def test_chance_bytes_behind_a_pickle_are_no_harm(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(
        pickle.dumps({"a": 1}) + b"\xff" + b"\x80\x02c\x01\x02\nsystem\n(X" + bytes(100) + b"\x80\x04." * 20
    )
    report = scan(str(place))
    assert report.verdict is Verdict.SAFE
    assert [f.rule for f in report.findings] == ["pickle.trailing-bytes"]
