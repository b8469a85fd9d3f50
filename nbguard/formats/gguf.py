"""GGUF: metadata, the table of tensors and where their numbers lie. Numbers are never read.

    header = read_header(view)
    header.metadata["general.architecture"], len(header.tensors)

Source: the format's description in ggml (`docs/gguf.md`) and llama.cpp's `gguf.cpp`; sizes of the types from
`gguf/constants.py` (`GGML_QUANT_SIZES`), which a test compares.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from nbguard.formats.view import View

MAGIC = b"GGUF"
VERSIONS = (1, 2, 3)
"""The first counts in 32 bits; llama.cpp stopped reading it in October 2023, other readers did not."""
MAX_KEYS = 65_536
MAX_TENSORS = 1_000_000
MAX_ITEMS = 8_000_000
"""Elements of all arrays; the largest vocabularies have some hundred thousand tokens."""
MAX_TEXT = 64 << 20
"""Bytes of one text. Templates, vocabularies as one text, licences."""
MAX_NAME = 1024
"""Bytes of a tensor's name; llama.cpp takes up to 63, other readers longer ones."""
MAX_DIMENSIONS = 4
KEPT = 64
"""Elements of an array that are kept."""
ALIGNMENT = 32
MAX_PADDING = 64 << 20
"""Bytes between all tensors that are looked at, which have to be zeros."""
TOKENS = "tokenizer.ggml.tokens"
_PER_TOKEN = {"tokenizer.ggml.scores": 6, "tokenizer.ggml.token_type": 5}
"""Arrays that llama.cpp reads once for each token, without a look at their length or type (`llama-vocab.cpp`)."""
_SPLITS = ("split.no", "split.count", "split.tensors.count")

TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""Number → (name, elements of one block, bytes of one block)."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_INTEGERS = (0, 1, 2, 3, 4, 5, 10, 11)


class GgufError(ValueError):
    """llama.cpp would refuse this file, or should. The message is one plain sentence."""


class Tensor(NamedTuple):
    name: str
    kind: str
    offset: int
    """From the start of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class GgufHeader:
    version: int
    big_endian: bool
    metadata: dict[str, Any]
    """Numbers, texts, and of arrays the first `KEPT` elements."""
    lengths: dict[str, int]
    """Elements of each array."""
    kinds: dict[str, int]
    """Key → number of its type; of an array, of its elements."""
    tensors: tuple[Tensor, ...]
    """By offset."""
    length: int
    """Bytes before the numbers, their alignment included."""

    @property
    def nbytes(self) -> int:
        return sum(t.size for t in self.tensors)


def read_header(view: View) -> GgufHeader:
    """Read and check everything before the numbers, and that these lie where they can.

    Raises:
        GgufError: a version, a type, a size or a place does not hold, or a name is there twice.
    """
    if view.read(0, 4) != MAGIC:
        raise GgufError("It does not begin as GGUF files do.")
    little = struct.unpack("<I", view.read(4, 4).ljust(4, b"\0"))[0]
    big = little & 0xFFFF == 0
    cursor = _Cursor(view, 4, ">" if big else "<")
    version = cursor.number("I")
    if version not in VERSIONS:
        raise GgufError(f"It is of version {version} of GGUF, which is not read here.")
    cursor.count = "I" if version == 1 else "Q"
    tensors, keys = cursor.number(cursor.count), cursor.number(cursor.count)
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise GgufError("It says that it holds more tensors or more keys than any real model.")
    metadata: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for _ in range(keys):
        key = cursor.text(65_535)
        if key in metadata:
            raise GgufError(f"The key {key[:100]} is there twice.")
        kinds[key] = cursor.number("I")
        if kinds[key] == _ARRAY:
            metadata[key], lengths[key], kinds[key] = cursor.array()
        else:
            metadata[key] = cursor.value(kinds[key])
    _tokens(lengths, kinds)
    table = [_entry(cursor) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if kinds.get("general.alignment", _UINT32) != _UINT32 or not _is_alignment(alignment):
        raise GgufError("Its alignment is no power of two, or too large.")
    start = -(-cursor.at // alignment) * alignment
    _empty(view, cursor.at, min(start, view.size), [MAX_PADDING])
    placed = _placed(table, start, alignment, view)
    return GgufHeader(version, big, metadata, lengths, kinds, placed, min(start, view.size))


def _is_alignment(value: Any) -> bool:
    return isinstance(value, int) and 0 < value <= 1 << 20 and not value & (value - 1)


def _tokens(lengths: dict[str, int], kinds: dict[str, int]) -> None:
    for key, kind in _PER_TOKEN.items():
        if key not in kinds:
            continue
        if key not in lengths or kinds[key] != kind:
            raise GgufError(f"{key} is no array of the type that its readers take it for.")
        if lengths[key] != lengths.get(TOKENS):
            raise GgufError(f"{key} does not have one element for each token, and its readers would read beyond it.")


def _entry(cursor: _Cursor) -> Tensor:
    name = cursor.text(MAX_NAME)
    count = cursor.number("I")
    if count > MAX_DIMENSIONS:
        raise GgufError(f"The tensor {name[:100]} has {count} dimensions.")
    shape = [cursor.number(cursor.count) for _ in range(count)]
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in TYPES:
        raise GgufError(f"The tensor {name[:100]} is of a type that is not known (number {kind}).")
    called, block, size = TYPES[kind]
    elements = prod(shape)
    if elements >= 1 << 62 or (shape[0] if shape else 1) % block:
        raise GgufError(f"The tensor {name[:100]} has a shape that its type cannot have.")
    return Tensor(name, called, offset, elements // block * size)


def _placed(table: list[Tensor], start: int, alignment: int, view: View) -> tuple[Tensor, ...]:
    """The tensors by place. As llama.cpp demands: one behind the other, each padded to the alignment."""
    if len({t.name for t in table}) != len(table):
        raise GgufError("Two tensors have the same name.")
    expected, left = 0, [MAX_PADDING]
    for tensor in sorted(table, key=lambda t: (t.offset, t.size)):
        if tensor.offset % alignment:
            raise GgufError(f"The numbers of the tensor {tensor.name[:100]} are not aligned.")
        if tensor.offset != expected:
            raise GgufError(f"The tensor {tensor.name[:100]} overlaps another one or leaves a gap.")
        end = start + tensor.offset + tensor.size
        if end > view.size:
            raise GgufError(f"The numbers of the tensor {tensor.name[:100]} reach beyond the end of the file.")
        expected = -(-(tensor.offset + tensor.size) // alignment) * alignment
        _empty(view, end, min(start + expected, view.size), left)
    if view.size - start > expected:
        raise GgufError("Something follows behind the last tensor.")
    return tuple(t._replace(offset=start + t.offset) for t in sorted(table, key=lambda t: (t.offset, t.size)))


def _empty(view: View, start: int, end: int, left: list[int]) -> None:
    """What pads one thing to the place of the next holds nothing."""
    if end <= start:
        return
    left[0] -= end - start
    if left[0] < 0 or view.read(start, end - start).strip(b"\0"):
        raise GgufError("Something lies between the tensors, where nothing should be.")


def split(header: GgufHeader) -> tuple[int, int] | None:
    """(number from 0, count) of the pieces that a model is split into; None where it is whole.

    Source: llama.cpp's `llama_model_loader`, which takes both for 16-bit numbers. Raises GgufError where they lie.
    """
    if not any(key in header.kinds for key in _SPLITS[:2]):
        return None
    number, count = (header.metadata.get(key, 0) for key in _SPLITS[:2])
    if any(header.kinds.get(key, 2) not in _INTEGERS for key in _SPLITS):
        raise GgufError("It says in a way that is not understood which piece of a model it is.")
    if not (0 <= number < max(count, 1) <= 65_535):
        raise GgufError("It says that it is a piece of a model that has fewer pieces.")
    return (number, count) if count > 1 else None


class _Cursor:
    """Reads on from a place, a window at a time."""

    def __init__(self, view: View, at: int, order: str) -> None:
        self.view, self.at, self.order = view, at, order
        self.base, self.window = at, b""
        self.items = MAX_ITEMS
        self.count = "Q"
        """How lengths are written."""

    def take(self, length: int) -> bytes:
        here = self.at - self.base
        if here + length > len(self.window):
            self.base, self.window = self.at, self.view.read(self.at, max(length, 1 << 16))
            here = 0
            if length > len(self.window):
                raise GgufError("The file breaks off within its header.")
        self.at += length
        return self.window[here : here + length]

    def number(self, kind: str) -> int:
        return int(struct.unpack(self.order + kind, self.take(struct.calcsize("<" + kind)))[0])

    def text(self, most: int = MAX_TEXT) -> str:
        length = self.number(self.count)
        if length > most:
            raise GgufError("A text in it is longer than any real one.")
        return self.take(length).decode("utf-8", "surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind not in _SCALARS:
            raise GgufError(f"A value in it is of a type that is not known (number {kind}).")
        code = _SCALARS[kind]
        raw = self.take(struct.calcsize("<" + code))
        if kind == _BOOL:
            _truths(raw)
        return struct.unpack(self.order + code, raw)[0]

    def array(self) -> tuple[list[Any], int, int]:
        """(first elements, length, type of one); arrays of arrays, which llama.cpp does not read, are refused."""
        kind, length = self.number("I"), self.number(self.count)
        self.items -= length
        if self.items < 0:
            raise GgufError("Its arrays hold more elements than any real model's.")
        if kind == _STRING:
            kept = [self.text() for _ in range(min(length, KEPT))]
            for _ in range(length - len(kept)):
                size = self.number(self.count)
                if size > MAX_TEXT:
                    raise GgufError("A text in it is longer than any real one.")
                self.take(size)
            return kept, length, kind
        if kind not in _SCALARS:
            raise GgufError(f"An array in it is of a type that is not known (number {kind}).")
        size = struct.calcsize("<" + _SCALARS[kind])
        data = self.take(size * length)
        if kind == _BOOL:
            _truths(data)
        first = min(length, KEPT)
        return list(struct.unpack(f"{self.order}{first}{_SCALARS[kind]}", data[: size * first])), length, kind


def _truths(data: bytes) -> None:
    if data.strip(b"\0\1"):
        raise GgufError("A value in it is neither true nor false.")
