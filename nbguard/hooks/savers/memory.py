"""What this process and its forks dumped into memory, by digest, for loading it again without a question.

    remember("pickle", data)
    holds("pickle", data)           # True, here and in every process forked from here or after

A table of fixed size in shared memory: a dump costs one digest and one write, a million dumps cost no more memory, and
a worker that was forked tells its parent. What was pushed out by newer dumps costs a question. Nothing of it outlives
the processes.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable

from nbguard.hooks.savers.entry import FAMILIES

_SETS, _WAYS, _WIDTH = 1 << 14, 16, 16
"""262,144 digests in 4 MiB, of which the system only gives the pages that are used."""

Remember = Callable[[str, bytes], None]
Holds = Callable[[str, bytes], bool]


def _make() -> tuple[Remember, Holds, Holds, Callable[[], None], Callable[[], None]]:
    """In a closure, so that no importable name leads to the table."""
    table: list[mmap.mmap] = []
    turn = [0]
    sha256 = hashlib.sha256
    marks = {family: bytes([number]) for number, family in enumerate(FAMILIES, 1)}
    row_size = _WAYS * _WIDTH

    def open_() -> None:
        """Make the table. Before the first fork, or the processes cannot share it."""
        if not table:
            table.append(mmap.mmap(-1, _SETS * row_size))

    def close() -> None:
        """Forget everything."""
        while table:
            table.pop().close()

    def remember(family: str, data: bytes) -> None:
        """Keep the digest of what a saver of `family` just dumped."""
        if not table:
            return
        found = sha256(data).digest()[: _WIDTH - 1] + marks[family]
        at = (int.from_bytes(found[:4], "little") % _SETS) * row_size
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
        at = (int.from_bytes(found[:4], "little") % _SETS) * row_size
        row = table[0][at : at + row_size]
        return any(row[n : n + _WIDTH] == found for n in range(0, row_size, _WIDTH))

    return remember, holds, holds_digest, open_, close


_EMPTY = bytes(_WIDTH)

remember, holds, holds_digest, open_, close = _make()
