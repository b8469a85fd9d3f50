"""A file that a pickle is written into, with the digest of what passes.

tee = Tee(file)
pickler(tee).dump(value)
tee.note("pickle.dump", "pickle")       # recorded: what was written, whatever became of the file since
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from typing import Any

from nbguard.hooks.savers import ledger, memory


class Tee:
    """Hands everything on to the file; only `write` does more."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._write = file.write
        self._small: bytes | None = b""
        """What was written, while that is one piece: the usual pickle is."""
        self._digest: Any = None
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> Any:
        """Write, and take the digest of what was written."""
        if self._size == 0 and type(data) is bytes:
            self._small, self._size = data, len(data)
            return self._write(data)
        if self._digest is None:
            self._digest = hashlib.sha256(self._small or b"")
            self._small = None
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self._size += len(view)
        return self._write(data)

    def note(self, saver: str, family: str) -> None:
        """Record what was written since the last time: in memory for a buffer, beside the person's work for a file."""
        small, digest, size = self._small, self._digest, self._size
        self._small, self._digest, self._size = b"", None, 0
        if not size:
            return
        if isinstance(self._file, io.BytesIO):
            if not self._file.closed:
                end = self._file.tell()
                with self._file.getbuffer() as all_of_it, all_of_it[end - size : end] as written:
                    memory.remember(family, written)
            return
        path = _path(self._file)
        if path is None:
            return
        found = digest.hexdigest() if digest is not None else hashlib.sha256(small or b"").hexdigest()
        ledger.note_program(saver, family, path, found, size)


def _path(file: Any) -> str | None:
    """What a file on disk is called; None for pipes, sockets and everything else that nothing is loaded from later."""
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    name = getattr(file, "name", "")
    return os.path.abspath(name) if isinstance(name, str) and name else ""
