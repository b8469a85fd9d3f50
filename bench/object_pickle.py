"""A 60 MB pickle full of objects: scanning it beside `pickle.loads`, in time and in memory.

    python -m bench.run object_pickle

The worker is warm, as in a kernel that has scanned before; its memory is that of the larger process.
"""

from __future__ import annotations

from pathlib import Path

from bench import samples
from bench.harness import Row, Workplace, interleave, peak_memory, python

GOAL_TIME = 1.5
GOAL_MEMORY = 2.0
LOAD = """
import json, pickle, sys, time
data = open(sys.argv[1], "rb").read()
begun = time.perf_counter()
value = pickle.loads(data)
print(json.dumps({"spent": time.perf_counter() - begun}))
"""
SCAN = """
import json, sys, time
import nbguard
nbguard.scan(sys.argv[2])                     # the worker is there and warm, as in a kernel that has scanned before
begun = time.perf_counter()
report = nbguard.scan(sys.argv[1])
spent = time.perf_counter() - begun
assert report.verdict.word in ("safe", "review"), (report.verdict, report.findings[:3])
print(json.dumps({"spent": spent}))
"""


def one(kind: str, file: Path, small: Path, place: Workplace) -> list[Row]:
    load, scan = python(LOAD, str(file)), python(SCAN, str(file), str(small))
    loads, scans = interleave([load, scan], place)
    time_ratio = scans.of("spent") / loads.of("spent")
    load_memory = peak_memory(load, place)["largest"]
    scan_memory = peak_memory(scan, place)["largest"]
    memory_ratio = scan_memory / load_memory
    name = f"60 MB pickle, {kind}"
    return [
        Row(name, "pickle.loads", loads.of("spent"), "s"),
        Row(
            name,
            "nbguard.scan",
            scans.of("spent"),
            "s",
            ratio=time_ratio,
            goal=f"<= {GOAL_TIME} x",
            met=time_ratio <= GOAL_TIME,
        ),
        Row(name, "pickle.loads, peak", load_memory, "MB"),
        Row(
            name,
            "nbguard.scan, peak of the larger process",
            scan_memory,
            "MB",
            ratio=memory_ratio,
            goal=f"<= {GOAL_MEMORY:.0f} x",
            met=memory_ratio <= GOAL_MEMORY,
        ),
    ]


def measure(place: Workplace) -> list[Row]:
    rows = []
    small = place.folder / "small.pkl"
    samples.pickled(small, {"a": 1})
    for kind, make in (("containers", samples.records), ("objects", samples.objects)):
        file = place.folder / f"{kind}.pkl"
        samples.pickled(file, make(int(60 * 10**6 * place.scale)))
        rows += one(kind, file, small, place)
        file.unlink()
    return rows
