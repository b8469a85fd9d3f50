"""What was accepted for a moment: in force in every thread, for this content only, and not a moment longer."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from nbguard.approvals import Store, accepted, find
from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.artifact.sources import open_bytes, open_path
from nbguard.report.model import Contract, FileReport, Program, Report, Verdict


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "nbguard-data"))


def report(pin: str = "sha256:aa", verdict: Verdict = Verdict.REVIEW, name: str = "m.pkl", size: int = 3) -> Report:
    artifact = Artifact(name, "path", (ArtifactFile(name, size, "pickle", pin),))
    contract = Contract(programs=(Program(name, "", 0, 3, pin, "pickle"),))
    return Report(name, artifact, (FileReport(name, size, "pickle", verdict, pin=pin),), contract=contract)


def test_in_force_within_the_block_and_in_other_threads():
    seen = []
    with open_bytes(b"abc") as opened, accepted([(report(), opened)], "ada"):
        assert find(report()).who == "ada"
        thread = threading.Thread(target=lambda: seen.append(find(report())))
        thread.start()
        thread.join()
    assert seen[0] is not None
    assert find(report()) is None
    assert Store().list() == ()


def test_not_in_force_after_an_error():
    with open_bytes(b"abc") as opened, pytest.raises(ValueError, match="x"), accepted([(report(), opened)], "ada"):
        raise ValueError("x")
    assert find(report()) is None


def test_other_content_and_worse_verdicts_are_not_covered():
    with open_bytes(b"abc") as opened, accepted([(report(), opened)], "ada"):
        assert find(report("sha256:bb")) is None
        assert find(report(verdict=Verdict.DANGER)) is None
        assert find(report(verdict=Verdict.UNVERIFIABLE)) is None
        assert find(replace(report(), contract=Contract(effects=("os.system",)))) is None
        assert find(report(verdict=Verdict.SAFE)) is not None


def test_the_unverifiable_cannot_be_accepted():
    bad = report(verdict=Verdict.UNVERIFIABLE)
    with open_bytes(b"abc") as opened, accepted([(bad, opened)], "ada"):
        assert find(bad) is None
        assert find(report(verdict=Verdict.SAFE)) is None


def test_bulk_data_is_the_same_file_or_asked_about(tmp_path):
    one, other = tmp_path / "m.pkl", tmp_path / "copy" / "m.pkl"
    other.parent.mkdir()
    one.write_bytes(b"abc")
    other.write_bytes(b"xyz")
    big = report("layout:99")
    with open_path(one) as opened, open_path(other) as elsewhere, accepted([(big, opened)], "ada"):
        assert find(big, opened) is not None
        assert find(big, elsewhere) is None
        assert find(big) is None
        one.write_bytes(b"abd")
        assert find(big, opened) is None


def test_an_approval_given_before_is_found_too():
    Store().add(report(), "ada", "")
    assert find(report()).who == "ada"


def test_an_approval_that_is_older_than_the_site_now_allows_counts_no_more(tmp_path, monkeypatch):
    import time

    from nbguard.approvals import session

    Store().add(report(), "ada", "", expires=None)
    config = tmp_path / "config.toml"
    config.write_text("[approvals]\ndays = 30\n")
    monkeypatch.setenv("NBGUARD_CONFIG", str(config))
    assert find(report()) is not None
    now = time.time()
    monkeypatch.setattr(session.time, "time", lambda: now + 32 * 86_400)
    assert find(report()) is None
