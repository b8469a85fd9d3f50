"""Importance matrices of llama.cpp before they were GGUF (`imatrix.dat`), which lie beside quantized models.

    read(view).arrays        # (("blk.0.attn_q.weight", 33, 16384), …): name, offset, bytes

The file has no mark: a number of entries, each a name, a number of calls and as many floats as it says; then, from
2024 on, the number of the last call and the name of the text that was measured. Source: llama.cpp,
`tools/imatrix/imatrix.cpp` (`save_imatrix_legacy`, `load_imatrix_legacy`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nbguard.formats.view import View

MAX_ENTRIES = 100_000
MAX_NAME = 1_024
"""Bytes of a tensor's name; ggml itself allows 63."""


class ImatrixError(ValueError):
    """No importance matrix. The message is one plain sentence."""


@dataclass(frozen=True)
class Imatrix:
    """What the file holds."""

    arrays: tuple[tuple[str, int, int], ...]
    """(name of the tensor, offset, bytes) of each row of floats."""
    head: int
    """Bytes that are no floats."""


def begins(head: bytes) -> bool:
    """Whether bytes may be the beginning of one: a number of entries, and a name that can be read."""
    if len(head) < 9:
        return False
    entries, length = struct.unpack_from("<ii", head)
    name = head[8 : 8 + length] if 0 < length <= MAX_NAME else b""
    return 0 < entries <= MAX_ENTRIES and len(name) == length and _plain(name)


def read(view: View) -> Imatrix:
    """All of it, to the last byte. Raises ImatrixError."""
    (entries,) = _ints(view, 0, 1)
    if not 0 < entries <= MAX_ENTRIES:
        raise ImatrixError("The number of its entries is none that a model has.")
    at, arrays, floats = 4, [], 0
    for _ in range(entries):
        name, at = _name(view, at)
        _, values = _ints(view, at, 2)
        at += 8
        if values < 0 or values * 4 > view.size - at:
            raise ImatrixError("A row of numbers is longer than the file.")
        arrays.append((name, at, values * 4))
        at += values * 4
        floats += values * 4
    if at < view.size:
        at += 4
        _, at = _name(view, at, empty=True)
    if at != view.size:
        raise ImatrixError("There is more in the file than its entries explain.")
    return Imatrix(tuple(arrays), view.size - floats)


def _ints(view: View, at: int, count: int) -> tuple[int, ...]:
    data = view.read(at, 4 * count)
    if len(data) != 4 * count:
        raise ImatrixError("It ends in the middle of an entry.")
    return struct.unpack(f"<{count}i", data)


def _name(view: View, at: int, *, empty: bool = False) -> tuple[str, int]:
    (length,) = _ints(view, at, 1)
    if not (0 if empty else 1) <= length <= MAX_NAME:
        raise ImatrixError("A name is longer than any tensor's.")
    data = view.read(at + 4, length)
    if len(data) != length or not _plain(data):
        raise ImatrixError("A name is none that can be read.")
    return data.decode("utf-8"), at + 4 + length


def _plain(data: bytes) -> bool:
    try:
        return data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False
