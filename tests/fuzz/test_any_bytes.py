"""A short slice of the fuzzing, of which `make fuzz` is the long form: any bytes whatever get an answer."""

from __future__ import annotations

import random
import signal
import zlib
from collections.abc import Iterator

import pytest

from fuzz.mutate import mutations
from fuzz.seeds import Seed, found, seeds
from fuzz.target import look

SLOWEST = 60
"""Seconds; a hundred times what any of them takes, so that only a hang is told."""
EACH = 12
FAMILIES = sorted({seed.family for seed in seeds()})


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError("no answer came")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_changed_samples_get_an_answer(family: str) -> None:
    for seed in seeds(frozenset({family})):
        rng = random.Random(zlib.crc32(seed.name.encode() + seed.path.encode()))
        for data in mutations(seed.data, rng, EACH if len(seed.data) < 100_000 else 2):
            signal.alarm(SLOWEST)
            look(data, seed.path, seed.companions)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_under_another_name_get_an_answer(family: str) -> None:
    """What a file is called decides nothing, so no name may lead a reader astray."""
    names = ("model.bin", "config.json", "weights.h5", "x.py", "README.md", "noname")
    for number, seed in enumerate(seeds(frozenset({family}))):
        if len(seed.data) < 100_000:
            signal.alarm(SLOWEST)
            look(seed.data, names[number % len(names)])


@pytest.mark.parametrize("seed", found(), ids=lambda seed: seed.name)
def test_what_once_broke_gets_an_answer(seed: Seed) -> None:
    signal.alarm(SLOWEST)
    look(seed.data, seed.path)
