"""Readers of xgboost, lightgbm, catboost and fastText models: honest files pass, what leads nowhere does not.

The honest files come from the libraries' own writers; each hostile one is such a file with one thing changed.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boosted
import pytest

from nbguard.formats import (
    catboost_json,
    catboost_model,
    fasttext_model,
    flatbuffer,
    lightgbm_text,
    ubjson,
    xgboost_binary,
    xgboost_model,
)
from nbguard.formats.view import BytesView

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("boosted")
    paths: dict[str, Path] = {}
    for write in (boosted.write_xgboost, boosted.write_lightgbm, boosted.write_catboost, boosted.write_fasttext):
        paths.update(write(folder))
    return {name: path.read_bytes() for name, path in paths.items()}


def read(name: str, data: bytes) -> Any:
    """As the scanner reads a file of this name."""
    if name.startswith("xgboost"):
        return xgboost_model.check(json.loads(data) if name.endswith(".json") else ubjson.read(data))
    if name.startswith("lightgbm"):
        return lightgbm_text.read(BytesView(data))
    if name.startswith("fasttext"):
        return fasttext_model.read(BytesView(data))
    return catboost_json.check(json.loads(data)) if name.endswith(".json") else catboost_model.read(BytesView(data))


def test_models_of_the_libraries_own_writers_are_read_to_the_end(models: dict[str, bytes]) -> None:
    read_all = {name: read(name, data) for name, data in models.items()}
    assert len(read_all) == 12 + 2 + 7 + 3
    assert read_all["xgboost.ubj"] == read_all["xgboost.json"]
    assert (read_all["xgboost.ubj"].booster, read_all["xgboost.ubj"].trees) == ("gbtree", 4)
    assert read_all["xgboost-targets.ubj"].numbers > 0
    assert read_all["lightgbm.txt"].trees == 4
    assert read_all["catboost-tables.cbm"].parts == ("static_provider_v1",)
    assert read_all["catboost-text.cbm"].unread is not None
    assert read_all["catboost.json"][0] == read_all["catboost.cbm"].trees == 6
    assert read_all["fasttext.ftz"].quantized
    assert read_all["fasttext.bin"].labels == 2


def model(document: Any) -> Any:
    booster = document["learner"]["gradient_booster"]
    return booster.get("gbtree", booster)["model"]


def first_tree(document: Any) -> Any:
    return model(document)["trees"][0]


def put(key: str, at: int, value: int) -> Change:
    return lambda document: first_tree(document)[key].__setitem__(at, value)


XGBOOST: dict[str, tuple[str, Change, str]] = {
    "a child outside": ("xgboost", put("left_children", 0, 1_000_000), "child outside"),
    "a child before the first": ("xgboost", put("right_children", 0, -2_000_000_000), "child"),
    "a child that is the root": ("xgboost", put("left_children", 1, 0), "child outside|lead back"),
    "two ways to one node": ("xgboost", put("right_children", 0, 1), "lead back|another node"),
    "a parent outside": ("xgboost", put("parents", 1, 77_777), "parent outside"),
    "a feature that is not there": ("xgboost", put("split_indices", 0, 4), "feature"),
    "a leaf with one child": ("xgboost", put("right_children", -1, 1), "one child"),
    "fewer nodes than counted": ("xgboost", lambda d: first_tree(d)["split_conditions"].pop(), "than nodes"),
    "more nodes than there are": (
        "xgboost", lambda d: first_tree(d)["tree_param"].update(num_nodes="2147483647"), "than are followed"),
    "another number of trees": (
        "xgboost", lambda d: model(d)["gbtree_model_param"].update(num_trees="5"), "other trees"),
    "a class that is not there": ("xgboost-classes", lambda d: model(d)["tree_info"].__setitem__(0, 3), "class"),
    "rounds out of order": ("xgboost", lambda d: model(d)["iteration_indptr"].__setitem__(1, 9), "rounds"),
    "more values in a leaf": ("xgboost", lambda d: first_tree(d)["tree_param"].update(size_leaf_vector="7"), "targets"),
    "a leaf behind the weights": ("xgboost-targets", put("right_children", -1, 500), "behind"),
    "other dropped trees": (
        "xgboost-dart", lambda d: d["learner"]["gradient_booster"]["weight_drop"].pop(), "dart"),
    "too few linear weights": (
        "xgboost-linear", lambda d: model(d)["weights"].pop(), "linear"),
    "a category of nobody": (
        "xgboost-categories", lambda d: model(d)["cats"]["sorted_idx"].__setitem__(0, 99), "order"),
    "names of categories outside": (
        "xgboost-categories", lambda d: model(d)["cats"]["enc"][0]["offsets"].__setitem__(-1, 9999), "outside"),
    "categories behind the list": (
        "xgboost-categories", lambda d: first_tree(d).update(
            categories=[1], categories_nodes=[0], categories_segments=[0], categories_sizes=[40]), "behind"),
    "an unknown booster": (
        "xgboost", lambda d: d["learner"]["gradient_booster"].update(name="gbtorch"), "none of XGBoost's"),
    "a text for a number": ("xgboost", lambda d: first_tree(d)["parents"].__setitem__(0, "1e9"), "no whole numbers"),
    "something beside the learner": ("xgboost", lambda d: d.update(Config={}), "beside"),
}  # fmt: skip


@pytest.mark.parametrize("case", XGBOOST)
def test_an_xgboost_model_whose_indices_lead_nowhere(models: dict[str, bytes], case: str) -> None:
    name, change, why = XGBOOST[case]
    document = json.loads(models[f"{name}.json"])
    change(document)
    with pytest.raises(xgboost_model.XGBoostError, match=why):
        xgboost_model.check(document)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{L" + struct.pack(">q", 1 << 60) + b"a", "beyond its end"),
        (b"{L" + struct.pack(">q", -5) + b"a", "beyond its end"),
        (b"{L\0\0\0\0\0\0\0\1a[$d#L" + struct.pack(">q", 1 << 40), "longer than the document"),
        (b"{L\0\0\0\0\0\0\0\1a[#L" + struct.pack(">q", 1 << 40), "longer than the document"),
        (b"{i\1ai\1}", "not written as XGBoost does"),
        (b"{L\0\0\0\0\0\0\0\1ai\1L\0\0\0\0\0\0\0\1ai\2}", "twice"),
        (b"{L\0\0\0\0\0\0\0\1aH}", "never writes"),
        (b"{}i", "follows the end"),
        (b"[" * 5000, "too deeply"),
        (b"{L\0\0\0\0\0\0\0\1a", "beyond its end"),
    ],
)
def test_ubjson_that_lies_about_its_lengths(data: bytes, why: str) -> None:
    with pytest.raises(ubjson.UBJSONError, match=why):
        ubjson.read(data)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"child": 3}, "child outside"),
        ({"child": -7}, "child outside"),
        ({"child": 0}, "child outside"),
        ({"feature": 2}, "feature"),
    ],
)
def test_the_binary_format_of_old_xgboost(change: dict[str, int], why: str) -> None:
    for booster, trees in (("gbtree", 2), ("dart", 2), ("gblinear", 0)):
        data = boosted.old_xgboost(booster=booster)
        assert xgboost_binary.looks_like(data)
        assert xgboost_binary.read(data)[0] == xgboost_binary.read(b"binf" + data)[0] == trees
    with pytest.raises(xgboost_model.XGBoostError, match=why):
        xgboost_binary.read(boosted.old_xgboost(**change))
    for short in (data[:-1], data[:200], data + b"\0"):
        with pytest.raises(xgboost_model.XGBoostError):
            xgboost_binary.read(short)


LIGHTGBM: dict[str, tuple[bytes, bytes, str]] = {
    "a child outside": (b"left_child=", b"left_child=5000", "child outside"),
    "a leaf outside": (b"right_child=", b"right_child=-99", "child outside"),
    "sizes of trees that lie": (b"tree_sizes=", b"tree_sizes=1", "sizes of the trees"),
    "more leaves than numbers": (b"num_leaves=", b"num_leaves=1", "than it counts|lead back"),
    "a feature that is not there": (b"max_feature_idx=4", b"max_feature_idx=1", "feature"),
    "a second line of one name": (b"shrinkage=1", b"shrinkage=1\nshrinkage=7", "two lines"),
    "text for numbers": (b"leaf_value=", b"leaf_value=$(id) ", "no numbers"),
    "a zero byte": (b"Tree=1", b"Tree=\x001", "zero byte"),
    "no end": (b"end of trees", b"end of these", "cut off"),
    "trees out of order": (b"Tree=1", b"Tree=2", "order"),
    "categories of the frame": (b"pandas_categorical:[", b"pandas_categorical:{[", "no JSON"),
}


@pytest.mark.parametrize("case", LIGHTGBM)
def test_a_lightgbm_model_that_does_not_hold_together(models: dict[str, bytes], case: str) -> None:
    before, after, why = LIGHTGBM[case]
    data = models["lightgbm.txt"]
    if before != b"tree_sizes=":  # the sizes would tell of any change
        data = re.sub(rb"tree_sizes=.*\n", b"", data)
    assert before in data
    with pytest.raises(lightgbm_text.LightGBMError, match=why):
        lightgbm_text.read(BytesView(data.replace(before, after, 1)))


def numbers(data: bytes, part: int, field: int) -> tuple[bytes, flatbuffer.Numbers]:
    """A catboost file in two: what lies before its core, and one vector of the trees in it."""
    (length,) = struct.unpack_from("<I", data, 4)
    core = flatbuffer.read(data[8 : 8 + length], catboost_model._CORE)
    return data[:8], core[part][field]


@pytest.mark.parametrize(
    ("name", "field", "code", "value", "why"),
    [
        ("catboost.cbm", 1, "<i", 1 << 30, "border"),
        ("catboost.cbm", 1, "<i", -1, "border"),
        ("catboost.cbm", 2, "<i", 31, "sizes of the trees"),
        ("catboost.cbm", 3, "<i", 4096, "one behind the other"),
        ("catboost.cbm", 17, "<H", 60_000, "bin of a tree"),
        ("catboost-leaves.cbm", 10, "<H", 60_000, "leads out of the tree"),
        ("catboost-leaves.cbm", 11, "<I", 1 << 30, "behind the values"),
    ],
)
def test_a_catboost_model_whose_indices_lead_nowhere(
    models: dict[str, bytes], name: str, field: int, code: str, value: int, why: str
) -> None:
    before, vector = numbers(models[name], 1, field)
    changed = bytearray(models[name])
    struct.pack_into(code, changed, len(before) + vector.offset, value)
    with pytest.raises(catboost_model.CatBoostError, match=why):
        catboost_model.read(BytesView(bytes(changed)))


def test_catboost_tables_of_categories_are_verified_where_catboost_does_not(models: dict[str, bytes]) -> None:
    """CatBoost follows the offsets in these tables unseen: `TCtrValueTable::LoadSolid` ignores their length."""
    data = models["catboost-tables.cbm"]
    (core,) = struct.unpack_from("<I", data, 4)
    start = 8 + core + 4
    (length,) = struct.unpack_from("<I", data, start)
    for at, value in ((start + 4, 1 << 20), (start, 1 << 30), (start - 4, 1 << 20), (start + 4, 0)):
        changed = bytearray(data)
        struct.pack_into("<I", changed, at, value)
        with pytest.raises(catboost_model.CatBoostError):
            catboost_model.read(BytesView(bytes(changed)))
    table = flatbuffer.read(data[start + 4 : start + 4 + length], catboost_model._CTR_TABLE)
    rows = flatbuffer.Numbers(table[1].data, "QI", table[1].offset, len(table[1]) // 12)
    used = next(n for n, (hashed, _) in enumerate(rows.values()) if hashed != (1 << 64) - 1)
    changed = bytearray(data)
    struct.pack_into("<I", changed, start + 4 + rows.offset + 12 * used + 8, 1 << 24)
    with pytest.raises(catboost_model.CatBoostError, match="behind the values"):
        catboost_model.read(BytesView(bytes(changed)))


def test_a_catboost_model_in_json_whose_indices_lead_nowhere(models: dict[str, bytes]) -> None:
    changes: list[tuple[str, Change, str]] = [
        ("catboost.json", lambda d: d["oblivious_trees"][0]["splits"][0].update(split_index=999), "border"),
        ("catboost.json", lambda d: d["oblivious_trees"][0]["leaf_values"].pop(), "leaves"),
        ("catboost.json", lambda d: d["oblivious_trees"][0]["leaf_weights"].pop(), "weights"),
        ("catboost.json", lambda d: d.update(run="me"), "does not write"),
        ("catboost-tables.json", lambda d: next(iter(d["ctr_data"].values()))["hash_map"].pop(), "rows"),
        ("catboost-leaves.json", lambda d: d["trees"][0].update(left=None), "no object"),
    ]
    for name, change, why in changes:
        document = json.loads(models[name])
        change(document)
        with pytest.raises(catboost_json.CatBoostJSONError, match=why):
            catboost_json.check(document)


@pytest.mark.parametrize(
    ("at", "code", "value", "why"),
    [
        (0, "<i", 7, "does not begin"),
        (4, "<i", 99, "version"),
        (8, "<i", -8, "parameters"),
        (8, "<i", 9, "dimension|other vectors"),
        (40, "<i", 1 << 30, "other vectors"),
        (64, "<i", 1 << 25, "counts of words|cut off|no end"),
        (68, "<i", 5, "counts of words"),
        (84, "<q", 1 << 40, "counts of words"),
    ],
)
def test_a_fasttext_model_that_counts_what_is_not_there(
    models: dict[str, bytes], at: int, code: str, value: int, why: str
) -> None:
    changed = bytearray(models["fasttext.bin"])
    struct.pack_into(code, changed, at, value)
    with pytest.raises(fasttext_model.FastTextError, match=why):
        fasttext_model.read(BytesView(bytes(changed)))


def test_fasttext_matrices_end_with_the_file(models: dict[str, bytes]) -> None:
    for name in ("fasttext.bin", "fasttext.ftz"):
        data = models[name]
        place = fasttext_model.read(BytesView(data)).places[0]
        rows = data[: place[1] - 16] + struct.pack("<q", 1 << 50) + data[place[1] - 8 :]
        for hostile in (data[:-1], data + b"\0", data[: len(data) // 2], rows):
            with pytest.raises(fasttext_model.FastTextError):
                fasttext_model.read(BytesView(hostile))


def test_no_prefix_and_no_changed_byte_is_more_than_a_sentence(models: dict[str, bytes]) -> None:
    """A reader raises its own error, a `ValueError`, or reads on; nothing else comes out of hostile bytes."""
    chance = random.Random(7)
    for name, data in models.items():
        for _ in range(60):
            changed = bytearray(data[: chance.choice((len(data), chance.randrange(1, len(data))))])
            for _ in range(chance.randrange(1, 4)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            try:
                read(name, bytes(changed))
            except ValueError as error:
                assert str(error)  # noqa: PT017 - most are malformed, and each says why


def test_flatbuffers_fields_are_followed_by_the_schema() -> None:
    table = flatbuffer.Table("key", flatbuffer.Text(), flatbuffer.Scalar("i", 7))
    fields = struct.pack("<4H", 8, 12, 4, 8)  # the table's own description, right before it
    data = struct.pack("<I", 12) + fields + struct.pack("<iIi", 8, 8, 5) + struct.pack("<I", 2) + b"ab\0"
    assert flatbuffer.read(data, table) == ["ab", 5]
    for at, value in ((0, 1 << 20), (0, 0), (16, 1 << 20), (24, 99)):
        changed = bytearray(data)
        struct.pack_into("<I", changed, at, value)
        with pytest.raises(flatbuffer.FlatBufferError):
            flatbuffer.read(bytes(changed), table)
    with pytest.raises(flatbuffer.FlatBufferError, match="not known"):
        flatbuffer.read(data, flatbuffer.Table("key", flatbuffer.Text()))
