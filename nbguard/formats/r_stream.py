"""R's three ways to write numbers and texts: XDR, native and ASCII. What `r_serialize` reads from.

    stream = open_stream(view)          # of `saveRDS` and `save`, uncompressed
    stream.integer(), stream.text(12), stream.numbers("real", 1000)

Source: `src/main/serialize.c` of R 4.4 (`InInteger`, `InReal`, `InString`, `InWord`), and `saveload.c` for the first
line of what `save` writes.
"""

from __future__ import annotations

import re
import struct
from typing import Protocol

from nbguard.formats.view import View

MAX_ASCII = 256 << 20
"""Bytes of a file in R's text format."""
LONGEST = 4096
"""Bytes of one text that are kept; the rest of it is passed over."""
FEW = 6
"""Numbers of one vector that are kept."""
NA = -(1 << 31)
"""R's missing whole number."""
SIZES = {"integer": 4, "real": 8, "complex": 16, "raw": 1}
"""Kinds of numbers, and bytes of one of them."""
_WINDOW = 1 << 18
_BEGIN = re.compile(rb"(?P<image>RD[XAB][23]\r?\n)?(?P<format>[XAB])\r?\n(?:\0\0\0[\2\3]|[\2\3]\0\0\0|[23]\r?\n)")
_INTEGER = re.compile(rb"-?[0-9]{1,10}")
"""What R's own reader and `int` take for the same number."""
_WORD = re.compile(rb"[^\s]{1,128}")
_SPACE = re.compile(rb"[\s]*")
_ESCAPES = {0x6E: 10, 0x74: 9, 0x76: 11, 0x62: 8, 0x72: 13, 0x66: 12, 0x61: 7}


class RError(ValueError):
    """No serialized R object that can be read to its end. The message is one plain sentence."""


class Stream(Protocol):
    """Where values are read from, one after the other."""

    image: bool
    """Written by `save`: several named values."""

    def integer(self) -> int: ...

    def text(self, length: int) -> bytes: ...

    def numbers(self, kind: str, count: int) -> list[float]: ...

    def left(self) -> int: ...


def looks_like(head: bytes) -> bool:
    """Whether bytes begin as R writes them, or as very old versions of it did."""
    return _BEGIN.match(head) is not None or re.match(rb"RD[XAB][1-9]\n", head) is not None


def open_stream(view: View) -> Stream:
    """What comes behind the first line or lines. Raises RError."""
    found = _BEGIN.match(view.read(0, 64))
    if found is None:
        raise RError("It is written in a way that R gave up, or does not begin as R's files do.")
    at = found.end("format") + (2 if view.read(found.end("format"), 1) == b"\r" else 1)
    image = found["image"] is not None
    if found["format"] == b"A":
        if view.size > MAX_ASCII:
            raise RError("It is larger than is read of R's text format.")
        return _Ascii(view.read(at, view.size), image)
    return _Binary(view, at, ">" if found["format"] == b"X" else "<", image)


class _Binary:
    def __init__(self, view: View, at: int, order: str, image: bool) -> None:
        self.view, self.at, self.image = view, at, image
        self._integer = struct.Struct(f"{order}i")
        self._codes = {"integer": f"{order}%di", "real": f"{order}%dd", "complex": f"{order}%dd", "raw": "%dB"}
        self._window, self._start = b"", at

    def left(self) -> int:
        return self.view.size - self.at

    def _take(self, length: int) -> bytes:
        here = self.at - self._start
        if here < 0 or here + length > len(self._window):
            self._start, here = self.at, 0
            self._window = self.view.read(self.at, max(_WINDOW, length))
        if here + length > len(self._window):
            raise RError("It is cut off.")
        self.at += length
        return self._window[here : here + length]

    def _skip(self, length: int) -> None:
        if length > self.left():
            raise RError("A length in it is more than there are bytes.")
        self.at += length

    def integer(self) -> int:
        number: int = self._integer.unpack(self._take(4))[0]
        return number

    def text(self, length: int) -> bytes:
        if length > self.left():
            raise RError("A length in it is more than there are bytes.")
        kept = self._take(min(length, LONGEST))
        self._skip(length - len(kept))
        return kept

    def numbers(self, kind: str, count: int) -> list[float]:
        size = SIZES[kind] * count
        if size > self.left():
            raise RError("A length in it is more than there are bytes.")
        few = min(count, FEW)
        kept = self._take(few * SIZES[kind])
        self._skip(size - len(kept))
        return list(struct.unpack(self._codes[kind] % (few * (2 if kind == "complex" else 1)), kept))


class _Ascii:
    def __init__(self, data: bytes, image: bool) -> None:
        self.data, self.at, self.image = data, 0, image

    def left(self) -> int:
        rest = _SPACE.match(self.data, self.at)
        return len(self.data) - (rest.end() if rest else self.at)

    def _word(self) -> bytes:
        space = _SPACE.match(self.data, self.at)
        found = _WORD.match(self.data, space.end() if space else self.at)
        if found is None:
            raise RError("It is cut off.")
        self.at = found.end()
        return found[0]

    def integer(self) -> int:
        word = self._word()
        if word == b"NA":
            return NA
        if not _INTEGER.fullmatch(word) or not NA <= int(word) < -NA:
            raise RError("There is something else where a whole number should stand.")
        return int(word)

    def text(self, length: int) -> bytes:
        if length > self.left():
            raise RError("A length in it is more than there are bytes.")
        if not length:
            return b""
        space = _SPACE.match(self.data, self.at)
        at = space.end() if space else self.at
        out = bytearray()
        data = self.data
        try:
            for _ in range(length):
                byte = data[at]
                at += 1
                if byte == 0x5C:
                    byte = data[at]
                    at += 1
                    if 0x30 <= byte < 0x38:
                        start, at = at - 1, at
                        while at < start + 3 and 0x30 <= data[at] < 0x38:
                            at += 1
                        byte = int(data[start:at], 8) & 0xFF
                    else:
                        byte = _ESCAPES.get(byte, byte)
                if len(out) < LONGEST:
                    out.append(byte)
        except IndexError as error:
            raise RError("It is cut off.") from error
        self.at = at
        return bytes(out)

    def numbers(self, kind: str, count: int) -> list[float]:
        count *= 2 if kind == "complex" else 1
        if count > self.left():
            raise RError("A length in it is more than there are bytes.")
        kept = []
        for number in range(count):
            word = self._word()
            if number < FEW:
                try:
                    word = word.replace(b"_", b"?")  # Python would pass over it
                    kept.append(float(int(word, 16)) if kind == "raw" else float(word.replace(b"NA", b"nan")))
                except ValueError as error:
                    raise RError("There is something else where a number should stand.") from error
        return kept
