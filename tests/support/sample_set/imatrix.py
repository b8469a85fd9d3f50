"""Importance matrices, as `llama-imatrix` writes them, and two whose lengths lie."""

from __future__ import annotations

import struct

from sample_set import Sample, written


def text(data: bytes) -> bytes:
    return struct.pack("<i", len(data)) + data


def matrix(*, said: int = 8, more: bytes = struct.pack("<i", 128) + text(b"calibration.txt")) -> bytes:
    rows = [
        text(f"blk.{n}.attn_q.weight".encode()) + struct.pack("<ii", 128, said) + struct.pack("<8f", *range(8))
        for n in range(3)
    ]
    return struct.pack("<i", len(rows)) + b"".join(rows) + more


SAMPLES = (
    Sample("imatrix/built", "imatrix", written("imatrix.dat", matrix), ("safe",)),
    Sample("imatrix/before-2024", "imatrix", written("m.dat", lambda: matrix(more=b"")), ("safe",)),
    Sample(
        "imatrix/row-lies", "imatrix", written("imatrix.dat", lambda: matrix(said=0x1000_0000)), ("unverifiable",),
        rule="imatrix.malformed", trick="A row is said to be longer than the file.",
    ),
    Sample(
        "imatrix/something-behind", "imatrix", written("model.imatrix", lambda: matrix() + b"\x7fELF"),
        ("unverifiable",), rule="imatrix.malformed", trick="Something follows that it does not explain.",
    ),
)  # fmt: skip
