"""A file that holds one program at a time, for a machine that is bound to one file for all its life.

feed = Feed()
machine = Unpickler(feed.reader)
feed.put(program)
machine.load()
"""

from __future__ import annotations

import io
from typing import Any


class _Raw(io.RawIOBase):
    def __init__(self) -> None:
        super().__init__()
        self._data = memoryview(b"")
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._data[: len(buffer)]
        buffer[: len(part)] = part
        self._data = self._data[len(part) :]
        self._at += len(part)
        return len(part)


class Feed:
    """One end for us to put programs in, one for the machine to read them. The machine sees an end after each."""

    def __init__(self) -> None:
        self._raw = _Raw()
        self.reader = io.BufferedReader(self._raw, 1 << 17)

    def put(self, program: bytes) -> None:
        """The next program. What the machine left of the one before is gone."""
        self._raw._data = memoryview(b"")
        self.reader.read()
        self._raw._data = memoryview(program)
