"""%safemodel on, off and status: who may switch the guard off, what is said about it, and what is kept."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import nbguard
from nbguard import history, hooks, magics, settings
from nbguard.approvals import AuditLog
from nbguard.gate.answer import Answer
from nbguard.hooks import walk


class Bomb:
    """A pickle of this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(settings, "SITE_FILE", tmp_path / "site.toml")
    monkeypatch.setattr(history, "_counts", type(history._counts)())
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "nbguard")
    yield made
    hooks.uninstall()
    magics.unregister(made)
    InteractiveShell.clear_instance()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    return path


def events() -> list[str]:
    return [entry["event"] for entry in AuditLog().entries() if entry["event"].startswith("guard.")]


def said(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], line: str) -> str:
    capsys.readouterr()
    shell.run_line_magic("safemodel", line)
    return capsys.readouterr().out


def test_off_is_off_and_on_is_on(shell, capsys, hostile, tmp_path):
    told = said(shell, capsys, "off --reason 'to compare'")
    assert "off" in told
    assert "%safemodel on" in told
    pickle.loads(hostile.read_bytes())
    assert (tmp_path / "it-ran").is_dir(), "nothing is stopped now"
    assert "off already" in said(shell, capsys, "off")
    assert "off: nothing is stopped; %safemodel on" in said(shell, capsys, "status")
    (tmp_path / "it-ran").rmdir()

    assert "on again" in said(shell, capsys, "on")
    assert "on" in said(shell, capsys, "on")
    with pytest.raises(nbguard.LoadBlocked):
        pickle.loads(hostile.read_bytes())
    assert not (tmp_path / "it-ran").exists()
    assert events() == ["guard.off", "guard.on"]
    (entry,) = [e for e in AuditLog().entries() if e["event"] == "guard.off"]
    assert entry["reason"] == "to compare"


@pytest.mark.parametrize(
    ("site", "allowed"),
    [
        ("", True),
        ('policy = "strict"', False),
        ('policy = "strict"\nuser_may_relax = true', True),
        ('policy = "strict"\nuser_may_turn_off = true', True),
        ('policy = "strict"\nuser_may_relax = true\nuser_may_turn_off = false', False),
        ("user_may_turn_off = 'yes'", False),
        ("no TOML at all", False),
    ],
)
@pytest.mark.parametrize("way", ["off", "unload"])
def test_a_site_decides_whether_it_may_be_off(shell, tmp_path, site, allowed, way):
    (tmp_path / "site.toml").write_text(site)

    def act() -> None:
        if way == "off":
            shell.run_line_magic("safemodel", "off")
        else:
            shell.run_line_magic("unload_ext", "nbguard")

    if allowed:
        act()
    else:
        with pytest.raises(UsageError, match="does not let nbguard be switched off"):
            act()
    assert hooks.installed() is not allowed
    assert events() == ["guard.off" if allowed else "guard.off-refused"]


def test_a_user_cannot_allow_it_to_themselves(shell, tmp_path, monkeypatch):
    (tmp_path / "site.toml").write_text('policy = "strict"')
    (tmp_path / "mine.toml").write_text("user_may_turn_off = true")
    monkeypatch.setenv("NBGUARD_CONFIG", str(tmp_path / "mine.toml"))
    assert not settings.load().may_turn_off
    with pytest.raises(UsageError):
        shell.run_line_magic("safemodel", "off")


def test_where_it_cannot_be_recorded_it_stays_on(shell, capsys, tmp_path):
    said(shell, capsys, "off")
    said(shell, capsys, "on")
    (tmp_path / "data" / "audit.jsonl").write_text("altered\n")
    with pytest.raises(UsageError, match="altered"):
        shell.run_line_magic("safemodel", "off")
    assert hooks.installed()


def test_status_tells_mode_policy_what_is_guarded_and_what_happened(shell, capsys, hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(walk, "ask", lambda *_: Answer("refuse", "ada", "", "widget"))
    monkeypatch.setattr(walk, "tell", lambda *_: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    before = said(shell, capsys, "status")
    assert "no load yet" in before
    for word in ("Interception:", "Guarded:", "pickle", "when their libraries are imported", "balanced", "enforce"):
        assert word in before
    for _ in range(2):
        with pytest.raises(nbguard.LoadBlocked):
            exec(f"import pickle; pickle.load(open({str(hostile)!r}, 'rb'))", {"__name__": "__main__"})
    said(shell, capsys, f"scan {hostile}")
    assert "2 refused, 1 only scanned" in said(shell, capsys, "status")
    monkeypatch.setenv("NBGUARD_MODE", "warn")
    assert "warn: nothing is stopped, only shown" in said(shell, capsys, "status")
    (tmp_path / "site.toml").write_text('policy = "strict"')
    assert "does not let it be switched off" in said(shell, capsys, "status")
