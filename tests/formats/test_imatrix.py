"""Importance matrices: read to the last byte, or refused with a sentence."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from sample_set.imatrix import matrix

from nbguard.formats.imatrix import ImatrixError, begins, read
from nbguard.formats.view import BytesView
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.registry import examine


def test_every_row_is_found() -> None:
    found = read(BytesView(matrix()))
    assert [(name, size) for name, _, size in found.arrays] == [(f"blk.{n}.attn_q.weight", 32) for n in range(3)]
    assert begins(matrix())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(matrix()) - 1), st.binary(max_size=6), st.booleans())
def test_a_damaged_one_is_read_or_refused(at: int, patch: bytes, cut: bool) -> None:
    data = matrix()
    data = data[:at] + patch + (b"" if cut else data[at + len(patch) :])
    with contextlib.suppress(ImatrixError):
        read(BytesView(data))
    examine(Job("imatrix.dat", BytesView(data), Limits(), Budget(1 << 20, 100)))
