"""Bytes as the pickle machine likes to read them: large peeks from memory, a memory map or a seekable file.

source = Source(b"\\x80\\x02N.", start=0)
pickle.Unpickler(source).load(); source.tell()
"""

from __future__ import annotations

import io
import mmap
from typing import Any

PEEK = 256 * 1024
"""Bytes handed to the C machine at once. It reads opcodes from this without calling back."""


class Source:
    """A read-only window on `data`, from `start` on; `peek` may be switched off to read as a file without one does."""

    def __init__(self, data: bytes | bytearray | memoryview | mmap.mmap, start: int = 0, peeks: bool = True) -> None:
        self._data = data
        self._view = memoryview(data).cast("B") if not isinstance(data, memoryview) else data.cast("B")
        self._at = start
        self.size = len(self._view)
        if not peeks:
            self.peek = _unsupported  # type: ignore[method-assign]

    def close(self) -> None:
        """Let go of the bytes, so that a memory map under them can be closed."""
        self._view.release()

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> int:
        self._at = position
        return position

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self._at + size, self.size)
        out = bytes(self._view[self._at : end])
        self._at = max(self._at, end)
        return out

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        got = min(len(target), max(self.size - self._at, 0))
        target[:got] = self._view[self._at : self._at + got]
        self._at += got
        return got

    def readline(self) -> bytes:
        return self.read(self._line_end() - self._at)

    def peek(self, size: int = 0) -> bytes:
        return bytes(self._view[self._at : self._at + max(size, PEEK)])

    def slice(self, start: int, end: int) -> memoryview:
        """The bytes from `start` to `end`, not copied."""
        return self._view[start:end]

    def _line_end(self) -> int:
        if not isinstance(self._data, memoryview):
            found = self._data.find(b"\n", self._at)
            return self.size if found < 0 else found + 1
        at = self._at
        while at < self.size:
            piece = bytes(self._view[at : at + 4096])
            found = piece.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(piece)
        return self.size


def _unsupported(size: int = 0) -> bytes:
    """How a file tells the C machine that it cannot look ahead; it then reads exactly what an opcode needs."""
    raise NotImplementedError


def as_file(data: Any) -> Any:
    """`data` as a seekable binary file with exact reads, for the Python machine: files as they are, bytes wrapped."""
    if isinstance(data, bytes | bytearray):
        return io.BytesIO(data)
    if isinstance(data, memoryview):
        return io.BufferedReader(_Raw(data))
    return data


class _Raw(io.RawIOBase):
    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._source = Source(view, peeks=False)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.readinto(buffer)

    def tell(self) -> int:
        return self._source.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._source.tell(), io.SEEK_END: self._source.size}[whence]
        return self._source.seek(max(base + offset, 0))
