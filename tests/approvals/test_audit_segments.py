"""The audit log over segments: one chain, and what is missing shows unless an entry says that it was deleted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbguard.approvals import AuditLog, RecordError
from nbguard.approvals.audit import Keeping
from nbguard.approvals.audit_check import check_file
from nbguard.approvals.audit_filters import EntryFilter

DAY = 86_400.0


def small(path: Path, **keeping: object) -> AuditLog:
    """A new segment after about three entries."""
    return AuditLog(path / "audit.jsonl", Keeping(segment_bytes=700, **keeping))


def filled(path: Path, count: int = 12, **keeping: object) -> AuditLog:
    log = small(path, **keeping)
    for number in range(count):
        log.record("load.allowed", target=f"model-{number:03}.pt")
    return log


def segments(log: AuditLog) -> list[Path]:
    return [path for _, path in log.files.segments()]


def test_one_chain_goes_over_all_segments(tmp_path):
    log = filled(tmp_path)
    assert len(segments(log)) >= 3
    entries = list(log.entries())
    assert [e["n"] for e in entries] == list(range(1, 13))
    assert [e["prev"] for e in entries[1:]] == [e["hash"] for e in entries[:-1]]
    check = log.verify()
    assert (check.ok, check.entries, check.removed) == (True, 12, 0)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in segments(log))
    first = json.loads(segments(log)[1].read_bytes().splitlines()[0])
    assert first["prev"] == json.loads(segments(log)[0].read_bytes().splitlines()[-1])["hash"]
    assert [e["n"] for e in log.tail(5)] == [8, 9, 10, 11, 12]
    assert log.tail(0) == []


def test_a_changed_line_of_a_finished_segment_is_named(tmp_path):
    log = filled(tmp_path)
    second = segments(log)[1]
    second.write_bytes(second.read_bytes().replace(b"load.allowed", b"load.refused", 1))
    check = log.verify()
    assert (check.ok, check.line, check.file) == (False, 1, second.name)
    assert second.name in check.problem


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "middle", "last"])
def test_a_missing_segment_is_named(tmp_path, which):
    log = filled(tmp_path)
    segments(log)[which].unlink()
    check = log.verify()
    assert not check.ok
    assert "missing" in check.problem
    log.record("load.allowed")  # what is at the end still fits; the gap stays
    assert not log.verify().ok


def test_segments_that_changed_places_show(tmp_path):
    log = filled(tmp_path)
    one, two = segments(log)[:2]
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    assert not log.verify().ok


def test_a_truncated_segment_is_named(tmp_path):
    log = filled(tmp_path)
    second = segments(log)[1]
    second.write_bytes(b"".join(second.read_bytes().splitlines(keepends=True)[:-1]))
    check = log.verify()
    assert not check.ok
    assert second.name in check.problem
    assert "missing at its end" in check.problem


def test_a_segment_put_twice_shows(tmp_path):
    log = filled(tmp_path)
    *_, last = segments(log)
    number = int(last.stem.rpartition("-")[2])
    log.files.segment(number + 1).write_bytes(last.read_bytes())
    assert not log.verify().ok


def test_a_segment_that_is_in_the_way_is_not_overwritten(tmp_path):
    log = filled(tmp_path, 3)
    log.files.segment(1).write_text("something else")
    while log.path.stat().st_size < 700:
        log.record("load.allowed")
    with pytest.raises(RecordError, match="did not write"):
        log.record("load.allowed")
    assert log.files.segment(1).read_text() == "something else"


def test_a_writer_that_died_between_segment_and_head_is_made_up_for(tmp_path):
    log = filled(tmp_path, 3)
    head = log.files.read_head()
    os.rename(log.path, log.files.segment(1))
    assert log.verify().ok
    log.record("load.allowed")
    check = log.verify()
    assert (check.ok, check.entries) == (True, 4)
    assert log.files.read_head().segment == head.segment + 1


def test_a_log_of_before_there_were_segments_goes_on(tmp_path):
    log = filled(tmp_path, 2)
    head = json.loads(log.head_path.read_bytes())
    head.pop("segment")
    log.head_path.write_text(json.dumps(head))
    log.record("load.allowed")
    assert (log.verify().ok, log.verify().entries) == (True, 3)


def test_processes_write_one_chain_while_segments_are_finished_and_deleted(tmp_path):
    code = (
        "import pathlib, sys\nfrom nbguard.approvals import AuditLog\nfrom nbguard.approvals.audit import Keeping\n"
        "log = AuditLog(pathlib.Path(sys.argv[1]), Keeping(segment_bytes=700, segments=int(sys.argv[2])))\n"
        "for n in range(25): log.record('load.allowed', nth=n)"
    )
    for keep in ("0", "2"):
        log = small(tmp_path / keep)
        running = [subprocess.Popen([sys.executable, "-c", code, str(log.path), keep]) for _ in range(4)]
        assert [p.wait() for p in running] == [0, 0, 0, 0]
        check = log.verify()
        assert check.ok, check.problem
        written = [e for e in log.entries() if e["event"] == "load.allowed"]
        if keep == "0":
            assert (check.entries, len(written)) == (100, 100)
        else:
            assert check.removed > 50
            assert len(segments(log)) <= 3
            assert check.removed + check.entries == log.files.read_head().entries


# --- what is kept, and for how long ----------------------------------------------------------------------------------


def test_deleting_on_purpose_leaves_a_log_that_is_in_order_and_says_so(tmp_path):
    log = filled(tmp_path)
    before = segments(log)
    assert [s.path for s in log.prune(segments=1, dry_run=True)] == before[:-1]
    assert segments(log) == before
    gone = log.prune(segments=1)
    assert [s.path for s in gone] == before[:-1]
    assert segments(log) == before[-1:]
    check = log.verify()
    assert (check.ok, check.removed) == (True, gone[-1].last)
    assert check.removed_until == gone[-1].until
    entry = log.tail(1)[0]
    assert entry["event"] == "audit.pruned"
    assert entry["removed"] == gone[-1].last
    assert [s["segment"] for s in entry["segments"]] == list(range(1, len(gone) + 1))
    assert entry["segments"][0]["sha256"] == gone[0].sha256
    log.record("load.allowed")
    assert log.verify().ok


def test_all_finished_segments_can_go(tmp_path):
    log = filled(tmp_path)
    log.prune(segments=0)
    assert segments(log) == []
    assert log.verify().ok
    assert log.verify().removed > 0
    for _ in range(6):
        log.record("load.allowed")
    assert log.verify().ok
    log.prune(segments=0)
    assert log.verify().ok


def test_more_that_goes_missing_than_was_deleted_shows(tmp_path):
    log = filled(tmp_path, 20)
    log.prune(segments=3)
    segments(log)[0].unlink()
    check = log.verify()
    assert not check.ok
    assert "no entry says" in check.problem


def test_an_entry_about_other_segments_does_not_excuse(tmp_path):
    log = filled(tmp_path, 20)
    log.record("audit.pruned", segments=[{"segment": 1, "last": 1, "hash": "0" * 64}, "nonsense", {"segment": "x"}])
    segments(log)[0].unlink()
    assert not log.verify().ok


def test_a_writer_that_died_before_the_files_were_deleted_leaves_a_log_in_order(tmp_path, monkeypatch):
    log = filled(tmp_path)
    monkeypatch.setattr(log.files, "remove", lambda paths: paths[0].unlink())
    log.prune(segments=1)
    assert log.verify().ok
    monkeypatch.undo()
    log.prune(segments=1)
    assert log.verify().ok
    assert len(segments(log)) <= 2


def test_old_segments_go_by_themselves_when_a_new_one_begins(tmp_path, monkeypatch):
    log = filled(tmp_path, 8)
    later = AuditLog(log.path, Keeping(segment_bytes=700, days=30))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * DAY)
    for _ in range(4):
        later.record("load.allowed")
    check = later.verify()
    assert check.ok
    assert check.removed >= 3
    assert "audit.pruned" in {e["event"] for e in later.entries()}


def test_the_last_segments_stay_by_number(tmp_path):
    log = filled(tmp_path, 30, segments=2)
    assert len(segments(log)) == 2
    assert log.verify().ok
    assert log.verify().removed > 10


def test_nothing_of_an_altered_log_is_deleted(tmp_path):
    log = filled(tmp_path)
    first = segments(log)[0]
    first.write_bytes(first.read_bytes().replace(b"model-000", b"model-999"))
    with pytest.raises(RecordError, match="altered"):
        log.prune(segments=0)
    assert first.exists()
    keeps = small(tmp_path, segments=1)
    for _ in range(4):
        keeps.record("load.allowed")  # stops no load
    assert first.exists()
    assert "audit.kept" in {e["event"] for e in keeps.entries()}


def test_by_age_only_what_is_old_goes(tmp_path):
    log = filled(tmp_path)
    assert log.prune(days=30) == ()
    gone = log.prune(days=30, now=time.time() + 31 * DAY)
    assert gone
    assert log.verify().ok


# --- what is not written down ----------------------------------------------------------------------------------------


def test_what_is_left_out_is_left_out_and_said(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", Keeping(leave_out=("user", "pid", "reason")))
    log.record("load.accepted", target="model.pt", who="ada", reason="because", verdict="safe")
    entry = log.tail(1)[0]
    assert not {"user", "pid", "reason"} & set(entry)
    assert entry["left_out"] == ["pid", "reason", "user"]
    assert (entry["target"], entry["who"], entry["verdict"]) == ("model.pt", "ada", "safe")
    assert b"because" not in log.path.read_bytes()
    assert log.verify().ok


def test_what_is_hashed_can_be_compared_and_not_read(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", Keeping(hash=("target", "targets", "user")))
    log.record("load.allowed", target="model.pt")
    log.record("cell.once", targets=["model.pt", "other.pt"])
    log.record("load.allowed", target=None)
    one, two, three = log.entries()
    assert one["target"] == two["targets"][0] != two["targets"][1]
    assert one["target"].startswith("hmac:")
    assert len(one["target"]) == 37
    assert three["target"] is None
    assert b"model.pt" not in log.path.read_bytes()
    salt = tmp_path / "audit.salt"
    assert salt.stat().st_mode & 0o777 == 0o600
    other = AuditLog(tmp_path / "other" / "audit.jsonl", Keeping(hash=("target",)))
    other.record("load.allowed", target="model.pt")
    assert other.tail(1)[0]["target"] != one["target"]


def test_a_sites_salt_gives_the_same_hash_to_all_its_users(tmp_path):
    (tmp_path / "salt").write_bytes(b"x" * 32)
    hashes = []
    for user in ("ada", "bob"):
        log = AuditLog(tmp_path / user / "audit.jsonl", Keeping(hash=("target",), salt_file=tmp_path / "salt"))
        log.record("load.allowed", target="model.pt")
        hashes.append(log.tail(1)[0]["target"])
    assert hashes[0] == hashes[1]


def test_without_its_salt_nothing_is_written_down_in_plain_text(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", Keeping(hash=("target",), salt_file=tmp_path / "gone"))
    with pytest.raises(RecordError, match="salt"):
        log.record("load.allowed", target="model.pt")
    (tmp_path / "gone").write_bytes(b"short")
    with pytest.raises(RecordError, match="salt"):
        log.record("load.allowed", target="model.pt")
    assert not log.path.exists()


def test_the_settings_say_what_is_left_out(tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text('[audit]\nleave_out = ["target"]\n')
    monkeypatch.setenv("NBGUARD_CONFIG", str(config))
    log = AuditLog(tmp_path / "audit.jsonl")
    log.record("load.allowed", target="model.pt")
    assert log.tail(1)[0]["left_out"] == ["target"]


# --- filters and copies ----------------------------------------------------------------------------------------------


def test_filters(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.record("load.allowed", target="org/one", verdict="safe")
    log.record("load.refused", target="org/two", verdict="danger", who="ada", why="odd things")
    log.record("cell.once", targets=["org/two", "own.pkl"], verdicts=["safe", "review"])
    entries = list(log.entries())

    def kept(**wanted: object) -> list[int]:
        return [e["n"] for e in entries if EntryFilter(**wanted).keeps(e)]

    assert kept() == [1, 2, 3]
    assert kept(event="load.*") == [1, 2]
    assert kept(target="org/two") == [2, 3]
    assert kept(target="org/*", event="cell") == [3]
    assert kept(verdict="review") == [3]
    assert kept(who="ADA") == [2]
    assert kept(text="odd THINGS") == [2]
    assert kept(since=time.time() - 60) == [1, 2, 3]
    assert kept(until=time.time() - 60) == []
    assert not EntryFilter(since=0.0).keeps({"time": "nonsense"})
    assert EntryFilter().keeps({"event": 7, "targets": 3})


def test_a_copy_can_be_checked_elsewhere(tmp_path):
    log = filled(tmp_path)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(b"".join(path.read_bytes() for path in [*segments(log), log.path]))
    assert (check_file(copy).ok, check_file(copy).entries, check_file(copy).removed) == (True, 12, 0)
    lines = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(lines[4:]))
    assert (check_file(copy).ok, check_file(copy).removed) == (True, 4)
    copy.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert (check_file(copy).ok, check_file(copy).line) == (False, 4)
    copy.write_bytes(b"")
    assert not check_file(copy).ok
    copy.write_bytes(b"{}\n")
    assert not check_file(copy).ok
