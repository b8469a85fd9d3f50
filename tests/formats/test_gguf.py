"""GGUF headers, written by the library and changed by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from nbguard.formats.gguf import TYPES, GgufError, read_header
from nbguard.formats.view import BytesView


def test_the_types_are_those_of_the_library() -> None:
    assert {n: (k, b, s) for n, (k, b, s) in TYPES.items()} == {
        int(kind): (kind.name, *size) for kind, size in gguf.GGML_QUANT_SIZES.items()
    }


@pytest.fixture
def honest(tmp_path: Path) -> bytes:
    return write(tmp_path / "honest.gguf")


def write(place: Path, endianess: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE) -> bytes:
    writer = gguf.GGUFWriter(place, "llama", endianess=endianess)
    writer.add_context_length(2048)
    writer.add_token_list([f"token{n}" for n in range(500)])
    writer.add_token_scores([float(n) for n in range(500)])
    writer.add_tensor("a.weight", np.ones((3, 5), np.float32))
    writer.add_tensor("b.weight", np.zeros((2, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return place.read_bytes()


def test_everything_is_read(honest: bytes) -> None:
    header = read_header(BytesView(honest))
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.context_length"] == 2048
    assert header.lengths["tokenizer.ggml.tokens"] == 500
    assert header.metadata["tokenizer.ggml.tokens"][:2] == ["token0", "token1"]
    assert [(t.name, t.kind, t.size) for t in header.tensors] == [("a.weight", "F32", 60), ("b.weight", "Q8_0", 68)]
    first = header.tensors[0]
    assert honest[first.offset : first.offset + first.size] == np.ones(15, np.float32).tobytes()


def test_the_other_byte_order_is_read_too(tmp_path: Path) -> None:
    header = read_header(BytesView(write(tmp_path / "big.gguf", gguf.GGUFEndian.BIG)))
    assert header.big_endian
    assert header.metadata["llama.context_length"] == 2048
    assert len(header.tensors) == 2


def counts(data: bytes) -> bytes:
    return data[:8] + struct.pack("<Q", 1 << 60) + data[16:]


def keys(data: bytes) -> bytes:
    return data[:16] + struct.pack("<Q", 1 << 60) + data[24:]


def version(data: bytes) -> bytes:
    return data[:4] + struct.pack("<I", 9) + data[8:]


def text(data: bytes) -> bytes:
    return data[:24] + struct.pack("<Q", 1 << 50) + data[32:]


def same_key(data: bytes) -> bytes:
    return data.replace(b"llama.context_length", b"general.architecture")


def same_tensor(data: bytes) -> bytes:
    return data.replace(b"b.weight", b"a.weight")


def shape(data: bytes) -> bytes:
    at = data.index(b"a.weight") + 8 + 4
    return data[:at] + struct.pack("<Q", 1 << 62) + data[at + 8 :]


def kind(data: bytes) -> bytes:
    at = data.index(b"a.weight") + 8 + 4 + 16
    return data[:at] + struct.pack("<I", 4) + data[at + 4 :]


def overlap(data: bytes) -> bytes:
    at = data.index(b"b.weight") + 8 + 4 + 16 + 4
    return data[:at] + struct.pack("<Q", 32) + data[at + 8 :]


def behind(data: bytes) -> bytes:
    return data + b"more"


def cut(data: bytes) -> bytes:
    return data[:-64]


@pytest.mark.parametrize(
    "change", [counts, keys, version, text, same_key, same_tensor, shape, kind, overlap, behind, cut]
)
def test_what_would_lead_out_of_the_file_is_an_error(honest: bytes, change: Callable[[bytes], bytes]) -> None:
    changed = change(honest)
    assert changed != honest
    with pytest.raises(GgufError):
        read_header(BytesView(changed))


def test_every_cut_is_an_error(honest: bytes) -> None:
    for length in range(0, len(honest) - 40, 97):
        with pytest.raises(GgufError):
            read_header(BytesView(honest[:length]))
