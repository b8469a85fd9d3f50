"""safetensors headers: what the library reads is read, what it refuses is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from nbguard.formats.safetensors_header import SafetensorsError, looks_like, read_header
from nbguard.formats.view import BytesView


def build(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start: int, end: int, shape: list[int] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def test_what_the_library_writes_is_read() -> None:
    data = save({"a": np.zeros((3, 5), np.float32), "b": np.ones(7, np.int64), "empty": np.zeros(0)}, {"k": "v"})
    header = read_header(BytesView(data))
    assert looks_like(BytesView(data))
    assert {t[0]: t[3] for t in header.tensors} == {"a": 60, "b": 56, "empty": 0}
    assert header.metadata == {"k": "v"}
    assert header.nbytes == 116


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": tensor(0, 4), "b": tensor(2, 6)}, b"x" * 6),  # overlap
        ({"a": tensor(0, 4), "b": tensor(5, 6)}, b"x" * 6),  # a gap
        ({"a": tensor(0, 4)}, b"x" * 5),  # bytes behind
        ({"a": tensor(0, 4)}, b"x" * 3),  # cut off
        ({"a": tensor(0, 4, [5])}, b"x" * 4),  # the shape says otherwise
        ({"a": tensor(0, 4, dtype="X9")}, b"x" * 4),
        ({"a": tensor(0, 4, [-4])}, b"x" * 4),
        ({"a": tensor(0, 4, [2**40, 2**40])}, b"x" * 4),
        ({"a": {"dtype": "U8"}}, b""),
        ({"a": []}, b""),
        ({"__metadata__": {"k": 1}}, b""),
        (b'{"a":%s,"a":%s}' % ((b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}',) * 2), b"x"),
        (b"[]", b""),
        (b"{", b""),
        (b'{"a":' * 100_000, b""),
    ],
)  # fmt: skip
def test_what_the_library_refuses_is_refused(header: Any, data: bytes) -> None:
    with pytest.raises(SafetensorsError):
        read_header(BytesView(build(header, data)))


def test_a_header_longer_than_the_file_is_refused() -> None:
    data = struct.pack("<Q", 2**60) + b"{}"
    assert not looks_like(BytesView(data))
    with pytest.raises(SafetensorsError):
        read_header(BytesView(data))
