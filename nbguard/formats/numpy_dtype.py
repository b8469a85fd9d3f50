"""numpy dtype descriptors as pickles carry them, rebuilt and compared without numpy.

    validate(("f8", False, True), [(3, "<", None, None, None, -1, -1, 0)], is_dtype).itemsize   # 8

`dtype.__setstate__` believes its state: a `V8` with an object field and no object flag turns raw bytes into pointers,
a `V1` whose state says 40 moves everything that a reader skips. So each descriptor is worked out from its parts the
way numpy's validating constructor does, and state that says otherwise is an error.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 16
MAX_FIELDS = 4096
MAX_ITEMSIZE = 2**31 - 1
"""numpy's own limit: an item's size is a C int."""

_CODE = re.compile(r"[<>|=]?([?bBhHiIlLqQefdgFDGSUVOMmauc])(\d{0,10})\Z")
_SIZES: Mapping[str, tuple[int, ...]] = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8, 12, 16),
    "c": (8, 16, 24, 32),
    "M": (8,),
    "m": (8,),
    "O": (4, 8),
}
_FLAG_REFCOUNT = 0x01
_FLAGS = 0xFF


class DTypeError(ValueError):
    """The descriptor is not one that numpy's constructor would make; the message says how."""


@dataclass(frozen=True)
class DType:
    """A validated descriptor."""

    itemsize: int
    """Bytes."""
    has_object: bool
    """Some item is a pointer to a Python object; its array is a pickle, not raw bytes."""
    text: str
    """`<f8`, `{a:<f4@0,…}`; the same text for the same layout."""
    fields: Mapping[str, tuple[DType, int]] = field(default_factory=dict)
    """Name → (descriptor, offset), in order."""


def validate(
    arguments: tuple[Any, ...],
    states: Sequence[Any],
    parts: Callable[[Any], tuple[tuple[Any, ...], Sequence[Any]] | None],
    depth: int = 0,
) -> DType:
    """The descriptor that `numpy.dtype(*arguments)` and then `__setstate__` for each of `states` make.

    Args:
        parts: gives a nested descriptor's own arguments and states, or None where something else stands there.
            A string with a leading `class ` names the scalar type that stood as first argument.

    Raises:
        DTypeError: where arguments and state do not say the same, or say what no honest numpy writes.
    """
    if depth > MAX_DEPTH:
        raise DTypeError("descriptors nested too deeply")
    if not arguments or len(arguments) > 3 or any(type(a) not in (bool, int) for a in arguments[1:]):
        raise DTypeError("unexpected arguments of numpy.dtype")
    letter, size = _code(arguments[0])
    if not states:
        if letter == "V" and size is None:
            raise DTypeError("a record descriptor without state")
        return DType(size or 0, letter == "O", _text(letter, "|", size or 0))
    if len(states) > 1:
        raise DTypeError("the descriptor is given state twice")
    return _with_state(letter, size, states[0], parts, depth)


def _code(first: Any) -> tuple[str, int | None]:
    """(kind letter, size in bytes) of the first argument; size None where the state alone says it."""
    if isinstance(first, bytes):
        first = first.decode("latin1")
    if first in ("class numpy.record", "class numpy.void"):
        return "V", None
    if type(first) is not str or not (match := _CODE.match(first)):
        raise DTypeError("a descriptor that nbguard does not know")
    letter, digits = match[1], match[2]
    count = int(digits) if digits else None
    letter = {"a": "S", "?": "b"}.get(letter, letter)
    if letter in "SV":
        size = count or 0
    elif letter == "U":
        size = 4 * (count or 0)
    elif letter in _SIZES:
        default = {"O": 8, "M": 8, "m": 8, "b": 1}.get(letter)
        size = count if count is not None else (default if default is not None else -1)
        if size not in _SIZES[letter]:
            raise DTypeError(f"no such descriptor: {first[:32]!r}")
        if letter == "O":
            size = 8
    else:
        raise DTypeError(f"a descriptor whose size depends on the machine: {first[:32]!r}")
    if size > MAX_ITEMSIZE:
        raise DTypeError("an item larger than numpy allows")
    return letter, size


def _with_state(letter: str, size: int | None, state: Any, parts: Any, depth: int) -> DType:
    if type(state) is not tuple or len(state) not in (8, 9) or state[0] not in (3, 4) or isinstance(state[0], bool):
        raise DTypeError("a descriptor state of an unknown version")
    order, subarray, names, fields, itemsize, alignment, flags = state[1:8]
    order = order.decode("latin1") if isinstance(order, bytes) else order
    if order not in ("<", ">", "|", "="):
        raise DTypeError("an unknown byte order")
    if any(type(value) is not int for value in (itemsize, alignment, flags)):
        raise DTypeError("sizes that are no whole numbers")
    if flags & ~_FLAGS:
        raise DTypeError("unknown descriptor flags")
    if len(state) == 9 and letter not in "Mm" and not _harmless_metadata(state[8]):
        raise DTypeError("a descriptor with metadata of its own")
    if subarray is not None:
        made = _subarray(subarray, parts, depth)
    elif names is not None or fields is not None:
        made = _structure(names, fields, itemsize, parts, depth)
    else:
        made = DType(
            size if size is not None else max(itemsize, 0),
            letter == "O",
            _text(letter, order, size if size is not None else max(itemsize, 0)),
        )
    if (subarray is not None or names is not None) and letter != "V":
        raise DTypeError("fields in a descriptor that cannot have any")
    if size is not None and size != made.itemsize:
        raise DTypeError(f"the descriptor says {size} bytes, its parts say {made.itemsize}")
    if itemsize != -1 and itemsize != made.itemsize:
        raise DTypeError(f"the state says {itemsize} bytes, the descriptor {made.itemsize}")
    if itemsize == -1 and letter in "SUV":
        raise DTypeError("a flexible descriptor without a size")
    if alignment != -1 and not 0 < alignment <= 64:
        raise DTypeError("an impossible alignment")
    if bool(flags & _FLAG_REFCOUNT) != made.has_object:
        raise DTypeError("the flags do not say whether objects are inside")
    return made


def _harmless_metadata(value: Any) -> bool:
    return value is None or (type(value) in (tuple, dict) and not value) or value == (None, None)


def _subarray(subarray: Any, parts: Any, depth: int) -> DType:
    if type(subarray) is not tuple or len(subarray) != 2:
        raise DTypeError("a malformed subarray")
    base = _nested(subarray[0], parts, depth)
    shape = subarray[1] if type(subarray[1]) is tuple else (subarray[1],)
    if len(shape) > 64 or any(type(n) is not int or n < 0 for n in shape):
        raise DTypeError("a malformed subarray shape")
    size = base.itemsize * math.prod(shape)
    if size > MAX_ITEMSIZE:
        raise DTypeError("an item larger than numpy allows")
    return DType(size, base.has_object, f"{base.text}{list(shape)}")


def _structure(names: Any, fields: Any, itemsize: int, parts: Any, depth: int) -> DType:
    if type(names) is not tuple or type(fields) is not dict or not 0 <= itemsize <= MAX_ITEMSIZE:
        raise DTypeError("malformed fields")
    if len(names) > MAX_FIELDS or len(set(names)) != len(names) or any(type(n) not in (str, bytes) for n in names):
        raise DTypeError("malformed field names")
    found: dict[str, tuple[DType, int]] = {}
    spans: list[tuple[int, int]] = []
    titles = set()
    for name in names:
        entry = fields.get(name)
        if type(entry) is not tuple or len(entry) not in (2, 3) or type(entry[1]) is not int:
            raise DTypeError("a malformed field")
        part, offset = _nested(entry[0], parts, depth), entry[1]
        if len(entry) == 3:
            titles.add(entry[2])
        if offset < 0 or offset + part.itemsize > itemsize:
            raise DTypeError("a field outside its item")
        found[name if isinstance(name, str) else name.decode("latin1")] = (part, offset)
        spans.append((offset, offset + part.itemsize))
    if set(fields) - set(names) - titles:
        raise DTypeError("fields that are not named")
    has_object = any(part.has_object for part, _ in found.values())
    spans.sort()
    if has_object and any(left[1] > right[0] for left, right in itertools.pairwise(spans)):
        raise DTypeError("fields that overlap pointers")
    inner = ",".join(f"{name}:{part.text}@{offset}" for name, (part, offset) in found.items())
    return DType(itemsize, has_object, f"{{{inner}}}{itemsize}", found)


def _nested(value: Any, parts: Any, depth: int) -> DType:
    inner = parts(value)
    if inner is None:
        raise DTypeError("something else stands where a descriptor belongs")
    return validate(inner[0], inner[1], parts, depth + 1)


def _text(letter: str, order: str, size: int) -> str:
    return f"{order if letter not in 'SVOb' else '|'}{letter}{size}"
