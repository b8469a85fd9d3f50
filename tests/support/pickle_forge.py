"""Puts pickle programs together opcode by opcode, for programs that no pickler would write."""

from __future__ import annotations

import pickle
import struct
from typing import Any

PROTO2, PROTO4 = b"\x80\x02", b"\x80\x04"
MARK, STOP, REDUCE, BUILD, NEWOBJ = b"(", b".", b"R", b"b", b"\x81"
TUPLE, TUPLE1, TUPLE2, TUPLE3, EMPTY_TUPLE = b"t", b"\x85", b"\x86", b"\x87", b")"
APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS = b"a", b"e", b"s", b"u", b"\x90"
STACK_GLOBAL, POP, DUP, OBJ, NEWOBJ_EX, BINPERSID = b"\x93", b"0", b"2", b"o", b"\x92", b"Q"
EMPTY_DICT, EMPTY_LIST, NONE = b"}", b"]", b"N"


def name(module: str, qualname: str) -> bytes:
    """GLOBAL, the opcode that every protocol knows."""
    return b"c" + module.encode() + b"\n" + qualname.encode() + b"\n"


def stack_name(module: str, qualname: str) -> bytes:
    return text(module) + text(qualname) + STACK_GLOBAL


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def literal(value: Any) -> bytes:
    """The opcodes of plain data, without header and STOP."""
    return pickle.dumps(value, 2)[2:-1]


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE of a global (or of anything else on the stack) with arguments given as opcodes."""
    return function + MARK + b"".join(arguments) + TUPLE + REDUCE


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def program(*opcodes: bytes, proto: bytes = PROTO2) -> bytes:
    return proto + b"".join(opcodes) + STOP
