"""sentencepiece: models of its own trainer, and rules of the normaliser that lead out of their tables."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path

from sample_set import Sample, written

SENTENCES = ("hello world this is a test", "good morning to the world", "another line of text here")


@cache
def model(kind: str = "unigram", rules: str = "nmt_nfkc", **more: bool) -> bytes:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 50),
        model_writer=out,
        vocab_size=300 if more else 30,
        minloglevel=2,
        model_type=kind,
        hard_vocab_limit=False,
        normalization_rule_name=rules,
        **more,
    )
    return out.getvalue()


def rules_at(data: bytes) -> int:
    """Where the compiled rules start: the size of the trie is the first thing in them."""
    at = data.index(b"\x0a\x08nmt_nfkc\x12") + 11
    while data[at] >= 0x80:
        at += 1
    return at + 1


def changed(where: int, value: int) -> bytes:
    """The honest model with one word of its rules replaced."""
    data = bytearray(model())
    struct.pack_into("<I", data, rules_at(model()) + where, value)
    return bytes(data)


def values_outside() -> bytes:
    """Every value of the trie leads out of the texts."""
    data = bytearray(model())
    start = rules_at(model())
    (size,) = struct.unpack_from("<I", data, start)
    for at in range(start + 4, start + 4 + size, 4):
        if data[at + 3] & 0x80:
            struct.pack_into("<I", data, at, 0xFFFFFFF0)
    return bytes(data)


def loads(place: Path) -> None:
    """Newer versions refuse it; older ones read what lies behind the model."""
    import sentencepiece

    sentencepiece.SentencePieceProcessor(model_file=str(place)).encode("\u2460 \uff21 \u00bc")


NEEDS = ("sentencepiece",)
NAME = "tokenizer.model"


def hostile(name: str, data: object, trick: str) -> Sample:
    assert callable(data)
    return Sample(
        f"sentencepiece/{name}",
        "sentencepiece",
        written(NAME, data),
        ("unverifiable",),
        needs=NEEDS,
        rule="sentencepiece.malformed",
        trick=trick,
        loads=loads,
    )


SAMPLES = (
    Sample("sentencepiece/unigram", "sentencepiece", written(NAME, model), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "sentencepiece/bpe",
        "sentencepiece",
        written(NAME, lambda: model("bpe", "nfkc_cf", byte_fallback=True)),
        ("safe",),
        honest=True,
        needs=NEEDS,
    ),
    Sample(
        "sentencepiece/word",
        "sentencepiece",
        written(NAME, lambda: model("word", "identity")),
        ("safe",),
        honest=True,
        needs=NEEDS,
    ),
    hostile("trie-size", lambda: changed(0, 0xFFFFFFFF), "The trie says a size that leads out of the file."),
    hostile("trie-root", lambda: changed(4, 0x1FFFFF << 10 | 0x200), "The first step in the trie leads out of it."),
    hostile("trie-values", values_outside, "Texts that are put in lie behind the model."),
    hostile("twice", lambda: model() + model()[: 2 + model()[1]], "A piece is there twice."),
    hostile("another-field", lambda: model() + b"\xc2\x0c\x03abc", "A field that sentencepiece does not know."),
    hostile(
        "two-trainers", lambda: model() + b"\x12\x02\x20\x07", "A second specification, which is put into the first."
    ),
)
