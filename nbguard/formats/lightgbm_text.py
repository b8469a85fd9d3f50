"""LightGBM's text models: whether every tree has the numbers that it counts, and every index leads somewhere.

    model = read(view)
    model.trees, model.numbers, model.places        # 100, 25_000, ((offset, bytes), …)

LightGBM jumps from tree to tree by the sizes that the head names, reads as many numbers from each line as the tree
counts, and follows children and categories in predict without looking. Source: `src/boosting/gbdt_model_text.cpp` and
`src/io/tree.cpp` of LightGBM 2.0 to 4.7 (model versions v2 to v4).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from nbguard.formats.view import View

MAX_SIZE = 512 << 20
"""Bytes; the text of one model is read at once."""
MAX_LEAVES = 20_000_000
_INTEGER = re.compile(rb"-?\d{1,18}\Z")
_PLAIN = re.compile(rb"[-+0-9.eEnaifNAIFtyT ]*\Z")
"""Numbers as printf writes them, `nan` and `inf` included."""
_END = b"end of trees"
_PER_NODE = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child", "internal_value",
    "internal_weight", "internal_count",
)  # fmt: skip
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count", "leaf_const", "num_features")
_NEEDED = ("split_feature", "threshold", "left_child", "right_child")


class LightGBMError(ValueError):
    """A text that LightGBM never writes. The message is one plain sentence."""


@dataclass(frozen=True)
class LightGBMModel:
    """What a checked model holds."""

    objective: str
    """As the file spells it; hostile text."""
    version: str
    trees: int
    numbers: int
    places: tuple[tuple[int, int], ...]
    """(offset, bytes) of each tree."""


def looks_like(head: bytes) -> bool:
    """Whether a text begins as a model does."""
    return head.replace(b"\r\n", b"\n").startswith((b"tree\nversion=v", b"tree\nnum_class="))


def read(view: View) -> LightGBMModel:
    """Read and check a model. Raises LightGBMError."""
    if view.size > MAX_SIZE:
        raise LightGBMError("The model's text is longer than is read.")
    data = view.read(0, view.size)
    if b"\0" in data:
        raise LightGBMError("There is a zero byte in the model's text, where LightGBM stops reading.")
    start = data.find(b"Tree=")
    end = data.find(_END)
    if end < 0:
        raise LightGBMError("The model's text has no end of its trees: it is cut off.")
    start = end if start < 0 or start > end else start
    head = _pairs(data[:start])
    classes = _integer(head, "num_class")
    per_round = _integer(head, "num_tree_per_iteration", str(classes).encode())
    features = _integer(head, "max_feature_idx") + 1
    if not 0 < classes <= 1_000_000 or not 0 < per_round <= 1_000_000 or not 0 <= features <= 50_000_000:
        raise LightGBMError("The counts of classes and features are no such counts.")
    for key in ("feature_names", "feature_infos"):
        if key in head and len(head[key].split()) != features:
            raise LightGBMError(f"There are other {key} than features.")
    places = _places(data, start, end, head)
    numbers = leaves = 0
    for number, (at, length) in enumerate(places):
        held, more = _tree(data[at : at + length], number, features)
        numbers, leaves = numbers + held, leaves + more
        if leaves > MAX_LEAVES:
            raise LightGBMError("The model has more leaves than are followed.")
    _rest(data[end + len(_END) :])
    text = {key: head.get(key, b"").decode("utf-8", "backslashreplace")[:200] for key in ("objective", "version")}
    return LightGBMModel(text["objective"], text["version"], len(places), numbers, tuple(places))


def _places(data: bytes, start: int, end: int, head: dict[str, bytes]) -> list[tuple[int, int]]:
    """(offset, bytes) of the trees by what lies there, which is what the sizes in the head must say."""
    starts = [m.start() for m in re.finditer(rb"^Tree=", data[:end], re.MULTILINE)]
    if starts and starts[0] != start:
        raise LightGBMError("The head of the model's text names a tree.")
    places = [(a, b - a) for a, b in zip(starts, [*starts[1:], end], strict=False)]
    if "tree_sizes" in head:
        sizes = [_number(n, "tree_sizes") for n in head["tree_sizes"].split()]
        if sizes != [length for _, length in places]:
            raise LightGBMError("The sizes of the trees are not those that the head of the model names.")
    return places


def _tree(text: bytes, number: int, features: int) -> tuple[int, int]:
    """Check one tree. Returns how many numbers and leaves it has."""
    held = _pairs(text, tree=True)
    if held.pop("Tree", b"").strip() != str(number).encode():
        raise LightGBMError("The trees of the model are not in their order.")
    leaves, categories = _integer(held, "num_leaves"), _integer(held, "num_cat", b"0")
    if not 1 <= leaves <= MAX_LEAVES or not 0 <= categories < leaves:
        raise LightGBMError("A tree has no leaves, or more than are followed.")
    values = {key: value.split() for key, value in held.items()}
    for names, size in ((_PER_NODE, leaves - 1), (_PER_LEAF, leaves)):
        for name in names:
            there = values.get(name)
            if there is None or (leaves == 1 and len(there) <= 1):
                if there is None and ((leaves > 1 and name in _NEEDED) or name == "leaf_value"):
                    raise LightGBMError(f"A tree has no {name}.")
            elif len(there) != size and not (not there and name not in _NEEDED):
                raise LightGBMError(f"A tree has other numbers of {name} than it counts.")
    if leaves > 1:
        _follow(values, leaves)
        if not all(0 <= _number(n, "split_feature") < features for n in values["split_feature"]):
            raise LightGBMError("A node of a tree asks for a feature that the model does not have.")
    _categories(values, categories, leaves)
    _linear(values, leaves, features)
    return sum(map(len, values.values())), leaves


def _follow(values: dict[str, list[bytes]], leaves: int) -> None:
    """Every node and every leaf is reached exactly once: predict ends, and inside the tree."""
    left = [_number(n, "left_child") for n in values["left_child"]]
    right = [_number(n, "right_child") for n in values["right_child"]]
    seen, ends, ahead = bytearray(leaves - 1), bytearray(leaves), [0]
    while ahead:
        node = ahead.pop()
        for child in (left[node], right[node]):
            if not -leaves <= child < leaves - 1:
                raise LightGBMError("A node of a tree has a child outside of the tree.")
            place, at = (seen, child) if child >= 0 else (ends, ~child)
            if place[at] or child == 0:
                raise LightGBMError("The nodes of a tree lead back to one another: predict would never end.")
            place[at] = 1
            if child >= 0:
                ahead.append(child)


def _categories(values: dict[str, list[bytes]], categories: int, leaves: int) -> None:
    """A categorical split's threshold is an index into the boundaries, these into one long bit set."""
    bounds = [_number(n, "cat_boundaries") for n in values.get("cat_boundaries", [])]
    if categories and (len(bounds) != categories + 1 or bounds[0] != 0 or bounds != sorted(bounds)):
        raise LightGBMError("The categories of a tree do not lie one behind the other.")
    if categories and len(values.get("cat_threshold", [])) != bounds[-1]:
        raise LightGBMError("The categories of a tree lie behind its numbers.")
    kinds = values.get("decision_type", [])
    for kind, threshold in zip(kinds, values.get("threshold", []), strict=False) if leaves > 1 else ():
        if _number(kind, "decision_type") & 1:
            try:
                index = float(threshold)
            except ValueError as error:
                raise LightGBMError("A threshold is no number.") from error
            if not (index.is_integer() and 0 <= index < categories):
                raise LightGBMError("A node of a tree asks for categories that the tree does not have.")


def _linear(values: dict[str, list[bytes]], leaves: int, features: int) -> None:
    """Linear trees: as many features and coefficients in each leaf as it counts."""
    if values.get("is_linear", [b"0"]) == [b"0"]:
        return
    counts = [_number(n, "num_features") for n in values.get("num_features", [])]
    named = [_number(n, "leaf_features") for n in values.get("leaf_features", [])]
    if len(counts) != leaves or min(counts) < 0 or len(values.get("leaf_const", [])) != leaves:
        raise LightGBMError("A linear tree does not say how many features its leaves have.")
    if not sum(counts) == len(named) == len(values.get("leaf_coeff", [])):
        raise LightGBMError("A leaf of a linear tree has other features than coefficients.")
    if not all(0 <= n < max(features, 1) for n in named):
        raise LightGBMError("A leaf of a tree asks for a feature that the model does not have.")


def _rest(data: bytes) -> None:
    """What follows the trees: importances, parameters, and the categories of the pandas frame as JSON."""
    at = data.rfind(b"\npandas_categorical:")
    if at < 0:
        return
    try:
        json.loads(data[at:].partition(b":")[2])
    except (ValueError, RecursionError) as error:
        raise LightGBMError("The categories of the data frame are no JSON.") from error


def _pairs(text: bytes, *, tree: bool = False) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for line in text.splitlines():
        key, sign, value = line.partition(b"=")
        if not line.strip() or not sign:
            if tree and line.strip():
                raise LightGBMError("A line of a tree is no name with numbers.")
            continue
        name = key.decode("ascii", "backslashreplace")[:100]
        if name in found:
            raise LightGBMError(f"There are two lines of {name} where LightGBM writes one.")
        if tree and not _PLAIN.match(value):
            raise LightGBMError(f"The {name} of a tree are no numbers.")
        found[name] = value
    return found


def _integer(pairs: dict[str, bytes], name: str, otherwise: bytes | None = None) -> int:
    value = pairs.get(name, otherwise)
    if value is None:
        raise LightGBMError(f"The model's text does not say its {name}.")
    return _number(value.strip(), name)


def _number(text: bytes, what: str) -> int:
    if not _INTEGER.match(text):
        raise LightGBMError(f"The {what[:100]} is no whole number.")
    return int(text)
