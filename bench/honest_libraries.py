"""Honest libraries, guard off and on: pools, futures, joblib, DataLoader, copies, frames, arrays, checkpoints.

    python -m bench.run honest_libraries

Each work is done several times in one process, after once that does not count; sides take turns. The program without
the guard runs twice a round: how far those two differ is the noise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from bench.harness import Row, Workplace, interleave

WORK = Path(__file__).parent / "honest_work.py"
NAMES = (
    "pool fork", "pool spawn", "futures fork", "by value fork", "joblib", "joblib.Memory", "grid search", "DataLoader",
    "deepcopy", "pandas", "numpy", "checkpoints",
)  # fmt: skip
SCANNED = ("pool spawn", "futures fork", "joblib.Memory", "pandas", "numpy", "checkpoints")
"""Those that have files loaded by a person's own code, which are scanned and logged all the same, or begin guarded
processes of their own: that costs what `approved_load` and `load_ext` measure, and there is no goal for it here."""


def measure(place: Workplace) -> list[Row]:
    turns = str(max(2, int(5 * place.scale)))  # spawned workers of torch are left out: each imports it anew
    sides = [[sys.executable, str(WORK), side, turns, *NAMES] for side in ("off", "on", "off")]
    off, on, again = interleave(sides, place, repeats=max(2, place.repeats - 2))
    rows = []
    for name in NAMES:
        ratio = on.of(name) / off.of(name)
        pairs = [a[name] / b[name] for a, b in zip(again.outputs, off.outputs, strict=True)]
        noise = median(abs(p - 1) for p in pairs)
        note = f"off against off differs by {noise:.1%}"
        if name in SCANNED:
            note += "; its loads are scanned and logged, or its processes guarded"
        rows += [
            Row(f"honest: {name}", "guard off", off.of(name) * 1000, "ms"),
            Row(
                f"honest: {name}",
                "guard on",
                on.of(name) * 1000,
                "ms",
                ratio=ratio,
                goal="" if name in SCANNED else "within noise",
                met=None if name in SCANNED else ratio - 1 <= max(noise, 0.05),
                note=note,
            ),
        ]
    return rows
