"""Bytes that are read in two ways: both count, and nothing is said twice."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import joblib
import numpy as np

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
