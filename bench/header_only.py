"""Formats of which only headers are read: peak memory, whatever the size. The files are 8 GB holes.

    python -m bench.run header_only

Memory is the sum of what each process had at its own peak, Python itself included.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import samples
from bench.harness import Row, Workplace, peak_memory, run

GOAL_MB = 150
SIZE = 8 * 10**9


def measure(place: Workplace) -> list[Row]:
    rows = []
    for name, make in (("huge.safetensors", samples.sparse_safetensors), ("huge.pt", samples.sparse_torch_zip)):
        file = place.folder / name
        make(file, SIZE)
        command = [str(Path(sys.executable).parent / "nbguard"), "scan", str(file)]
        _, wall = run(command, place)
        memory = peak_memory(command, place)
        rows.append(
            Row(
                "8 GB, header only",
                name,
                memory["sum"],
                "MB",
                goal=f"< {GOAL_MB} MB",
                met=memory["sum"] < GOAL_MB,
                note=f"{memory['largest']:.0f} MB in the largest process; {wall:.2f} s in all",
            )
        )
        file.unlink()
    return rows
