"""Protocol Buffers on the wire: the fields of a message, read by position and within bounds. No schema, no library.

    for field in fields(view, 0, view.size):
        field.number, field.wire, field.value, field.start, field.length

Payloads are not read: a field of gigabytes costs no more than one of bytes. Source: "Encoding" in the Protocol Buffers
documentation. Groups, which proto3 does not have, are refused, as are fields that reach beyond their message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from nbguard.formats.view import View

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""
WINDOW = 1 << 16
"""Bytes read at a time."""
LONGEST = (1 << 31) - 1
"""Bytes of one field or message; every implementation of Protocol Buffers stops there."""
_HEAD = 20
"""Bytes of the longest tag and value: two varints of ten bytes."""


class WireError(ValueError):
    """The bytes are no message. The text is one plain sentence."""


class Field(NamedTuple):
    """One field of a message."""

    number: int
    wire: int
    value: int
    """Of varints and of fixed numbers, as unsigned integer; the length for bytes."""
    start: int
    """Where the payload starts, in bytes from the start of the view."""
    length: int
    """Bytes of the payload."""


class Budget:
    """How many fields one file may have, all messages in it together."""

    def __init__(self, fields: int = 30_000_000) -> None:
        self.fields = fields

    def take(self) -> None:
        """Raises WireError where there are more fields than are read."""
        self.fields -= 1
        if self.fields < 0:
            raise WireError("It holds more fields than are looked at.")


def fields(view: View, start: int, end: int, budget: Budget | None = None) -> Iterator[Field]:
    """The fields of the message that lies from `start` to `end`, in their order.

    Raises:
        WireError: they do not end where the message ends, or are of a kind that is not in use any more.
    """
    at = base = start
    window = b""
    while at < end:
        if budget is not None:
            budget.take()
        if at + _HEAD > base + len(window) and base + len(window) < end:
            base, window = at, view.read(at, min(WINDOW, end - at))
        tag, here = varint(window, at - base)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError("A field has a number that there is not.")
        if wire == VARINT:
            value, behind = varint(window, here)
            yield Field(number, wire, value, base + here, behind - here)
            at = base + behind
            continue
        if wire == BYTES:
            value, here = varint(window, here)
            if value > LONGEST:
                raise WireError("A field is longer than a message may be.")
            length = value
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
            value = int.from_bytes(window[here : here + length], "little")
        else:
            raise WireError("It uses groups, which nobody writes any more.")
        at = base + here + length
        if at > end:
            raise WireError("A field reaches beyond the end of its message.")
        yield Field(number, wire, value, base + here, length)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset behind it) of the varint at `at`; 64 bits count. Raises WireError where it does not end."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1  # most of them by far
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
        shift += 7
    raise WireError("It is cut off, or a number in it does not end.")


def varints(data: bytes) -> list[int]:
    """The numbers of a packed field. Raises WireError."""
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(value)
    return found


def signed(value: int) -> int:
    """An `int64` from the unsigned number on the wire."""
    return value - (1 << 64) if value >= 1 << 63 else value


__all__ = [
    "BYTES",
    "FIXED32",
    "FIXED64",
    "VARINT",
    "Budget",
    "Field",
    "WireError",
    "fields",
    "signed",
    "varint",
    "varints",
]
