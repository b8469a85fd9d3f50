"""What every measurement shares: fresh processes, interleaved repeats, medians, peak memory, a table.

    plain, guarded = interleave([script_a, script_b], repeats=5)
    rows = [Row("training loop", "guard on", guarded.median, "s", ratio=guarded.median / plain.median)]

A ratio always comes from one run on one machine, with its sides taking turns, so that whatever else the machine does
hits both. Absolute times are printed for orientation and mean little elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    measure: str
    variant: str
    value: float
    unit: str
    """`s`, `ms` or `MB` (10^6 bytes)."""
    ratio: float | None = None
    """To the plain call of the same run."""
    goal: str = ""
    """In words, as docs/performance.md states it; empty for a line to compare with."""
    met: bool | None = None
    note: str = ""


@dataclass
class Series:
    """What the repeats of one variant gave: the JSON that each child printed, and the whole process's wall time (s)."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return median(self.walls)

    def of(self, key: str) -> float:
        """The median of one number that the children printed."""
        return median(float(o[key]) for o in self.outputs)


@dataclass(frozen=True)
class Workplace:
    """Where a measurement may put files, and the environment its children run in."""

    folder: Path
    repeats: int
    scale: float
    """1 for the sizes that the goals name; smaller for a quick look."""

    def environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("NBGUARD_", "HF_", "PYTHON"))}
        return env | {
            "NBGUARD_DATA_DIR": str(self.folder / "data"),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }


class BenchError(Exception):
    """A child failed; its output is in the message."""


def run(command: Sequence[str], place: Workplace, accept: Iterable[int] = (0,)) -> tuple[str, float]:
    """Run a command to its end; its standard output and wall time (s). Raises BenchError on another exit status."""
    begun = time.perf_counter()
    done = subprocess.run(
        command,
        env=place.environment(),
        cwd=place.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    wall = time.perf_counter() - begun
    if done.returncode not in accept:
        raise BenchError(
            f"{' '.join(command)[:300]} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done.stdout, wall


def python(script: str, *arguments: str) -> list[str]:
    """The command for a child that runs `script`; what it prints last must be one line of JSON."""
    return [sys.executable, "-c", script, *arguments]


def interleave(commands: Sequence[Sequence[str]], place: Workplace, repeats: int | None = None) -> list[Series]:
    """Run each command in turn, `repeats` rounds, after one round that does not count (it warms the page cache)."""
    series = [Series() for _ in commands]
    for turn in range((repeats or place.repeats) + 1):
        for command, seen in zip(commands, series, strict=True):
            output, wall = run(command, place)
            if turn:
                lines = output.strip().splitlines()
                seen.outputs.append(json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {})
                seen.walls.append(wall)
    return series


def _tree(root: int) -> list[int]:
    """`root` and its living descendants (Linux)."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue
    return found


def _peak(pid: int) -> int:
    """Peak resident bytes of one living process, 0 where it has gone (Linux)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def peak_memory(command: Sequence[str], place: Workplace, accept: Iterable[int] = (0,)) -> dict[str, float]:
    """Peak resident memory (MB) of a command: of its `largest` process, and the `sum` of each process's own peak.

    The kernel's high-water mark only grows, so reading it every few milliseconds loses next to nothing. The sum is an
    upper bound: the processes need not have peaked together.
    """
    child = subprocess.Popen(
        command,
        env=place.environment(),
        cwd=place.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for pid in _tree(child.pid):
                peaks[pid] = max(peaks.get(pid, 0), _peak(pid))
            ended.wait(0.004)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = child.communicate()
    ended.set()
    watcher.join()
    if child.returncode not in accept:
        raise BenchError(f"{' '.join(command)[:300]} ended with {child.returncode}\n{errors.decode()[-4000:]}")
    return {"largest": max(peaks.values(), default=0) / 1e6, "sum": sum(peaks.values()) / 1e6}


def table(rows: Sequence[Row]) -> str:
    """The rows as text, aligned."""
    head = ("measure", "variant", "median", "ratio", "goal", "")
    lines = [head]
    for row in rows:
        mark = {True: "met", False: "MISSED", None: ""}[row.met]
        number = f"{row.value:.{ {'s': 3, '': 0}.get(row.unit, 1) }f}"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        lines.append(
            (
                row.measure,
                row.variant,
                f"{number} {row.unit}",
                ratio,
                row.goal,
                " ".join(filter(None, (mark, row.note))),
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    text = []
    for line in lines:
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + "  " + line[5])
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join(part.rstrip() for part in text)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]
