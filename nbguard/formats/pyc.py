"""Compiled Python files (`.pyc`): the header, and the code object behind it.

    header = read_header(data)
    code = marshal_code.read(data[header.length :])

Nothing is unmarshalled. Sources: PEP 552 (header), `Lib/importlib/_bootstrap_external.py` (`_classify_pyc`), PEP 3147
(names), `Python/pyhash.c` (the hash of a source).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

MARK = b"\r\n"
"""The third and the fourth byte: what spoils a file that was copied as text."""
_CACHED = re.compile(r"(?P<stem>[^/]+?)\.(?P<tag>[a-z]+-?\d+)(?:\.opt-\w+)?\.pyc\Z")
_PLAIN = re.compile(r"(?P<stem>[^/]+)\.py[co]\Z")
MAX_HASHED = 1 << 20
"""Bytes of a source whose hash is computed here."""
_MASK = 0xFFFFFFFFFFFFFFFF


class PycError(ValueError):
    """This is no compiled Python file. The message is one plain sentence."""


@dataclass(frozen=True)
class Header:
    """What stands before the code."""

    number: int
    """Which version wrote it; see `rules/tables/bytecode.toml`."""
    length: int
    """Bytes before the code."""
    hashed: bool = False
    checked: bool = True
    """Whether Python compares the hash with that of the source before it runs the code."""
    digest: bytes = b""
    """Of the source, eight bytes; empty where its time and size are noted instead."""
    size: int | None = None
    """Of the source, the lowest 32 bits."""


def read_header(data: bytes, *, length: int = 16) -> Header:
    """Read the header.

    Args:
        length: 16 since Python 3.7, 12 for 3.3 to 3.6, 8 before.

    Raises:
        PycError: it is cut off, or its flags are none that Python takes.
    """
    if len(data) < length or data[2:4] != MARK:
        raise PycError("The header is cut off, or none of Python's.")
    number = int.from_bytes(data[:2], "little")
    if length < 16:
        return Header(number, length, size=int.from_bytes(data[8:12], "little") if length == 12 else None)
    (flags,) = struct.unpack_from("<I", data, 4)
    if flags & ~3 or flags == 2:
        raise PycError("The header has flags that Python refuses.")
    if flags & 1:
        return Header(number, length, hashed=True, checked=bool(flags & 2), digest=data[8:16])
    return Header(number, length, size=int.from_bytes(data[12:16], "little"))


def source_of(path: str) -> list[str]:
    """Where the source of a compiled file would lie, nearest guess first; empty where its name says nothing."""
    folder, _, name = path.rpartition("/")
    if cached := _CACHED.match(name):
        above, _, last = folder.rpartition("/")
        home = above if last == "__pycache__" else folder
        return [f"{home}/{cached['stem']}.py" if home else f"{cached['stem']}.py"]
    if plain := _PLAIN.match(name):
        return [f"{folder}/{plain['stem']}.py" if folder else f"{plain['stem']}.py"]
    return []


def source_hash(number: int, source: bytes, *, rounds: int) -> bytes:
    """The hash that Python notes in a compiled file: SipHash over the source, keyed by the version's number.

    Args:
        number: the two bytes at the start of the file, which with `\\r\\n` are the key.
        rounds: 1 for SipHash-1-3 (since Python 3.11), 2 for SipHash-2-4 (before).
    """
    key = number | int.from_bytes(MARK, "little") << 16
    a, b = key ^ 0x736F6D6570736575, 0x646F72616E646F6D
    c, d = key ^ 0x6C7967656E657261, 0x7465646279746573
    whole = len(source) & ~7
    for (word,) in struct.iter_unpack("<Q", source[:whole]):
        d ^= word
        for _ in range(rounds):
            a, b, c, d = _round(a, b, c, d)
        a ^= word
    last = len(source) << 56 & _MASK | int.from_bytes(source[whole:], "little")
    d ^= last
    for _ in range(rounds):
        a, b, c, d = _round(a, b, c, d)
    a ^= last
    c ^= 0xFF
    for _ in range(rounds + 2):
        a, b, c, d = _round(a, b, c, d)
    return (a ^ b ^ c ^ d).to_bytes(8, "little")


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = a + b & _MASK
    b = (b << 13 & _MASK | b >> 51) ^ a
    a = a << 32 & _MASK | a >> 32
    c = c + d & _MASK
    d = (d << 16 & _MASK | d >> 48) ^ c
    a = a + d & _MASK
    d = (d << 21 & _MASK | d >> 43) ^ a
    c = c + b & _MASK
    b = (b << 17 & _MASK | b >> 47) ^ c
    c = c << 32 & _MASK | c >> 32
    return a, b, c, d
