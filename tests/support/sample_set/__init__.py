"""Every kind of model file that the tests know, honest and hostile, made in code: one list for all who need one.

    for sample in samples():
        place = sample.build(tmp_path)      # the file, or the folder of a repository

Each module here holds the samples of one family in `SAMPLES`. The payload of a hostile one is harmless: at most it
writes the file `MARKER` into the working directory. Tests of verdicts, the comparison with other scanners, seeds for
fuzzing and remote scans all go over this list, so that a new sample is a new case for each of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MARKER = "nbguard-marker"
"""The one file that a payload may write."""
COMMAND = f"echo ran > {MARKER}"
"""What a payload may hand to a shell."""


@dataclass(frozen=True)
class Sample:
    """One file or folder, and what nbguard has to say of it."""

    name: str
    """`family/what-it-is`, unique."""
    format: str
    """The format's name in reports (`nbguard.scanners.base.Format.name`)."""
    build: Callable[[Path], Path]
    """Writes it into an empty folder and gives the place that is scanned."""
    verdicts: tuple[str, ...]
    """The words of the verdicts that are right: `("safe",)`, or for a broken file perhaps several."""
    honest: bool = False
    """Made by the format's own writer, with nothing in it that a person would object to."""
    rule: str = ""
    """A rule that has to be among the findings; empty for any."""
    trick: str = ""
    """What is hostile about it, in one sentence."""
    needs: tuple[str, ...] = ()
    """Modules that `build` imports; where one is missing, the sample is left out."""
    loads: Callable[[Path], None] | None = None
    """Loads it with the real loader, to prove that the trick works; run only in a process of its own."""

    @property
    def available(self) -> bool:
        return all(find_spec(module) is not None for module in self.needs)


@cache
def samples() -> tuple[Sample, ...]:
    """All of them, by name."""
    return tuple(sorted(_all(), key=lambda sample: sample.name))


def _all() -> Iterator[Sample]:
    for module in pkgutil.iter_modules(__path__):
        yield from getattr(importlib.import_module(f"{__name__}.{module.name}"), "SAMPLES", ())


def written(name: str, data: Callable[[], bytes]) -> Callable[[Path], Path]:
    """A `build` for one file of this name."""

    def build(folder: Path) -> Path:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data())
        return place

    return build
