"""xgboost, lightgbm, catboost and fastText under the guard, in the real libraries."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boosted
import numpy as np
import pytest
from conftest import Asker

from nbguard import LoadBlocked

pytestmark = pytest.mark.usefixtures("guarded")
Load = Callable[[Path], Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("boosted")
    return {
        **boosted.write_xgboost(folder),
        **boosted.write_lightgbm(folder),
        **boosted.write_catboost(folder),
        **boosted.write_fasttext(folder),
    }


def xgboost_model(path: Path) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(path)
    return booster.num_boosted_rounds()


def xgboost_in_memory(path: Path) -> Any:
    import xgboost

    return xgboost.Booster(model_file=bytearray(path.read_bytes())).num_boosted_rounds()


def xgboost_made_from(path: Path) -> Any:
    import xgboost

    return xgboost.Booster(model_file=str(path)).num_boosted_rounds()


def xgboost_classifier(path: Path) -> Any:
    import xgboost

    model = xgboost.XGBClassifier()
    model.load_model(path)
    return model.get_booster().num_boosted_rounds()


def lightgbm_file(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=path).num_trees()


def lightgbm_text(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=path.read_text()).num_trees()


def catboost_file(path: Path) -> Any:
    import catboost

    return catboost.CatBoostClassifier().load_model(path, format=path.suffix.strip(".")).tree_count_


def catboost_bytes(path: Path) -> Any:
    import catboost

    return catboost.CatBoost().load_model(blob=path.read_bytes()).tree_count_


def catboost_stream(path: Path) -> Any:
    import catboost

    with path.open("rb") as stream:
        return catboost.CatBoost().load_model(stream=stream).tree_count_


def fasttext_model(path: Path) -> Any:
    import fasttext

    return fasttext.load_model(str(path)).get_dimension()


HONEST: list[tuple[str, Load, str, Any]] = [
    ("xgboost.json", xgboost_model, "xgboost.Booster.load_model", 4),
    ("xgboost.ubj", xgboost_model, "xgboost.Booster.load_model", 4),
    ("xgboost-categories.ubj", xgboost_made_from, "xgboost.Booster", 3),
    ("xgboost-dart.ubj", xgboost_in_memory, "xgboost.Booster", 2),
    ("xgboost-classes.json", xgboost_classifier, "xgboost.XGBModel.load_model", 2),
    ("lightgbm.txt", lightgbm_file, "lightgbm.Booster", 4),
    ("lightgbm-linear.txt", lightgbm_text, "lightgbm.Booster", 2),
    ("catboost-tables.cbm", catboost_file, "catboost.CatBoost.load_model", 6),
    ("catboost.json", catboost_file, "catboost.CatBoost.load_model", 6),
    ("catboost-leaves.cbm", catboost_bytes, "catboost.CatBoost.load_model", 6),
    ("catboost.cbm", catboost_stream, "catboost.CatBoost.load_model", 6),
    ("fasttext.bin", fasttext_model, "fasttext.load_model", 8),
    ("fasttext.ftz", fasttext_model, "fasttext.load_model", 8),
]


@pytest.mark.parametrize(
    ("name", "load", "loader", "expected"), HONEST, ids=[f"{n}-{f.__name__}" for n, f, *_ in HONEST]
)
def test_an_honest_model_loads_after_one_question(
    name: str, load: Load, loader: str, expected: Any, models: dict[str, Path], person: Asker
) -> None:
    assert load(models[name]) == expected
    assert person.verdicts == ["safe"]
    assert person.requests[0].loader == loader
    assert [f.verdict.word for f in person.reports[0].files] == ["safe"]


FORMATS: list[tuple[str, Load]] = [
    ("xgboost.json", xgboost_model),
    ("xgboost.ubj", xgboost_made_from),
    ("xgboost.ubj", xgboost_in_memory),
    ("xgboost.json", xgboost_classifier),
    ("lightgbm.txt", lightgbm_file),
    ("catboost.cbm", catboost_file),
    ("catboost.cbm", catboost_bytes),
    ("fasttext.bin", fasttext_model),
]


@pytest.mark.parametrize(("name", "load"), FORMATS)
def test_what_a_library_would_misread_is_not_loaded(
    name: str, load: Load, models: dict[str, Path], tmp_path: Path, person: Asker, marker: Path
) -> None:
    """Cut off, a pickle that runs, and a harmless pickle, each under the model's own name."""
    honest = models[name].read_bytes()
    payload = pickle.dumps(Touch(marker))
    for number, data in enumerate((honest[: len(honest) * 2 // 3], payload, pickle.dumps([1, 2, 3]))):
        hostile = tmp_path / str(number) / name
        hostile.parent.mkdir()
        hostile.write_bytes(data)
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            load(hostile)
    assert not marker.exists()
    assert set(person.verdicts) <= {"danger"}  # what cannot be read is not even asked about


class Touch:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def test_indices_that_lead_nowhere_never_reach_the_library(
    models: dict[str, Path], tmp_path: Path, person: Asker
) -> None:
    document = json.loads(models["xgboost.json"].read_bytes())
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][0] = 50_000_000
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.raises(LoadBlocked, match="child outside of the tree"):
        xgboost_model(tmp_path / "m.json")
    text = models["lightgbm.txt"].read_text().replace("tree_sizes=", "tree_sizes=9")
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(LoadBlocked, match="sizes of the trees"):
        lightgbm_file(tmp_path / "m.txt")
    with pytest.raises(LoadBlocked, match="sizes of the trees"):
        lightgbm_text(tmp_path / "m.txt")
    data = bytearray(models["catboost-tables.cbm"].read_bytes())
    at = 8 + int.from_bytes(data[4:8], "little") + 8
    data[at : at + 4] = b"\0\0\0\x01"
    (tmp_path / "m.cbm").write_bytes(data)
    with pytest.raises(LoadBlocked, match=r"outside of it|cut off"):
        catboost_file(tmp_path / "m.cbm")
    assert person.reports == []


def test_parts_of_a_catboost_model_that_are_not_followed_need_a_look(models: dict[str, Path], person: Asker) -> None:
    assert catboost_file(models["catboost-text.cbm"]) == 6
    assert person.verdicts == ["review"]
    assert person.reports[0].not_scanned


def test_copies_and_further_training_raise_no_question(models: dict[str, Path], person: Asker) -> None:
    import lightgbm

    model = lightgbm.Booster(model_file=str(models["lightgbm-linear.txt"]))
    assert len(person.reports) == 1
    assert copy.deepcopy(model).num_trees() == 2
    data = lightgbm.Dataset(np.random.default_rng(0).normal(size=(60, 4)), label=np.arange(60.0))
    more = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, 1, init_model=str(models["lightgbm-linear.txt"]))
    assert more.num_trees() == 3
    assert len(person.reports) == 1


def test_xgboost_takes_the_home_folder_as_ever(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: Asker
) -> None:
    import xgboost

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.ubj").write_bytes(models["xgboost.ubj"].read_bytes())
    assert xgboost.Booster(model_file="~/m.ubj").num_boosted_rounds() == 4
    assert len(person.reports) == 1


@pytest.mark.usefixtures("nobody")
def test_headless_only_what_the_policy_allows_is_loaded(models: dict[str, Path], tmp_path: Path) -> None:
    assert xgboost_model(models["xgboost.ubj"]) == 4
    (tmp_path / "m.ubj").write_bytes(models["xgboost.ubj"].read_bytes()[:-40])
    with pytest.raises(LoadBlocked):
        xgboost_model(tmp_path / "m.ubj")
