"""Records of own work: under the user's own key, bounded, and worth nothing where others could have made them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nbguard.approvals import own
from nbguard.approvals.model import RecordError
from nbguard.approvals.own import OwnWork, Written
from nbguard.approvals.user_key import LENGTH, user_key

ONE = Written("ab" * 32, 10, "file", "torch", "torch.save", "/home/someone/ckpt.pt", 0.0)


def written(**change: object) -> Written:
    return replace(ONE, **{"written": time.time(), **change})  # type: ignore[arg-type]


def test_what_was_written_is_found_by_digest_and_size(tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    assert not work.there()
    assert work.find(ONE.sha256, 10) == ()
    assert not (tmp_path / own.FILE_NAME).exists(), "looking makes nothing"
    record = written(identity="1:2:10:3:4")
    work.add([record])
    assert work.find(ONE.sha256, 10) == (record,)
    assert work.find(ONE.sha256, 11) == work.find("cd" * 32, 10) == ()
    assert work.at("1:2:10:3:4", 10) == (record,)
    assert work.at("", 10) == work.at("1:2:10:3:5", 10) == ()
    assert work.any_of_size(10)
    assert not work.any_of_size(11)


def test_only_this_user_can_read_or_write_them(tmp_path: Path) -> None:
    OwnWork(tmp_path / "new").add([written()])
    for name in (own.FILE_NAME, own.KEY_NAME):
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "new" / own.KEY_NAME).read_bytes()) == LENGTH


@pytest.mark.parametrize("column", ["sha256", "size", "piece", "family", "saver", "path", "written", "identity"])
def test_a_record_that_was_changed_counts_for_nothing(column: str, tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    work.add([written()])
    value: object = {"size": 11, "written": time.time() + 1}.get(column, "ef" * 32)
    with sqlite3.connect(work.path) as db:
        db.execute(f"UPDATE own SET {column} = ?", (value,))
    assert work.all() == ()


def test_a_record_of_another_user_counts_for_nothing(tmp_path: Path) -> None:
    theirs, mine = OwnWork(tmp_path / "theirs"), OwnWork(tmp_path / "mine")
    theirs.add([written()])
    mine.add([written(sha256="cd" * 32)])
    os.replace(theirs.path, mine.path)
    assert mine.all() == ()


def test_records_without_their_key_count_for_nothing(tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    work.add([written()])
    work.key_path.unlink()
    assert work.all() == ()
    work.add([written(sha256="cd" * 32)])
    assert [w.sha256 for w in work.all()] == ["cd" * 32]


@pytest.mark.parametrize("name", [own.FILE_NAME, own.KEY_NAME])
@pytest.mark.parametrize("mode", [0o622, 0o606])
def test_what_others_can_write_is_refused(name: str, mode: int, tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    work.add([written()])
    (tmp_path / name).chmod(mode)
    with pytest.raises(RecordError, match="by others"):
        work.find(ONE.sha256, 10)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    work.add([written()])
    work.key_path.chmod(0o644)
    with pytest.raises(RecordError, match="by others"):
        work.add([written()])


@pytest.mark.parametrize("kind", ["link", "short", "folder", "pipe"])
def test_what_is_no_key_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "own.key"
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(b"k" * LENGTH)
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "short":
        path.touch(mode=0o600)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(RecordError):
        user_key(path)


def test_two_first_uses_agree_on_one_key(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from nbguard.approvals.user_key import user_key
print(user_key(Path({str(tmp_path / "own.key")!r})).hex())
"""
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({child.communicate()[0] for child in running}) == 1
    assert os.listdir(tmp_path) == ["own.key"]


def test_they_are_bounded_in_number_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MOST", 40)
    work = OwnWork(tmp_path)
    now = time.time()
    work.add([written(path=f"/{number}", written=now + number) for number in range(60)])
    kept = [w.path for w in work.all()]
    assert len(kept) <= 40
    assert kept[0] == "/59", "the oldest go first"
    monkeypatch.setattr(own, "DAYS", 0)
    assert all(w.written >= now for w in work.all())
    with sqlite3.connect(work.path) as db:
        db.execute("DELETE FROM own")
    monkeypatch.setattr(own, "DAYS", 1)
    work.add([written(written=now - 2 * 86_400)])
    assert work.all() == ()


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    work.add([written()])
    work.path.write_bytes(b"not a database" * 100)
    with pytest.raises(RecordError, match="cannot be used"):
        work.all()


def test_paths_of_any_bytes_are_kept(tmp_path: Path) -> None:
    work = OwnWork(tmp_path)
    work.add([written(path=os.fsdecode(b"/caf\xe9") + "x" * 2_000)])
    (record,) = work.all()
    assert record.path.startswith("/caf\\udce9")
    assert len(record.path) <= own.MAX_TEXT + 10
