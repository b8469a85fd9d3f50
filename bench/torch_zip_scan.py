"""Scanning a 1 GB file of `torch.save`: seconds beyond Python's own start, and how much of the file was read.

    python -m bench.run torch_zip_scan

Where the system can tell, the page cache shows which part of the file the scan touched.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path

from bench import samples
from bench.harness import ROOT, BenchError, Row, Workplace, interleave, peak_memory, python, run

GOAL_S = 0.3
GOAL_READ_MB = 8
INSIDE = """
import json, sys, time
import nbguard
times = []
for _ in range(3):
    begun = time.perf_counter()
    report = nbguard.scan(sys.argv[1])
    times.append(time.perf_counter() - begun)
assert report.verdict.word == "safe", report.verdict
print(json.dumps({"first": times[0], "warm": min(times[1:])}))
"""
PEERS = {
    "picklescan": ["picklescan", "--path", "{file}"],
    "modelscan": ["modelscan", "-p", "{file}"],
    "modelaudit": ["modelaudit", "scan", "{file}"],
}


def resident(path: Path) -> float | None:
    """MB of a file that lie in the page cache, or None where that cannot be asked."""
    size = path.stat().st_size
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    flags = (ctypes.c_ubyte * pages)()
    with path.open("r+b") as handle, mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_WRITE) as view:
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        if ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), flags):
            return None
    return sum(flag & 1 for flag in bytes(flags)) * mmap.PAGESIZE / 1e6


def read_by(command: list[str], path: Path, place: Workplace) -> float | None:
    """MB of a file that a command brings into the page cache, read-ahead included; None where it stays there anyway."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = resident(path)
    if before is None or before > 1:
        return None
    run(command, place)
    return resident(path)


def measure(place: Workplace) -> list[Row]:
    file = place.folder / "model.pt"
    samples.torch_zip(file, int(10**9 * place.scale))
    command = [sys.executable, "-m", "nbguard.cli", "scan", str(file)]
    tool = Path(sys.executable).parent / "nbguard"
    if tool.exists():
        command = [str(tool), "scan", str(file)]
    bare, cat, scan, inside = interleave(
        [python("pass"), ["sh", "-c", 'cat "$1" > /dev/null', "sh", str(file)], command, python(INSIDE, str(file))],
        place,
    )
    over = scan.wall - bare.wall
    rows = [
        Row("1 GB torch zip", "python -c pass", bare.wall, "s"),
        Row("1 GB torch zip", "cat to nowhere", cat.wall, "s"),
        Row(
            "1 GB torch zip",
            "nbguard scan, beyond Python's start",
            over,
            "s",
            goal=f"<= {GOAL_S} s",
            met=over <= GOAL_S,
        ),
        Row("1 GB torch zip", "nbguard.scan, first in a process", inside.of("first"), "s"),
        Row("1 GB torch zip", "nbguard.scan, worker warm", inside.of("warm"), "s"),
    ]
    memory = peak_memory(command, place)
    rows.append(Row("1 GB torch zip", "nbguard scan, all processes", memory["sum"], "MB"))
    read = read_by(command, file, place)
    if read is not None:
        rows.append(Row("1 GB torch zip", "read of the file", read, "MB", goal="no tensors", met=read < GOAL_READ_MB))
    rows += peers(file, place)
    file.unlink()
    return rows


def peers(file: Path, place: Workplace) -> list[Row]:
    """The same file through other scanners, once each; those that are not installed are left out."""
    rows = []
    for name, words in PEERS.items():
        tool = ROOT / ".venv" / "peers" / "bin" / words[0]
        if not tool.exists():
            continue
        command = [str(tool), *(word.format(file=file) for word in words[1:])]
        try:
            _, wall = run(command, place, accept=range(5))
            memory = peak_memory(command, place, accept=range(5))
        except BenchError as problem:
            rows.append(Row("1 GB torch zip", name, 0.0, "s", note=str(problem).splitlines()[0][:80]))
            continue
        rows.append(Row("1 GB torch zip", f"{name}, whole process", wall, "s", note=f"{memory['sum']:.0f} MB"))
    return rows
