"""Writes pickle programs that are judged and never run: what another format would do, in opcodes.

    out = Writer()
    out.name("collections", "OrderedDict"); out.mark(); out.tuple_(); out.reduce()
    out.finished()      # b"\\x80\\x04…."

Source: `Lib/pickletools.py` of CPython.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 100
"""Values within values."""
_DTYPE = ("numpy", "dtype")
_RECORD = 0x10
"""`NPY_USE_GETITEM`, the flag that numpy gives its records."""
_RECONSTRUCT = ("numpy._core.multiarray", "_reconstruct")


class Writer:
    """Appends opcodes of protocol 4, without frames."""

    def __init__(self) -> None:
        self._out = bytearray(b"\x80\x04")
        self._places = 0

    def finished(self) -> bytes:
        """The program, with its end."""
        return bytes(self._out) + b"."

    # --- the memo

    def put(self) -> int:
        """Keep the top of the stack; its place."""
        self._out += b"r" + struct.pack("<I", self._places)
        self._places += 1
        return self._places - 1

    def get(self, place: int) -> None:
        self._out += b"j" + struct.pack("<I", place)

    # --- verbs

    def name(self, module: str, name: str) -> None:
        """A global."""
        self._text(module)
        self._text(name)
        self._out += b"\x93"

    def mark(self) -> None:
        self._out += b"("

    def pop(self) -> None:
        self._out += b"0"

    def tuple_(self) -> None:
        """Everything since the mark."""
        self._out += b"t"

    def list_(self) -> None:
        """Everything since the mark."""
        self._out += b"l"

    def set_(self) -> None:
        """Everything since the mark. A frozen one: what is in it counts, and it needs no name."""
        self._out += b"\x91"

    def empty_dict(self) -> None:
        self._out += b"}"

    def items(self) -> None:
        """Keys and values since the mark, set in what lies below it."""
        self._out += b"u"

    def reduce(self) -> None:
        self._out += b"R"

    def new_object(self) -> None:
        self._out += b"\x81"

    def build(self) -> None:
        self._out += b"b"

    # --- values

    def value(self, value: Any, depth: int = 0) -> None:
        """A plain value. Raises ValueError for what is none, or too deep."""
        if depth > MAX_DEPTH:
            raise ValueError("A value is nested too deeply.")
        if value is None or isinstance(value, bool):
            self._out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
        elif isinstance(value, int):
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self._out += b"\x8b" + struct.pack("<i", len(raw)) + raw
        elif isinstance(value, float):
            self._out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes):
            self.bytes_(value)
        elif isinstance(value, list | tuple):
            self.mark()
            for item in value:
                self.value(item, depth + 1)
            self.list_() if isinstance(value, list) else self.tuple_()
        elif isinstance(value, dict):
            self.empty_dict()
            self.mark()
            for key, item in value.items():
                self.value(key, depth + 1)
                self.value(item, depth + 1)
            self.items()
        else:
            raise ValueError(f"A {type(value).__name__} is no plain value.")

    def bytes_(self, data: bytes) -> None:
        self._out += b"\x8e" + struct.pack("<Q", len(data)) + data

    def _text(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        self._out += b"X" + struct.pack("<I", len(raw)) + raw

    def records(self, fields: Sequence[tuple[str, str]], itemsize: int, shape: tuple[int, ...], raw: bytes) -> None:
        """A numpy array of records as numpy pickles it; fields without a name are padding."""
        self.name(*_RECONSTRUCT)
        self.mark()
        self.name("numpy", "ndarray")
        self.value((0,))
        self.value(b"b")
        self.tuple_()
        self.reduce()
        self.mark()
        self.value(1)
        self.value(shape)
        self._descriptor(f"V{itemsize}", "|", fields, itemsize)
        self.value(False)
        self.bytes_(raw)
        self.tuple_()
        self.build()

    def _descriptor(self, code: str, order: str, fields: Sequence[tuple[str, str]], itemsize: int) -> None:
        self.name(*_DTYPE)
        self.value((code, False, True))
        self.reduce()
        self.mark()
        self.value(3)
        self.value(order)
        self.value(None)
        named = [(name, kind) for name, kind in fields if name]
        if named:
            self.value(tuple(name for name, _ in named))
            self.empty_dict()
            self.mark()
            at = 0
            for name, kind in fields:
                if name:
                    self.value(name)
                    self.mark()
                    self._descriptor(kind[1:], kind[0], (), -1)
                    self.value(at)
                    self.tuple_()
                at += int(kind[2:])
            self.items()
        else:
            self.value(None)
            self.value(None)
        self.value(itemsize)
        self.value(1 if named else -1)
        self.value(_RECORD if named else 0)
        self.tuple_()
        self.build()
