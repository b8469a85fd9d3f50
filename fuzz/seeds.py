"""What fuzzing starts from: every sample of the tests, and every input that once broke something.

    for seed in seeds("gguf"): look(seed.data, seed.path)

Samples are made by their formats' own writers, and some of those (TensorFlow, Paddle) are slow to import and large in
memory. So the names of the families come without making anything, each family is made once in a process, and
`python -m fuzz.seeds FOLDER [FAMILY ...]` makes them in a process of its own, for others to take with `stored`.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sample_set import Sample

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


@cache
def _available() -> dict[str, list[Sample]]:
    """The samples that can be made here, by family."""
    support = str(ROOT / "tests" / "support")
    if support not in sys.path:
        sys.path.insert(0, support)
    from sample_set import samples

    families: dict[str, list[Sample]] = {}
    for sample in samples():
        if sample.available:
            families.setdefault(sample.name.partition("/")[0], []).append(sample)
    return families


def families() -> list[str]:
    """The names of all families that have a sample; no sample is made for it."""
    return sorted(_available())


@cache
def seeds(family: str) -> tuple[Seed, ...]:
    """One for each file of each sample of the family, the same bytes once."""
    found: dict[tuple[str, bytes], Seed] = {}
    for sample in _available().get(family, ()):
        for seed in _of(sample, family):
            found.setdefault((seed.path, seed.data), seed)
    return tuple(found.values())


def _of(sample: Sample, family: str) -> Iterator[Seed]:
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


def store(folder: Path, wanted: list[str]) -> None:
    """Make the seeds of these families and write them to `folder`; those that are there already stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in wanted:
        place = folder / f"{family}.json"
        if not place.exists():
            rows = [
                [s.name, s.path, base64.b64encode(s.data).decode("ascii"), sorted(s.companions)] for s in seeds(family)
            ]
            place.write_text(json.dumps(rows), encoding="utf-8")


def stored(folder: Path, family: str) -> list[Seed]:
    """The seeds that `store` wrote for one family, and what was found to break it."""
    rows = json.loads((folder / f"{family}.json").read_text(encoding="utf-8"))
    made = [
        Seed(family, name, path, base64.b64decode(data), frozenset(companions)) for name, path, data, companions in rows
    ]
    return made + [seed for seed in found() if seed.family == family]


if __name__ == "__main__":
    store(Path(sys.argv[1]), sys.argv[2:] or families())
