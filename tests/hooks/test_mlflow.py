"""MLflow's loaders, in the real library: pickles held to the scanned programs, code to the scanned bytes."""

from __future__ import annotations

import gc
import pickle
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import mlflow.pytorch
import mlflow.sklearn
import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from nbguard.errors import LoadBlocked

SKLEARN = """
flavors:
  python_function:
    loader_module: {loader}
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.7
    {more}
  sklearn:
    code: null
    pickled_model: {pickled}
    serialization_format: pickle
    sklearn_version: 1.9.1
mlflow_version: 3.0.0
"""
FROM_CODE = """
flavors:
  python_function:
    loader_module: mlflow.pyfunc.loaders.code_model
    model_code_path: /somewhere/else/model_code.py
    python_version: 3.11.7
mlflow_version: 3.0.0
"""
MODEL_CODE = """
import mlflow
from mlflow.pyfunc import PythonModel
{act}
class Doubling(PythonModel):
    def load_context(self, context):
        self.factor = 2
        {later}
    def predict(self, context, model_input, params=None):
        return model_input * self.factor
mlflow.models.set_model(Doubling())
"""
OWN_LOADER = """
import own_parts
{act}
class Model:
    def predict(self, data): return own_parts.VALUE
def _load_pyfunc(path, model_config=None):
    {later}
    return Model()
"""


@pytest.fixture(autouse=True)
def _guarded(guarded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("own_", "code_model_")):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scikit-learn model as MLflow saves it."""
    return sklearn_model(tmp_path / "model", LinearRegression().fit(np.arange(4).reshape(-1, 1), np.arange(4)))


def sklearn_model(
    root: Path, model: object, loader: str = "mlflow.sklearn", more: str = "code: null", pickled: str = "model.pkl"
) -> Path:
    root.mkdir()
    (root / "MLmodel").write_text(SKLEARN.format(loader=loader, more=more, pickled=pickled))
    (root / "model.pkl").write_bytes(pickle.dumps(model))
    return root


def code_model(root: Path, act: str = "", later: str = "") -> Path:
    root.mkdir()
    (root / "MLmodel").write_text(FROM_CODE)
    (root / "model_code.py").write_text(MODEL_CODE.format(act=act, later=later))
    return root


def own_loader(root: Path, act: str = "", later: str = "") -> Path:
    sklearn_model(root, {}, "own_loader", "code: code\n    data: data")
    for name, text in (("own_loader", OWN_LOADER.format(act=act, later=later)), ("own_parts", "VALUE = 41\n")):
        (root / "code").mkdir(exist_ok=True)
        (root / "code" / f"{name}.py").write_text(text)
    (root / "data").mkdir()
    (root / "data" / "notes.txt").write_text("data\n")
    return root


def test_an_honest_model_asks_once_about_its_folder_and_loads(person, folder):
    assert mlflow.sklearn.load_model(str(folder)).predict([[5]]) == pytest.approx([5.0])
    (report,) = person.reports
    assert sorted(f.path for f in report.files) == ["MLmodel", "model.pkl"]
    assert report.verdict.word in ("safe", "review")
    wrapped = mlflow.pyfunc.load_model(folder.as_uri())
    assert wrapped.predict(np.array([[5.0]])) == pytest.approx([5.0])


def test_a_hostile_pickle_beside_an_honest_mlmodel(person, tmp_path, marker):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    root = sklearn_model(tmp_path / "model", Evil())
    person.choice = "refuse"
    for load in (mlflow.sklearn.load_model, mlflow.pyfunc.load_model):
        with pytest.raises(LoadBlocked):
            load(str(root))
    assert person.verdicts == ["danger", "danger"]
    assert not marker.exists()


def test_a_pickle_that_is_exchanged_after_the_answer_does_not_load(monkeypatch, person, folder, marker):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    from nbguard.hooks import walk

    accepting = walk.ask

    def exchanged(report, decision, request):
        (folder / "model.pkl").write_bytes(pickle.dumps(Evil()))
        (folder / "MLmodel").write_text(SKLEARN.format(loader="antigravity", more="code: null", pickled="/etc/passwd"))
        return accepting(report, decision, request)

    monkeypatch.setattr(walk, "ask", exchanged)
    with pytest.raises(Exception):  # noqa: B017, PT011 - stopped by a wall, or by MLflow that reads the old MLmodel
        mlflow.sklearn.load_model(str(folder))
    assert not marker.exists()


def test_a_model_made_of_code_runs_as_scanned(person, tmp_path):
    model = mlflow.pyfunc.load_model(str(code_model(tmp_path / "model")))
    assert model.predict(np.array([3])).tolist() == [6]
    (report,) = person.reports
    assert report.verdict.word == "review"
    assert [c.path for c in report.contract.code] == ["model_code.py"]


@pytest.mark.parametrize("where", ["act", "later"])
@pytest.mark.parametrize("kind", ["code", "loader"])
def test_code_that_acts_is_stopped_even_where_it_was_accepted(person, tmp_path, marker, where, kind):
    make = {"code": code_model, "loader": own_loader}[kind]
    root = make(tmp_path / "model", **{where: f"open({str(marker)!r}, 'w').close()"})
    with pytest.raises(LoadBlocked):
        mlflow.pyfunc.load_model(str(root))
    assert not marker.exists()


def test_a_loader_of_the_models_own_is_shown_and_runs_as_scanned(person, tmp_path):
    model = mlflow.pyfunc.load_model(str(own_loader(tmp_path / "model")))
    assert model.predict(np.array([1])) == 41
    (report,) = person.reports
    assert {c.path for c in report.contract.code} == {"code/own_loader.py", "code/own_parts.py"}
    assert "mlmodel.loader" in {f.rule for f in report.findings}
    assert [p for p in sys.path if p.startswith(tempfile.gettempdir()) and p.endswith("code")]
    del model
    gc.collect()
    assert not [p for p in sys.path if p.startswith(tempfile.gettempdir()) and p.endswith("code")]


@pytest.mark.parametrize(
    "more",
    ["code: /tmp/elsewhere", "code: ../elsewhere", "code: null\n    data: /etc", "code: null\n    data: ../../etc"],
)
def test_what_leads_out_of_the_folder_is_danger_and_stopped(person, tmp_path, more):
    root = sklearn_model(tmp_path / "model", {}, more=more)
    with pytest.raises(LoadBlocked, match="out of its folder"):
        mlflow.pyfunc.load_model(str(root))
    assert person.verdicts == ["danger"]


def test_a_loader_module_beside_the_notebook_is_not_imported(person, tmp_path, marker):
    (tmp_path / "own_elsewhere.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    sys.path.insert(0, str(tmp_path))
    root = sklearn_model(tmp_path / "model", {}, "own_elsewhere")
    with pytest.raises(LoadBlocked, match="loader module"):
        mlflow.pyfunc.load_model(str(root))
    assert not marker.exists()


@pytest.mark.parametrize("text", ["flavors: {a: 1}", "flavors: []", "[", "flavors: &a [*a]", "a: 1\na: 2\nflavors: {}"])
def test_an_mlmodel_that_cannot_be_read_loads_nothing(person, folder, text):
    (folder / "MLmodel").write_text(text)
    with pytest.raises(LoadBlocked):
        mlflow.pyfunc.load_model(str(folder))
    assert person.reports == []


def test_torch_models(person, tmp_path, marker):
    root = tmp_path / "model"
    (root / "data").mkdir(parents=True)
    (root / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.pytorch\n    data: data\n  pytorch:\n"
        "    model_data: data\n    pytorch_version: 2.13.0\n    code: null\nmlflow_version: 3.0.0\n"
    )
    (root / "data" / "pickle_module_info.txt").write_text("mlflow.pytorch.pickle_module")
    torch.save(torch.nn.Linear(2, 1), root / "data" / "model.pth")
    assert mlflow.pytorch.load_model(str(root)).weight.shape == (1, 2)

    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    torch.save(Evil(), root / "data" / "model.pth")
    with pytest.raises(LoadBlocked):
        mlflow.pytorch.load_model(str(root))
    assert person.verdicts[-1] == "danger"
    assert not marker.exists()


def test_nobody_there_and_approved(nobody, tmp_path):
    from nbguard.commands import actions

    root = own_loader(tmp_path / "model")
    with pytest.raises(LoadBlocked):
        mlflow.pyfunc.load_model(str(root))
    actions.approve(str(root), reason="read it")
    assert mlflow.pyfunc.load_model(str(root)).predict(np.array([1])) == 41
