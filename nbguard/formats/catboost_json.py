"""CatBoost's models in JSON: whether the trees fit the features that the file lists.

    trees = check(json.loads(text))

Source: `catboost/libs/model/model_export/json_model_helpers.cpp` and the description of the format in CatBoost's
documentation ("JSON model").
"""

from __future__ import annotations

from typing import Any

MAX_NODES = 5_000_000
_KEYS = frozenset({"oblivious_trees", "trees", "features_info", "model_info", "scale_and_bias", "ctr_data"})


class CatBoostJSONError(ValueError):
    """A document that CatBoost never writes. The message is one plain sentence."""


def looks_like(document: Any) -> bool:
    """Whether a document is meant as a model."""
    return (
        isinstance(document, dict)
        and "features_info" in document
        and ("oblivious_trees" in document or "trees" in document)
    )


def check(document: dict[str, Any]) -> tuple[int, int]:
    """Numbers of trees and of values in them. Raises CatBoostJSONError where an index leads nowhere."""
    if document.keys() - _KEYS:
        raise CatBoostJSONError("There is something in the model that CatBoost does not write.")
    features = document["features_info"]
    if not isinstance(features, dict):
        raise CatBoostJSONError("The features of the model are not listed.")
    splits = 0
    for kind in ("float_features", "categorical_features", "ctrs", "text_features", "embedding_features"):
        for feature in _objects(features.get(kind, [])):
            splits += len(_list(feature.get("borders") or feature.get("values") or []))
    _tables(document.get("ctr_data") or {})
    if "oblivious_trees" in document:
        return _symmetric(_objects(document["oblivious_trees"]), splits, document.get("scale_and_bias"))
    nodes = 0
    trees = _objects(document["trees"])
    for tree in trees:
        ahead = [tree]
        while ahead:
            node = ahead.pop()
            nodes += 1
            if nodes > MAX_NODES:
                raise CatBoostJSONError("The model has more nodes than are followed.")
            if "split" in node:
                _split(node["split"], splits)
                ahead += _objects([node.get("left"), node.get("right")])
            elif not _is_number(node.get("value")) and not all(_is_number(n) for n in _list(node.get("value"))):
                raise CatBoostJSONError("A leaf of a tree has no value.")
    return len(trees), nodes


def _symmetric(trees: list[dict[str, Any]], splits: int, bias: Any) -> tuple[int, int]:
    dimension, numbers = _dimension(bias), 0
    for tree in trees:
        conditions = _objects(tree.get("splits") or [])
        leaves = _list(tree.get("leaf_values"))
        if len(conditions) > 32 or len(leaves) != (1 << len(conditions)) * dimension:
            raise CatBoostJSONError("A tree has other leaves than its depth needs.")
        if len(_list(tree.get("leaf_weights", []))) not in (0, 1 << len(conditions)):
            raise CatBoostJSONError("A tree has other weights than leaves.")
        if not all(_is_number(n) for n in leaves):
            raise CatBoostJSONError("A leaf of a tree has no value.")
        for condition in conditions:
            _split(condition, splits)
        numbers += len(leaves) + len(conditions)
    return len(trees), numbers


def _dimension(bias: Any) -> int:
    """Outputs of the model: as many as it has biases; `[scale, [bias, …]]`, a single number in old files."""
    if bias is None:
        return 1
    pair = _list(bias)
    if len(pair) != 2:
        raise CatBoostJSONError("The scale and the bias of the model are malformed.")
    return max(1, len(_list(pair[1]))) if isinstance(pair[1], list) else 1


def _split(condition: Any, splits: int) -> None:
    index = condition.get("split_index") if isinstance(condition, dict) else None
    if type(index) is not int or not 0 <= index < splits:
        raise CatBoostJSONError("A node of a tree asks for a feature or a border that the model does not have.")


def _tables(tables: Any) -> None:
    for table in _objects(list(tables.values()) if isinstance(tables, dict) else [None]):
        stride, rows = table.get("hash_stride"), _list(table.get("hash_map"))
        if type(stride) is not int or not 2 <= stride <= 1_000_000 or len(rows) % stride:
            raise CatBoostJSONError("A table of categories has other values than rows.")
        if not all(
            _is_number(value) or (isinstance(value, str) and value.isascii() and value.isdigit()) for value in rows
        ):
            raise CatBoostJSONError("A table of categories holds something else than numbers.")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise CatBoostJSONError("Something is no list where CatBoost writes one.")
    return value


def _objects(value: Any) -> list[dict[str, Any]]:
    items = _list(value)
    if not all(isinstance(item, dict) for item in items):
        raise CatBoostJSONError("Something is no object where CatBoost writes one.")
    return items
