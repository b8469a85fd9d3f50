"""The audit log: complete, in order, and every way of altering it shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nbguard.approvals import AuditLog, RecordError


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "data" / "audit.jsonl")


def filled(log: AuditLog, count: int = 5) -> list[bytes]:
    for number in range(count):
        log.record("load.allowed", target=f"model-{number}.pt")
    return log.path.read_bytes().splitlines(keepends=True)


def test_an_empty_log_is_in_order(log):
    assert log.verify().ok
    assert list(log.entries()) == []
    assert not log.path.exists()


def test_entries_are_chained_numbered_and_private(log):
    filled(log)
    entries = list(log.entries())
    assert [e["n"] for e in entries] == [1, 2, 3, 4, 5]
    assert [e["prev"] for e in entries[1:]] == [e["hash"] for e in entries[:-1]]
    assert {"time", "user", "pid", "event", "target"} <= set(entries[0])
    check = log.verify()
    assert (check.ok, check.entries, check.line) == (True, 5, None)
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.head_path.stat().st_mode & 0o777 == 0o600
    assert [e["n"] for e in log.tail(2)] == [4, 5]


def test_a_changed_line_is_named(log):
    lines = filled(log)
    lines[2] = lines[2].replace(b"model-2", b"model-9")
    log.path.write_bytes(b"".join(lines))
    check = log.verify()
    assert (check.ok, check.line) == (False, 3)
    assert "Line 3" in check.problem


def test_a_removed_line_is_named(log):
    lines = filled(log)
    log.path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert log.verify().line == 2


def test_an_inserted_line_is_named(log):
    lines = filled(log)
    log.path.write_bytes(b"".join([*lines[:2], lines[0], *lines[2:]]))
    assert log.verify().line == 3


def test_lines_that_changed_places_are_named(log):
    lines = filled(log)
    log.path.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert log.verify().line == 2


@pytest.mark.parametrize(
    "junk", [b"{}\n", b"nonsense\n", b"[" * 100_000 + b"\n", b'{"hash": 1}\n', b"\xff\xfe\n", b"half"]
)
def test_a_line_that_is_no_entry_is_named(log, junk):
    lines = filled(log, 2)
    log.path.write_bytes(b"".join([lines[0], junk]))
    assert log.verify().line == 2


def test_a_cut_off_tail_shows(log):
    lines = filled(log)
    log.path.write_bytes(b"".join(lines[:3]))
    check = log.verify()
    assert not check.ok
    assert "ends after 3 entries, but 5" in check.problem


def test_a_log_that_was_emptied_or_removed_shows(log):
    filled(log)
    log.path.write_bytes(b"")
    assert not log.verify().ok
    log.path.unlink()
    assert not log.verify().ok


def test_a_missing_head_file_shows(log):
    filled(log)
    log.head_path.unlink()
    assert "head file is missing" in log.verify().problem


@pytest.mark.parametrize("how", ["cut", "no head", "bad head", "appended"])
def test_nothing_is_written_to_a_log_that_was_altered(log, how):
    lines = filled(log)
    match how:
        case "cut":
            log.path.write_bytes(b"".join(lines[:-1]))
        case "no head":
            log.head_path.unlink()
        case "bad head":
            log.head_path.write_text("{}")
        case "appended":
            log.path.write_bytes(b"".join(lines) + b"{}\n")
    with pytest.raises(RecordError, match="altered"):
        log.record("load.allowed")


def test_a_writer_that_died_in_the_middle_of_a_line_is_made_up_for(log):
    lines = filled(log, 2)
    log.path.write_bytes(b"".join(lines) + b'{"event": "lo')
    log.record("load.allowed")
    assert (log.verify().ok, log.verify().entries) == (True, 3)


def test_a_writer_that_died_before_the_head_is_made_up_for(log):
    filled(log, 2)
    head = log.head_path.read_bytes()
    log.record("load.allowed")
    log.head_path.write_bytes(head)
    assert log.verify().ok
    log.record("load.refused")
    assert (log.verify().ok, log.verify().entries) == (True, 4)


def test_a_full_disk_leaves_no_half_line(log, monkeypatch):
    filled(log, 1)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left"):
        log.record("load.allowed")
    monkeypatch.undo()
    assert (log.verify().ok, log.verify().entries) == (True, 1)


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        AuditLog(tmp_path / "file" / "audit.jsonl").record("load.allowed")
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        AuditLog(tmp_path / "audit.jsonl").record("load.allowed")


def test_a_link_in_place_of_the_log_is_refused(tmp_path):
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError):
        AuditLog(tmp_path / "audit.jsonl").record("load.allowed")
    assert not (tmp_path / "elsewhere").exists()


def test_hostile_fields_stay_one_bounded_line(log):
    log.record(
        "load.refused",
        target="a\nb\udcff" + "x" * 100_000,
        hash="forged",
        n=99,
        prev="x",
        odd=object(),
        many=[float("nan")],
    )
    raw = log.path.read_bytes()
    assert raw.count(b"\n") == 1
    assert len(raw) < 5_000
    assert json.loads(raw)["n"] == 1
    assert log.verify().ok


def test_threads_write_one_chain(log):
    def write() -> None:
        for _ in range(10):
            log.record("load.allowed")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (log.verify().ok, log.verify().entries) == (True, 40)


def test_processes_write_one_chain(log):
    code = (
        "import pathlib, sys\nfrom nbguard.approvals import AuditLog\n"
        "for n in range(15): AuditLog(pathlib.Path(sys.argv[1])).record('load.allowed', n_th=n)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(log.path)]) for _ in range(3)]
    assert [p.wait() for p in running] == [0, 0, 0]
    assert (log.verify().ok, log.verify().entries) == (True, 45)
