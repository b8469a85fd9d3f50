"""What honest libraries do all day, as one program.

    python bench/honest_work.py on 3 joblib DataLoader      # guarded, medians of three; JSON: name → seconds

Run as a script of the person's own, so that every load in it would be asked about. `on` guards it, with nobody there to
ask: a question would be a refusal.
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

if sys.argv[1:2] == ["on"]:
    import nbguard

    nbguard.install()

import numpy as np


class Mine:
    """A class of the person's own."""

    def __init__(self, value: int = 1) -> None:
        self.value = value
        self.array = np.arange(50)


def work(item: Mine) -> Mine:
    return Mine(item.value + 1)


def put(queue: Any) -> None:
    queue.put(Mine(9))


def dumped(value: int) -> bytes:
    return pickle.dumps(Mine(value))


def restored(data: bytes) -> int:
    return int(pickle.loads(data).value)


def called(data: bytes) -> bytes:
    """What Ray's and Dask's workers do: a function and its arguments come by value, and so does the result."""
    import cloudpickle

    function, arguments = pickle.loads(data)
    return bytes(cloudpickle.dumps(function(*arguments)))


class Rows:
    def __len__(self) -> int:
        return 8

    def __getitem__(self, row: int) -> Any:
        return np.ones(3) * row


def pool(method: str) -> None:
    context = multiprocessing.get_context(method)
    with context.Pool(2) as workers:
        assert [x.value for x in workers.map(work, [Mine(1), Mine(2)])] == [2, 3]
    queue = context.Queue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    assert queue.get().value == 9
    process.join()


def futures(method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
        assert [x.value for x in workers.map(work, [Mine(1)] * 3)] == [2, 2, 2]
        assert [restored(data) for data in workers.map(dumped, range(3))] == [0, 1, 2]
        assert list(workers.map(restored, [pickle.dumps(Mine(5))] * 2)) == [5, 5]


def by_value(method: str) -> None:
    import cloudpickle

    offset = 3
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
        tasks = [cloudpickle.dumps((lambda x: x + offset, (i,))) for i in range(3)]
        assert [pickle.loads(data) for data in workers.map(called, tasks)] == [3, 4, 5]
        objects = [cloudpickle.dumps((lambda x: Mine(x), (i,))) for i in range(3)]
        assert [pickle.loads(data).value for data in workers.map(called, objects)] == [0, 1, 2]


def joblib_parallel() -> None:
    import joblib

    for backend in ("loky", "threading", "multiprocessing"):
        jobs = (joblib.delayed(work)(Mine(i)) for i in range(4))
        assert [x.value for x in joblib.Parallel(n_jobs=2, backend=backend)(jobs)] == [1, 2, 3, 4]
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(lambda x: x + 1)(i) for i in range(3)) == [1, 2, 3]
    big = np.ones(300_000)
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(np.sum)(big) for _ in range(2)) == [300_000] * 2


def joblib_memory() -> None:
    import joblib

    made = []

    def counted(item: int) -> Mine:
        made.append(item)
        return Mine(item)

    cached = joblib.Memory(tempfile.mkdtemp(dir="."), verbose=0).cache(counted)
    assert [cached(3).value, cached(3).value] == [3, 3]
    assert len(made) == 1


def grid_search() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    x = np.random.default_rng(0).random((60, 4))
    y = (x[:, 0] > 0.5).astype(int)
    assert GridSearchCV(SVC(), {"C": [1, 2]}, n_jobs=2, cv=2).fit(x, y).best_params_
    assert RandomForestClassifier(4, n_jobs=2).fit(x, y).score(x, y) > 0.5


def data_loader(method: str) -> None:
    import torch

    loader = torch.utils.data.DataLoader(Rows(), num_workers=2, multiprocessing_context=method)
    assert sum(batch.sum().item() for batch in loader) == 84


def deep_copies() -> None:
    import torch

    assert copy.deepcopy(Mine(4)).value == copy.copy(Mine(4)).value == 4
    for _ in range(20):
        copy.deepcopy(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()))


def frames() -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": pd.to_datetime(["2020", "2021"])})
    frame["d"] = pd.Categorical(["u", "v"])
    frame.to_pickle("frame.pkl")
    assert pd.read_pickle("frame.pkl").equals(frame)
    for _ in range(10):
        assert pickle.loads(pickle.dumps(frame)).equals(frame)


def arrays() -> None:
    for _ in range(10):
        np.savez("arrays.npz", a=np.ones(2))
        np.save("objects.npy", np.array([Mine(3)], dtype=object))
        assert np.load("arrays.npz")["a"].sum() == 2
        assert np.load("objects.npy", allow_pickle=True)[0].value == 3
        assert pickle.loads(pickle.dumps(np.ones(9))).sum() == 9


def checkpoints() -> None:
    import torch

    model = torch.nn.Linear(8, 8)
    for step in range(10):
        torch.save({"model": model.state_dict(), "step": step, "mine": Mine(step)}, f"step-{step}.pt")
        assert torch.load(f"step-{step}.pt", weights_only=False)["mine"].value == step


WORK: dict[str, Callable[[], None]] = {
    "pool fork": lambda: pool("fork"),
    "pool spawn": lambda: pool("spawn"),
    "futures fork": lambda: futures("fork"),
    "futures spawn": lambda: futures("spawn"),
    "by value fork": lambda: by_value("fork"),
    "by value spawn": lambda: by_value("spawn"),
    "joblib": joblib_parallel,
    "joblib.Memory": joblib_memory,
    "grid search": grid_search,
    "DataLoader": lambda: data_loader("fork"),
    "DataLoader spawn": lambda: data_loader("spawn"),
    "deepcopy": deep_copies,
    "pandas": frames,
    "numpy": arrays,
    "checkpoints": checkpoints,
}


def main(repeats: int, names: list[str]) -> None:
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp(prefix="honest-"))
    spent: dict[str, list[float]] = {}
    for name in names or list(WORK):
        for turn in range(repeats + (repeats > 1)):  # the first of several imports what it needs, and does not count
            begun = time.perf_counter()
            WORK[name]()
            if turn or repeats == 1:
                spent.setdefault(name, []).append(time.perf_counter() - begun)
    print(json.dumps({name: sorted(times)[len(times) // 2] for name, times in spent.items()}))


if __name__ == "__main__":
    main(int(sys.argv[2]), sys.argv[3:])
