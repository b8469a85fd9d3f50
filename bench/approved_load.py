"""`torch.load` of a 1 GB file that is approved: the first and the second time in a process, beside the plain call.

    python -m bench.run approved_load

The page cache is warm, and importing torch and nbguard is not counted. Both sides get fresh memory for every load
(`MALLOC_MMAP_THRESHOLD_`): left alone, glibc either keeps the gigabyte that the load before freed or gives it back,
depending on where some small object happens to lie, and that alone makes a factor of four either way.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import samples
from bench.harness import Row, Workplace, interleave, python, run

GOAL = 1.03
FRESH = f"MALLOC_MMAP_THRESHOLD_={1 << 20}"
CHILD = """
import json, sys, time
import torch
if sys.argv[2] == "on":
    import nbguard
    nbguard.install()
times = []
for _ in range(3):
    begun = time.perf_counter()
    value = torch.load(sys.argv[1], **json.loads(sys.argv[3]))
    times.append(time.perf_counter() - begun)
    del value
print(json.dumps({"first": times[0], "second": min(times[1:])}))
"""


def measure(place: Workplace) -> list[Row]:
    rows = []
    file = place.folder / "model.pt"
    samples.torch_zip(file, int(10**9 * place.scale))
    tool = str(Path(sys.executable).parent / "nbguard")
    _, approving = run([tool, "approve", str(file), "--reason", "measured"], place)
    rows.append(Row("torch.load, 1 GB", "nbguard approve, whole process", approving, "s", note="reads all of it once"))
    for name, arguments in (
        ("plain call", "{}"),
        ("weights_only=False", '{"weights_only": false}'),
        ("mmap=True", '{"mmap": true}'),
    ):
        off, on = interleave(
            [["env", FRESH, *python(CHILD, str(file), side, arguments)] for side in ("off", "on")], place
        )
        for when in ("first", "second"):
            ratio = on.of(when) / off.of(when)
            rows.append(Row(f"torch.load, 1 GB, {name}", f"{when}, guard off", off.of(when), "s"))
            small = name == "mmap=True"
            rows.append(
                Row(
                    f"torch.load, 1 GB, {name}",
                    f"{when}, guard on, approved",
                    on.of(when),
                    "s",
                    ratio=ratio,
                    goal="" if small else (f"<= {GOAL:.2f} x" if when == "second" else "one pass"),
                    met=None if small or when == "first" else ratio <= GOAL,
                    note=f"{(on.of(when) - off.of(when)) * 1000:+.0f} ms",
                )
            )
    file.unlink()
    return rows
