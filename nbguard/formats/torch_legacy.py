"""PyTorch's two formats before zips: five pickles and raw storages, and the tar before that.

    is_legacy(head), is_tar(head)

Sources: `torch/serialization.py` (`_legacy_save`, `_legacy_load`), CPython's `Lib/tarfile.py`.
"""

from __future__ import annotations

import pickle
import pickletools
import re

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROGRAMS = 5
"""Magic number, version, system information, the object, the keys of its storages."""
_MAGICS = tuple(pickle.dumps(MAGIC_NUMBER, protocol=p) for p in range(6))
ELEMENT_SIZES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "UntypedStorage": 1,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
}
"""Bytes of one element, by the name of the storage's class."""
_CHECKSUM = re.compile(rb"[ \0]*[0-7]{1,8}[ \0]*\Z")


def is_legacy(head: bytes) -> bool:
    """Whether these first bytes are the pickle of the magic number, in any protocol."""
    return head.startswith(_MAGICS)


def is_tar(head: bytes) -> bool:
    """Whether the first block is a tar header: its check sum holds. Like tarfile, this does not ask for `ustar`."""
    block = head[:512]
    if len(block) < 512 or not _CHECKSUM.match(block[148:156]):
        return False
    written = int(block[148:156].strip(b" \0") or b"0", 8)
    unsigned = 256 + sum(block[:148]) + sum(block[156:])
    signed = unsigned - 256 * sum(b > 127 for b in block[:148] + block[156:])
    return written in (unsigned, signed)


def only_integer(program: bytes) -> int | None:
    """The integer that a program of nothing but one integer builds, else None."""
    value: int | None = None
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in ("PROTO", "FRAME", "STOP"):
            continue
        if value is not None or type(argument) is not int or not opcode.name.startswith(("BININT", "INT", "LONG")):
            return None
        value = argument
    return value
