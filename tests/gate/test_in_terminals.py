"""The question at a real terminal: IPython, Python's own prompt, scripts; wide and narrow, with and without colours."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminals import Terminal

IPYTHON = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
PYTHON = [sys.executable, "-q", "-i", "-c", "import pickle, nbguard; nbguard.install(); print('ready')"]
LOAD = "pickle.load(open({!r}, 'rb'))"
SGR = re.compile(r"\x1b\[[0-9;]*m")


class Bomb:
    """A pickle of this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def folder(tmp_path: Path, marker: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "safe.pkl").write_bytes(pickle.dumps({"of": str(tmp_path)}))
    (made / "danger.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    (made / "mymodel.py").write_text("class Model: pass\n")
    (made / "review.pkl").write_bytes(b"\x80\x04\x8c\x07mymodel\x8c\x05Model\x93)\x81}\x8c\x01a\x4b\x01sb.")
    (made / "script.py").write_text(
        f"import pickle, nbguard\nnbguard.install()\nprint('loaded', {LOAD.format('review.pkl')}.a)\n"
    )
    (made / "hostile.py").write_text(f"import pickle\nprint('loaded', {LOAD.format('danger.pkl')})\n")
    (made / "plain.py").write_text(f"import pickle, sys\nprint(sys.argv[1:], {LOAD.format('safe.pkl')})\n")
    return made


@pytest.mark.parametrize("columns", [80, 40])
def test_terminal_ipython(folder: Path, marker: Path, columns: int) -> None:
    with Terminal(IPYTHON, folder, columns=columns) as terminal:
        terminal.see("In [1]:")
        terminal.type("%load_ext nbguard")
        terminal.see("In [2]:")
        terminal.type("import pickle; print('loaded', " + LOAD.format("safe.pkl") + ")")
        terminal.see("Load it? Type once or always, or press Enter for no:")
        screen = terminal.screen()
        assert "╭─ nbguard stopped pickle.load " in screen
        assert "✓ SAFE" in screen
        assert "What it may do" not in screen
        terminal.type("report")
        terminal.see("press Enter for no:")
        screen = terminal.screen()
        assert "What it may do if it is accepted" in " ".join(screen.replace("│", " ").split())
        assert all(line.startswith("│") and line.endswith("│") for line in framed(screen))
        assert max(map(len, screen.splitlines())) <= columns
        assert SGR.search(terminal.raw.partition("nbguard stopped")[2]), "a frame in the verdict's colour"
        terminal.type("once")
        terminal.see("loaded {'of'")
        terminal.see("In [3]:")

        terminal.type(LOAD.format("danger.pkl"))
        terminal.see('If you must, type "load anyway":')
        assert "✕ DANGER" in terminal.screen()
        terminal.interrupt()
        terminal.see("KeyboardInterrupt")
        terminal.see("In [4]:")
        terminal.type(LOAD.format("danger.pkl"))
        terminal.see('If you must, type "load anyway":')
        terminal.type("once")
        terminal.see("LoadBlocked")
        terminal.see("In [5]:")
        terminal.type("%safemodel scan safe.pkl")
        terminal.see("content digest")
        terminal.see("In [6]:")
        assert "╭─ nbguard ─" in terminal.screen()
        assert all(line.startswith("│") and line.endswith("│") for line in framed(terminal.screen()))
    assert not marker.exists()


def framed(screen: str) -> list[str]:
    """The lines between the last frame's edges."""
    inside = screen.rpartition("╭")[2].partition("╰")[0].splitlines()
    assert len(inside) > 5
    return inside[1:]


def test_pythons_own_prompt(folder: Path, marker: Path) -> None:
    with Terminal(PYTHON, folder, NO_COLOR="1") as terminal:
        terminal.see("ready")
        terminal.see(">>>")
        terminal.type("print('loaded', " + LOAD.format("safe.pkl") + ")")
        terminal.see("Load it? Type once or always, or press Enter for no:")
        assert "╭─ nbguard stopped pickle.load ─" in terminal.screen()
        assert not SGR.search(terminal.raw)
        terminal.type("always")
        terminal.see("loaded {'of'")
        terminal.see(">>>")
        terminal.type("print('again', " + LOAD.format("safe.pkl") + ")")
        terminal.see("again {'of'")
        terminal.type(LOAD.format("danger.pkl"))
        terminal.see("If you must")
        terminal.type("")
        terminal.see("LoadBlocked")
    assert not marker.exists()


def test_a_thread_in_the_background_does_not_share_the_prompt(folder: Path) -> None:
    with Terminal(PYTHON, folder) as terminal:
        terminal.see("ready")
        terminal.type("import threading, time; go = threading.Event()")
        terminal.type(
            "def later():\n    go.wait()\n    time.sleep(0.2)\n    try: "
            + LOAD.format("review.pkl")
            + "\n    except nbguard.LoadBlocked as stopped: print('stopped:', str(stopped)[:30])\n"
        )
        terminal.type("threading.Thread(target=later).start(); go.set()")
        terminal.see("stopped: It holds objects or code")


def test_scripts_ask_where_somebody_said_that_they_are_there(folder: Path) -> None:
    with Terminal([sys.executable, "script.py"], folder) as terminal:
        terminal.see("nobody can be asked here")
        assert terminal.end() == 1
        assert "loaded 1" not in terminal.raw
    with Terminal([sys.executable, "script.py"], folder, NBGUARD_FACE="text") as terminal:
        terminal.see("or press Enter for no:")
        terminal.type("once")
        terminal.see("loaded 1")
        assert terminal.end() == 0


def test_scripts_in_ipython(folder: Path) -> None:
    with Terminal([*IPYTHON, "script.py"], folder) as terminal:
        terminal.see("nobody can be asked here")
        terminal.end()
    with Terminal(IPYTHON, folder) as terminal:
        terminal.see("In [1]:")
        terminal.type("%run script.py")
        terminal.see("or press Enter for no:")
        terminal.type("once")
        terminal.see("loaded 1")
        terminal.see("In [2]:")
        terminal.type("%run hostile.py")
        terminal.see("If you must")
        terminal.type("")
        terminal.see("LoadBlocked")


def test_a_terminal_without_letters_of_its_own(folder: Path) -> None:
    with Terminal(
        [sys.executable, "script.py"], folder, NBGUARD_FACE="text", PYTHONIOENCODING="ascii", TERM="dumb"
    ) as terminal:
        terminal.see("or press Enter for no:")
        assert "+- nbguard stopped pickle.load -" in terminal.screen()
        assert terminal.raw.isascii()
        assert not SGR.search(terminal.raw)
        terminal.type("once")
        assert terminal.end() == 0


def test_no_colours_in_a_pipe(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NBGUARD_FACE": "text"},
    )
    assert done.returncode == 1
    assert "LoadBlocked" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
