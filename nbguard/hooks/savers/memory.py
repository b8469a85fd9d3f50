"""What this process and its forks dumped into memory, by digest, for loading it again without a question.

    remember("pickle", data)
    holds("pickle", data)           # True, here and in every process forked from here or after

A table of fixed size in shared memory: a dump costs one digest and one write, a million dumps cost no more memory, and
a worker that was forked tells its parent. So does one that was spawned and is guarded itself (Linux: it finds the table
through the environment). What was pushed out by newer dumps costs a question. Nothing of it outlives the processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
from collections.abc import Callable

from nbguard.hooks.savers.entry import FAMILIES

_SETS, _WAYS, _WIDTH = 1 << 14, 16, 16
"""262,144 digests in 4 MiB, of which the system only gives the pages that are used."""

VARIABLE = "NBGUARD_SESSION"
"""Where a spawned process finds the table: memory without a name, which only this user can open."""

Remember = Callable[[str, bytes | memoryview], None]
Holds = Callable[[str, bytes], bool]


def _make() -> tuple[Remember, Holds, Holds, Callable[[], None], Callable[[], None]]:
    """In a closure, so that no importable name leads to the table."""
    table: list[mmap.mmap] = []
    handles: list[int] = []
    turn = [0]
    sha256 = hashlib.sha256
    marks = {family: bytes([number]) for number, family in enumerate(FAMILIES, 1)}
    row_size = _WAYS * _WIDTH

    def open_() -> None:
        """Make the table, or find that of the process that spawned this one. Before the first fork, or the processes
        cannot share it."""
        if not table:
            fd = _inherited(_SETS * row_size)
            if fd is None:
                fd = _shared(_SETS * row_size)
            table.append(mmap.mmap(-1 if fd is None else fd, _SETS * row_size))  # it keeps a handle of its own
            if fd is not None:
                os.close(fd)

    def close() -> None:
        """Forget everything."""
        while table:
            table.pop().close()
        while handles:
            os.close(handles.pop())
            os.environ.pop(VARIABLE, None)

    def _shared(size: int) -> int | None:
        """Memory that spawned processes find; None where a system has none, and only forks can share."""
        if not hasattr(os, "memfd_create"):
            return None
        try:
            fd = os.memfd_create("nbguard-session", os.MFD_CLOEXEC)
        except OSError:
            return None
        os.ftruncate(fd, size)
        handles.append(os.dup(fd))
        os.environ[VARIABLE] = f"/proc/{os.getpid()}/fd/{handles[0]}"
        return fd

    def remember(family: str, data: bytes | memoryview) -> None:
        """Keep the digest of what a saver of `family` just dumped."""
        if not table:
            return
        digest = sha256(data).digest()
        found = digest[: _WIDTH - 1] + marks[family]
        at = (digest[0] | (digest[1] & _MASK) << 8) * row_size
        row = table[0][at : at + row_size]
        if found in row:
            return
        way = row.find(_EMPTY)
        if way < 0 or way % _WIDTH:
            turn[0] = (turn[0] + 1) % _WAYS
            way = turn[0] * _WIDTH
        table[0][at + way : at + way + _WIDTH] = found

    def holds(family: str, data: bytes) -> bool:
        """Whether exactly these bytes were dumped by a saver of `family`."""
        return bool(table) and holds_digest(family, sha256(data).digest())

    def holds_digest(family: str, digest: bytes) -> bool:
        """Whether bytes with this SHA-256 were."""
        if not table:
            return False
        found = digest[: _WIDTH - 1] + marks[family]
        at = (digest[0] | (digest[1] & _MASK) << 8) * row_size
        where = table[0].find(found, at, at + row_size)
        return where >= 0 and where % _WIDTH == 0

    return remember, holds, holds_digest, open_, close


def _inherited(size: int) -> int | None:
    """The table of the process that spawned this one: nameless memory of this user's, of the right size."""
    path = os.environ.get(VARIABLE, "")
    if not path.startswith("/proc/"):
        return None
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        seen = os.fstat(fd)
        if stat.S_ISREG(seen.st_mode) and seen.st_size == size and seen.st_uid == os.geteuid() and not seen.st_nlink:
            return fd
        os.close(fd)
    return None


_MASK = (_SETS >> 8) - 1
_EMPTY = bytes(_WIDTH)

remember, holds, holds_digest, open_, close = _make()
