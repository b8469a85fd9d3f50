"""Approvals: found again for exactly what was approved, and for nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from nbguard.approvals import RecordError, Store
from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.artifact.sources import open_bytes, open_path
from nbguard.report.model import (
    CodeFile,
    Contract,
    FileReport,
    Finding,
    GlobalUse,
    Program,
    Report,
    Severity,
    Verdict,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data" / "approvals.sqlite3")


def use(name: str = "OrderedDict", *verbs: str, reason: str = "", level: str = "data") -> GlobalUse:
    return GlobalUse("collections", name, (("collections", name),), verbs or ("named",), level, reason)


def report(
    path: str = "model.pkl",
    pin: str = "sha256:aa",
    *,
    kind: str = "path",
    verdict: Verdict = Verdict.SAFE,
    severity: Severity = Severity.INFO,
    uses: tuple[GlobalUse, ...] = (),
    size: int = 10,
    **contract: object,
) -> Report:
    programs = (Program(path, "", 0, 10, "bb", "pickle"),)
    held = Contract(programs=programs, globals=uses or (use(),), containers={path: "pickle"}, **contract)
    artifact = Artifact(path, kind, (ArtifactFile(path, size, "pickle", pin),))
    finding = Finding("rule", severity, path, "", "message")
    files = (FileReport(path, size, "pickle", verdict, pin=pin),)
    return Report(path, artifact, files, (finding,), held, rules_version="1")


def folder(*paths: str, code: bool = False) -> Report:
    files = tuple(ArtifactFile(p, 10, "pickle", f"sha256:{p}") for p in paths)
    contract = Contract(
        programs=tuple(Program(p, "", 0, 10, p, "pickle") for p in paths),
        globals=(use("OrderedDict", "named", "newobj"), use("deque")) if len(paths) > 1 else (use("OrderedDict"),),
        containers=dict.fromkeys(paths, "pickle"),
        code=(CodeFile("modeling.py", "cc"),) if code else (),
    )
    reports = tuple(FileReport(p, 10, "pickle", Verdict.SAFE) for p in paths)
    return Report("repo", Artifact("repo", "directory", files), reports, contract=contract)


def test_nothing_is_approved_at_first_and_looking_makes_no_file(store):
    assert store.find(report()) is None
    assert store.list() == ()
    assert not store.path.exists()


def test_what_was_approved_is_found_again(store):
    given = store.add(report(), "ada", "looked at it")
    found = store.find(report())
    assert found == given
    assert (found.who, found.reason, found.verdict) == ("ada", "looked at it", Verdict.SAFE)
    assert Store(store.path).find(report()) == given


def test_approving_the_same_content_again_renews_the_approval(store):
    first = store.add(report(), "ada", "for a week", expires=time.time() + 1000)
    again = store.add(report("copy.pkl"), "bob", "for good")
    assert again.id == first.id
    assert store.list(all_of_them=True) == (again,)
    assert (again.who, again.reason, again.expires, again.target) == ("bob", "for good", None, "copy.pkl")
    store.revoke(first.id)
    assert store.add(report(), "ada", "").id != first.id
    assert store.find(report()) is not None


def test_what_has_expired_is_not_renewed(store):
    first = store.add(report(), "ada", "", expires=time.time() - 1)
    assert store.add(report(), "ada", "").id != first.id


def test_other_bulk_data_in_the_same_layout_is_another_approval(store, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"1" * 100)
    (tmp_path / "b.pt").write_bytes(b"2" * 100)
    ids = []
    for name in ("a.pt", "b.pt", "a.pt"):
        with open_path(tmp_path / name) as opened:
            ids.append(store.remember(big(str(tmp_path / name), b"1" * 100), opened, "ada", "").id)
            assert store.find(big(str(tmp_path / name), b"1" * 100), opened) is not None
    assert ids[0] == ids[2] != ids[1]


def test_files_are_private(store):
    store.add(report(), "ada", "")
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


def test_no_write_ahead_log(store):
    store.add(report(), "ada", "")
    assert sqlite3.connect(store.path).execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize(
    "other",
    [
        report(pin="sha256:ab"),
        report(size=11),
        report(uses=(use("deque"),)),
        report(uses=(use("OrderedDict", "named", "reduce"),)),
        report(effects=("open",)),
        report(local_modules={"utils": "dd"}),
        report(code=(CodeFile("m.py", "ee"),)),
    ],
    ids=["content", "size", "global", "verb", "effect", "local module", "code"],
)
def test_anything_else_is_asked_about(store, other):
    store.add(report(), "ada", "")
    assert store.find(other) is None


def test_an_approval_does_not_outlive_a_change_of_the_persons_own_module(store):
    store.add(report(local_modules={"utils": "dd"}), "ada", "")
    assert store.find(report(local_modules={"utils": "dd"})) is not None
    assert store.find(report(local_modules={"utils": "ee"})) is None


def test_a_single_files_name_does_not_count(store):
    store.add(report("a/model.pkl"), "ada", "")
    assert store.find(report("copy.pkl")) is not None
    assert store.find(report("<stream>", kind="stream")) is not None


def test_other_words_for_the_same_rules_do_not_ask_again(store):
    store.add(report(uses=(use(reason="an ordered mapping"),)), "ada", "")
    assert store.find(report(uses=(use(reason="a mapping that keeps its order", level="library"),))) is not None


def test_worse_under_newer_rules_is_asked_again(store):
    store.add(report(verdict=Verdict.REVIEW, severity=Severity.MEDIUM), "ada", "")
    assert store.find(report(verdict=Verdict.REVIEW, severity=Severity.MEDIUM)) is not None
    assert store.find(report(verdict=Verdict.SAFE, severity=Severity.LOW)) is not None
    assert store.find(report(verdict=Verdict.DANGER, severity=Severity.MEDIUM)) is None
    assert store.find(report(verdict=Verdict.REVIEW, severity=Severity.HIGH)) is None


def test_the_unverifiable_is_neither_kept_nor_found(store):
    with pytest.raises(RecordError, match="cannot be approved"):
        store.add(report(verdict=Verdict.UNVERIFIABLE), "ada", "")
    store.add(report(verdict=Verdict.DANGER, severity=Severity.CRITICAL), "ada", "")
    assert store.find(report(verdict=Verdict.UNVERIFIABLE)) is None


def test_an_approval_expires(store):
    store.add(report(), "ada", "", expires=time.time() - 1)
    assert store.find(report()) is None
    assert store.list() == ()
    assert len(store.list(all_of_them=True)) == 1
    store.add(report(), "ada", "", expires=time.time() + 1000)
    assert store.find(report()) is not None


@pytest.mark.parametrize("by", ["id", "target", "artifact", "digest with its prefix"])
def test_revoking(store, by):
    given = store.add(report(), "ada", "")
    store.add(report("other.pkl", "sha256:cc"), "ada", "")
    what = {"id": given.id, "target": "model.pkl", "artifact": given.artifact[:12]}.get(by, f"sha256:{given.artifact}")
    assert [a.id for a in store.revoke(what)] == [given.id]
    assert store.find(report()) is None
    assert store.revoke(what) == ()
    assert len(store.list()) == 1


@pytest.mark.parametrize("what", ["", "m", "%", "model", "abc"])
def test_revoking_needs_a_name_that_fits(store, what):
    store.add(report(), "ada", "")
    assert store.revoke(what) == ()


def test_a_folders_approval_holds_for_a_load_of_part_of_it(store):
    store.add(folder("a.bin", "b.bin", code=True), "ada", "")
    assert store.find(folder("a.bin")) is not None
    assert store.find(folder("a.bin", code=True)) is not None


def test_part_of_a_folder_approves_nothing_more(store):
    store.add(folder("a.bin"), "ada", "")
    assert store.find(folder("a.bin", "b.bin")) is None
    assert store.find(folder("a.bin", code=True)) is None
    assert store.find(folder("c.bin")) is None
    assert store.find(folder()) is None


def big(path: str, data: bytes) -> Report:
    return report(path, "layout:" + "9" * 64, size=len(data))


def test_bulk_data_is_hashed_when_approved_and_known_by_identity(store, tmp_path):
    file = tmp_path / "big.pt"
    file.write_bytes(b"x" * 5000)
    with open_path(file) as opened:
        given = store.remember(big("big.pt", b"x" * 5000), opened, "ada", "")
        assert given.bulk == ("",)
        assert store.find(big("big.pt", b"x" * 5000), opened) == given
        assert store.find(big("big.pt", b"x" * 5000)) is None, "without the handle nobody can compare"
    row = sqlite3.connect(store.path).execute("SELECT sha256 FROM bulk").fetchone()
    assert row == (hashlib.sha256(b"x" * 5000).hexdigest(),)


def test_a_copy_of_approved_bulk_data_is_recognised_and_then_known(store, tmp_path, monkeypatch):
    first, copy = tmp_path / "big.pt", tmp_path / "copy.pt"
    first.write_bytes(b"x" * 5000)
    copy.write_bytes(b"x" * 5000)
    with open_path(first) as opened:
        store.remember(big("big.pt", b"x" * 5000), opened, "ada", "")
    with open_path(copy) as opened:
        assert store.find(big("copy.pt", b"x" * 5000), opened) is not None
        monkeypatch.setattr(
            "nbguard.artifact.sources.OpenedFile.sha256", lambda file: pytest.fail("hashed a second time")
        )
        assert store.find(big("copy.pt", b"x" * 5000), opened) is not None
    with open_bytes(b"y") as opened, pytest.raises(pytest.fail.Exception):
        store.find(big("<stream>", b"x" * 5000), opened)


def test_other_bulk_data_in_the_same_layout_is_not_approved(store, tmp_path):
    file = tmp_path / "big.pt"
    file.write_bytes(b"x" * 5000)
    with open_path(file) as opened:
        store.remember(big("big.pt", b"x" * 5000), opened, "ada", "")
    file.write_bytes(b"x" * 4999 + b"y")
    with open_path(file) as opened:
        assert store.find(big("big.pt", b"x" * 5000), opened) is None


def test_bulk_data_that_changes_while_it_is_approved(store, tmp_path):
    file = tmp_path / "big.pt"
    file.write_bytes(b"x" * 5000)
    with open_path(file) as opened:
        file.write_bytes(b"z" * 5000)
        os.utime(file, (1, 1))
        with pytest.raises(RecordError, match="changed"):
            store.remember(big("big.pt", b"x" * 5000), opened, "ada", "")
    assert store.list() == ()


def test_bulk_data_without_its_handle_is_not_approved(store):
    with pytest.raises(RecordError, match="handle"):
        store.add(big("big.pt", b"x"), "ada", "")


@pytest.mark.parametrize("damage", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_refused_in_one_sentence(store, damage):
    store.add(report(), "ada", "")
    store.path.write_bytes(damage)
    for action in (
        lambda: store.find(report()),
        store.list,
        lambda: store.revoke("x"),
        lambda: store.add(report(), "", ""),
    ):
        with pytest.raises(RecordError) as caught:
            action()
        assert str(store.path) in str(caught.value)


def test_damaged_rows_are_refused(store):
    store.add(folder("a.bin"), "ada", "")
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE approvals SET files = '{', verdict = 99")
    with pytest.raises(RecordError, match="damaged"):
        store.find(folder("b.bin"))
    with pytest.raises(RecordError, match="damaged"):
        store.list()


def test_a_database_of_another_version_is_refused(store):
    store.add(report(), "ada", "")
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(RecordError, match="another version"):
        store.find(report())


def test_a_database_that_others_can_write_counts_for_nothing(store):
    store.add(report(), "ada", "")
    store.path.chmod(0o666)
    with pytest.raises(RecordError, match="written by others"):
        store.find(report())


def test_a_link_in_place_of_the_database_is_refused(store, tmp_path):
    store.path.parent.mkdir(parents=True)
    store.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError):
        store.add(report(), "ada", "")
    assert not (tmp_path / "elsewhere").exists()


def test_no_place_to_write_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be"):
        Store(tmp_path / "file" / "approvals.sqlite3").add(report(), "ada", "")


def test_hostile_names_are_kept_harmless(store):
    odd = dataclasses.replace(report("x\udcff'); DROP TABLE approvals;--"), target="\udcff" + "y" * 9000)
    given = store.add(odd, "who\0", "why")
    assert store.find(odd) == given
    assert len(given.target) <= 2_100
    given.target.encode("utf-8")


def test_first_approvals_at_once(store):
    errors: list[BaseException] = []

    def approve(number: int) -> None:
        try:
            store.add(report(pin=f"sha256:{number}"), "ada", "")
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=approve, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.list()) == 8
