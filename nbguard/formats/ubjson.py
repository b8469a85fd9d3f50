"""UBJSON as XGBoost writes it: objects, arrays, numbers and texts, every length checked before anything is read.

    read(b"{L\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01ai\\x05}")      # {"a": 5}

Source: ubjson.org (draft 12) in the part that `src/common/json.cc` of XGBoost reads: lengths are always `L`, arrays
are counted, and may be typed. Older versions of that reader trust the lengths; what lies about one never reaches them.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

MAX_DEPTH = 64
"""Objects and arrays within each other; XGBoost's own models need ten."""
MAX_VALUES = 20_000_000
"""Values that are no elements of a typed array."""
_NUMBERS = {
    "i": ("b", 1), "U": ("B", 1), "I": ("h", 2), "l": ("i", 4), "L": ("q", 8), "d": ("f", 4), "D": ("d", 8),
}  # fmt: skip
"""Marker → (type code of `array` and `struct`, bytes). All of it is big-endian."""


class UBJSONError(ValueError):
    """No UBJSON that XGBoost writes. The message is one plain sentence."""


def looks_like(head: bytes) -> bool:
    """Whether bytes begin with an object whose first key has a length that they hold."""
    if head[:2] != b"{L" or len(head) < 11:
        return False
    length = int.from_bytes(head[2:10], "big")
    return 0 < length <= 4096 and head[10 : 10 + length].isascii()


def read(data: bytes) -> Any:
    """The document as dicts, lists, texts and numbers; typed arrays as `array`.

    Raises:
        UBJSONError: it is malformed, lies about a length, goes on behind its end, or is nested too deeply.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise UBJSONError("Something follows the end of the UBJSON document.")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.left = MAX_VALUES

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.data) - self.at:
            raise UBJSONError("A length in the UBJSON document goes beyond its end.")
        self.at += length
        return self.data[self.at - length : self.at]

    def length(self) -> int:
        if self.take(1) != b"L":
            raise UBJSONError("A length in the UBJSON document is not written as XGBoost does.")
        return int.from_bytes(self.take(8), "big", signed=True)

    def text(self) -> str:
        return self.take(self.length()).decode("utf-8", "backslashreplace")

    def value(self, depth: int) -> Any:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise UBJSONError("The UBJSON document is nested too deeply or holds too many values.")
        marker = self.take(1).decode("latin-1")
        if marker == "{":
            return self.object(depth)
        if marker == "[":
            return self.items(depth)
        if marker == "S":
            return self.text()
        if marker in _NUMBERS:
            code, size = _NUMBERS[marker]
            return struct.unpack(">" + code, self.take(size))[0]
        if marker in "ZTF":
            return {"Z": None, "T": True, "F": False}[marker]
        raise UBJSONError("There is a marker in the UBJSON document that XGBoost never writes.")

    def object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.data[self.at : self.at + 1] != b"}":
            key = self.text()
            if key in found:
                raise UBJSONError(f"The key {key[:100]} is there twice in one UBJSON object.")
            found[key] = self.value(depth + 1)
        self.at += 1
        return found

    def items(self, depth: int) -> list[Any] | array[Any]:
        follows = self.data[self.at : self.at + 1]
        if follows == b"$":
            return self.typed()
        if follows == b"#":
            self.at += 1
            count = self.length()
            if not 0 <= count <= len(self.data) - self.at:
                raise UBJSONError("An array in the UBJSON document is longer than the document.")
            return [self.value(depth + 1) for _ in range(count)]
        items = []
        while self.data[self.at : self.at + 1] != b"]":
            items.append(self.value(depth + 1))
        self.at += 1
        return items

    def typed(self) -> array[Any]:
        marker = self.take(2)[1:].decode("latin-1")
        if marker not in _NUMBERS or self.take(1) != b"#":
            raise UBJSONError("A typed array in the UBJSON document is malformed.")
        code, size = _NUMBERS[marker]
        count = self.length()
        if not 0 <= count <= (len(self.data) - self.at) // size:
            raise UBJSONError("An array in the UBJSON document is longer than the document.")
        numbers = array(code)
        numbers.frombytes(self.take(count * size))
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers
