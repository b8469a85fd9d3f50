"""fastText's `.bin` and `.ftz`: whether the dictionary and the matrices are as long as they say, to the last byte.

    model = read(view)
    model.words, model.labels, model.dimension, model.places

fastText allocates and reads what the numbers in the file tell it to. Source: `args.cc`, `dictionary.cc`,
`densematrix.cc`, `quantmatrix.cc`, `productquantizer.cc` and `fasttext.cc` of fastText 0.9.2 (model version 12).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nbguard.formats.view import View

MAGIC = (793712314).to_bytes(4, "little")
VERSIONS = (11, 12)
MAX_WORDS = 50_000_000
MAX_WORD = 1 << 16
"""Bytes of one word."""
_ARGUMENTS = struct.Struct("<12id")
_DICTIONARY = struct.Struct("<3i2q")
_ENTRY = struct.Struct("<qb")
_PIECE = 1 << 22
_CENTROIDS = 256
"""`ProductQuantizer::ksub_`."""


class FastTextError(ValueError):
    """A model that fastText never writes. The message is one plain sentence."""


@dataclass(frozen=True)
class FastTextModel:
    """What a checked model holds."""

    words: int
    labels: int
    dimension: int
    quantized: bool
    places: tuple[tuple[str, int, int, str], ...]
    """(name, offset, bytes, type) of the matrices."""
    head: int
    """Bytes of parameters and dictionary."""


def read(view: View) -> FastTextModel:
    """Read and check a model; numbers of the matrices are not read. Raises FastTextError."""
    reader = _Reader(view)
    if reader.take(4) != MAGIC:
        raise FastTextError("It does not begin as a fastText model does.")
    if reader.number("i") not in VERSIONS:
        raise FastTextError("The model is of a version that is not known here.")
    arguments = _ARGUMENTS.unpack(reader.take(_ARGUMENTS.size))
    dimension, buckets, kind, loss = arguments[0], arguments[8], arguments[7], arguments[6]
    if (
        not 0 < dimension <= 1_000_000
        or not 0 <= buckets < 1 << 31
        or kind not in (1, 2, 3)
        or loss not in (1, 2, 3, 4)
    ):
        raise FastTextError("The parameters of the model are none of fastText's.")
    words, labels, pruned = _dictionary(reader)
    head = reader.at
    places: list[tuple[str, int, int, str]] = []
    quantized = reader.flag()
    rows = _matrix(reader, "input", dimension, quantized, places)
    least = words + (pruned if pruned >= 0 else buckets)
    if rows != least:
        raise FastTextError("The model has other vectors than words and pieces of words.")
    quantized_out = reader.flag()
    if quantized_out and not quantized:
        raise FastTextError("Only the second matrix of the model is quantised, which fastText never does.")
    rows = _matrix(reader, "output", dimension, quantized_out, places)
    if rows != (labels if kind == 3 else words):
        raise FastTextError("The model has other outputs than labels or words.")
    if reader.at != view.size:
        raise FastTextError("Something follows the end of the model.")
    return FastTextModel(words, labels, dimension, quantized, tuple(places), head)


def _dictionary(reader: _Reader) -> tuple[int, int, int]:
    """(words, labels, pruned pieces or -1) of a dictionary that was read to its end."""
    size, words, labels, _, pruned = _DICTIONARY.unpack(reader.take(_DICTIONARY.size))
    if not 0 <= size <= MAX_WORDS or min(words, labels) < 0 or words + labels != size or not -1 <= pruned <= MAX_WORDS:
        raise FastTextError("The counts of words and labels do not fit each other.")
    seen = [0, 0]
    for _ in range(size):
        kind = reader.entry()
        if kind not in (0, 1):
            raise FastTextError("An entry of the dictionary is neither a word nor a label.")
        seen[kind] += 1
    if seen != [words, labels]:
        raise FastTextError("The dictionary has other words than it counts.")
    for _ in range(max(0, pruned)):
        piece, place = struct.unpack("<2i", reader.take(8))
        if piece < 0 or not 0 <= place < pruned:
            raise FastTextError("A piece of a word points behind the vectors.")
    return words, labels, pruned


def _matrix(
    reader: _Reader, name: str, dimension: int, quantized: bool, places: list[tuple[str, int, int, str]]
) -> int:
    """Rows of the matrix that comes next."""
    norms = reader.flag() if quantized else False
    rows, columns = reader.number("q"), reader.number("q")
    if not 0 <= rows < 1 << 40 or columns != dimension:
        raise FastTextError("A matrix of the model has another dimension than the model.")
    if not quantized:
        places.append((name, reader.at, rows * columns * 4, "<f4"))
        reader.skip(rows * columns * 4)
        return rows
    codes = reader.number("i")
    start = reader.at
    reader.skip(codes)
    if codes != rows * _quantizer(reader, dimension):
        raise FastTextError("A quantised matrix has other codes than rows.")
    if norms:
        reader.skip(rows)
        if _quantizer(reader, 1) != 1:
            raise FastTextError("The norms of a quantised matrix are malformed.")
    places.append((name, start, reader.at - start, "quantised"))
    return rows


def _quantizer(reader: _Reader, dimension: int) -> int:
    """Codes for each row, of a product quantiser that was read to its end."""
    size, count, width, last = (reader.number("i") for _ in range(4))
    if size != dimension or width < 1 or count != -(-size // width) or last != (size % width or width):
        raise FastTextError("A quantiser of the model does not cover its dimension.")
    reader.skip(size * _CENTROIDS * 4)
    return count


class _Reader:
    """Forward over a view, in pieces."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.at = 0
        self._from = 0
        self._piece = b""

    def take(self, length: int) -> bytes:
        self._have(length)
        start = self.at - self._from
        self.at += length
        return self._piece[start : start + length]

    def _have(self, length: int) -> None:
        if self.at + length > self.view.size:
            raise FastTextError("The model is cut off.")
        if self.at + length > self._from + len(self._piece) or self.at < self._from:
            self._from = self.at
            self._piece = self.view.read(self.at, max(length, _PIECE))

    def number(self, code: str) -> int:
        value: int = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]
        return value

    def flag(self) -> bool:
        value = self.take(1)[0]
        if value > 1:
            raise FastTextError("A flag of the model is neither set nor unset.")
        return bool(value)

    def skip(self, length: int) -> None:
        if not 0 <= length <= self.view.size - self.at:
            raise FastTextError("The model is cut off, or a length in it goes beyond its end.")
        self.at += length

    def entry(self) -> int:
        """Step over a word, its count and its kind; the kind."""
        self._have(min(MAX_WORD, self.view.size - self.at))
        start = self.at - self._from
        end = self._piece.find(b"\0", start, start + MAX_WORD)
        if end < 0:
            raise FastTextError("A word of the dictionary has no end.")
        self.at += end - start + 1
        kind: int = _ENTRY.unpack(self.take(_ENTRY.size))[1]
        return kind
