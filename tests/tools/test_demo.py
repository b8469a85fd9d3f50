"""The demonstration, as a person without a browser runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "demo.py"), "--folder", str(folder), *options],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
        check=False,
    )


@pytest.mark.slow
def test_headless_runs_the_notebook_and_no_payload(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = demo(tmp_path / "demo", "--headless")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "hostile models were stopped" in done.stdout
    assert not (tmp_path / "demo" / "payload-ran").exists()


def test_a_folder_with_a_persons_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = demo(tmp_path, "--headless")
    assert done.returncode == 1
    assert "left alone" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
