"""A folder of 200 small pickles, start-up included, beside the other scanners in one run; a thousand; memory.

    python -m bench.run many_pickles

The pickles are what people keep: dicts, lists, arrays, small state dicts, all of them honest.
"""

from __future__ import annotations

import pickle
import random
import shutil
import sys
from pathlib import Path

from bench import samples
from bench.harness import ROOT, BenchError, Row, Workplace, interleave, peak_memory, run

COUNT, MANY = 200, 1000
GOAL_MB = 150
PEERS = {
    "picklescan": ["picklescan", "--path", "{folder}"],
    "modelscan": ["modelscan", "-p", "{folder}"],
    "modelaudit": ["modelaudit", "scan", "{folder}"],
}
SLOW = frozenset({"modelscan", "modelaudit"})
"""Run once: their times are tens of times longer than whatever the machine does beside them."""


def fill(folder: Path, count: int) -> Path:
    """`count` pickles of a few kilobytes each."""
    import numpy as np

    folder.mkdir()
    dice = random.Random(11)
    for number in range(count):
        values: list[object] = [
            {f"k{i}": [dice.random() for _ in range(8)] for i in range(20)},
            {"weights": np.arange(200.0), "bias": np.zeros(8), "name": f"layer {number}"},
            samples.records(4_000),
        ]
        (folder / f"m{number:04}.pkl").write_bytes(pickle.dumps(values[number % 3], 4))
    return folder


def measure(place: Workplace) -> list[Row]:
    few, many = fill(place.folder / "few", COUNT), fill(place.folder / "many", MANY)
    tool = str(Path(sys.executable).parent / "nbguard")
    commands = {"nbguard": [tool, "scan", str(few)], "nbguard, a thousand": [tool, "scan", str(many)]}
    slow: dict[str, list[str]] = {}
    for name, words in PEERS.items():
        program = ROOT / ".venv" / "peers" / "bin" / words[0]
        if program.exists():
            command = [str(program), *(word.format(folder=few) for word in words[1:])]
            (slow if name in SLOW else commands)[name] = command
    series = dict(zip(commands, interleave(list(commands.values()), place), strict=True))
    walls = {name: found.wall for name, found in series.items()}
    for name, command in slow.items():
        try:
            _, walls[name] = run(command, place, accept=range(5))
        except BenchError:
            continue
    others = {name: wall for name, wall in walls.items() if not name.startswith("nbguard")}
    fastest = min(others.values(), default=None)
    ours, thousand = walls["nbguard"], walls["nbguard, a thousand"]
    rows = [
        Row(
            f"{COUNT} small pickles", "nbguard scan, whole process", ours, "s",
            ratio=ours / fastest if fastest else None,
            goal="no longer than the fastest other", met=ours <= fastest if fastest else None,
        ),
        *(Row(f"{COUNT} small pickles", f"{name}, whole process", wall, "s") for name, wall in others.items()),
        Row(
            f"{MANY} small pickles", "nbguard scan, whole process", thousand, "s", ratio=thousand / ours,
            goal="5 times 200 at most", met=thousand <= 5 * ours,
        ),
    ]  # fmt: skip
    memory = peak_memory(commands["nbguard, a thousand"], place)
    rows.append(
        Row(
            f"{MANY} small pickles", "all processes", memory["sum"], "MB", goal=f"< {GOAL_MB} MB",
            met=memory["sum"] < GOAL_MB,
        )
    )  # fmt: skip
    for folder in (few, many):
        shutil.rmtree(folder)
    return rows
