"""Small honest models of the boosting libraries and fastText, from the libraries' own writers.

    paths = write_all(folder)
    paths["xgboost.ubj"]        # a trained model, a few kilobytes

Also the binary format of XGBoost before 3.1, which no current version writes: `old_xgboost()` puts it together as
`src/learner.cc`, `src/gbm/gbtree_model.cc` and `src/tree/tree_model.cc` of XGBoost 1.7 do.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any


def write_xgboost(folder: Path) -> dict[str, Path]:
    """Trees, dart, a linear model, categories, several targets; JSON and UBJSON each."""
    import numpy as np
    import pandas as pd
    import xgboost as xgb

    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 4))
    label = (features[:, 0] + features[:, 1] > 0).astype(int)
    frame = pd.DataFrame(features, columns=list("abcd"))
    frame["k"] = pd.Categorical(rng.integers(0, 20, 120).astype(str))
    data = xgb.DMatrix(features, label=label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models: dict[str, Any] = {
            "xgboost": xgb.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 4),
            "xgboost-dart": xgb.train({"booster": "dart", "max_depth": 2, "nthread": 1}, data, 2),
            "xgboost-linear": xgb.train({"booster": "gblinear", "nthread": 1}, data, 2),
            "xgboost-classes": xgb.XGBClassifier(n_estimators=2, n_jobs=1, max_depth=2).fit(
                features, label + (features[:, 2] > 0)
            ),
            "xgboost-categories": xgb.XGBClassifier(
                n_estimators=3, n_jobs=1, enable_categorical=True, max_cat_to_onehot=2
            ).fit(frame[["k"]], label),
            "xgboost-targets": xgb.XGBRegressor(
                n_estimators=2, n_jobs=1, tree_method="hist", multi_strategy="multi_output_tree"
            ).fit(features, features[:, :2]),
        }
    paths = {}
    for name, model in models.items():
        for suffix in (".json", ".ubj"):
            paths[name + suffix] = folder / (name + suffix)
            model.save_model(paths[name + suffix])
    return paths


def write_lightgbm(folder: Path) -> dict[str, Path]:
    """With categories of a data frame, and with linear leaves."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4))
    frame = pd.DataFrame(features, columns=list("abcd"))
    frame["k"] = pd.Categorical(rng.integers(0, 12, 200).astype(str))
    label = (features[:, 0] + frame["k"].cat.codes % 3 > 0.5).astype(int)
    quiet = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1}
    models = {
        "lightgbm.txt": lgb.train({"objective": "binary", **quiet}, lgb.Dataset(frame, label=label), 4),
        "lightgbm-linear.txt": lgb.train(
            {"objective": "regression", "linear_tree": True, **quiet}, lgb.Dataset(features, label=features[:, 0]), 2
        ),
    }
    for name, model in models.items():
        model.save_model(folder / name)
    return {name: folder / name for name in models}


def write_catboost(folder: Path) -> dict[str, Path]:
    """Numbers only, with tables of categories, with trees that are not symmetric, with a text."""
    import catboost as cb
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, 300)
    numbers = rng.normal(size=300)
    frame = pd.DataFrame({"x": numbers, "k": codes.astype(str), "j": (codes % 7).astype(str)})
    label = ((codes * 7 % 5) + (numbers > 0) > 2).astype(int)
    quiet = {"iterations": 6, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    plain = cb.CatBoostClassifier(**quiet).fit(frame[["x"]], label)
    tables = cb.CatBoostClassifier(cat_features=["k", "j"], **quiet).fit(frame, label)
    leaves = cb.CatBoostClassifier(cat_features=["k"], grow_policy="Lossguide", **quiet).fit(
        frame[["x", "k"]], codes % 3
    )
    frame["t"] = ["good word " + str(code % 5) for code in codes]
    texts = cb.CatBoostClassifier(cat_features=["k", "j"], text_features=["t"], **quiet).fit(frame, label)
    paths = {}
    for name, model in {"catboost": plain, "catboost-tables": tables, "catboost-leaves": leaves}.items():
        paths[f"{name}.cbm"], paths[f"{name}.json"] = folder / f"{name}.cbm", folder / f"{name}.json"
        model.save_model(str(paths[f"{name}.cbm"]))
        pool = cb.Pool(
            frame[["x"] if model is plain else ["x", "k", "j"] if model is tables else ["x", "k"]],
            label,
            cat_features=[] if model is plain else ["k", "j"] if model is tables else ["k"],
        )
        model.save_model(str(paths[f"{name}.json"]), format="json", pool=pool)
    paths["catboost-text.cbm"] = folder / "catboost-text.cbm"
    texts.save_model(str(paths["catboost-text.cbm"]))
    return paths


def write_fasttext(folder: Path) -> dict[str, Path]:
    """A classifier, the same quantised and pruned, and word vectors."""
    import fasttext

    corpus = folder / "corpus.txt"
    corpus.write_text(
        "\n".join(f"__label__{'ab'[i % 2]} good {'bad' if i % 2 else 'fine'} w{i % 300} v{i % 150}" for i in range(900))
    )
    how = {"epoch": 1, "dim": 8, "verbose": 0, "thread": 1, "minCount": 1}
    paths = {name: folder / name for name in ("fasttext.bin", "fasttext.ftz", "fasttext-vectors.bin")}
    model = fasttext.train_supervised(str(corpus), bucket=200, wordNgrams=2, **how)
    model.save_model(str(paths["fasttext.bin"]))
    model.quantize(input=str(corpus), cutoff=300, retrain=True, qnorm=True, verbose=0, thread=1, epoch=1)
    model.save_model(str(paths["fasttext.ftz"]))
    fasttext.train_unsupervised(str(corpus), bucket=200, **how).save_model(str(paths["fasttext-vectors.bin"]))
    return paths


def old_xgboost(*, booster: str = "gbtree", child: int = 1, feature: int = 0, trees: int = 2) -> bytes:
    """A binary model with two features: each tree asks for one of them and has two leaves."""
    learner = struct.pack("<fI5i", 0.5, 2, 0, 1, 0, 1, 7) + bytes(136 - 28)
    out = learner + _text("binary:logistic") + _text(booster)
    if booster == "gblinear":
        out += bytes(136) + struct.pack("<Q3f", 3, 1, 2, 3)
    else:
        out += struct.pack("<2i", trees, 1) + bytes(160 - 8)
        for _ in range(trees):
            out += struct.pack("<2i4i", 1, 3, 0, 0, 2, 0) + bytes(148 - 24)
            out += struct.pack("<3iIf", -1, child, 2, feature, 0.1)
            out += struct.pack("<3iIf", 0, -1, -1, 0, 0.5) + struct.pack("<3iIf", 0, -1, -1, 0, -0.5)
            out += bytes(16 * 3)
        out += bytes(4 * trees)
    if booster == "dart":
        out += struct.pack("<Q", trees) + bytes(4 * trees)
    return out + struct.pack("<Q", 1) + _text("best_iteration") + _text("1")


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
