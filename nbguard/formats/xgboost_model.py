"""XGBoost models in JSON or UBJSON: whether every index in them leads somewhere.

    model = check(json.loads(text))
    model.booster, model.trees, model.numbers       # "gbtree", 100, 25_000

XGBoost follows the children of a node, the features it asks for and the categories it lists without looking, some
versions while loading and all of them in predict. Source: `src/tree/tree_model.cc`, `src/tree/io_utils.h`,
`src/gbm/gbtree_model.cc`, `doc/model.schema` of XGBoost 1.0 to 3.2.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

BOOSTERS = frozenset({"gbtree", "gblinear", "dart"})
MAX_NODES = 20_000_000
"""Of all trees together."""
_INTEGER = re.compile(r"-?\d{1,18}\Z")
_ROOTS = (-1, 2147483647)
"""What stands for "no parent", in trees with several targets and in all others."""


class XGBoostError(ValueError):
    """A model that XGBoost never writes. The message is one plain sentence."""


@dataclass(frozen=True)
class XGBoostModel:
    """What a checked model holds."""

    booster: str
    """`gbtree`, `dart` or `gblinear`."""
    objective: str
    """As the file spells it; hostile text."""
    version: tuple[int, ...]
    """Of the XGBoost that wrote it."""
    trees: int
    numbers: int
    """Numbers in trees and weights."""


def looks_like(document: Any) -> bool:
    """Whether a document is meant as a model: `learner` on top, with a booster in it."""
    learner = document.get("learner") if isinstance(document, dict) else None
    return isinstance(learner, dict) and "gradient_booster" in learner


def check(document: Any) -> XGBoostModel:
    """Follow every index of a model. Raises XGBoostError where one leads nowhere, or something has no place in it."""
    root = _object(document, "the document")
    if root.keys() - {"learner", "version"}:
        raise XGBoostError("There is something beside the learner and its version.")
    learner = _object(root.get("learner"), "learner")
    parameters = _object(learner.get("learner_model_param"), "learner_model_param")
    features = _integer(parameters.get("num_feature"), "num_feature")
    groups = max(1, _integer(parameters.get("num_class", "0"), "num_class"))
    targets = max(1, _integer(parameters.get("num_target", "1"), "num_target"))
    if min(features, groups, targets) < 0 or max(groups, targets) > 1_000_000:
        raise XGBoostError("The counts of features, classes and targets are no such counts.")
    objective = _object(learner.get("objective"), "objective").get("name")
    version = _integers(root.get("version", []), "version")
    booster = _object(learner.get("gradient_booster"), "gradient_booster")
    name = booster.get("name")
    if name not in BOOSTERS:
        raise XGBoostError("The booster is none of XGBoost's.")
    for key in ("feature_names", "feature_types"):
        if not all(type(n) is str for n in _list(learner.get(key, []), key)):
            raise XGBoostError(f"The {key} are no texts.")
    if name == "gblinear":
        weights = _numbers(_object(booster.get("model"), "model").get("weights"), "weights")
        if len(weights) != (features + 1) * max(groups, targets):
            raise XGBoostError("A linear model does not have as many weights as its features and classes need.")
        return XGBoostModel(name, str(objective), tuple(version), 0, len(weights))
    inner = _object(booster.get("gbtree"), "gbtree") if name == "dart" else booster
    trees, numbers = _trees(_object(inner.get("model"), "model"), features, max(groups, targets), targets)
    if name == "dart":
        dropped = _numbers(booster.get("weight_drop"), "weight_drop")
        if len(dropped) != trees:
            raise XGBoostError("A dart model has other weights than trees.")
    return XGBoostModel(name, str(objective), tuple(version), trees, numbers)


def _trees(model: dict[str, Any], features: int, outputs: int, targets: int) -> tuple[int, int]:
    parameters = _object(model.get("gbtree_model_param"), "gbtree_model_param")
    trees = _list(model.get("trees"), "trees")
    count = len(trees)
    if _integer(parameters.get("num_trees"), "num_trees") != count:
        raise XGBoostError("The model counts other trees than it has.")
    groups = _integers(model.get("tree_info"), "tree_info")
    if len(groups) != count or not _within(groups, 0, outputs):
        raise XGBoostError("A tree belongs to a class that the model does not have.")
    rounds = _integers(model.get("iteration_indptr", []), "iteration_indptr")
    if rounds and (rounds[0] != 0 or rounds[-1] != count or not _ascends(rounds)):
        raise XGBoostError("The rounds of the model do not lie one behind the other.")
    _categories_of_features(_object(model.get("cats", {}), "cats"))
    nodes = numbers = 0
    for tree in trees:
        size, held = _tree(_object(tree, "a tree"), features, targets)
        nodes, numbers = nodes + size, numbers + held
        if nodes > MAX_NODES:
            raise XGBoostError("The model has more nodes than are followed.")
    return count, numbers


def _tree(tree: dict[str, Any], features: int, targets: int) -> tuple[int, int]:
    parameters = _object(tree.get("tree_param"), "tree_param")
    size = _integer(parameters.get("num_nodes"), "num_nodes")
    width = max(1, _integer(parameters.get("size_leaf_vector", "1"), "size_leaf_vector"))
    if not 1 <= size <= MAX_NODES or width > 1_000_000:
        raise XGBoostError("A tree has no nodes, or more than are followed.")
    if width not in (1, targets):
        raise XGBoostError("The leaves of a tree have other values than the model has targets.")
    left, right, parents, splits = (
        _sized(_integers(tree.get(key), key), size, key)
        for key in ("left_children", "right_children", "parents", "split_indices")
    )
    conditions = _sized(_numbers(tree.get("split_conditions"), "split_conditions"), size, "split_conditions")
    _sized(_numbers(tree.get("default_left"), "default_left"), size, "default_left")
    for key in ("loss_changes", "sum_hessian", "split_type"):
        if key in tree:
            _sized(_numbers(tree[key], key), size, key)
    weights = _numbers(tree.get("base_weights", []), "base_weights")
    vectors = _numbers(tree.get("leaf_weights", []), "leaf_weights")
    if len(weights) != size * width and (weights or width > 1):
        raise XGBoostError("A tree has other base_weights than nodes.")
    leaves = _follow(left, right, parents, size, several=bool(vectors))
    if vectors and (width == 1 or len(vectors) != len(leaves) * width):
        raise XGBoostError("A tree has other leaf_weights than leaves.")
    if vectors and sorted(right[leaf] for leaf in leaves) != list(range(len(leaves))):
        raise XGBoostError("A leaf of a tree points behind the tree's weights.")
    inner = [splits[n] for n in range(size) if left[n] != -1]
    if inner and not _within(inner, 0, max(features, 1)):
        raise XGBoostError("A node of a tree asks for a feature that the model does not have.")
    _categories_of_tree(tree, size)
    return size, size * 2 + len(conditions)


def _follow(
    left: Sequence[int], right: Sequence[int], parents: Sequence[int], size: int, *, several: bool
) -> list[int]:
    """The leaves, each node reached once from the root, and its parent the one it was reached from."""
    if not (_within(left, -1, size) and (several or _within(right, -1, size))):
        raise XGBoostError("A node of a tree has a child outside of the tree.")
    if parents[0] not in _ROOTS or not all(p in _ROOTS or 0 <= p < size for p in parents):
        raise XGBoostError("A node of a tree has a parent outside of the tree.")
    seen, leaves, ahead = bytearray(size), [], [0]
    while ahead:
        node = ahead.pop()
        if seen[node]:
            raise XGBoostError("The nodes of a tree lead back to one another: predict would never end.")
        seen[node] = 1
        if left[node] == -1:
            if not several and right[node] != -1:
                raise XGBoostError("A node of a tree has one child.")
            leaves.append(node)
            continue
        for child in (left[node], right[node]):
            if not 0 < child < size or parents[child] != node:
                raise XGBoostError("A node of a tree has a child outside of the tree, or one of another node.")
            ahead.append(child)
    return leaves


def _categories_of_tree(tree: dict[str, Any], size: int) -> None:
    names = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    values, nodes, starts, sizes = (_integers(tree.get(name, []), name) for name in names)
    if not (len(nodes) == len(starts) == len(sizes)) or not _within(nodes, 0, size) or not _within(values, 0, 1 << 31):
        raise XGBoostError("The categories of a tree do not belong to its nodes.")
    for start, length in zip(starts, sizes, strict=True):
        if start < 0 or length < 0 or start + length > len(values):
            raise XGBoostError("The categories of a node lie behind those of its tree.")


def _categories_of_features(cats: dict[str, Any]) -> None:
    """`src/data/cat_container.cc`: texts laid end to end with their offsets, or numbers."""
    encoders = _list(cats.get("enc", []), "enc")
    total = 0
    for encoder in encoders:
        entry = _object(encoder, "enc")
        values = _numbers(entry.get("values", []), "values")
        if "offsets" in entry:
            offsets = _integers(entry["offsets"], "offsets")
            if offsets and (offsets[0] != 0 or offsets[-1] != len(values) or not _ascends(offsets)):
                raise XGBoostError("The names of categories lie outside of their text.")
            total += max(0, len(offsets) - 1)
        else:
            total += len(values)
    segments = _integers(cats.get("feature_segments", []), "feature_segments")
    if segments and (segments[0] != 0 or segments[-1] > total or not _ascends(segments)):
        raise XGBoostError("The categories of a feature lie behind those that there are.")
    if len(segments) not in (0, len(encoders) + 1):
        raise XGBoostError("There are other encodings of categories than features.")
    order = _integers(cats.get("sorted_idx", []), "sorted_idx")
    if len(order) not in (0, total) or not _within(order, 0, max(1, total)):
        raise XGBoostError("The order of the categories names some that are not there.")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise XGBoostError(f"There is no {what} where XGBoost writes one.")
    return value


def _list(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list | array):
        raise XGBoostError(f"There is no list of {what} where XGBoost writes one.")
    return value


def _integer(value: Any, what: str) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, str) or not _INTEGER.match(value):
        raise XGBoostError(f"The {what} is no number.")
    return int(value)


def _integers(value: Any, what: str) -> Sequence[int]:
    items = _list(value, what)
    if isinstance(items, array) and items.typecode not in "bBhiq":
        raise XGBoostError(f"The {what} are no whole numbers.")
    if not isinstance(items, array) and not all(type(n) is int for n in items):
        raise XGBoostError(f"The {what} are no whole numbers.")
    return items


def _numbers(value: Any, what: str) -> Sequence[float]:
    items = _list(value, what)
    if not isinstance(items, array) and not all(type(n) in (int, float, bool) for n in items):
        raise XGBoostError(f"The {what} are no numbers.")
    return items


def _sized(items: Sequence[Any], size: int, what: str) -> Sequence[Any]:
    if len(items) != size:
        raise XGBoostError(f"A tree has other {what} than nodes.")
    return items


def _within(items: Iterable[int], low: int, high: int) -> bool:
    """Whether all lie in `low <= n < high`."""
    found = list(items) if not isinstance(items, list | array) else items
    return not len(found) or (min(found) >= low and max(found) < high)


def _ascends(items: Sequence[int]) -> bool:
    return all(a <= b for a, b in pairwise(items))
