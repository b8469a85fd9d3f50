"""A short slice of the fuzzing, of which `make fuzz` is the long form: any bytes whatever get an answer."""

from __future__ import annotations

import random
import resource
import signal
import zlib
from collections.abc import Iterator

import pytest

from fuzz.mutate import mutations
from fuzz.plain import MEMORY
from fuzz.seeds import Seed, families, found, seeds
from fuzz.target import look
from nbguard.formats.pickle_run import address_space

SLOWEST = 60
"""Seconds; a hundred times what any of them takes, so that only a hang is told."""
EACH, IN_ALL = 6, 150
"""Changed copies of one seed, and of all seeds of a family together."""
LARGE = 100_000
NAMES = ("model.bin", "config.json", "weights.h5", "x.py", "README.md", "noname")


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def late(*_: object) -> None:
        pytest.fail("no answer came")  # no Exception: no reader takes it for one of its own

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_bomb() -> Iterator[None]:
    """As the worker has it: what the libraries that made the samples have mapped already does not count."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if used := address_space():
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module", params=families())
def family(request: pytest.FixtureRequest) -> tuple[Seed, ...]:
    """Its seeds, made once and before memory is limited."""
    return seeds(request.param)


def test_changed_samples_get_an_answer(family: tuple[Seed, ...]) -> None:
    each = max(1, min(EACH, IN_ALL // len(family)))
    for seed in family:
        rng = random.Random(zlib.crc32(seed.name.encode() + seed.path.encode()))
        for data in mutations(seed.data, rng, each if len(seed.data) < LARGE else 1):
            signal.alarm(SLOWEST)
            look(data, seed.path, seed.companions)


def test_samples_under_another_name_get_an_answer(family: tuple[Seed, ...]) -> None:
    """What a file is called decides nothing, so no name may lead a reader astray."""
    for number, seed in enumerate(family):
        if len(seed.data) < LARGE:
            signal.alarm(SLOWEST)
            look(seed.data, NAMES[number % len(NAMES)])


@pytest.mark.parametrize(
    "begin", ["", "layer", "graph", "ir_version", "<!DOCTYPE", "<net", "#!", "tee", '{"cells": ["']
)
def test_long_repetitions_get_an_answer(begin: str) -> None:
    """What takes quadratic time for a text takes minutes for these."""
    for piece in (" ", "\n", "a", "a.", "/", '"', "\\", "(", "[", "<", "<!-- -->", "{{", "\0"):
        data = (begin + piece * (100_000 // len(piece))).encode()
        for name in ("model.prototxt", "w.ipynb"):
            signal.alarm(SLOWEST)
            look(data, name)


@pytest.mark.parametrize("seed", found(), ids=lambda seed: seed.name)
def test_what_once_broke_gets_an_answer(seed: Seed) -> None:
    signal.alarm(SLOWEST)
    look(seed.data, seed.path)
