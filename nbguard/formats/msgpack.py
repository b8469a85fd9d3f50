"""MessagePack: gone through to its last byte, without building what it holds.

    found = walk(view)               # None where the bytes are not exactly one value
    found.extensions                 # {0, 42}: types of a program's own in it
    found.arrays                     # {"<f4", "|O"}: what readers of NumPy arrays would take the data for

Source: the MessagePack specification (2.0, timestamp extension -1), and `srsly.msgpack._msgpack_numpy` for arrays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from nbguard.formats.view import View

MAX_VALUES = 6_000_000
"""Values of one file: a vocabulary of a million words takes two million."""
MAX_DEPTH = 200
_WINDOW = 1 << 20
_KEYS = (b"nd", b"type", b"kind")
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4,
          0xD3: 8}  # fmt: skip
"""First byte → bytes that follow, of values without a length."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Binary and text: first byte → bytes of the length."""
_MANY = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Arrays and maps: first byte → bytes of the count, values for each."""
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


@dataclass
class Walked:
    """What is in it."""

    values: int = 0
    extensions: set[int] = field(default_factory=set)
    arrays: set[str] = field(default_factory=set)
    """Types of NumPy arrays as they are written; `?` for what is no plain text."""
    top: int = 0
    """The first byte."""


def walk(view: View) -> Walked | None:
    """None where it is not exactly one value, or more than is looked at. Raises OSError."""
    reader = _Reader(view)
    out = Walked()
    pending = [1]
    after_type = False
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        out.values += 1
        if out.values > MAX_VALUES or len(pending) > MAX_DEPTH:
            return None
        first = reader.take(1)
        if not first:
            return None
        code = first[0]
        if out.values == 1:
            out.top = code
        more, text = _one(reader, code, out)
        if more is None:
            return None
        if after_type:
            out.arrays.add(text.decode("ascii", "replace") if text is not None and len(text) < 40 else "?")
        after_type = text == b"type"
        if more:
            pending.append(more)
    return out if reader.at == view.size else None


def _one(reader: _Reader, code: int, out: Walked) -> tuple[int | None, bytes | None]:
    """(values that follow inside, None where it is broken; the text or bytes, where it is short)."""
    if code <= 0x7F or code >= 0xE0:
        return 0, None
    if code <= 0x8F:
        return 2 * (code & 0x0F), None
    if code <= 0x9F:
        return code & 0x0F, None
    if code <= 0xBF:
        return reader.text(code & 0x1F)
    if code in _FIXED:
        return (0 if reader.skip(_FIXED[code]) else None), None
    if code in _SIZED:
        length = reader.number(_SIZED[code])
        return reader.text(length) if length is not None else (None, None)
    if code in _MANY:
        width, each = _MANY[code]
        count = reader.number(width)
        return (None if count is None or count > MAX_VALUES else count * each), None
    length = _FIXEXT.get(code, reader.number(_EXT[code]) if code in _EXT else None)
    kind = reader.take(1)
    if length is None or not kind or not reader.skip(length):
        return None, None
    out.extensions.add(struct.unpack("b", kind)[0])
    return 0, None


class _Reader:
    """Small pieces in order, read in windows."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.at = 0
        self._start = 0
        self._window = b""

    def take(self, length: int) -> bytes:
        """`length` bytes, or none where they are not there."""
        here = self.at - self._start
        if here + length > len(self._window):
            self._start, self._window = self.at, self.view.read(self.at, max(_WINDOW, length))
            here = 0
        piece = self._window[here : here + length]
        if len(piece) < length:
            return b""
        self.at += length
        return piece

    def skip(self, length: int) -> bool:
        self.at += length
        return self.at <= self.view.size

    def number(self, width: int) -> int | None:
        piece = self.take(width)
        return int.from_bytes(piece, "big") if len(piece) == width else None

    def text(self, length: int) -> tuple[int | None, bytes | None]:
        if length <= 64:
            piece = self.take(length)
            return (0, piece) if len(piece) == length else (None, None)
        return (0 if self.skip(length) else None), None
