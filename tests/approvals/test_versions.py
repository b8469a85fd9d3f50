"""What was accepted before is told in the next question; it never lets anything load."""

from __future__ import annotations

import os
import pickle
import sqlite3
import time
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nbguard import scanners, settings
from nbguard.approvals import RecordError, Store, find, versions
from nbguard.approvals.differences import between
from nbguard.artifact.sources import Opened, open_path
from nbguard.report import html, text
from nbguard.report.advice import Since
from nbguard.report.model import Report


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def looked_at(place: Path) -> tuple[Report, Opened]:
    opened = open_path(place)
    return scanners.scan_opened(opened), opened


def accept(place: Path, how: Any = "once", reason: str = "") -> Report:
    report, opened = looked_at(place)
    with opened:
        given = Store().remember(report, opened, "ada", reason).id if how == "always" else ""
        versions.remember(report, opened, "ada", reason, how, given)
    return report


def since(place: Path) -> Since | None:
    report, opened = looked_at(place)
    with opened:
        return versions.since(report, opened)


def folder(root: Path, **files: str | bytes) -> Path:
    root.mkdir(exist_ok=True)
    for key, data in files.items():
        name = key.replace("__", ".")
        (root / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


CODE = "import torch\n\n\nclass Tiny(torch.nn.Module):\n    def forward(self, x):\n        return x + 1\n"


def test_nothing_is_said_of_what_nobody_accepted(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1, 2]))
    assert since(place) is None
    accept(place)
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps([3]))
    assert since(other) is None


def test_the_same_content_says_who_accepted_it(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1, 2]))
    accept(place, reason="tried it out")
    found = since(place)
    assert found is not None
    assert (found.same, found.who, found.reason, found.how) == (True, "ada", "tried it out", "once")
    assert not found.differs
    assert abs(found.when - time.time()) < 60


def test_once_is_no_approval(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1, 2]))
    accept(place, "once")
    report, opened = looked_at(place)
    with opened:
        assert find(report, opened) is None
    accept(place, "always")
    report, opened = looked_at(place)
    with opened:
        assert find(report, opened) is not None


def test_an_approval_is_told_with_what_became_of_it(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1, 2]))
    accept(place, "always")
    found = since(place)
    assert found is not None
    assert (found.how, found.standing) == ("always", "in force")
    Store().revoke(found.approval)
    found = since(place)
    assert found is not None
    assert found.standing == "revoked"
    report, opened = looked_at(place)
    with opened:
        page = text.render(_with(report, found))
    assert "which is revoked" in page


def test_changed_files_code_and_globals_are_told(tmp_path: Path) -> None:
    place = folder(
        tmp_path / "repo",
        modeling_tiny__py=CODE,
        config__json='{"auto_map": {"AutoModel": "modeling_tiny.Tiny"}}',
        weights__pkl=pickle.dumps({"a": 1}),
        old__pkl=pickle.dumps(1),
    )
    accept(place)
    (place / "old.pkl").unlink()
    folder(
        place,
        modeling_tiny__py=CODE.replace("x + 1", "x * 2"),
        weights__pkl=pickle.dumps(OrderedDict(a=timedelta(1))),
        new__pkl=pickle.dumps(2),
    )
    found = since(place)
    assert found is not None
    assert found.changed == ("modeling_tiny.py", "weights.pkl")
    assert found.added == ("new.pkl",)
    assert found.removed == ("old.pkl",)
    assert set(found.globals_added) == {"collections.OrderedDict", "datetime.timedelta"}
    (change,) = found.code
    assert change.path == "modeling_tiny.py"
    assert "-        return x + 1" in change.diff
    assert "+        return x * 2" in change.diff
    assert change.diff.startswith("@@ -4,")
    assert found.differs


def test_each_face_renders_it_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m$\\href{x}$"
    place = folder(tmp_path / "repo", modeling__py=CODE, weights__pkl=pickle.dumps(1))
    accept(place, reason=hostile)
    folder(place, modeling__py=CODE + f"# {hostile}\n", weights__pkl=pickle.dumps(2))
    report, opened = looked_at(place)
    with opened:
        report = _with(report, versions.since(report, opened))
    page = html.render(report)
    assert "<script>" not in page
    assert "What changed since it was accepted" in page
    assert "ada" in page
    plain = text.render(report)
    assert "\x1b" not in plain
    assert "Changed: modeling.py, weights.pkl" in plain
    assert report.to_json()["since_accepted"]["files"]["changed"] == ["modeling.py", "weights.pkl"]
    assert "since_accepted" not in looked_at(place)[0].to_json()


def test_a_part_of_what_was_accepted_is_no_change(tmp_path: Path) -> None:
    place = folder(tmp_path / "repo", a__pkl=pickle.dumps(1), b__pkl=pickle.dumps(2))
    accept(place)
    report, opened = looked_at(place)
    with opened:
        narrowed = _without(report, "b.pkl")
        assert versions.since(narrowed, opened) is None


def test_a_file_in_the_hub_cache_goes_by_its_repository(tmp_path: Path) -> None:
    for commit, data in (("a" * 40, pickle.dumps(1)), ("b" * 40, pickle.dumps([2]))):
        place = tmp_path / "hub" / "models--org--name" / "snapshots" / commit
        place.mkdir(parents=True)
        (place / "model.pkl").write_bytes(data)
        found = since(place / "model.pkl")
        if commit.startswith("a"):
            accept(place / "model.pkl")
    assert found is not None
    assert found.changed == ("model.pkl",)


def test_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "KEPT_FOR_A_NAME", 3)
    monkeypatch.setattr(versions, "TEXTS_BYTES", 400)
    place = tmp_path / "repo"
    for number in range(6):
        accept(folder(place, modeling__py=f"{CODE}# {os.urandom(200).hex()}\n", a__pkl=pickle.dumps(number)))
    db = sqlite3.connect(settings.data_dir() / versions.FILE_NAME)
    assert db.execute("SELECT count(*) FROM versions").fetchone()[0] == 3
    assert db.execute("SELECT total(length(data)) FROM texts").fetchone()[0] <= 400
    db.close()
    folder(place, modeling__py=CODE, a__pkl=pickle.dumps("x"))
    found = since(place)
    assert found is not None
    assert found.changed == ("a.pkl", "modeling.py")


def test_what_others_can_write_is_not_told(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1]))
    accept(place)
    records = settings.data_dir() / versions.FILE_NAME
    assert records.stat().st_mode & 0o777 == 0o600
    records.chmod(0o666)
    with pytest.raises(RecordError, match="others can write"):
        since(place)
    records.chmod(0o600)
    records.write_bytes(b"no database" * 100)
    with pytest.raises(RecordError):
        since(place)


@pytest.mark.parametrize("lines", [0, 1, 5_000])
def test_differences_are_bounded_in_time_and_length(lines: int) -> None:
    before = "\n".join(f"{'a' * (n % 7)} = {n % 3}" for n in range(lines)).encode()
    after = "\n".join(f"{'a' * (n % 5)} = {n % 4}" for n in range(lines)).encode()
    change = between("m.py", before, after)
    assert change.diff.count("\n") <= 80
    assert all(len(row) <= 401 for row in change.diff.split("\n"))


def test_one_line_in_a_long_file_is_found() -> None:
    lines = [f"x{n} = {n}" for n in range(20_000)]
    before = "\n".join(lines).encode()
    lines[15_000] = "x = 'other'"
    change = between("m.py", before, "\n".join(lines).encode())
    assert change.diff.startswith("@@ -14999,5 +14999,5 @@")
    assert "-x15000 = 15000" in change.diff
    assert "+x = 'other'" in change.diff


def _with(report: Report, found: Since | None) -> Report:
    from dataclasses import replace

    return replace(report, advice=replace(report.advice, since=found))


def _without(report: Report, path: str) -> Report:
    from dataclasses import replace

    files = tuple(replace(f, inert=f.path == path) for f in report.files)
    artifact = replace(report.artifact, files=tuple(f for f in report.artifact.files if f.path != path))
    return replace(report, files=files, artifact=artifact)


def test_the_short_form_says_it_without_the_code(tmp_path: Path) -> None:
    place = folder(tmp_path / "repo", modeling__py=CODE, weights__pkl=pickle.dumps(1))
    accept(place)
    folder(place, modeling__py=CODE + "EXTRA = 1\n")
    report, opened = looked_at(place)
    with opened:
        short = text.brief(_with(report, versions.since(report, opened)))
    assert "Changed: modeling.py" in short
    assert "EXTRA" not in short


def test_approving_on_the_command_line_counts_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nbguard import cli

    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1]))
    assert cli.main(["approve", str(place), "--reason", "ours"]) == 0
    place.write_bytes(pickle.dumps([2]))
    capsys.readouterr()
    assert cli.main(["scan", str(place)]) == 0
    out = capsys.readouterr().out
    assert "What changed since it was accepted" in out
    assert "Reason given: ours" in out
    assert "which is in force" in out


def test_the_last_approval_is_told_besides_what_was_accepted_once(tmp_path: Path) -> None:
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps([1]))
    accept(place, "always", "reviewed")
    for _ in range(20):
        place.write_bytes(pickle.dumps([2]))
        accept(place, "once")
    place.write_bytes(pickle.dumps([3]))
    report, opened = looked_at(place)
    with opened:
        found = versions.since(report, opened)
        assert found is not None
        page = text.render(_with(report, found))
    assert found.how == "once"
    assert found.approved is not None
    assert (found.approved.how, found.approved.reason) == ("always", "reviewed")
    assert "accepted what had this name for one load" in page
    assert "Reason given: reviewed" in page
    assert page.index("for one load") < page.index("Reason given: reviewed")
