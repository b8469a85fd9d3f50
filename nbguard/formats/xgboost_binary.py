"""XGBoost's binary models of before 3.1 (no magic number, or `binf`): sizes and indices followed to the last byte.

    trees, numbers = read(data)

Source: `src/learner.cc`, `src/gbm/gbtree_model.cc`, `src/gbm/gblinear_model.h` and `src/tree/tree_model.cc` of
XGBoost 1.7, whose structs have fixed sizes. XGBoost reads as many nodes as the file counts and follows them unseen.
"""

from __future__ import annotations

import struct

from nbguard.formats.xgboost_model import BOOSTERS, MAX_NODES, XGBoostError

_MAGIC = b"binf"
_LEARNER_SIZE = 136
_MODEL_SIZE = 160
_LINEAR_SIZE = 136
_TREE_SIZE = 148
_NODE = struct.Struct("<3iIf")
_STATISTICS = 16
_FEATURE = 0x7FFFFFFF
_DELETED = 0xFFFFFFFF
_MOST_TEXT = 1 << 20


def looks_like(head: bytes) -> bool:
    """Whether bytes begin with the parameters of a learner, its objective and its booster."""
    reader = _Reader(head.removeprefix(_MAGIC))
    try:
        reader.take(_LEARNER_SIZE)
        objective, booster = reader.text(), reader.text()
    except XGBoostError:
        return False
    return objective.isascii() and 0 < len(objective) < 100 and booster in {name.encode() for name in BOOSTERS}


def read(data: bytes) -> tuple[int, int]:
    """Numbers of trees and of values in them. Raises XGBoostError."""
    reader = _Reader(data.removeprefix(_MAGIC))
    _, features, classes, attributes, metrics = struct.unpack_from("<fI3i", reader.take(_LEARNER_SIZE))
    reader.text()
    booster = reader.text().decode("latin-1")
    if booster not in BOOSTERS:
        raise XGBoostError("The booster is none of XGBoost's.")
    if booster == "gblinear":
        trees, numbers = 0, _linear(reader, features, max(1, classes))
    else:
        trees, numbers = _trees(reader, features, max(1, classes))
        if booster == "dart" and trees and reader.count(4) != trees:
            raise XGBoostError("A dart model has other weights than trees.")
        if booster == "dart":
            reader.take(4 * trees)
    if attributes:
        for _ in range(2 * reader.count(8)):
            reader.text()
    if metrics:
        for _ in range(reader.count(8)):
            reader.text()
    if reader.at != len(reader.data):
        raise XGBoostError("Something follows the end of the model.")
    return trees, numbers


def _linear(reader: _Reader, features: int, groups: int) -> int:
    reader.take(_LINEAR_SIZE)
    weights = reader.count(4)
    reader.take(4 * weights)
    if weights != (features + 1) * groups:
        raise XGBoostError("A linear model does not have as many weights as its features and classes need.")
    return weights


def _trees(reader: _Reader, features: int, groups: int) -> tuple[int, int]:
    (count,) = struct.unpack_from("<i", reader.take(_MODEL_SIZE))
    if not 0 <= count <= (len(reader.data) - reader.at) // _TREE_SIZE:
        raise XGBoostError("The model counts more trees than it can hold.")
    nodes = 0
    for _ in range(count):
        _, size, _, _, tree_features = struct.unpack_from("<4iI", reader.take(_TREE_SIZE))
        nodes += max(0, size)
        if size < 1 or nodes > MAX_NODES:
            raise XGBoostError("A tree has no nodes, or more than are followed.")
        _follow(reader.take(_NODE.size * size), size, max(features, tree_features, 1))
        reader.take(_STATISTICS * size)
    if any(not 0 <= group < groups for (group,) in struct.iter_unpack("<i", reader.take(4 * count))):
        raise XGBoostError("A tree belongs to a class that the model does not have.")
    return count, nodes * 9


def _follow(data: bytes, size: int, features: int) -> None:
    rows = list(_NODE.iter_unpack(data))
    seen, ahead = bytearray(size), [0]
    while ahead:
        node = ahead.pop()
        if seen[node]:
            raise XGBoostError("The nodes of a tree lead back to one another: predict would never end.")
        seen[node] = 1
        _, left, right, split, _ = rows[node]
        if left == -1:
            continue
        if not (0 < left < size and 0 < right < size):
            raise XGBoostError("A node of a tree has a child outside of the tree.")
        if split == _DELETED or split & _FEATURE >= features:
            raise XGBoostError("A node of a tree asks for a feature that the model does not have.")
        ahead += (left, right)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.data) - self.at:
            raise XGBoostError("The model is cut off, or a length in it goes beyond its end.")
        self.at += length
        return self.data[self.at - length : self.at]

    def count(self, each: int) -> int:
        """A number of things of at least `each` bytes that follow."""
        (count,) = struct.unpack("<Q", self.take(8))
        if count > (len(self.data) - self.at) // each:
            raise XGBoostError("The model is cut off, or a length in it goes beyond its end.")
        return int(count)

    def text(self) -> bytes:
        length = self.count(1)
        if length > _MOST_TEXT:
            raise XGBoostError("A text in the model is longer than any that XGBoost writes.")
        return self.take(length)
