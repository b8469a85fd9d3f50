"""GGML's models from before GGUF: whisper.cpp's, LLaMA's, GPT-2's and GPT-J's, and adapters, to the last byte.

    model = read(view)
    model.kind, model.tensors

A file does not say which program it is for. Each layout is tried, and the one counts that fits to the last byte.
Sources: `src/whisper.cpp` of whisper.cpp 1.7, `llama.cpp` of llama.cpp at `master-9e4475f` (the last before GGUF), and
`examples/gpt-2/main.cpp` and `examples/gpt-j/main.cpp` of ggml. These readers take numbers for sizes with few checks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod

from nbguard.formats.view import View

MARKS = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt", b"algg": "ggla"}
"""First bytes → what the magic number is called; it is written as a number, last letter first."""
MAX_TENSORS = 100_000
MAX_WORDS = 1_000_000
MAX_WORD = 1 << 16
_BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
           10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
           30: (1, 2)}  # fmt: skip
"""Type → (numbers in a block, bytes of a block), since May 2023."""
_OLD_BLOCKS = {**_BLOCKS, 2: (32, 20), 3: (32, 24), 8: (32, 36), 9: (32, 44)}
"""The same before, when scales were four bytes long."""


class GgmlError(ValueError):
    """No model that can be read to its end. One plain sentence."""


@dataclass
class GgmlModel:
    """What is in a model."""

    kind: str
    """`whisper`, `llama`, `gpt-2`, `gpt-j` or `adapter`."""
    tensors: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(name, offset, bytes, type)."""
    words: int = 0
    head: int = 0
    """Bytes in front of the first tensor."""


def read(view: View) -> GgmlModel:
    """Read a model. Raises GgmlError where none of the layouts fits to the last byte."""
    magic = MARKS.get(view.read(0, 4), "")
    if magic == "ggla":
        layouts = [("adapter", _adapter)]
    elif magic in ("ggmf", "ggjt"):
        layouts = [("llama", _llama)]
    elif magic == "ggml":
        layouts = [("whisper", _whisper), ("gpt-j", _gpt_j), ("gpt-2", _gpt_2), ("llama", _llama)]
    else:
        raise GgmlError("It does not begin as a model of GGML does.")
    last = GgmlError("It fits none of the programs that read such files.")
    for kind, layout in layouts:
        for blocks in (_BLOCKS, _OLD_BLOCKS):
            walk = _Walk(view, GgmlModel(kind), blocks, aligned=magic in ("ggjt", "ggla"))
            try:
                layout(walk, magic)
                walk.tensors()
            except GgmlError as error:
                last = error if len(layouts) == 1 else last
                continue
            return walk.model
    raise last


class _Walk:
    def __init__(self, view: View, model: GgmlModel, blocks: dict[int, tuple[int, int]], *, aligned: bool) -> None:
        self.view, self.model, self.blocks, self.aligned = view, model, blocks, aligned
        self.at = 4
        self.base, self.window = 0, b""

    def take(self, length: int) -> bytes:
        """The next bytes; read in pieces, since names are short and many."""
        if not self.base <= self.at or self.at + length > self.base + len(self.window):
            self.base, self.window = self.at, self.view.read(self.at, max(length, 1 << 16))
        found = self.window[self.at - self.base : self.at - self.base + length]
        if len(found) < length:
            raise GgmlError("It ends before everything is there that it says.")
        self.at += length
        return found

    def ints(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.take(4 * count))

    def sizes(self, count: int) -> tuple[int, ...]:
        """Settings that are sizes: none of them negative, none beyond any model."""
        found = self.ints(count)
        if any(not 0 <= n < 1 << 24 for n in found):
            raise GgmlError("A setting of it is a size that no model has.")
        return found

    def words(self, count: int, *, scores: bool) -> None:
        if not 0 <= count <= MAX_WORDS:
            raise GgmlError("It has more words than any model.")
        for _ in range(count):
            (length,) = self.ints(1)
            if not 0 <= length <= MAX_WORD:
                raise GgmlError("A word of it is longer than any real one.")
            self.take(length + (4 if scores else 0))
        self.model.words = count

    def tensors(self) -> None:
        self.model.head = self.at
        while self.at < self.view.size:
            if len(self.model.tensors) >= MAX_TENSORS:
                raise GgmlError("It has more tensors than are looked at.")
            n_dims, length, kind = self.ints(3)
            if not 1 <= n_dims <= 4 or not 0 < length <= 1024 or kind not in self.blocks:
                raise GgmlError("A tensor is described in a way that GGML does not write.")
            dims = self.sizes(n_dims)
            name = self.take(length).decode("utf-8", "backslashreplace")
            if self.aligned:
                self.at = -(-self.at // 32) * 32
            numbers, nbytes = self.blocks[kind]
            if dims[0] % numbers:
                raise GgmlError("A tensor's shape does not fit its type.")
            size = prod(dims) // numbers * nbytes
            if self.at + size > self.view.size:
                raise GgmlError("A tensor of it is longer than the file.")
            self.model.tensors.append((name, self.at, size, str(kind)))
            self.at += size
        if self.at != self.view.size or not self.model.tensors:
            raise GgmlError("There are no tensors in it, or the last of them is cut off.")


def _llama(walk: _Walk, magic: str) -> None:
    if magic != "ggml" and walk.ints(1)[0] not in (1, 2, 3):
        raise GgmlError("It is of a version that there is not.")
    n_vocab, *_ = walk.sizes(7)
    walk.words(n_vocab, scores=magic != "ggml")


def _gpt_2(walk: _Walk, magic: str) -> None:
    walk.sizes(6)
    walk.words(walk.ints(1)[0], scores=False)


def _gpt_j(walk: _Walk, magic: str) -> None:
    walk.sizes(7)
    walk.words(walk.ints(1)[0], scores=False)


def _whisper(walk: _Walk, magic: str) -> None:
    walk.sizes(11)
    n_mel, n_fft = walk.sizes(2)
    if n_mel > 1024 or n_fft > 1 << 16:
        raise GgmlError("Its filters are larger than any model's.")
    walk.at += 4 * n_mel * n_fft
    walk.words(walk.ints(1)[0], scores=False)


def _adapter(walk: _Walk, magic: str) -> None:
    if walk.ints(1)[0] != 1:
        raise GgmlError("It is of a version that there is not.")
    walk.sizes(2)


__all__ = ["MARKS", "GgmlError", "GgmlModel", "read"]
