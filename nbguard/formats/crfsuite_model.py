"""CRFsuite's models: every offset and index that its reader would follow, checked against the file.

    model = read(view)
    model.labels, model.attributes, model.features

CRFsuite maps the file and follows the numbers in it without looking (`crf1d_model.c`, `cqdb.c` of CRFsuite 0.12), so
that a number which leads out of the file reads or crashes whatever lies there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nbguard.formats.view import View

MAGIC = b"lCRF"
_HEADER = struct.Struct("<4sI4s9I")
_CHUNK = struct.Struct("<4sII")
_FEATURE = struct.Struct("<IIId")
_CQDB = struct.Struct("<4s5I")
_TABLE = struct.Struct("<II")
_BYTE_ORDER = 0x62445371
_TABLES = 256
MOST = 50_000_000
"""Features, attributes or labels; more is no model."""


class CrfsuiteError(ValueError):
    """A model that CRFsuite never writes. The message is one plain sentence."""


@dataclass(frozen=True)
class CrfsuiteModel:
    """What a checked model holds."""

    features: int
    labels: int
    attributes: int
    places: tuple[tuple[str, int, int, str], ...]
    """(name, offset, bytes, kind) of its parts."""


def read(view: View) -> CrfsuiteModel:
    """Read and check a model. Raises CrfsuiteError."""
    head = view.read(0, _HEADER.size)
    if len(head) < _HEADER.size:
        raise CrfsuiteError("The file ends within its header.")
    magic, size, kind, version, n_features, n_labels, n_attributes, *offsets = _HEADER.unpack(head)
    if magic != MAGIC or kind != b"FOMC" or version != 100:
        raise CrfsuiteError("It is not a model of the kind and version that CRFsuite writes.")
    if size != view.size:
        raise CrfsuiteError(f"The header says {size:,} bytes, and the file has {view.size:,}.")
    if max(n_features, n_labels, n_attributes) > MOST:
        raise CrfsuiteError("It says that it holds more features than any model has.")
    at_features, at_labels, at_attributes, at_label_references, at_attribute_references = offsets
    places = [
        ("features", at_features, _features(view, at_features, n_features, n_labels, n_attributes), "features"),
        ("labels", at_labels, _names(view, at_labels, n_labels), "cqdb"),
        ("attributes", at_attributes, _names(view, at_attributes, n_attributes), "cqdb"),
    ]
    for name, at, chunk, count in (
        ("label references", at_label_references, b"LFRF", n_labels),
        ("attribute references", at_attribute_references, b"AFRF", n_attributes),
    ):
        places.append(
            (name, at, _references(view, at, chunk, count, n_features or _count(view, at_features)), "references")
        )
    return CrfsuiteModel(_count(view, at_features), n_labels, n_attributes, tuple(places))


def _part(view: View, at: int, length: int) -> bytes:
    if at < 0 or length < 0 or at + length > view.size:
        raise CrfsuiteError("A place in it lies outside of the file.")
    return view.read(at, length)


def _count(view: View, at: int) -> int:
    _, _, count = _CHUNK.unpack(_part(view, at, _CHUNK.size))
    return int(count)


def _chunk(view: View, at: int, name: bytes) -> tuple[int, int]:
    """(bytes of the chunk, entries)."""
    found, size, count = _CHUNK.unpack(_part(view, at, _CHUNK.size))
    if found != name or size < _CHUNK.size or at + size > view.size or count > MOST:
        raise CrfsuiteError(f"Its part {name.decode()} is not where it should be, or leads out of the file.")
    return size, count


def _features(view: View, at: int, declared: int, labels: int, attributes: int) -> int:
    size, count = _chunk(view, at, b"FEAT")
    if (declared and count != declared) or size != _CHUNK.size + count * _FEATURE.size:
        raise CrfsuiteError("It has another number of features than it says.")
    data = _part(view, at + _CHUNK.size, count * _FEATURE.size)
    for kind, source, target, _ in _FEATURE.iter_unpack(data):
        if kind not in (0, 1) or target >= labels or source >= (attributes if kind == 0 else labels):
            raise CrfsuiteError("A feature refers to a label or attribute that is not there.")
    return size


def _references(view: View, at: int, name: bytes, count: int, features: int) -> int:
    size, declared = _chunk(view, at, name)
    if declared < count:
        raise CrfsuiteError("There are fewer references than labels or attributes.")
    offsets = struct.unpack(f"<{declared}I", _part(view, at + _CHUNK.size, 4 * declared))
    for offset in offsets[:count]:
        if offset == 0:
            continue
        (number,) = struct.unpack("<I", _part(view, offset, 4))
        if number > features:
            raise CrfsuiteError("A reference names more features than there are.")
        if any(f >= features for f in struct.unpack(f"<{number}I", _part(view, offset + 4, 4 * number))):
            raise CrfsuiteError("A reference names a feature that is not there.")
    return size


def _names(view: View, at: int, count: int) -> int:
    """A CQDB: 256 hash tables of places of (id, length, text), and an array of places back from the id."""
    found, size, _, order, backward, at_backward = _CQDB.unpack(_part(view, at, _CQDB.size))
    if found != b"CQDB" or order != _BYTE_ORDER or at + size > view.size or size < _CQDB.size:
        raise CrfsuiteError("A table of names is not where it should be, or leads out of the file.")
    data = _part(view, at, size)
    for number in range(_TABLES):
        offset, entries = _TABLE.unpack_from(_within(data, _CQDB.size + number * _TABLE.size, _TABLE.size))
        if offset == 0:
            continue
        for _, place in _TABLE.iter_unpack(_within(data, offset, entries * _TABLE.size)):
            if place:
                _record(data, place, count)
    if backward < count:
        raise CrfsuiteError("A table of names is shorter than it says.")
    for place in struct.unpack(f"<{backward}I", _within(data, at_backward, 4 * backward)):
        if place:
            _record(data, place, count)
    return int(size)


def _record(data: bytes, place: int, count: int) -> None:
    number, length = _TABLE.unpack_from(_within(data, place, _TABLE.size))
    text = _within(data, place + _TABLE.size, length)
    if number >= max(count, 1) or not text.endswith(b"\0"):
        raise CrfsuiteError("A name in it has no end, or the number of another.")


def _within(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise CrfsuiteError("A place in a table of names lies outside of it.")
    return data[at : at + length]
