"""Objects of many libraries, written by themselves, load under the walls as they were."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import warnings
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
from conftest import Asker

from nbguard.errors import LoadBlocked
from nbguard.hooks import walk

np = pytest.importorskip("numpy")

pytestmark = pytest.mark.usefixtures("guarded")

X = np.arange(80, dtype="f8").reshape(20, 4)
Y = (X[:, 0] > 40).astype(int)


def again(value: Any, person: Asker) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = pickle.loads(pickle.dumps(value))
    assert set(person.verdicts) <= {"safe", "review"}
    return loaded


def test_numpy_types(person: Asker) -> None:
    structured = np.array([(1, 2.0, b"x")], dtype=[("a", "<i4"), ("b", ">f8"), ("c", "S3")])
    aligned = np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))
    nested = np.zeros(2, dtype=[("p", [("x", "f4"), ("y", "f4")]), ("m", "i2", (2, 2))])
    values = [structured, aligned, nested, np.float32(1.5), np.datetime64("2020-01-01"), np.array(["ä", "b"]),
              np.array(["2020-01-01"], dtype="M8[ns]"), np.array([1 + 2j]), np.ma.masked_array([1, 2], [True, False]),
              np.matrix([[1]]), np.rec.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])]  # fmt: skip
    for value in values:
        loaded = again(value, person)
        assert loaded.dtype == value.dtype
        assert np.array_equal(loaded, value)


def test_random_states(person: Asker) -> None:
    generator = np.random.default_rng(1)
    assert again(generator, person).random() == generator.random()
    state = np.random.RandomState(1)
    assert again(state, person).rand() == state.rand()
    assert again(random.Random(1), person).random() == random.Random(1).random()
    assert again(np.add, person) is np.add
    assert again(zoneinfo.ZoneInfo("Europe/Berlin"), person).key == "Europe/Berlin"


def test_scipy(person: Asker) -> None:
    stats, sparse = pytest.importorskip("scipy.stats"), pytest.importorskip("scipy.sparse")
    assert again(stats.norm(loc=1), person).mean() == 1
    assert (again(sparse.csr_matrix(X), person) != sparse.csr_matrix(X)).nnz == 0


def test_scikit_learn(person: Asker) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    texts = TfidfVectorizer().fit(["one two", "two three"])
    assert again(texts, person).vocabulary_ == texts.vocabulary_
    for model in (
        ensemble.RandomForestClassifier(3, random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=2),
        GridSearchCV(SVC(), {"C": [1.0]}, cv=2),
    ):
        model.fit(X, Y)
        assert (again(model, person).predict(X) == model.predict(X)).all()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_gradient_boosting(library: str, person: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    made = {
        "xgboost": lambda: module.XGBClassifier(n_estimators=2),
        "lightgbm": lambda: module.LGBMClassifier(n_estimators=2, min_child_samples=1, verbose=-1),
        "catboost": lambda: module.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = made[library]().fit(X, Y)
        assert (again(model, person).predict(X) == model.predict(X)).all()


def test_torch_modules(person: Asker) -> None:
    torch = pytest.importorskip("torch")
    for module in (torch.nn.LSTM(3, 4), torch.nn.TransformerEncoderLayer(8, 2), torch.nn.Conv2d(1, 2, 3)):
        loaded = again(module, person)
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), module.parameters(), strict=True))


def test_a_site_that_only_observes_stops_nothing(
    person: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from programs import touching

    monkeypatch.setenv("NBGUARD_MODE", "observe")
    assert pickle.loads(touching(tmp_path / "marker")) == 0
    assert (tmp_path / "marker").exists()
    assert person.reports == []


def test_what_was_always_allowed_is_not_asked_about_again(person: Asker, tmp_path: Path) -> None:
    value = {"unique": str(tmp_path), "x": X}
    person.choice = "always"
    pickle.loads(pickle.dumps(value))
    pickle.loads(pickle.dumps(value))
    assert len(person.reports) == 1


def test_an_interrupt_loads_nothing(monkeypatch: pytest.MonkeyPatch, person: Asker) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(walk, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pickle.loads(pickle.dumps(X))


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("policy", ["balanced", "strict"])
def test_headless_by_policy(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_POLICY", policy)
    data = pickle.dumps({"x": X, "policy": policy})
    if policy == "strict":
        with pytest.raises(LoadBlocked):
            pickle.loads(data)
    else:
        assert np.array_equal(pickle.loads(data)["x"], X)


def test_a_stricter_policy_for_one_block(person: Asker) -> None:
    import nbguard

    person.choice = "once"
    with nbguard.guard(policy="strict"), pytest.raises(LoadBlocked):
        pickle.loads(b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00truetR.")
    assert person.reports == []
    with pytest.raises(ValueError, match="no policy"), nbguard.guard(policy="lenient"):
        pass


WORKERS = """
import io, pickle, sys, torch, numpy, nbguard
nbguard.install()
blob = pickle.dumps({"x": numpy.ones(3)})
torch.save({"w": torch.ones(2)}, "w.pt")
class Data(torch.utils.data.Dataset):
    def __len__(self): return 6
    def __getitem__(self, i):
        return pickle.loads(blob)["x"][0] + torch.load("w.pt", weights_only=True)["w"]
if __name__ == "__main__":
    print(sum(b.sum().item() for b in torch.utils.data.DataLoader(Data(), num_workers=2)))
"""


def test_loads_in_forked_workers_ask_nobody(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, "work.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "24.0", done.stderr[-3000:]


@pytest.mark.parametrize("library", ["catboost", "lightgbm", "xgboost", "sklearn.ensemble", "scipy.stats", "pandas"])
def test_a_library_that_nobody_imported_is_imported_by_the_load(library: str, tmp_path: Path) -> None:
    """What an installed library does while it is imported, in C too, is no effect of the model."""
    pytest.importorskip(library)
    make = {
        "catboost": "m.CatBoostClassifier(iterations=1, verbose=0, allow_writing_files=False).fit(X, Y)",
        "lightgbm": "m.LGBMClassifier(n_estimators=1, verbose=-1).fit(X, Y)",
        "xgboost": "m.XGBClassifier(n_estimators=1).fit(X, Y)",
        "sklearn.ensemble": "m.HistGradientBoostingClassifier(max_iter=1).fit(X, Y)",
        "scipy.stats": "m.norm(1, 2)",
        "pandas": "m.DataFrame({'t': m.date_range('2020', periods=2, tz='Europe/Berlin')})",
    }[library]
    path = tmp_path / "object.pkl"
    write = f"""
import importlib, pickle, numpy as np
X = np.arange(80, dtype="f8").reshape(20, 4); Y = (X[:, 0] > 40).astype(int)
m = importlib.import_module({library!r})
pickle.dump({make}, open({str(path)!r}, "wb"))
"""
    load = f"""
import pickle, nbguard
from nbguard.gate.answer import Answer
from nbguard.hooks import walk
walk.ask = lambda *a: Answer("once", "someone", "", "widget")
walk.tell, walk._somebody_there = (lambda *a: None), (lambda: True)
nbguard.install()
print(type(pickle.load(open({str(path)!r}, "rb"))).__name__)
"""
    subprocess.run([sys.executable, "-c", write], check=True, capture_output=True, timeout=120)
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "violation" not in done.stderr.lower()


@pytest.mark.parametrize("keep", [True, False])
def test_importing_may_leave_byte_code_behind(keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              person: Asker) -> None:  # fmt: skip
    """A module that the load imports for the first time is compiled, and Python writes that beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", not keep)
    monkeypatch.syspath_prepend(tmp_path)
    module = f"mine_{keep}".lower()
    (tmp_path / f"{module}.py").write_text("class Thing:\n    pass\n")
    loaded = pickle.loads(b"\x80\x02c" + module.encode() + b"\nThing\n)\x81.")
    assert type(loaded).__module__ == module
    assert (tmp_path / "__pycache__").exists() is keep
    monkeypatch.delitem(sys.modules, module)
