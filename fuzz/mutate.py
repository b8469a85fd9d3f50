"""Changes of honest and hostile files, by a seed: the bytes that readers trip over.

for data in mutations(sample, random.Random(7), 20): ...
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 63) - 1, 1 << 63)
"""Numbers at which lengths, counts and offsets break."""


def mutations(data: bytes, rng: random.Random, count: int) -> Iterator[bytes]:
    """`count` changed copies: numbers, bits, cuts, repeats, swapped pieces; several of them at once now and then."""
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            rng.choice(_WAYS)(changed, rng)
        yield bytes(changed)


def flooded(data: bytes, rng: random.Random, size: int = 1 << 18) -> bytes:
    """A copy with one piece repeated until there are `size` bytes: what takes quadratic time takes minutes on it."""
    changed = bytearray(data)
    at = _at(changed, rng)
    piece = bytes(changed[at : at + rng.choice((1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 256))]) or b"("
    changed[at:at] = piece * (size // len(piece))
    if rng.random() < 0.3:
        _number(changed, rng)
    return bytes(changed)


def _at(data: bytearray, rng: random.Random) -> int:
    """A place, near the start or the end more often than not: that is where headers and directories are."""
    size = max(1, len(data))
    near = min(size, 256)
    return rng.choice((rng.randrange(near), size - 1 - rng.randrange(near), rng.randrange(size)))


def _number(data: bytearray, rng: random.Random) -> None:
    form = rng.choice("BHIQ") if rng.random() < 0.5 else rng.choice((">H", ">I", ">Q"))
    width = struct.calcsize("<" + form.lstrip("<>"))
    value = rng.choice((*EXTREMES, len(data), len(data) - 1, len(data) + 1)) & ((1 << 8 * width) - 1)
    at = _at(data, rng)
    data[at : at + width] = struct.pack(form if form.startswith(">") else "<" + form, value)


def _bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_at(data, rng)] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_at(data, rng)] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_at(data, rng) :]


def _drop(data: bytearray, rng: random.Random) -> None:
    at = _at(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 8, 64, 4096))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = _at(data, rng)
    piece = bytes(data[at : at + rng.choice((1, 4, 16, 64, 1024))])
    data[at:at] = piece * rng.choice((1, 2, 50))


def _swap(data: bytearray, rng: random.Random) -> None:
    a, b, width = _at(data, rng), _at(data, rng), rng.choice((1, 4, 8, 32))
    one, two = bytes(data[a : a + width]), bytes(data[b : b + width])
    data[a : a + width], data[b : b + width] = two, one


_WAYS = (_number, _number, _number, _bit, _byte, _byte, _cut, _drop, _repeat, _swap)
