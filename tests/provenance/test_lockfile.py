"""`nbguard.lock` as a file: it comes back as it was written, always in the same bytes, and nothing else is taken."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.provenance import lock_changes
from nbguard.provenance.lockfile import NAME, Entry, Lock, LockedFile, LockError, dump, entry_of, parse, read, write
from nbguard.report.model import Contract, FileReport, GlobalUse, Report, Severity, Verdict

A, B, C = "a" * 64, "b" * 64, "c" * 64
WHEN = datetime(2026, 11, 27, 10, 30, tzinfo=UTC)


def entry(source: str = "hf://org/name", **more: object) -> Entry:
    commit = "1" * 40 if source.startswith("hf://") else ""
    made = Entry(
        source, Verdict.SAFE, (LockedFile("config.json", 12, f"sha256:{A}"),), A, B, "ada", WHEN, commit=commit
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    full = entry(
        revision="main",
        verdict=Verdict.DANGER,
        severity=Severity.CRITICAL,
        rules="12",
        reason='read "it" by ada \\ all',
        files=(
            LockedFile("a b/é.json", 1, f"sha256:{A}"),
            LockedFile("model.bin", 10**12, f"layout:{B}", C),
        ),
        globals=("os.system", "torch._utils._rebuild"),
        effects=("open",),
        modules={"utils": A},
        code_from={"org/code": "3" * 40},
        repo_id="org/name",
        owner="org",
        owner_key="k",
        repo_key="r",
        root_commit="2" * 40,
    )
    lock = Lock((full, entry("models/a.pt"), entry("../shared/x"), entry("/data/y")))
    write(str(tmp_path / NAME), lock)
    assert sorted(read(str(tmp_path / NAME)).entries, key=lambda e: e.key) == sorted(lock.entries, key=lambda e: e.key)
    assert os.listdir(tmp_path) == [NAME]
    was = full.accepted
    assert (was.name, was.commit, was.owner_key, was.root_commit) == ("org/name", "1" * 40, "k", "2" * 40)


def test_the_same_entries_give_the_same_bytes_one_file_a_line() -> None:
    entries = [entry("hf://org/b"), entry("hf://org/a"), entry("z.pt"), entry("hf://org/a", revision="v1")]
    data = dump(Lock(tuple(entries)))
    assert dump(Lock(tuple(reversed(entries)))) == data == dump(parse(data))
    assert [e.key for e in parse(data).entries] == sorted(e.key for e in entries)
    assert sum(line.startswith("  { path = ") for line in data.decode().splitlines()) == len(entries)


def test_locking_the_same_again_keeps_who_and_when() -> None:
    lock = Lock((entry(),))
    later = entry(who="bob", when=WHEN + timedelta(days=3), reason="again", rules="99")
    assert lock.with_entry(later) == lock
    assert lock.with_entry(replace(later, artifact=C)).entries[0].who == "bob"


def test_which_entry_a_revision_means() -> None:
    main, tagged = entry(), entry(revision="v1", commit="2" * 40)
    lock = Lock((main, tagged))
    assert [lock.entry("hf://org/name", r) for r in (None, "main", "v1", "2" * 40, "v2")] == [
        main, main, tagged, tagged, None,
    ]  # fmt: skip
    assert Lock((tagged,)).entry("hf://org/name", None) == tagged
    assert Lock((tagged,)).entry("hf://org/name", "main") is None


GOOD = dump(Lock((entry(),))).decode()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = 1", "version = 2", "its version is 2"),
        ("version = 1", "version = true", "its version is True"),
        ("version = 1", 'version = 1\nextra = "x"', "not known here: 'extra'"),
        ('who = "ada"', 'who = "ada"\nnew = 1', "not known here: 'new'"),
        ('who = "ada"\n', "", "lacks 'who'"),
        ('who = "ada"', 'who = "a\\u202eda"', "visible characters"),
        ('who = "ada"', "who = 1", "must be text"),
        ('verdict = "safe"', 'verdict = "unverifiable"', "'verdict' must be one of"),
        ('verdict = "safe"', "verdict = []", "'verdict' must be one of"),
        ('"config.json"', '"../config.json"', "no name of a file"),
        ('"config.json"', '"/etc/passwd"', "no name of a file"),
        ('"config.json"', '"a\\\\b"', "no name of a file"),
        ('"config.json"', '"a//b"', "no name of a file"),
        ('"config.json"', '"a\\u0000"', "visible"),
        ('"config.json"', '""', "no name of a file"),
        ("size = 12", "size = -1", "number of bytes"),
        ("size = 12", "size = 1.5", "number of bytes"),
        ("size = 12", "size = 12, evil = 1", "not known here: 'evil'"),
        (f"sha256:{A}", "sha256:zz", "is no digest"),
        (f"sha256:{A}", f"layout:{A}", "no SHA-256 of all its bytes"),
        ('"hf://org/name"', '"hf://org/../name"', "a name that the Hub accepts"),
        ('"hf://org/name"', '"file://x"', "neither"),
        ("1" * 40, "main", "commit of 40 hex digits"),
        ("when = 2026-11-27T10:30:00Z", "when = 2026-11-27", "time zone"),
        ("when = 2026-11-27T10:30:00Z", 'when = "now"', "time zone"),
        ("when = 2026-11-27T10:30:00Z", "when = 0001-01-01T00:00:00+23:59", "no moment"),
        (f'contract = "{B}"', 'contract = "x"', "must be digests"),
        ("files = [", "globals = 1\nfiles = [", "'globals' must be a list"),
        ("files = [", "modules = 1\nfiles = [", "'modules' must be a table"),
        ("files = [", 'code_from = { "a/b" = "main" }\nfiles = [', "'code_from' must name repositories"),
        ("[[locked]]", "[locked]", "must be a list"),
        ("[[locked]]", "[[locked]", "not TOML"),
    ],
)
def test_what_is_not_as_it_is_written_is_refused_with_a_sentence(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(LockError, match=said):
        parse(GOOD.replace(old, new).encode())


def test_entries_and_files_are_there_once() -> None:
    block = GOOD[GOOD.index("[[locked]]") :]
    with pytest.raises(LockError, match="twice at the same revision"):
        parse(f"{GOOD}\n{block}".encode())
    line = next(row for row in GOOD.splitlines() if row.startswith("  { path"))
    with pytest.raises(LockError, match=r"names 'config\.json' twice"):
        parse(GOOD.replace(line, f"{line}\n{line}").encode())
    with pytest.raises(LockError, match="not TOML"):
        parse(GOOD.replace('who = "ada"', 'who = "ada"\nwho = "eve"').encode())


def test_it_is_read_within_bounds(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="more than 4 MiB"):
        parse(b"#" * (5 << 20))
    with pytest.raises(LockError, match="not TOML"):
        parse(b"a = " + b"[" * 100_000)
    with pytest.raises(LockError, match="at most 500"):
        parse(b"version = 1\n" + b"[[locked]]\n" * 501)
    with pytest.raises(LockError, match="UTF-8"):
        parse(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe", tmp_path / "missing", "a\0b"):
        with pytest.raises(LockError, match=r"cannot be read|no regular file"):
            read(str(place))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_lock_is_a_sentence_or_a_lock(data: st.DataObject) -> None:
    raw = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except LockError:
        return
    assert parse(dump(found)) == found


def report(**more: object) -> Report:
    files = (ArtifactFile("m.bin", 5, "pickle", f"sha256:{A}"), ArtifactFile("x.py", 5, "python", f"sha256:{B}"))
    artifact = Artifact("m", "directory", files)
    shown = tuple(FileReport(f.path, f.size, f.format, Verdict.SAFE, pin=f.pin) for f in files)
    use = GlobalUse("os", "system", (("os", "system"),), ("reduce",), "gadget")
    made = Report("m", artifact, shown, contract=Contract(globals=(use,)))
    return replace(made, **more)  # type: ignore[arg-type]


def test_changes_name_the_file_and_what_is_different() -> None:
    locked = entry_of(
        report(), source="m", revision="", who="a\x1bda", when=WHEN.astimezone(timezone(timedelta(hours=5)))
    )
    assert locked.who == "ada"
    assert locked.when == WHEN
    now = report()
    known = {f.path: f for f in locked.files}
    assert lock_changes.file_changes(now, known.get, lambda f: "") == []
    assert lock_changes.contract_changes(now, [locked]) == []
    other = {"m.bin": replace(known["m.bin"], pin=f"sha256:{C}"), "x.py": replace(known["x.py"], size=6)}
    assert [str(c) for c in lock_changes.file_changes(now, other.get, lambda f: "")] == [
        "m.bin: other bytes than locked", "x.py changed",
    ]  # fmt: skip
    assert [str(c) for c in lock_changes.file_changes(now, {}.get, lambda f: "")] == ["new file m.bin", "new file x.py"]
    lesser = replace(locked, globals=())
    assert [str(c) for c in lock_changes.contract_changes(now, [lesser])] == ["new global os.system"]


def test_what_cannot_be_named_is_not_locked() -> None:
    bad = Artifact("m", "directory", (ArtifactFile("a\u202eb", 5, "pickle", f"sha256:{A}"),))
    with pytest.raises(LockError, match="no name of a file"):
        entry_of(report(artifact=bad), source="m", revision="", who="ada", when=WHEN)
    with pytest.raises(LockError, match="could not be read to the end"):
        entry_of(report(files=()), source="m", revision="", who="ada", when=WHEN)
