"""Java: compiled classes, and serialized objects.

    read_class(data).references         # {"java/lang/Runtime.exec", …}
    stream_classes(data)                # names of the classes that a serialized object is made of

Sources: The Java Virtual Machine Specification, chapter 4 (class files); Java Object Serialization Specification,
chapter 6 (streams).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

CLASS = b"\xca\xfe\xba\xbe"
STREAM = b"\xac\xed\x00\x05"
OLDEST, NEWEST = 45, 80
"""Major versions: of JDK 1.1, and some years ahead."""
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Bytes of each kind of constant behind its tag, but for texts (JVMS table 4.4-A)."""
_WIDE = (5, 6)
_NAME = re.compile(rb"(?:\[+[A-Z])?[\w$/.]{2,300};?\Z")
_DESCRIBED = re.compile(rb"r(?:\x00[\x02-\xff]|\x01[\x00-\x2c])(?=[\[A-Za-z_])", re.DOTALL)
"""TC_CLASSDESC, and a length of two to 300 bytes."""
MAX_NAMES = 10_000


class JavaError(ValueError):
    """This is no Java that can be read. The message is one plain sentence."""


@dataclass
class Compiled:
    """What one class says of itself."""

    name: str = ""
    references: set[str] = field(default_factory=set)
    """Classes, `java/net/Socket`, and methods, `java/lang/Runtime.exec`."""
    static: bool = False
    """It has an initialiser that runs as soon as it is used for the first time."""
    native: bool = False
    """It has methods in machine code."""


def is_class(head: bytes) -> bool:
    """Whether it is a class, and no file of macOS for several processors, which begins with the same bytes."""
    return head[:4] == CLASS and len(head) >= 10 and OLDEST <= int.from_bytes(head[6:8], "big") <= NEWEST


def read_class(data: bytes) -> Compiled:
    """Read the constants, the methods and the name of a class.

    Raises:
        JavaError: it is cut off, or an index leads nowhere.
    """
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError) as error:
        raise JavaError("The Java class is cut off, or an index in it leads nowhere.") from error


def _read(data: bytes) -> Compiled:
    if not is_class(data):
        raise JavaError("This is no Java class of a version that is known.")
    (count,) = struct.unpack_from(">H", data, 8)
    constants: dict[int, tuple[int, bytes]] = {}
    at, number = 10, 1
    while number < count:
        tag = data[at]
        if tag == 1:
            length = struct.unpack_from(">H", data, at + 1)[0]
            body, size = data[at + 3 : at + 3 + length], length + 3
        elif tag in _SIZES:
            body, size = data[at + 1 : at + 1 + _SIZES[tag]], _SIZES[tag] + 1
        else:
            raise JavaError("The Java class has a constant of a kind that is not known.")
        if at + size > len(data):
            raise JavaError("The Java class is cut off.")
        constants[number] = tag, body
        at += size
        number += 2 if tag in _WIDE else 1

    def text(index: int) -> str:
        tag, body = constants[index]
        if tag != 1:
            raise KeyError(index)
        return body[:300].decode("utf-8", "backslashreplace")

    def named(index: int) -> str:
        return text(int.from_bytes(constants[index][1], "big"))

    found = Compiled()
    for tag, body in constants.values():
        if tag == 7:
            found.references.add(text(int.from_bytes(body, "big")))
        elif tag in (10, 11):
            owner, what = struct.unpack(">HH", body)
            found.references.add(f"{named(owner)}.{text(int.from_bytes(constants[what][1][:2], 'big'))}")
    _, this, _, interfaces = struct.unpack_from(">4H", data, at)
    found.name = named(this)
    at += 8 + 2 * interfaces
    at = _members(data, at, text, None)
    at = _members(data, at, text, found)
    at = _attributes(data, at)
    if at != len(data):
        raise JavaError("Bytes follow the Java class that do not belong to it.")
    return found


def _members(data: bytes, at: int, text: object, found: Compiled | None) -> int:
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    for _ in range(count):
        flags, name = struct.unpack_from(">HH", data, at)
        if found is not None:
            found.native |= bool(flags & 0x100)
            found.static |= text(name) == "<clinit>"  # type: ignore[operator]
        at = _attributes(data, at + 6)
    return at


def _attributes(data: bytes, at: int) -> int:
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    for _ in range(count):
        at += 6 + int(struct.unpack_from(">I", data, at + 2)[0])
        if at > len(data):
            raise JavaError("The Java class is cut off.")
    return at


def stream_classes(data: bytes) -> set[str]:
    """Names of classes in a serialized object: every description of a class (0x72) that could stand there.

    The stream is not followed: what a class writes itself has no lengths, so that only Java with that class knows where
    it ends. What looks like a description counts wherever it stands.
    """
    found: set[str] = set()
    for match in _DESCRIBED.finditer(data):
        start = match.end()
        length = int.from_bytes(data[start - 2 : start], "big")
        name = data[start : start + length]
        if len(name) == length and _NAME.match(name) and len(found) < MAX_NAMES:
            found.add(name.decode("ascii", "replace"))
    return found
