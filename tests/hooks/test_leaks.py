"""Two hundred guarded loads leave nothing behind: no memory, no threads, no open files, no worker processes."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
import torch
from conftest import Asker
from loopback_hub import Hub, offer

from nbguard.errors import LoadBlocked
from nbguard.gate.answer import Answer
from nbguard.hooks import grants
from nbguard.report.model import Verdict

MOST_GROWTH = 12 << 20
"""Bytes of memory that 200 loads may leave: allocators keep some; one leaked report or file of each load is more."""


class Bomb:
    """A pickle of this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


class Sensible(Asker):
    """Accepts everything but danger."""

    def __call__(self, report, decision, request) -> Answer:  # type: ignore[no-untyped-def]
        return Answer("refuse" if report.verdict is Verdict.DANGER else "once", "someone", "", "widget")


@dataclass(frozen=True)
class Held:
    """What this process and its children hold."""

    memory: int
    threads: int
    files: int
    processes: int
    grants: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # what is free but kept by the C library for threads that are gone is no leak
            trim(0)
        here = psutil.Process()
        children = here.children(recursive=True)
        return cls(
            here.memory_info().rss + sum(child.memory_info().rss for child in children),
            here.num_threads() + sum(child.num_threads() for child in children),
            here.num_fds() + sum(child.num_fds() for child in children),
            len(children),
            len(grants.live()),
        )


@pytest.fixture
def loads(person: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub: Hub) -> list[Callable[[], object]]:
    """One of each kind: explained data, library objects, something refused, files of a repository, its code."""
    from nbguard.hooks import walk

    monkeypatch.setattr(walk, "ask", Sensible())
    torch.save(torch.nn.Linear(64, 64), tmp_path / "module.pt")
    torch.save({"w": torch.zeros(64, 64)}, tmp_path / "weights.pt")
    joblib.dump({"w": np.zeros((200, 200))}, tmp_path / "a.joblib")
    joblib.dump({"w": np.zeros((200, 200))}, tmp_path / "b.joblib", compress=3)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": [0.5] * 1_000}))
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    offer(hub.store, "demo/tiny-bert")

    def unpickle(name: str) -> object:
        with (tmp_path / name).open("rb") as file:
            return pickle.load(file)

    def refused() -> None:
        with pytest.raises(LoadBlocked):
            unpickle("bomb.pkl")

    def pretrained() -> object:
        from transformers import AutoModel

        return AutoModel.from_pretrained("demo/tiny-bert")

    return [
        lambda: torch.load(tmp_path / "module.pt", weights_only=False),
        lambda: torch.load(tmp_path / "weights.pt", weights_only=True),
        lambda: unpickle("a.pkl"),
        lambda: pickle.loads((tmp_path / "a.pkl").read_bytes()),
        refused,
        lambda: joblib.load(tmp_path / "a.joblib"),
        lambda: joblib.load(tmp_path / "b.joblib"),
        pretrained,
    ]


def test_two_hundred_in_a_row(guarded: None, loads: list[Callable[[], object]]) -> None:
    for load in loads * 4:
        load()
    before = Held.now()
    for number in range(28):
        for load in loads if number % 3 == 0 else loads[:-1]:
            load()
    after = Held.now()
    assert after.memory - before.memory < MOST_GROWTH
    assert after.threads <= before.threads
    assert after.files <= before.files
    assert after.processes <= before.processes
    assert after.grants <= before.grants


def test_twenty_at_once(guarded: None, loads: list[Callable[[], object]]) -> None:
    def rounds(count: int) -> None:
        with ThreadPoolExecutor(20) as pool:
            for done in [pool.submit(load) for load in loads[:-1] * count]:
                done.result()

    rounds(12)  # each thread's allocator has had its share by then
    before = Held.now()
    for _ in range(3):
        rounds(6)
    after = Held.now()
    assert after.memory - before.memory < MOST_GROWTH
    assert after.threads <= before.threads
    assert after.files <= before.files
    assert after.processes <= before.processes
    assert after.grants <= before.grants


def test_a_repository_whose_code_runs(guarded: None, person: Asker, hub: Hub) -> None:
    """Its grant outlives the load, because its modules may import each other later; one grant, not one for each."""
    from transformers import AutoModel

    offer(hub.store, "demo/tiny-custom")

    def load() -> None:
        AutoModel.from_pretrained("demo/tiny-custom", trust_remote_code=True)

    for _ in range(2):
        load()
    before = Held.now()
    for _ in range(6):
        load()
    after = Held.now()
    assert after.grants <= before.grants
    assert after.files <= before.files
    assert after.memory - before.memory < MOST_GROWTH
