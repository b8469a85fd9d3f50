"""What fuzzing starts from: every sample of the tests, and every input that once broke something.

for seed in seeds(): look(seed.data, seed.path)
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOUND = Path(__file__).resolve().parent / "found"
"""Inputs that broke something, kept: `family--what-it-was--name.ext`, the name being what it is scanned under."""
MOST = 1 << 20
"""Bytes; larger samples make poor seeds."""


@dataclass(frozen=True)
class Seed:
    """Bytes, and what they are called."""

    family: str
    name: str
    path: str
    data: bytes
    companions: frozenset[str] = frozenset()


def seeds(families: frozenset[str] | None = None) -> Iterator[Seed]:
    """One for each file of each sample that can be made here."""
    support = str(ROOT / "tests" / "support")
    if support not in sys.path:
        sys.path.insert(0, support)
    from sample_set import samples

    for sample in samples():
        family = sample.name.partition("/")[0]
        if not sample.available or (families is not None and family not in families):
            continue
        with tempfile.TemporaryDirectory(prefix="nbguard-seed-") as folder:
            place = sample.build(Path(folder))
            files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
            base = place.parent if place.is_file() else place
            names = frozenset(os.fspath(f.relative_to(base)) for f in files)
            for file in files:
                if file.is_symlink() or file.stat().st_size > MOST:
                    continue
                path = file.relative_to(base).as_posix()
                yield Seed(family, sample.name, path, file.read_bytes(), names - {path})


def found() -> Iterator[Seed]:
    """Inputs that once broke something."""
    for file in sorted(FOUND.iterdir()):
        parts = file.name.split("--", 2)
        if len(parts) == 3:
            yield Seed(parts[0], file.name, parts[2], file.read_bytes())
