"""Ways in which something foreign could pass for the person's own work, each closed."""

from __future__ import annotations

import io
import os
import pickle
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Asker

from nbguard.approvals import AuditLog
from nbguard.approvals.own import OwnWork, Written
from nbguard.errors import LoadBlocked
from nbguard.hooks.savers import SAVERS, engine, ledger, memory

pytestmark = [pytest.mark.usefixtures("guarded", "home"), pytest.mark.own_work]


class Mine:
    def __init__(self, value: int = 1) -> None:
        self.value = value


class SavesWhenLoaded:
    """While it is being loaded, it has savers write for it."""

    def __setstate__(self, state: dict[str, str]) -> None:
        with open(state["path"], "wb") as file:
            pickle.dump(Mine(), file)
        pickle.dumps(Mine(99))
        torch.save(Mine(), state["path"] + ".pt")


def load(path: str) -> Any:
    return torch.load(path, weights_only=False)


def records() -> list[str]:
    ledger.settle()
    return [w.path for w in OwnWork().all()]


@pytest.mark.usefixtures("nobody")
def test_what_is_being_loaded_cannot_vouch_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_MODE", "observe")  # else the walls stop it before it writes anything
    program = (
        b"\x80\x04\x8c" + bytes([len(__name__)]) + __name__.encode() + b"\x8c\x0fSavesWhenLoaded\x93)\x81"
        b"}\x8c\x04path\x8c\x04here\x73\x62."
    )
    Path("foreign.pkl").write_bytes(program)
    with open("foreign.pkl", "rb") as file:
        pickle.load(file)
    assert os.path.exists("here.pt")
    assert records() == []
    assert not memory.holds("pickle", pickle._dumps(Mine(99)))  # type: ignore[attr-defined]


@pytest.mark.usefixtures("nobody")
def test_an_array_whose_bytes_are_another_loaders_archive() -> None:
    archive = io.BytesIO()
    torch.save(Mine(), archive)
    np.save("array.npy", np.frombuffer(archive.getvalue(), dtype="u1"))
    assert records() == [os.path.abspath("array.npy")]
    with pytest.raises((LoadBlocked, RuntimeError)):
        load("array.npy")
    assert "load.own" not in [e["event"] for e in AuditLog().entries()]


@pytest.mark.usefixtures("nobody")
def test_code_that_a_saver_copied_along_is_nobodys_own_work() -> None:
    os.mkdir("folder")
    before = engine._Before({}, folder=os.path.abspath("folder"))
    Path("folder/model.py").write_text("print('hello')\n")
    before.note(next(s for s in SAVERS if s.name == "save_pretrained"))
    assert records() == []


@pytest.mark.usefixtures("nobody")
def test_a_program_that_lands_in_the_folder_while_a_saver_writes() -> None:
    """A saver of folders vouches for data, never for a pickle that it did not write."""
    os.mkdir("folder")
    torch.save(Mine(), "elsewhere.pt")
    other = Path("elsewhere.pt").read_bytes().replace(b"value", b"valuf")
    before = engine._Before({}, folder=os.path.abspath("folder"))
    Path("folder/landed.pt").write_bytes(other)
    before.note(next(s for s in SAVERS if s.name == "save_pretrained"))
    assert os.path.abspath("folder/landed.pt") in records()
    with pytest.raises(LoadBlocked):
        load("folder/landed.pt")


@pytest.mark.usefixtures("nobody")
def test_a_file_that_others_may_write_is_not_recorded() -> None:
    for mode in (0o666, 0o606):
        Path("shared.pt").touch()
        os.chmod("shared.pt", mode)
        torch.save(Mine(), "shared.pt")
    assert records() == []


def seen(mode: int = 0o644, uid: int | None = None, gid: int = -1) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, os.geteuid() if uid is None else uid, gid, 1, 0, 0, 0))


def test_whose_file_it_is() -> None:
    assert ledger.private(seen())
    assert ledger.private(seen(0o600))
    assert not ledger.private(seen(0o646))
    assert not ledger.private(seen(0o664, gid=54_321)), "a group with others in it"
    assert not ledger.private(seen(uid=os.geteuid() + 1)), "another user's"
    assert not ledger.private(os.stat("."))


@pytest.mark.usefixtures("nobody")
def test_a_file_that_changes_while_it_is_hashed_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()
    real = os.pread

    def slow(*given: Any) -> bytes:
        inside.set()
        assert go_on.wait(60)
        return real(*given)

    monkeypatch.setattr(ledger, "AT_ONCE", 0)
    monkeypatch.setattr(ledger.os, "pread", slow)
    torch.save(Mine(), "mine.pt")
    assert inside.wait(60)
    with open("mine.pt", "r+b") as file:
        file.write(b"QK")
    go_on.set()
    assert records() == []


@pytest.mark.usefixtures("nobody")
def test_a_large_file_is_known_by_what_the_file_system_says_and_else_by_its_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "AT_ONCE", 1 << 16)
    torch.save([torch.zeros(9_000_000), Mine()], "large.pt")
    ledger.note("torch.save", "torch", "large.pt")  # hashed once, though two savers report it
    ledger.settle()
    (record,) = OwnWork().all()
    assert record.identity
    assert load("large.pt")[1].value == 1
    os.replace("large.pt", "moved.pt")
    os.utime("moved.pt")
    assert load("moved.pt")[1].value == 1, "hashed again"
    kept = os.stat("moved.pt")
    with open("moved.pt", "r+b") as file:  # one bit in the tensor, the times put back
        file.seek(20_000_000)
        file.write(b"\x01")
    os.utime("moved.pt", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    with pytest.raises(LoadBlocked):
        load("moved.pt")


@pytest.mark.usefixtures("nobody")
def test_a_library_that_saves_on_its_own_account_vouches_for_nothing() -> None:
    """In a thread of a library's own, with nothing of the person's on the stack."""
    done = threading.Thread(target=torch.save, args=({"a": 1}, "background.pt"))
    done.start()
    done.join()
    assert records() == []


@pytest.mark.parametrize("spoiled", ["key", "records", "forged"])
def test_records_that_others_could_have_made(spoiled: str, person: Asker, home: Path) -> None:
    torch.save(Mine(), "mine.pt")
    assert records()
    if spoiled == "key":
        (home / "own.key").chmod(0o622)
    elif spoiled == "records":
        (home / "own.sqlite3").chmod(0o666)
    else:
        (home / "own.key").unlink()
        OwnWork().add([Written("00" * 32, 1, "file", "torch", "torch.save", "x", 1.0)])
    assert load("mine.pt").value == 1
    assert person.verdicts == ["review"]
    unusable = [e for e in AuditLog().entries() if e["event"] == "own.unusable"]
    assert len(unusable) == (spoiled != "forged")


@pytest.mark.usefixtures("nobody")
def test_a_module_of_the_persons_that_nothing_has_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pickle is the person's; the file that its module name leads to now may not be."""
    Path("theirs.py").write_text("class Model:\n    pass\n")
    monkeypatch.syspath_prepend(".")
    import theirs  # type: ignore[import-not-found]

    torch.save(theirs.Model(), "mine.pt")
    assert type(load("mine.pt")).__name__ == "Model"
    monkeypatch.delitem(sys.modules, "theirs")
    with pytest.raises(LoadBlocked):
        load("mine.pt")
    assert "theirs" not in sys.modules
