"""Pickle programs written by hand: attacks that the pickle module itself would not write. All payloads are harmless."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

STOP = b"."


def name(module: str, qualname: str) -> bytes:
    """A global by GLOBAL, as protocols 0 to 3 write it."""
    return b"c" + module.encode() + b"\n" + qualname.encode() + b"\n"


def dotted(module: str, qualname: str) -> bytes:
    """A global by STACK_GLOBAL, which may walk through attributes."""
    return text(module) + text(qualname) + b"\x93"


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


def make(cls: bytes, *arguments: bytes) -> bytes:
    return cls + tuple_of(*arguments) + b"\x81"


def state(instance: bytes, value: bytes) -> bytes:
    return instance + value + b"b"


def mapping(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"}" + (b"(" + b"".join(k + v for k, v in pairs) + b"u" if pairs else b"")


def program(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + STOP


class Touch:
    """Writes a marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        import os

        return os.system, (f"touch {self.marker}",)


def touching(marker: Path) -> bytes:
    return pickle.dumps(Touch(marker))
