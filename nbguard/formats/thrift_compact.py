"""Thrift's compact protocol: structures by the numbers of their fields, within bounds. No schema, no library.

    footer = read(data)
    footer[2]              # field 2: a number, bytes, a list, or a dictionary of fields

Source: "Thrift Compact protocol encoding" in the documentation of Apache Thrift.
"""

from __future__ import annotations

import struct
from typing import Any

MAX_DEPTH = 24
MAX_VALUES = 6_000_000
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class ThriftError(ValueError):
    """No structure that can be read to its end. The message is one plain sentence."""


def read(data: bytes) -> dict[int, Any]:
    """The structure that `data` is, to its last byte. Raises ThriftError."""
    reader = _Reader(data)
    found = reader.struct(0)
    if reader.at != len(data):
        raise ThriftError("Something follows the end of its description.")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.left = data, 0, MAX_VALUES

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise ThriftError("A length in its description leads out of it.")
        self.at += length
        return self.data[self.at - length : self.at]

    def varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF
            shift += 7
        raise ThriftError("A number in its description does not end.")

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > MAX_DEPTH:
            raise ThriftError("Its description is nested too deeply.")
        found: dict[int, Any] = {}
        number = 0
        while (head := self.take(1)[0]) != 0:
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            if number in found:
                raise ThriftError("A field of its description is there twice.")
            kind = head & 15
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self.value(kind, depth)
        return found

    def value(self, kind: int, depth: int) -> Any:
        self.left -= 1
        if depth > MAX_DEPTH:
            raise ThriftError("Its description is nested too deeply.")
        if self.left < 0:
            raise ThriftError("Its description holds more values than are looked at.")
        if kind in (_TRUE, _FALSE):
            return self.take(1)[0] == _TRUE
        if kind == _BYTE:
            return self.take(1)[0]
        if kind in (_I16, _I32, _I64):
            return self.zigzag()
        if kind == _DOUBLE:
            return struct.unpack("<d", self.take(8))[0]
        if kind == _BINARY:
            return self.take(self.varint())
        if kind in (_LIST, _SET):
            head = self.take(1)[0]
            count = self.varint() if head >> 4 == 15 else head >> 4
            if count > len(self.data) - self.at:
                raise ThriftError("A length in its description leads out of it.")
            return [self.value(head & 15, depth + 1) for _ in range(count)]
        if kind == _MAP:
            count = self.varint()
            if count > len(self.data) - self.at:
                raise ThriftError("A length in its description leads out of it.")
            kinds = self.take(1)[0] if count else 0
            return [(self.value(kinds >> 4, depth + 1), self.value(kinds & 15, depth + 1)) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ThriftError("A value in its description is of no type.")
