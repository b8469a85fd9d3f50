"""sentencepiece's models: pieces, specifications, and the trie of its normaliser, every offset in it followed.

    model = read(view)
    model.pieces, model.rules           # how many; bytes of compiled rules

sentencepiece takes the compiled rules as they are: the trie is read without a look at its size (`darts.h`,
`commonPrefixSearch`), and its values are offsets into a text (`normalizer.cc`, `NormalizePrefix`), so that a number
which leads out reads whatever lies there. The newest versions refuse such rules; those before do not.

Source: `sentencepiece_model.proto`, `normalizer.cc` and `darts.h` of sentencepiece 0.2.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from dataclasses import dataclass, field

from nbguard.formats.protobuf import BYTES, FIXED32, VARINT, Budget, Field, WireError, fields
from nbguard.formats.view import View

MAX_SIZE = 512 << 20
"""Bytes; the largest vocabularies have ten million of them."""
MAX_PIECE = 1 << 16
MAX_PIECES = 4_000_000
_TRAINER = {
    BYTES: {1, 2, 5, 7, 30, 31, 36, 44, 45, 46, 47, 48, 53, 54},
    VARINT: {3, 4, 6, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 32, 33, 34, 35, 40, 41, 42, 43, 49,
             50, 52, 55},
    FIXED32: {10, 15, 51},
}  # fmt: skip
"""Wire type → fields of `TrainerSpec`."""
_NORMALIZER = {BYTES: {1, 2, 6}, VARINT: {3, 4, 5}, FIXED32: set[int]()}
_UNKNOWN = 2
_TYPES = range(1, 7)


class SentencePieceError(ValueError):
    """A model that sentencepiece never writes. The message is one plain sentence."""


@dataclass
class SentencePieceModel:
    """What a checked model holds."""

    pieces: int = 0
    rules: int = 0
    """Bytes of the compiled rules of its normalisers."""
    inputs: list[str] = field(default_factory=list)
    """Names of files that it was trained from; nothing opens them any more."""


def looks_like(view: View) -> bool:
    """Whether bytes begin with pieces: a text, then a score and a type or neither."""
    head = view.read(0, 4096)
    at, seen = 0, 0
    while seen < 4 and at < len(head):
        if head[at] != 0x0A or at + 2 > len(head):
            return seen > 0 and head[at] in (0x12, 0x1A, 0x22, 0x2A)
        length, behind = head[at + 1], at + 2
        if length >= 0x80 or length < 2 or head[behind : behind + 1] != b"\x0a":
            return False
        text = head[behind + 1 : behind + 2]
        rest = head[behind + 2 + (text[0] if text else 0) : behind + length]
        if not text or text[0] + 2 > length or (rest and rest[0] not in (0x15, 0x18)):
            return False
        at, seen = behind + length, seen + 1
    return seen > 0 and (at <= view.size)


def read(view: View) -> SentencePieceModel:
    """Read and check a model. Raises SentencePieceError, or WireError for what is no message."""
    if view.size > MAX_SIZE:
        raise SentencePieceError("The model is larger than is read.")
    out = SentencePieceModel()
    budget = Budget()
    names: set[bytes] = set()
    unknown = 0
    once: set[int] = set()
    for part in fields(view, 0, view.size, budget):
        if part.wire != BYTES or part.number not in (1, 2, 3, 4, 5):
            raise SentencePieceError(f"It has a field that sentencepiece does not know ({part.number}).")
        if part.number == 1:
            out.pieces += 1
            if out.pieces > MAX_PIECES:
                raise SentencePieceError("It holds more pieces than are looked at.")
            unknown += _piece(view, part, names, budget)
            continue
        if part.number in once:
            raise SentencePieceError("A part of the model is there twice; readers put the two together.")
        once.add(part.number)
        if part.number == 2:
            _specification(view, part, _TRAINER, budget, out)
        elif part.number in (3, 5):
            _normalizer(view, part, budget, out)
        else:
            _self_test(view, part, budget)
    if not out.pieces or unknown != 1:
        raise SentencePieceError("It does not have exactly one piece for what is unknown, without which nothing works.")
    return out


def _piece(view: View, part: Field, names: set[bytes], budget: Budget) -> int:
    text, kind = b"", 1
    for inner in fields(view, part.start, part.start + part.length, budget):
        if inner.number == 1 and inner.wire == BYTES and inner.length <= MAX_PIECE:
            text = view.read(inner.start, inner.length)
        elif inner.number == 2 and inner.wire == FIXED32:
            if not math.isfinite(struct.unpack("<f", struct.pack("<I", inner.value))[0]):
                raise SentencePieceError("The score of a piece is no number.")
        elif inner.number == 3 and inner.wire == VARINT and inner.value in _TYPES:
            kind = inner.value
        else:
            raise SentencePieceError("A piece has a field or a type that sentencepiece does not know.")
    if not text or text in names:
        raise SentencePieceError("A piece is empty, or there twice.")
    names.add(text)
    return kind == _UNKNOWN


def _specification(
    view: View, part: Field, known: dict[int, set[int]], budget: Budget, out: SentencePieceModel
) -> dict[int, Field]:
    found: dict[int, Field] = {}
    for inner in fields(view, part.start, part.start + part.length, budget):
        if inner.number not in known.get(inner.wire, ()):
            raise SentencePieceError(f"A specification has a field that sentencepiece does not know ({inner.number}).")
        if known is _TRAINER and inner.number == 1 and len(out.inputs) < 20:
            out.inputs.append(view.read(inner.start, min(inner.length, 200)).decode("utf-8", "backslashreplace"))
        found[inner.number] = inner
    return found


def _normalizer(view: View, part: Field, budget: Budget, out: SentencePieceModel) -> None:
    found = _specification(view, part, _NORMALIZER, budget, out)
    if 2 in found and found[2].length:
        out.rules += found[2].length
        check_rules(view.read(found[2].start, found[2].length))


def _self_test(view: View, part: Field, budget: Budget) -> None:
    """Samples (text, text) that versions before 0.2 kept and tried."""
    for sample in fields(view, part.start, part.start + part.length, budget):
        if sample.number != 1 or sample.wire != BYTES:
            raise SentencePieceError("The samples for a test have a field that sentencepiece does not know.")
        for inner in fields(view, sample.start, sample.start + sample.length, budget):
            if inner.number not in (1, 2) or inner.wire != BYTES:
                raise SentencePieceError("A sample for a test has a field that sentencepiece does not know.")


def check_rules(blob: bytes) -> None:
    """`precompiled_charsmap`: the size of a trie, the trie, and texts that end with a zero byte each.

    A unit of the trie is 32 bits: label, offset to its children, whether it has a value (`darts.h`). The children of a
    place lie in its block of 256, so that a search reads any unit of that block.

    Raises:
        SentencePieceError: a search of some text would leave the trie, or a value the texts.
    """
    if len(blob) < 8:
        raise SentencePieceError("Its rules are cut off.")
    size = int.from_bytes(blob[:4], "little")
    texts = len(blob) - 4 - size
    if size < 1024 or size % 1024 or texts < 1 or blob[-1]:
        raise SentencePieceError("Its rules have sizes that do not fit.")
    units = array("I")
    units.frombytes(blob[4 : 4 + size])
    if sys.byteorder == "big":
        units.byteswap()
    children: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        if not unit >> 31:
            children.setdefault(place ^ (unit & 0xFF), []).append(place)
    pending, seen = [0], set[int]()
    while pending:
        place = pending.pop()
        unit = units[place]
        base = place ^ ((unit >> 10) << ((unit & 0x200) >> 6))
        if base >= len(units):
            raise SentencePieceError("Its rules lead out of their table.")
        if place and unit >> 8 & 1 and units[base] & 0x7FFF_FFFF >= texts:
            raise SentencePieceError("Its rules lead to a text that is not there.")
        if base not in seen:  # what several places end in is kept once
            seen.add(base)
            pending += children.get(base, ())


__all__ = ["SentencePieceError", "SentencePieceModel", "WireError", "check_rules", "looks_like", "read"]
