"""Puts 7z archives together byte by byte, for those that no 7z writer would write.

    data = seven([Item("a.txt", b"text"), Item("../b", b"out")])

Everything is stored as it is (the method Copy), each file as a folder of its own, the header in the clear.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"7z\xbc\xaf\x27\x1c"
LINK = 0x8000 | (0o120777 << 16)
"""The attributes of a symbolic link."""


@dataclass(frozen=True)
class Item:
    """One entry. An anti-item has no data; `data=None` makes a folder."""

    name: str
    data: bytes | None = b""
    attributes: int = 0
    anti: bool = False
    crc: int | None = None
    """Instead of the right one."""


def number(value: int) -> bytes:
    """7z's numbers; the long form is as good as any."""
    return bytes([value]) if value < 0x80 else b"\xff" + struct.pack("<Q", value)


def bits(values: list[bool]) -> bytes:
    text = "".join("1" if v else "0" for v in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[n : n + 8], 2) for n in range(0, len(text), 8))


def seven(items: list[Item], *, method: bytes = b"\x00", sizes: list[int] | None = None) -> bytes:
    """A whole archive. `sizes` are put in the place of the unpacked sizes."""
    full = [i for i in items if i.data]
    packed = b"".join(i.data or b"" for i in full)
    return wrapped(packed, b"\x01" + _streams(full, method, sizes) + _files(items) + b"\x00")


def wrapped(packed: bytes, header: bytes, *, crc: int | None = None) -> bytes:
    """The first header in front of what is packed and of the list of files."""
    start = struct.pack("<QQL", len(packed), len(header), zlib.crc32(header) if crc is None else crc)
    return MAGIC + b"\x00\x04" + struct.pack("<L", zlib.crc32(start)) + start + packed + header


def _streams(full: list[Item], method: bytes, sizes: list[int] | None) -> bytes:
    if not full:
        return b""
    lengths = [len(i.data or b"") for i in full]
    out = b"\x04\x06" + number(0) + number(len(full)) + b"\x09" + b"".join(map(number, lengths)) + b"\x00"
    out += b"\x07\x0b" + number(len(full)) + b"\x00" + (b"\x01" + bytes([len(method)]) + method) * len(full)
    out += b"\x0c" + b"".join(map(number, sizes or lengths))
    crcs = [zlib.crc32(i.data or b"") if i.crc is None else i.crc for i in full]
    out += b"\x00\x08\x0d" + b"\x01" * len(full)
    return out + b"\x0a\x01" + struct.pack(f"<{len(crcs)}L", *crcs) + b"\x00" + b"\x00"


def _files(items: list[Item]) -> bytes:
    hollow = [not i.data for i in items]
    out = b"\x05" + number(len(items))
    if any(hollow):
        out += _part(0x0E, bits(hollow))
        out += _part(0x0F, bits([i.data is not None for i in items if not i.data]))
        if any(i.anti for i in items):
            out += _part(0x10, bits([i.anti for i in items if not i.data]))
    out += _part(0x11, b"\x00" + b"".join(i.name.encode("utf-16-le") + b"\0\0" for i in items))
    out += _part(0x15, b"\x01\x00" + b"".join(struct.pack("<L", i.attributes) for i in items))
    return out + b"\x00"


def _part(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + number(len(body)) + body
