"""Classical models: XGBoost, LightGBM, CatBoost, fastText; of each an honest one and some with numbers that lie.

Every way in which an index can lead nowhere is a case of `tests/formats/test_boosted_models.py`; here are those that a
comparison, a fuzzer or a remote scan starts from.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import boosted

from sample_set import Sample, written

WRITERS = {
    "xgboost": boosted.write_xgboost,
    "lightgbm": boosted.write_lightgbm,
    "catboost": boosted.write_catboost,
    "fasttext": boosted.write_fasttext,
}


@cache
def models(library: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return {name: path.read_bytes() for name, path in WRITERS[library](Path(folder)).items()}


def model(name: str) -> bytes:
    return models(name.partition(".")[0].partition("-")[0])[name]


def document(name: str, change: Callable[[Any], object]) -> bytes:
    """A model in JSON with one thing changed."""
    found = json.loads(model(name))
    change(found)
    return json.dumps(found).encode()


def first_tree(found: Any) -> Any:
    return found["learner"]["gradient_booster"]["model"]["trees"][0]


def replaced(name: str, before: bytes, after: bytes) -> bytes:
    data = model(name)
    assert before in data
    return data.replace(before, after, 1)


def packed(name: str, at: int, code: str, value: int) -> bytes:
    data = bytearray(model(name))
    struct.pack_into(code, data, at, value)
    return bytes(data)


def child_in_ubjson() -> bytes:
    """The first child of the first tree lies far outside."""
    data = model("xgboost.ubj")
    at = data.index(b"left_children[$l#L") + len(b"left_children[$l#L") + 8
    return data[:at] + struct.pack(">i", 1 << 30) + data[at + 4 :]


def border_in_catboost() -> bytes:
    from nbguard.formats import catboost_model, flatbuffer

    data = bytearray(model("catboost.cbm"))
    (length,) = struct.unpack_from("<I", data, 4)
    vector = flatbuffer.read(bytes(data[8 : 8 + length]), catboost_model._CORE)[1][1]
    struct.pack_into("<i", data, 8 + vector.offset, 1 << 30)
    return bytes(data)


def loads_xgboost(place: Path) -> None:
    """Loading believes the indices; predicting follows them."""
    import numpy as np
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(place)
    booster.predict(xgboost.DMatrix(np.zeros((1, booster.num_features()))), validate_features=False)


def loads_lightgbm(place: Path) -> None:
    import lightgbm
    import numpy as np

    booster = lightgbm.Booster(model_file=str(place))
    booster.predict(np.zeros((1, booster.num_feature())))


def loads_catboost(place: Path) -> None:
    import catboost

    model = catboost.CatBoost().load_model(str(place), format="json" if place.suffix == ".json" else "cbm")
    if not model.get_cat_feature_indices():
        model.predict([[0.5 for _ in model.feature_names_]])


def loads_fasttext(place: Path) -> None:
    import fasttext

    fasttext.load_model(str(place))


LOADERS = {
    "xgboost": loads_xgboost, "lightgbm": loads_lightgbm, "catboost": loads_catboost, "fasttext": loads_fasttext,
}  # fmt: skip


def honest(format: str, name: str, verdict: str = "safe") -> Sample:
    library = name.partition(".")[0].partition("-")[0]
    return Sample(
        f"{format}/{name}", format, written(name, partial(model, name)), (verdict,), honest=True,
        needs=(library, "pandas"), loads=LOADERS[library],
    )  # fmt: skip


def hostile(format: str, name: str, file: str, data: Callable[[], bytes], trick: str) -> Sample:
    library = file.partition(".")[0].partition("-")[0]
    return Sample(
        f"{format}/{name}", format, written(file, data), ("unverifiable",), trick=trick,
        needs=(library, "pandas"), loads=LOADERS[library],
    )  # fmt: skip


XGB, CB = "xgboost.json", "catboost.json"
SAMPLES = (
    honest("xgboost-json", XGB),
    honest("xgboost-json", "xgboost-categories.json"),
    honest("xgboost-ubj", "xgboost.ubj"),
    honest("xgboost-ubj", "xgboost-dart.ubj"),
    honest("xgboost-ubj", "xgboost-targets.ubj"),
    honest("lightgbm-text", "lightgbm.txt"),
    honest("lightgbm-text", "lightgbm-linear.txt"),
    honest("catboost", "catboost.cbm"),
    honest("catboost", "catboost-tables.cbm"),
    honest("catboost", "catboost-text.cbm", "review"),
    honest("catboost-json", CB),
    honest("catboost-json", "catboost-tables.json"),
    honest("fasttext", "fasttext.bin"),
    honest("fasttext", "fasttext.ftz"),
    hostile(
        "xgboost-json",
        "child-outside",
        XGB,
        lambda: document(XGB, lambda d: first_tree(d)["left_children"].__setitem__(0, 1_000_000)),
        "A child of a tree lies far outside of it.",
    ),
    hostile(
        "xgboost-json",
        "feature-outside",
        XGB,
        lambda: document(XGB, lambda d: first_tree(d)["split_indices"].__setitem__(0, 77)),
        "A tree asks for a feature that the model does not have.",
    ),
    hostile(
        "xgboost-json",
        "circle",
        XGB,
        lambda: document(XGB, lambda d: first_tree(d)["left_children"].__setitem__(1, 0)),
        "A tree leads back to its root, so that a prediction never ends.",
    ),
    hostile(
        "xgboost-ubj", "child-outside", "xgboost.ubj", child_in_ubjson, "A child of a tree lies far outside of it."
    ),
    hostile(
        "xgboost-ubj",
        "length-lies",
        "xgboost.ubj",
        lambda: b"{L" + struct.pack(">q", 7) + b"learner{L" + struct.pack(">q", 1 << 60) + b"a",
        "A text says a length that leads out of the file.",
    ),
    hostile(
        "xgboost-ubj", "cut-off", "xgboost.ubj", lambda: model("xgboost.ubj")[:-40], "The file ends within a value."
    ),
    Sample("xgboost-binary/old", "xgboost-binary", written("m.bin", boosted.old_xgboost), ("safe",)),
    Sample(
        "xgboost-binary/child-outside",
        "xgboost-binary",
        written("m.bin", lambda: boosted.old_xgboost(child=1 << 20)),
        ("unverifiable",),
        trick="A child of a tree lies far outside of it.",
    ),
    Sample(
        "xgboost-binary/cut-off",
        "xgboost-binary",
        written("m.bin", lambda: boosted.old_xgboost()[:-9]),
        ("unverifiable",),
        trick="The file ends within a value.",
    ),
    hostile(
        "lightgbm-text",
        "child-outside",
        "lightgbm.txt",
        lambda: replaced("lightgbm.txt", b"left_child=", b"left_child=5000"),
        "A child of a tree lies far outside of it.",
    ),
    hostile(
        "lightgbm-text",
        "sizes-lie",
        "lightgbm.txt",
        lambda: replaced("lightgbm.txt", b"tree_sizes=", b"tree_sizes=1"),
        "The head says other sizes than the trees have.",
    ),
    hostile(
        "lightgbm-text",
        "feature-outside",
        "lightgbm.txt",
        lambda: replaced("lightgbm.txt", b"max_feature_idx=4", b"max_feature_idx=1"),
        "Trees ask for features that the model does not have.",
    ),
    hostile(
        "catboost", "border-outside", "catboost.cbm", border_in_catboost, "A tree asks for a border that is not there."
    ),
    hostile(
        "catboost",
        "core-lies",
        "catboost.cbm",
        lambda: packed("catboost.cbm", 4, "<I", 0x7FFFFFF0),
        "The core says a length that leads out of the file.",
    ),
    hostile(
        "catboost-json",
        "border-outside",
        CB,
        lambda: document(CB, lambda d: d["oblivious_trees"][0]["splits"][0].update(split_index=999)),
        "A tree asks for a border that is not there.",
    ),
    hostile(
        "catboost-json",
        "leaves-missing",
        CB,
        lambda: document(CB, lambda d: d["oblivious_trees"][0]["leaf_values"].pop()),
        "A tree has fewer leaves than its depth needs.",
    ),
    hostile(
        "fasttext",
        "words-lie",
        "fasttext.bin",
        lambda: packed("fasttext.bin", 64, "<i", 1 << 25),
        "The dictionary says more words than there are.",
    ),
    hostile(
        "fasttext",
        "dimension-lies",
        "fasttext.bin",
        lambda: packed("fasttext.bin", 8, "<i", -8),
        "The vectors have a length below nothing.",
    ),
    hostile("fasttext", "cut-off", "fasttext.ftz", lambda: model("fasttext.ftz")[:-1], "A matrix is cut off."),
)
