"""GGUF: what its own library writes, and the headers that readers of it in C fell for."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sample_set import Sample, written

NEEDS = ("gguf", "numpy")
TEMPLATE = "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"
ESCAPE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


@cache
def honest(
    big: bool = False, template: str | tuple[str, ...] = TEMPLATE, tensors: bool = True, every: bool = False,
    named: str = "", split: tuple[int, int] | None = None,
) -> bytes:  # fmt: skip
    """A model of the library's own writer, with a tensor of each of its types where `every` is set."""
    import gguf
    import numpy as np

    order = gguf.GGUFEndian.BIG if big else gguf.GGUFEndian.LITTLE
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "m.gguf"
        writer = gguf.GGUFWriter(place, "llama", endianess=order)
        writer.add_context_length(2048)
        writer.add_token_list([f"token{n}" for n in range(100)])
        writer.add_token_scores([float(n) for n in range(100)])
        writer.add_token_types([1] * 100)
        writer.add_bool("tokenizer.ggml.add_bos_token", True)
        writer.add_array("general.languages", ["en", "de"])
        if isinstance(template, tuple):
            writer.add_chat_template([{"name": f"t{n}", "template": text} for n, text in enumerate(template)])
        else:
            writer.add_chat_template(template)
        if named:
            writer.add_string("tokenizer.chat_template.tool_use", named)
        if split is not None:
            writer.add_uint16("split.no", split[0])
            writer.add_uint16("split.count", split[1])
            writer.add_int32("split.tensors.count", 2)
        if tensors:
            writer.add_tensor("a.weight", np.ones((3, 5), np.float32))
            writer.add_tensor("b.weight", np.zeros((2, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        for kind, (_, size) in gguf.GGML_QUANT_SIZES.items() if every else ():
            data = np.zeros((2, size), np.uint8)
            writer.add_tensor(f"w.{kind.name}", data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return place.read_bytes()


def text(value: bytes, width: str = "<Q") -> bytes:
    return struct.pack(width, len(value)) + value


def forged(keys: bytes = b"", count: int = 0, tensors: bytes = b"", number: int = 0, version: int = 3) -> bytes:
    """A header put together by hand."""
    width = "<I" if version == 1 else "<Q"
    return (
        b"GGUF" + struct.pack("<I", version) + struct.pack(width, number) + struct.pack(width, count) + keys + tensors
    )


def entry(name: bytes, dims: tuple[int, ...], kind: int = 0, offset: int = 0, count: int | None = None) -> bytes:
    shape = b"".join(struct.pack("<Q", d) for d in dims)
    return (
        text(name) + struct.pack("<I", len(dims) if count is None else count) + shape + struct.pack("<IQ", kind, offset)
    )


def padded(header: bytes, data: bytes = b"") -> bytes:
    return header + bytes(-len(header) % 32) + data


def changed(find: bytes, behind: int, value: bytes) -> bytes:
    data = honest()
    at = data.index(find) + len(find) + behind
    return data[:at] + value + data[at + len(value) :]


def array(key: bytes, kind: int, count: int, values: bytes) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, kind, count) + values


def version_1() -> bytes:
    keys = text(b"general.architecture", "<I") + struct.pack("<I", 8) + text(b"llama", "<I")
    table = text(b"w", "<I") + struct.pack("<IIIQ", 1, 4, 0, 0)
    return padded(forged(keys, 1, table, 1, version=1), bytes(16))


SCORES = b"tokenizer.ggml.scores"
TOKENS = array(b"tokenizer.ggml.tokens", 8, 2, text(b"a") + text(b"b"))
BROKEN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "tensor-count": (
        "The number of tensors, times their size in memory, leaves 64 bits (CVE-2024-21836).",
        lambda: forged(number=(1 << 64) // 80),
    ),
    "key-count": (
        "The number of keys, times their size in memory, leaves 64 bits (CVE-2024-23605).",
        lambda: forged(count=(1 << 64) // 48 + 1),
    ),
    "text-length": (
        "A text's length plus one for its end is nothing (CVE-2024-23496).",
        lambda: forged(struct.pack("<Q", (1 << 64) - 1) + bytes(64), 1),
    ),
    "array-length": (
        "An array's length, times the size of an element, leaves 64 bits (CVE-2024-21825).",
        lambda: forged(array(b"a.b", 4, (1 << 62) + 1, bytes(8)), 1),
    ),
    "array-of-texts": (
        "An array claims more texts than the file has bytes.",
        lambda: forged(array(b"a.b", 8, 7_999_999, bytes(64)), 1),
    ),
    "array-of-arrays": (
        "Arrays within arrays, which readers follow by calling themselves.",
        lambda: forged(text(b"a.b") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50_000, 1),
    ),
    "dimensions": (
        "A tensor has more dimensions than there is room for (CVE-2024-21802).",
        lambda: padded(forged(b"", 0, entry(b"w", (1,) * 40), 1)),
    ),
    "dimensions-that-are-not-there": (
        "A tensor claims four billion dimensions.",
        lambda: padded(forged(b"", 0, entry(b"w", (1,), count=0xFFFFFFFF), 1)),
    ),
    "elements-overflow": (
        "The product of the dimensions leaves 64 bits and comes back small (CVE-2026-33298).",
        lambda: padded(forged(b"", 0, entry(b"w", (1 << 32, 1 << 32, 1, 1)), 1), bytes(64)),
    ),
    "bytes-overflow": (
        "The number of elements fits in 64 bits, the number of bytes does not.",
        lambda: padded(forged(b"", 0, entry(b"w", (1 << 61, 1, 1, 1), 28), 1), bytes(64)),
    ),
    "sizes-add-up-to-nothing": (
        "Two tensors' sizes, padded and added, leave 64 bits (CVE-2025-53630).",
        lambda: padded(
            forged(b"", 0, entry(b"a", ((1 << 61) - 8,)) + entry(b"b", (16,), 0, (1 << 63) - 32), 2), bytes(64)
        ),
    ),
    "negative-dimension": (
        "A dimension is below zero.",
        lambda: padded(forged(b"", 0, entry(b"w", ((1 << 64) - 1,)), 1), bytes(64)),
    ),
    "type": (
        "A tensor is of a type beyond the table of types, which readers index with it.",
        lambda: padded(forged(b"", 0, entry(b"w", (4,), 0xFFFFFFF0), 1), bytes(64)),
    ),
    "type-that-was-taken-out": (
        "A tensor is of a type with a block of no elements, by which readers divide.",
        lambda: padded(forged(b"", 0, entry(b"w", (4,), 4), 1), bytes(64)),
    ),
    "half-a-block": (
        "A row is no whole number of the type's blocks.",
        lambda: padded(forged(b"", 0, entry(b"w", (33,), 8), 1), bytes(68)),
    ),
    "offset": (
        "A tensor lies beyond the end of the file.",
        lambda: padded(forged(b"", 0, entry(b"w", (4,), 0, 1 << 40), 1), bytes(16)),
    ),
    "offset-overflows": (
        "A tensor's offset plus its size leaves 64 bits.",
        lambda: padded(forged(b"", 0, entry(b"w", (16,), 0, (1 << 64) - 32), 1), bytes(64)),
    ),
    "overlap": (
        "Two tensors share bytes.",
        lambda: padded(forged(b"", 0, entry(b"a", (16,)) + entry(b"b", (16,), 0, 32), 2), bytes(64)),
    ),
    "unaligned": (
        "A tensor does not begin where its alignment says.",
        lambda: padded(forged(b"", 0, entry(b"a", (4,)) + entry(b"b", (4,), 0, 16), 2), bytes(64)),
    ),
    "alignment-zero": (
        "The alignment is nothing, by which readers divide.",
        lambda: padded(
            forged(text(b"general.alignment") + struct.pack("<II", 4, 0), 1, entry(b"w", (4,)), 1), bytes(16)
        ),
    ),
    "alignment-is-a-text": (
        "The alignment is a text.",
        lambda: padded(
            forged(text(b"general.alignment") + struct.pack("<I", 8) + text(b"32"), 1, entry(b"w", (4,)), 1), bytes(16)
        ),
    ),
    "alignment-is-a-truth": (
        "The alignment is of a type that readers take four bytes of where there is one.",
        lambda: padded(
            forged(text(b"general.alignment") + struct.pack("<IB", 7, 1), 1, entry(b"w", (4,)), 1), bytes(16)
        ),
    ),
    "same-key": ("A key is there twice.", lambda: honest().replace(b"llama.context_length", b"general.architecture")),
    "same-tensor": ("Two tensors have the same name.", lambda: honest().replace(b"b.weight", b"a.weight")),
    "scores-too-few": (
        "There are fewer scores than tokens, and readers take one for each token.",
        lambda: forged(TOKENS + array(SCORES, 6, 1, bytes(4)), 2),
    ),
    "scores-of-another-type": (
        "The scores are single bytes, which readers take for numbers of four.",
        lambda: forged(TOKENS + array(SCORES, 0, 2, bytes(2)), 2),
    ),
    "behind": ("Something follows behind the last tensor.", lambda: honest() + b"more"),
    "behind-no-tensor": (
        "A file without tensors brings bytes that nobody explains.",
        lambda: honest(tensors=False) + b"MZ" * 400,
    ),
    "between-tensors": (
        "Something is hidden where tensors are padded.",
        lambda: (lambda d, at: d[:at] + b"#!/bin/sh\n" + d[at + 10 :])(honest(), len(honest()) - 28),
    ),
    "cut-off": ("The file breaks off.", lambda: honest()[:-64]),
    "version": ("A version that there is not.", lambda: forged(version=9)),
    "piece-beyond-the-last": (
        "It is the ninth piece of a model of two.",
        lambda: honest(split=(8, 2)),
    ),
}  # fmt: skip


def read(path: Path) -> Any:
    import gguf

    return gguf.GGUFReader(path)


def taken(path: Path) -> None:
    """The library reads it without a complaint."""
    assert read(path).fields


def believed(path: Path) -> None:
    """The library believes the numbers, and fails where they lead."""
    try:
        reader = read(path)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, ArithmeticError):
        return
    raise AssertionError(f"{len(reader.tensors)} tensors were read")


def _proof(name: str) -> Callable[[Path], None] | None:
    """The offset that overflows comes back to the header, whose bytes the library takes for the numbers."""
    return taken if name == "offset-overflows" else believed if name in PROVEN else None


PROVEN = (
    "dimensions-that-are-not-there",
    "offset",
    "offset-overflows",
    "type",
    "alignment-zero",
    "same-key",
    "cut-off",
)
SAMPLES = (
    Sample("gguf/honest", "gguf", written("m.gguf", honest), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "gguf/every-type", "gguf", written("m.gguf", lambda: honest(every=True)), ("safe",), honest=True, needs=NEEDS,
        loads=taken,
    ),
    Sample("gguf/big-endian", "gguf", written("m.gguf", lambda: honest(big=True)), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "gguf/no-tensors", "gguf", written("vocab.gguf", lambda: honest(tensors=False)), ("safe",), honest=True,
        needs=NEEDS,
    ),
    Sample("gguf/version-1", "gguf", written("m.gguf", version_1), ("safe",)),
    Sample(
        "gguf/piece", "gguf", written("m-00001-of-00002.gguf", lambda: honest(split=(0, 2))), ("safe",), honest=True,
        needs=NEEDS,
    ),
    Sample(
        "gguf/piece-under-another-name", "gguf", written("m.gguf", lambda: honest(split=(0, 2))), ("review",),
        rule="gguf.split", trick="A piece of a model goes by the name of a whole one.", needs=NEEDS,
    ),
    Sample(
        "gguf/template", "gguf", written("m.gguf", lambda: honest(template=ESCAPE)), ("danger",),
        rule="template.escape", trick="The chat template climbs to Python's own objects (CVE-2024-34359).", needs=NEEDS,
        loads=taken,
    ),
    Sample(
        "gguf/second-template", "gguf", written("m.gguf", lambda: honest(named=ESCAPE)), ("danger",),
        rule="template.escape", trick="The ordinary template is harmless, the one for tools is not.", needs=NEEDS,
    ),
    Sample(
        "gguf/named-templates", "gguf", written("m.gguf", lambda: honest(template=(TEMPLATE, ESCAPE))), ("danger",),
        rule="template.escape", trick="One of several named templates is harmful.", needs=NEEDS,
    ),
    Sample(
        "gguf/big-endian-template", "gguf", written("m.gguf", lambda: honest(big=True, template=ESCAPE)), ("danger",),
        rule="template.escape", trick="The harmful template is in a file of the other byte order.", needs=NEEDS,
    ),
    Sample(
        "gguf/template-that-is-a-number", "gguf",
        written("m.gguf", lambda: forged(text(b"tokenizer.chat_template") + struct.pack("<II", 4, 7), 1)),
        ("unverifiable",), rule="gguf.template", trick="The template is a number.",
    ),
    *(
        Sample(
            f"gguf/{name}", "gguf", written("m.gguf", make), ("unverifiable",), rule="gguf.header", trick=trick,
            needs=NEEDS if "honest" in make.__code__.co_names else (), loads=_proof(name),
        )
        for name, (trick, make) in BROKEN.items()
    ),
)  # fmt: skip
