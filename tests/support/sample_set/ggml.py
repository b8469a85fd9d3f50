"""GGML before GGUF: a small model for each program that reads such files, and sizes that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from sample_set import Sample, written


def ints(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def words(count: int, *, scores: bool = False) -> bytes:
    return b"".join(ints(2) + b"w%d" % n + (struct.pack("<f", -n) if scores else b"") for n in range(count))


def tensor(name: bytes, *dims: int, kind: int = 0, nbytes: int, at: int = 0, aligned: bool = False) -> bytes:
    head = ints(len(dims), len(name), kind, *dims) + name
    padding = bytes(-(at + len(head)) % 32) if aligned else b""
    return head + padding + bytes(nbytes)


def llama(mark: bytes = b"lmgg", *, n_vocab: int = 4, rows: int = 2, kind: int = 0, nbytes: int = 32) -> bytes:
    version = b"" if mark == b"lmgg" else ints(3 if mark == b"tjgg" else 1)
    head = mark + version + ints(n_vocab, 8, 256, 1, 1, 8, 0) + words(4, scores=mark != b"lmgg")
    return head + tensor(
        b"tok", 4 if kind == 0 else 32, rows, kind=kind, nbytes=nbytes, at=len(head), aligned=mark == b"tjgg"
    )


def whisper(*, mels: int = 2, vocabulary: int = 3) -> bytes:
    head = b"lmgg" + ints(3, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 1) + ints(mels, 3) + bytes(24)
    head += ints(vocabulary) + words(3)
    return head + tensor(b"encoder.conv1.weight", 4, 2, 2, kind=1, nbytes=32) + tensor(b"bias", 3, nbytes=12)


def gpt_2() -> bytes:
    return b"lmgg" + ints(3, 1024, 768, 12, 12, 1) + ints(3) + words(3) + tensor(b"model/wte", 4, 2, nbytes=32)


def gpt_j() -> bytes:
    return b"lmgg" + ints(3, 2048, 4096, 16, 28, 64, 1) + ints(3) + words(3) + tensor(b"wte", 4, 2, nbytes=32)


def adapter() -> bytes:
    head = b"algg" + ints(1, 8, 16)
    return head + tensor(b"w.loraA", 4, 2, nbytes=32, at=len(head), aligned=True)


def file(made: Callable[[], bytes]) -> Callable[[Path], Path]:
    return written("ggml-model.bin", made)


SAMPLES = (
    Sample("ggml/whisper", "ggml", file(whisper), ("safe",)),
    Sample("ggml/gpt-2", "ggml", file(gpt_2), ("safe",)),
    Sample("ggml/gpt-j", "ggml", file(gpt_j), ("safe",)),
    Sample("ggml/llama", "ggml", file(llama), ("safe",)),
    Sample("ggml/llama-scores", "ggml", file(lambda: llama(b"fmgg")), ("safe",)),
    Sample("ggml/llama-mapped", "ggml", file(lambda: llama(b"tjgg", kind=2, nbytes=36)), ("safe",)),
    Sample("ggml/llama-before-may-2023", "ggml", file(lambda: llama(b"tjgg", kind=2, nbytes=40)), ("safe",)),
    Sample("ggml/adapter", "ggml", file(adapter), ("safe",)),
    Sample(
        "ggml/words", "ggml", file(lambda: llama(n_vocab=1 << 23)), ("unverifiable",),
        trick="It says that it has more words than there are.",
    ),
    Sample(
        "ggml/negative", "ggml", file(lambda: llama(n_vocab=-1)), ("unverifiable",),
        trick="A size is less than nothing.",
    ),
    Sample(
        "ggml/rows", "ggml", file(lambda: llama(b"tjgg", rows=1 << 20)), ("unverifiable",),
        trick="A tensor is larger than the file.",
    ),
    Sample(
        "ggml/filters", "ggml", file(lambda: whisper(mels=1 << 20)), ("unverifiable",),
        trick="Filters that are larger than the file.",
    ),
    Sample("ggml/cut-off", "ggml", file(lambda: whisper()[:-1]), ("unverifiable",), trick="It is cut off."),
)  # fmt: skip
