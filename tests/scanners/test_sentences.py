"""What a report says in words: a sentence that leads, classes and functions told apart, nothing said twice."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from nbguard.report.model import Verdict
from nbguard.scanners import scan


def test_classes_are_built_and_functions_are_used(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": Ridge(), "score": roc_auc_score}))
    report = scan(str(path))
    assert [f.message for f in report.findings] == ["Builds objects of scikit-learn (Ridge) and uses roc_auc_score."]
    first, second = report.summary
    assert first.startswith("Loading this builds objects of sklearn: ")
    assert "roc_auc_score" not in first
    assert second.startswith("It also uses ")


def test_plain_text_is_called_text(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello world\n")
    report = scan(str(tmp_path / "notes.txt"))
    assert report.verdict is Verdict.SAFE
    assert report.summary == ("A text file; no loader runs anything from it.",)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"x" * 50, pickle.dumps(list(range(900)))[:50]])
def test_what_cannot_be_read_is_said_once_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    report = scan(str(path))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert all(f.meaning and f.remedy for f in report.findings)
    assert report.summary[0].startswith("What loading this would do cannot be said. ")
    assert " ".join(report.summary).count("could not be read to") <= 1
