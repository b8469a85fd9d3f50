"""A conversion that is killed half-way leaves no process and no file, however and whenever it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nbguard.acquire import workplace as working

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what ends with what is Linux' own")
PATIENCE = 60.0

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from nbguard.acquire.convert import convert
convert({source!r}, {to!r})
print("done", flush=True)
"""


def until(there: Callable[[], bool], what: str) -> None:
    """Wait for it, at most a minute."""
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.005)


def processes(mark: str) -> dict[int, str]:
    """Id → command line of every living process whose command line names this place."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mark in line:
                found[int(entry.name)] = line
    return found


def private(folder: Path) -> list[Path]:
    return list(folder.glob(f"{working.PREFIX}*"))


def child_runs(folder: Path) -> bool:
    return any("acquire.converter" in line for line in processes(str(folder)).values())


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the folder is there": lambda out: bool(private(out)),
    "the child has started": child_runs,
    "the child writes": lambda out: any(out.glob(f"{working.PREFIX}*/work-*/model.safetensors")),
    "one file is moved": lambda out: any(out.glob(f"{working.PREFIX}*/made/*.safetensors")),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    for number in (1, 2):
        torch.save({f"w{number}": torch.zeros(8 << 20)}, folder / f"pytorch_model-0000{number}-of-00002.bin")
    return folder


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("the folder is there", signal.SIGKILL),
        ("the child has started", signal.SIGKILL),
        ("the child writes", signal.SIGKILL),
        ("one file is moved", signal.SIGKILL),
        ("the child writes", signal.SIGTERM),
        ("the child writes", signal.SIGINT),
    ],
)
def test_nothing_is_left(source: Path, tmp_path: Path, moment: str, number: signal.Signals) -> None:
    out = tmp_path / "out"
    out.mkdir()
    program = PROGRAM.format(root=str(ROOT), source=str(source), to=str(out / "made"))
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    until(lambda: MOMENTS[moment](out) or running.poll() is not None, moment)
    assert running.poll() is None, "it was over before it could be killed"
    running.send_signal(number)
    output, _ = running.communicate(timeout=PATIENCE)
    assert output == b"", "it was killed, and did not get to its end"
    until(lambda: not processes(str(out)), "the end of its processes")
    assert list(out.iterdir()) == []


def test_a_whole_group_that_is_killed_leaves_nothing_either(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    program = PROGRAM.format(root=str(ROOT), source=str(source), to=str(out / "made"))
    running = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL)
    until(lambda: child_runs(out), "the child")
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(PATIENCE)
    until(lambda: not processes(str(out)), "the end of its processes")
    assert list(out.iterdir()) == []


def test_where_all_of_it_was_killed_the_next_conversion_tidies_up(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from nbguard.acquire import workplace as working
started = working.subprocess.Popen
def noted(*a, **k):
    global keeper
    keeper = started(*a, **k)
    return keeper
working.subprocess.Popen = noted
with working.workplace(Path({str(tmp_path)!r})) as folder:
    (folder / "half").write_text("x")
    keeper.kill(); keeper.wait()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(private(tmp_path)) == 1
    with working.workplace(tmp_path) as mine:
        assert private(tmp_path) == [mine]
    assert private(tmp_path) == []


def test_a_conversion_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    with working.workplace(tmp_path) as first, working.workplace(tmp_path) as second:
        assert {first, second} == set(private(tmp_path))
        assert first.stat().st_mode & 0o077 == 0
    assert private(tmp_path) == []


def test_a_link_or_a_young_folder_of_that_name_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    (tmp_path / f"{working.PREFIX}link").symlink_to(tmp_path / "mine")
    (tmp_path / f"{working.PREFIX}young").mkdir()
    working.remove_leftovers(tmp_path)
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert len(private(tmp_path)) == 2


def test_a_child_whose_parent_is_gone_does_nothing(tmp_path: Path) -> None:
    command = [*working.isolated("nbguard.acquire.converter"), "convert", "torch", "0", str(tmp_path), "{}", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
