"""CatBoost's binary models (`.cbm`): whether every index of trees, features and hash tables leads somewhere.

    model = read(view)
    model.trees, model.numbers, model.parts     # 100, 12_800, ("static_provider_v1",)

CatBoost verifies the offsets of its core, not the indices in it, and of the tables of categories behind it neither.
Source: `catboost/libs/model` (`flatbuffers/*.fbs`, `model.cpp`, `ctr_data.cpp`, `ctr_value_table.cpp`) of CatBoost 1.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nbguard.formats.flatbuffer import (
    FlatBufferError,
    Numbers,
    Scalar,
    Table,
    Tables,
    Text,
    Vector,
)
from nbguard.formats.flatbuffer import (
    read as read_buffer,
)
from nbguard.formats.view import View

MAGIC = b"CBM1"
FORMAT = "FlabuffersModel_v1"
MAX_SIZE = 1 << 30
"""Bytes; a model is read at once."""
CTR_TABLES = "static_provider_v1"
_MOST_FEATURES = 100_000_000
_NO_LEAF = 0xFFFFFFFF
_NO_HASH = 0xFFFFFFFFFFFFFFFF
_BUCKET = "QI"
"""`TBucket`: hash and index, packed."""

_FEATURE = (Scalar("i", -1), Scalar("i", -1), Text())
_COMBINATION = Table("TFeatureCombination", Vector("i"), Vector("if"), Vector("ii"))
_CTR_BASE = Table("TModelCtrBase", _COMBINATION, Scalar("b"), Scalar("i"))
_CTR = Table("TModelCtr", _CTR_BASE, Scalar("i"), Scalar("f"), Scalar("f", 1), Scalar("f"), Scalar("f", 1))
_TREES = Table(
    "TModelTrees",
    Scalar("i"),  # ApproxDimension
    Vector("i"),  # TreeSplits
    Vector("i"),  # TreeSizes
    Vector("i"),  # TreeStartOffsets
    Tables(Table("TCatFeature", *_FEATURE, Scalar("b", 1))),
    Tables(Table("TFloatFeature", Scalar("b"), Scalar("i", -1), Scalar("i", -1), Vector("f"), Text(), Scalar("b"))),
    Tables(Table("TOneHotFeature", Scalar("i", -1), Vector("i"), Tables(Text()))),
    Tables(Table("TCtrFeature", _CTR, Vector("f"))),
    Vector("d"),  # LeafValues
    Vector("d"),  # LeafWeights
    Vector("HH"),  # NonSymmetricStepNodes
    Vector("I"),  # NonSymmetricNodeIdToLeafId
    Tables(Table("TTextFeature", *_FEATURE, Scalar("b", 1))),
    Tables(Table("TEstimatedFeature", Scalar("i", -1), Scalar("16s"), Scalar("i", -1), Vector("f"))),
    Scalar("d", 1),  # Scale
    Scalar("d"),  # Bias
    Vector("d"),  # MultiBias
    Vector("HBB"),  # RepackedBins
    Tables(Table("TEmbeddingFeature", *_FEATURE, Scalar("i"), Scalar("b", 1))),
)
_CORE = Table("TModelCore", Text(), _TREES, Tables(Table("TKeyValue", Text(), Text())), Tables(Text()))
_CTR_TABLE = Table("TCtrValueTable", _CTR_BASE, Vector("B"), Vector("B"), Scalar("i"), Scalar("i"))


class CatBoostError(ValueError):
    """A model that CatBoost never writes. The message is one plain sentence."""


@dataclass(frozen=True)
class CatBoostModel:
    """What a checked model holds."""

    trees: int
    numbers: int
    parts: tuple[str, ...]
    """What lies behind the core, as the file names it: `static_provider_v1`, `text_process_v2`, …; hostile text."""
    unread: tuple[int, int] | None
    """(offset, bytes) of the parts whose insides are not followed here: texts and embeddings."""
    core: int
    """Bytes of the core, from the ninth on."""


def read(view: View) -> CatBoostModel:
    """Read and check a model. Raises CatBoostError."""
    if view.size > MAX_SIZE:
        raise CatBoostError("The model is larger than is read.")
    data = view.read(0, view.size)
    if data[:4] != MAGIC:
        raise CatBoostError("It does not begin as a CatBoost model does.")
    try:
        at, length = _size(data, 4)
        core = read_buffer(_slice(data, at, length), _CORE)
        at += length
        if core[0] != FORMAT or core[1] is None:
            raise CatBoostError("The model is of a version that is not known here, or has no trees.")
        trees, numbers = _check_trees(core[1])
        parts = tuple(str(part).rstrip("\0") for part in core[3] or ())
        if parts[:1] == (CTR_TABLES,):
            at = _ctr_tables(data, at)
    except FlatBufferError as error:
        raise CatBoostError(str(error)) from error
    rest = parts[1:] if parts[:1] == (CTR_TABLES,) else parts
    if not rest and at != len(data):
        raise CatBoostError("Something follows the end of the model.")
    return CatBoostModel(trees, numbers, parts, (at, len(data) - at) if rest else None, length)


def _check_trees(trees: list[Any]) -> tuple[int, int]:
    """Numbers of trees and of values in them."""
    dimension, splits, sizes, starts = trees[0], *(list(_values(trees[n])) for n in (1, 2, 3))
    leaves, weights = _count(trees[8]), _count(trees[9])
    bins = _features(trees)
    if not 1 <= dimension <= 1_000_000 or any(size < 0 for size in sizes) or sum(sizes) != len(splits):
        raise CatBoostError("The sizes of the trees do not fit their nodes.")
    offset = 0
    for size, start in zip(sizes, starts, strict=False):
        if start != offset:
            raise CatBoostError("The trees do not lie one behind the other.")
        offset += size
    if len(starts) not in (0, len(sizes)):
        raise CatBoostError("There are other places of trees than trees.")
    if splits and not (min(splits) >= 0 and max(splits) < bins):
        raise CatBoostError("A node of a tree asks for a feature or a border that the model does not have.")
    steps = trees[10]
    if _count(steps):
        _not_symmetric(steps, trees[11], sizes, leaves, dimension)
    else:
        if any(size > 32 for size in sizes) or leaves != sum(1 << size for size in sizes) * dimension:
            raise CatBoostError("The trees have other leaves than their depth needs.")
        if _count(trees[11]) or weights not in (0, leaves // dimension):
            raise CatBoostError("The trees have other weights than leaves.")
    if _count(trees[16]) not in (0, dimension) or _count(trees[17]) not in (0, len(splits)):
        raise CatBoostError("The model has other biases or bins than its trees need.")
    buckets = _buckets(trees)
    if any(feature >= buckets for feature, _, _ in _values(trees[17])):
        raise CatBoostError("A bin of a tree asks for a feature that the model does not have.")
    return len(sizes), len(splits) + leaves


def _not_symmetric(steps: Numbers, leaf_ids: Numbers | None, sizes: list[int], leaves: int, dimension: int) -> None:
    """Steps count forwards, so that a walk ends; it must end in the same tree, and at a leaf that is there."""
    if _count(steps) != sum(sizes) or _count(leaf_ids) != sum(sizes):
        raise CatBoostError("The trees have other steps than nodes.")
    nodes = zip(steps.values(), _values(leaf_ids), strict=True)
    for size in sizes:
        for place in range(size):
            (left, right), leaf = next(nodes)
            if place + max(left, right) >= size:
                raise CatBoostError("A node of a tree leads out of the tree.")
            if leaf == _NO_LEAF and not (left and right):
                raise CatBoostError("A walk through a tree ends where there is no leaf.")
            if leaf != _NO_LEAF and leaf + dimension > leaves:
                raise CatBoostError("A leaf of a tree points behind the values.")


def _features(trees: list[Any]) -> int:
    """How many splits the features offer together, each feature's own indices checked."""
    for n in (4, 5, 12, 18):
        for feature in trees[n] or ():
            if not all(-1 <= index < _MOST_FEATURES for index in feature[1 if n == 5 else 0 : 3 if n == 5 else 2]):
                raise CatBoostError("A feature has no place among the features.")
    categories = {feature[0] for feature in trees[4] or ()}
    floats = {feature[1] for feature in trees[5] or ()}
    for feature in trees[6] or ():
        if feature[0] not in categories or (feature[2] and len(feature[2]) != _count(feature[1])):
            raise CatBoostError("A one-hot feature stands for no category.")
    for feature in trees[7] or ():
        if feature[0] is None or feature[0][0] is None:
            raise CatBoostError("A feature made of categories does not say which.")
        _combination(feature[0][0], categories, floats)
    return sum(_count(borders) for borders in _borders(trees))


def _combination(base: list[Any], categories: set[int], floats: set[int]) -> None:
    parts = base[0]
    if parts is None or not 0 <= base[1] <= 5:
        raise CatBoostError("A feature made of categories does not say which.")
    named = [*_values(parts[0]), *(n for n, _ in _values(parts[2]))]
    if not set(named) <= categories or not {n for n, _ in _values(parts[1])} <= floats:
        raise CatBoostError("A feature made of categories asks for one that the model does not have.")


def _borders(trees: list[Any]) -> Iterable[Numbers | None]:
    for n, place in ((5, 3), (6, 1), (7, 1), (13, 3)):
        for feature in trees[n] or ():
            yield feature[place]


def _buckets(trees: list[Any]) -> int:
    """Columns of the quantised features: one for every 254 borders begun (`MAX_VALUES_PER_BIN`)."""
    return sum(-(-_count(borders) // 254) for borders in _borders(trees))


def _ctr_tables(data: bytes, at: int) -> int:
    """Check the hash tables of categories, which CatBoost reads unverified. Returns the offset behind them."""
    name = CTR_TABLES.encode()
    if data[at : at + len(name)] == name:
        at += len(name)
    at, count = _size(data, at)
    if count > len(data) - at:
        raise CatBoostError("The model counts more tables than it can hold.")
    for _ in range(count):
        at, length = _size(data, at)
        base, index, blob, _, classes = read_buffer(_slice(data, at, length), _CTR_TABLE)
        at += length
        if base is None or index is None or blob is None or base[0] is None:
            raise CatBoostError("A table of categories is not complete.")
        kind, buckets = base[1], _count(index) // struct.calcsize("<" + _BUCKET)
        if not 0 <= kind <= 5 or _count(index) % struct.calcsize("<" + _BUCKET) or buckets & (buckets - 1):
            raise CatBoostError("A table of categories has no size that its hash can use.")
        width = 8 if kind in (2, 3) else 4 * (max(1, classes) if kind in (0, 1) else 1)
        if not 0 <= classes <= 1_000_000 or _count(blob) % width:
            raise CatBoostError("A table of categories does not have the values that its classes need.")
        rows = Numbers(index.data, _BUCKET, index.offset, buckets)
        if any(hashed != _NO_HASH and row >= _count(blob) // width for hashed, row in rows.values()):
            raise CatBoostError("A category points behind the values of its table.")
    return at


def _size(data: bytes, at: int) -> tuple[int, int]:
    """(offset behind, value) of a size as `util/ysaveload.h` writes it."""
    short = int.from_bytes(_slice(data, at, 4), "little")
    if short != 0xFFFFFFFF:
        return at + 4, short
    return at + 12, int.from_bytes(_slice(data, at + 4, 8), "little")


def _slice(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise CatBoostError("The model is cut off, or a length in it goes beyond its end.")
    return data[at : at + length]


def _count(numbers: Numbers | None) -> int:
    return len(numbers) if numbers is not None else 0


def _values(numbers: Numbers | None) -> Iterable[Any]:
    return numbers.values() if numbers is not None else ()
