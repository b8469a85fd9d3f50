"""Bytes to be read by position: an open file, bytes in memory, a part of either.

view = FileView(fd, size)
view.read(0, 8), view.read(view.size - 22, 22)
"""

from __future__ import annotations

import io
import os
from typing import Protocol


class View(Protocol):
    """What every reader takes. Reading moves nothing and is short only where the bytes end."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class FileView:
    """An open file, by `os.pread`. A file that shrinks meanwhile gives short reads."""

    def __init__(self, fd: int, size: int | None = None) -> None:
        self.fd = fd
        self._size = os.fstat(fd).st_size if size is None else size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._size - offset))
        parts: list[bytes] = []
        while length > 0:
            part = os.pread(self.fd, min(length, 1 << 30), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class BytesView:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + max(0, length)] if offset >= 0 else b""


class Part:
    """A range of another view."""

    def __init__(self, whole: View, start: int, length: int) -> None:
        self.whole, self.start = whole, start
        self._size = max(0, min(length, whole.size - start))

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        return self.whole.read(self.start + offset, max(0, min(length, self._size - offset)))


def at_hand(view: View, offset: int, length: int, worth: int = 0) -> bool:
    """Whether reading there is no effort, as it is for all but a file that lies elsewhere and is fetched in pieces.

    For what confirms and does not decide; a view that is asked notes where the answer was no.

    Args:
        worth: as long as fewer requests than this were made for the file, one more is no effort either.
    """
    while isinstance(view, Part):
        offset, view = view.start + offset, view.whole
    ask = getattr(view, "at_hand", None)
    return True if ask is None else bool(ask(offset, length, worth))


class ViewFile(io.RawIOBase):
    """A view as a seekable binary file; wrap it in `io.BufferedReader` for small reads."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._view.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._view.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def buffered(view: View, size: int = 1 << 16) -> io.BufferedReader:
    """A buffered, seekable file over `view`."""
    return io.BufferedReader(ViewFile(view), size)
