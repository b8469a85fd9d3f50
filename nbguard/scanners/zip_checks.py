"""What makes a zip doubtful for its readers, and where its members would land.

for rule, sentence in problems(directory, "npz"): ...
names(job, directory, "zip", facts)
"""

from __future__ import annotations

import stat

from nbguard.formats import zip_reader
from nbguard.formats.zip_reader import ZipDirectory
from nbguard.scanners.archive_paths import Placed, judge_paths
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts

MAX_TARGET = 4096
"""Bytes of what a link in a zip names."""


def problems(directory: ZipDirectory, kind: str) -> list[tuple[str, str]]:
    """What makes the reading doubtful, for the readers that such a zip has."""
    found = list(directory.problems)
    once = len({e.raw_name for e in directory.entries}) == len(directory.entries)
    if kind == "npz" and once:  # arrays `W` and `w`: only PyTorch would not tell them apart, and it opens no `.npz`
        found = [p for p in found if p[0] != "zip.duplicate-member"]
    if kind.startswith("torch"):
        odd = [e for e in directory.entries if e.method in zip_reader.METHODS[2:]]
        found += [("zip.method", f"The entry {e.name[:100]} is packed as PyTorch cannot read it.") for e in odd[:5]]
    return found


def names(job: Job, directory: ZipDirectory, kind: str, facts: Facts) -> None:
    """Where the members would land, links by the modes of Unix included."""
    placed = []
    for entry in directory.entries:
        mode, what, target = entry.mode, "folder" if entry.name.endswith("/") else "file", ""
        if stat.S_ISLNK(mode):
            what = "link"
            try:
                target = zip_reader.read_member(job.view, entry, limit=MAX_TARGET).decode("utf-8", "replace")
            except zip_reader.ZipError:
                target = "?" * (MAX_TARGET + 1)  # longer than any file system takes, or not to be read
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            what = "device"
        elif stat.S_ISFIFO(mode) and not entry.size:  # `zip` keeps the mode of what it read from its standard input
            what = "fifo"
        placed.append(Placed(entry.name, what, target, mode & 0o7777))
    judge_paths(job, placed, facts, unpacked=kind in ("zip", "wheel", "egg", "sdist"))
