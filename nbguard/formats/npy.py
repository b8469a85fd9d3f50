"""Headers of `.npy` files, and the sizes of numpy's type descriptions, without numpy.

    header = read_header(view)
    header.itemsize, header.holds_objects, header.data

Source: `numpy/lib/_format_impl.py` (`read_array_header_*`, `descr_to_dtype`).
"""

from __future__ import annotations

import ast
import re
import struct
from dataclasses import dataclass
from math import prod

from nbguard.formats.view import View

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 18
"""Bytes. numpy itself refuses more than 10,000 unless pickles are allowed."""
_PLAIN = re.compile(r"[<>|=]?([biufcSUVaMm?O])(\d*)(\[\d*[a-zA-Zμ]+\])?\Z")
_SIZES = {
    "b": {"1"}, "i": {"1", "2", "4", "8"}, "u": {"1", "2", "4", "8"}, "f": {"2", "4", "8", "12", "16"},
    "c": {"8", "16", "24", "32"}, "M": {"8"}, "m": {"8"}, "?": {"", "1"}, "O": {"", "4", "8"},
}  # fmt: skip
_MAX_DEPTH = 16


class NpyError(ValueError):
    """This header is none that numpy would write. The message is one plain sentence."""


@dataclass(frozen=True)
class Kind:
    """What one array element is."""

    itemsize: int
    """Bytes."""
    objects: bool
    """Elements, or fields of them, are Python objects: the data is a pickle."""


@dataclass(frozen=True)
class NpyHeader:
    kind: Kind
    descr: str
    """The description as it stands in the file, bounded."""
    shape: tuple[int, ...]
    data: int
    """Of the first byte after the header."""

    @property
    def nbytes(self) -> int:
        """Bytes of data that follow where the elements are no objects."""
        return self.kind.itemsize * prod(self.shape)


def read_header(view: View) -> NpyHeader:
    """Read and check the header.

    Raises:
        NpyError: it is cut off, malformed, or of a type that is not known here.
    """
    start = view.read(0, 12)
    if start[:6] != MAGIC or len(start) < 10:
        raise NpyError("The numpy header is cut off.")
    major = start[6]
    if major == 1:
        length, at = struct.unpack_from("<H", start, 8)[0], 10
    elif major in (2, 3) and len(start) == 12:
        length, at = struct.unpack_from("<L", start, 8)[0], 12
    else:
        raise NpyError("The numpy header has a version that nobody knows.")
    if length > MAX_HEADER:
        raise NpyError("The numpy header is longer than any real one.")
    raw = view.read(at, length)
    if len(raw) != length:
        raise NpyError("The numpy header is cut off.")
    try:
        text = raw.decode("utf-8" if major == 3 else "latin-1")
        value = ast.literal_eval(re.sub(r"\b(\d+)L\b", r"\1", text))  # Python 2 wrote 3L
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise NpyError("The numpy header is no plain dictionary.") from error
    if not isinstance(value, dict) or set(value) != {"descr", "fortran_order", "shape"}:
        raise NpyError("The numpy header does not hold exactly descr, fortran_order and shape.")
    shape = value["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 64:
        raise NpyError("The shape in the numpy header is impossible.")
    return NpyHeader(kind_of(value["descr"]), repr(value["descr"])[:500], shape, at + length)


def kind_of(descr: object, depth: int = 0) -> Kind:
    """Size of a type description as numpy builds it: a string, a list of fields, or (description, shape).

    Raises:
        NpyError: it is none of those, or a spelling that is not known here.
    """
    if depth > _MAX_DEPTH:
        raise NpyError("The numpy type is nested too deeply.")
    if isinstance(descr, str):
        return _plain(descr)
    if isinstance(descr, tuple) and len(descr) == 2:
        inner = kind_of(descr[0], depth + 1)
        return Kind(inner.itemsize * _count(descr[1]), inner.objects)
    if isinstance(descr, list) and len(descr) <= 10_000:
        size, objects = 0, False
        for row in descr:
            if not isinstance(row, tuple) or len(row) not in (2, 3):
                raise NpyError("The fields of the numpy type are malformed.")
            inner = kind_of(row[1], depth + 1)
            size += inner.itemsize * (_count(row[2]) if len(row) == 3 else 1)
            objects = objects or inner.objects
        return Kind(size, objects)
    raise NpyError("The numpy type is described in no known way.")


def _plain(descr: str) -> Kind:
    match = _PLAIN.match(descr)
    if match is None:
        raise NpyError(f"The numpy type {descr[:60]!r} is not known.")
    code, size, unit = match.groups()
    if (unit and code not in "Mm") or (code in _SIZES and size not in _SIZES[code]) or len(size) > 9:
        raise NpyError(f"The numpy type {descr[:60]!r} is not known.")
    if code == "O":
        return Kind(8, True)
    return Kind(int(size or 1) * (4 if code == "U" else 1) if code != "?" else 1, False)


def _count(shape: object) -> int:
    if type(shape) is int and 0 <= shape < 2**48:
        return shape
    if isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**48 for n in shape) and len(shape) <= 64:
        return prod(shape)
    raise NpyError("The shape of a field in the numpy type is impossible.")
