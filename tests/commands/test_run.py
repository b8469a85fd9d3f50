"""nbguard run: a script as Python would run it, but for what it loads."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from terminals import Terminal

NBGUARD = [sys.executable, "-m", "nbguard", "run"]
SCRIPT = """
import pickle, sys
class Own: pass
print(sys.argv, __name__, __file__, sys.modules["__main__"].Own is Own)
print("loaded", pickle.load(open(sys.argv[1], "rb")))
"""


class Bomb:
    """A pickle of this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    (made / "package").mkdir(parents=True)
    (made / "package" / "__init__.py").touch()
    (made / "package" / "tool.py").write_text(SCRIPT)
    (made / "script.py").write_text(SCRIPT)
    (made / "ends.py").write_text("import sys; sys.exit(7)")
    (made / "fails.py").write_text("def f():\n    1 / 0\nf()\n")
    (made / "safe.pkl").write_bytes(pickle.dumps({"of": str(tmp_path)}))
    (made / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    return made


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NBGUARD, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_a_script_is_itself(folder: Path) -> None:
    done = run(folder, "script.py", "safe.pkl", "--ask", "-m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['script.py', 'safe.pkl', '--ask', '-m'] __main__ script.py True\nloaded {'of'")
    assert run(folder, "ends.py").returncode == 7
    module = run(folder, "-m", "package.tool", "safe.pkl")
    assert module.returncode == 0, module.stderr
    assert "loaded {'of'" in module.stdout


def test_its_loads_are_guarded_and_its_errors_are_its_own(folder: Path, tmp_path: Path) -> None:
    done = run(folder, "script.py", "bomb.pkl")
    assert done.returncode == 1
    assert "LoadBlocked" in done.stderr
    assert "nobody can be asked here" in done.stderr
    assert done.stderr.count("File ") == 1, "the person's own line, without the way there"
    failed = run(folder, "fails.py")
    assert failed.returncode == 1
    assert "runpy" not in failed.stderr
    assert failed.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    missing = run(folder, "missing.py")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "it-ran").exists()


def test_it_asks_where_it_is_told_to(folder: Path, tmp_path: Path) -> None:
    with Terminal([*NBGUARD, "--ask", "script.py", "bomb.pkl"], folder) as terminal:
        terminal.see('If you must, type "load anyway":')
        assert "╭─ nbguard stopped pickle.load ─" in terminal.screen()
        terminal.type("")
        terminal.see("LoadBlocked")
        assert terminal.end() == 1
    assert not (tmp_path / "it-ran").exists()
