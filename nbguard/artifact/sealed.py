"""Copies in memory that nobody can write to any more.

fd = sealed_copy([b"program"])
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable


def sealed_copy(chunks: Iterable[bytes | bytearray | memoryview]) -> int:
    """A handle on a copy of `chunks` that can be read and not written: a sealed memory file on Linux, elsewhere a
    temporary file that has no name any more and was opened for reading only."""
    if sys.platform == "linux":
        import fcntl

        fd = os.memfd_create("nbguard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            for chunk in chunks:
                _write_all(fd, chunk)
            fcntl.fcntl(
                fd,
                fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
            )
        except BaseException:
            os.close(fd)
            raise
        return fd
    writer, path = tempfile.mkstemp(prefix="nbguard-")
    try:
        for chunk in chunks:
            _write_all(writer, chunk)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.unlink(path)
        os.close(writer)


def _write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view[: 1 << 30]) :]
