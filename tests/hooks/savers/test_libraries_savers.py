"""What the libraries' own savers write is known again, by their own loaders, with nobody to ask."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nbguard.approvals.own import OwnWork
from nbguard.hooks.savers import ledger

pytestmark = [pytest.mark.usefixtures("guarded", "home", "nobody"), pytest.mark.own_work]

X = np.arange(80, dtype="f8").reshape(20, 4)
Y = (X[:, 0] > 40).astype(int)


def recorded(*paths: str) -> bool:
    ledger.settle()
    known = {w.path for w in OwnWork().all()}
    return known >= {os.path.abspath(path) for path in paths}


def test_safetensors() -> None:
    from safetensors import numpy as in_numpy
    from safetensors import torch as in_torch

    in_torch.save_file({"w": torch.ones(3)}, "a.safetensors")
    in_numpy.save_file({"w": np.ones(3)}, "b.safetensors")
    assert recorded("a.safetensors", "b.safetensors")


def test_torchscript() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(torch.nn.Linear(2, 2))
        torch.jit.save(script, "a.pt")
        script.save("b.pt")
        assert recorded("a.pt", "b.pt")
        assert torch.jit.load("a.pt")(torch.ones(2)).shape == (2,)


def xgboost_model(path: str) -> None:
    import xgboost

    xgboost.XGBClassifier(n_estimators=2).fit(X, Y).save_model(path)


def lightgbm_model(path: str) -> None:
    import lightgbm

    lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=1, verbose=-1).fit(X, Y).booster_.save_model(path)


def catboost_model(path: str) -> None:
    import catboost

    catboost.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False).fit(X, Y).save_model(path)


def skops_model(path: str) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    skops.io.dump(LogisticRegression().fit(X, Y), path)


def onnx_model(path: str) -> None:
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph), path)


def keras_model(path: str) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)


def load_xgboost(path: str) -> None:
    import xgboost

    xgboost.Booster().load_model(path)


def load_lightgbm(path: str) -> None:
    import lightgbm

    lightgbm.Booster(model_file=path)


def load_catboost(path: str) -> None:
    import catboost

    catboost.CatBoostClassifier().load_model(path)


def load_skops(path: str) -> None:
    import skops.io

    skops.io.load(path)


def load_onnx(path: str) -> None:
    import onnx

    onnx.load(path)


def load_keras(path: str) -> None:
    import keras

    keras.models.load_model(path)


@pytest.mark.parametrize(
    ("save", "load", "path"),
    [
        (xgboost_model, load_xgboost, "m.ubj"),
        (lightgbm_model, load_lightgbm, "m.txt"),
        (catboost_model, load_catboost, "m.cbm"),
        (skops_model, load_skops, "m.skops"),
        (onnx_model, load_onnx, "m.onnx"),
        (keras_model, load_keras, "m.keras"),
    ],
)
def test_models_of_other_libraries(save: Callable[[str], None], load: Callable[[str], None], path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(path)
        assert recorded(path)
        records = [w for w in OwnWork().all() if w.path == os.path.abspath(path)]
        assert all(w.size == os.path.getsize(path) for w in records)
        assert events(lambda: load(path))[0]["event"] == "load.own"


def test_torch_export() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), "e.pt2")
        assert recorded("e.pt2")
        assert events(lambda: torch.export.load("e.pt2"))[0]["event"] == "load.own"


def test_a_folder_of_sentence_transformers_or_diffusers_is_recorded_file_by_file() -> None:
    from diffusers import DDPMScheduler

    DDPMScheduler(num_train_timesteps=10).save_pretrained("scheduler")
    assert recorded("scheduler/scheduler_config.json")


def test_a_model_its_tokenizer_and_its_configuration() -> None:
    from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    BertModel(config).save_pretrained("mine")
    BertTokenizerFast("vocab.txt").save_pretrained("mine")
    assert recorded("mine/config.json", "mine/model.safetensors", "mine/tokenizer.json")
    assert events(lambda: AutoModel.from_pretrained("mine"))[0]["event"] == "load.own"
    assert events(lambda: AutoTokenizer.from_pretrained("mine"))[0]["event"] in ("load.own", "load.settled")


def events(load: Callable[[], Any]) -> list[dict[str, Any]]:
    from nbguard.approvals import AuditLog

    before = len(list(AuditLog().entries()))
    load()
    return list(AuditLog().entries())[before:]
