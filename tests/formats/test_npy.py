"""numpy headers without numpy, compared with numpy."""

from __future__ import annotations

import io

import numpy as np
import pytest

from nbguard.formats.npy import NpyError, kind_of, read_header
from nbguard.formats.view import BytesView


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize(
    "dtype",
    ["<f8", ">f4", "|i1", "<u2", "<c16", "|b1", "<U7", "|S12", "|V9", "<M8[ns]", "<m8[25s]", "<f2", "O",
     [("a", "<f4"), ("b", "<i8", (2, 3))], [("a", "O"), ("b", "<i4")], [("n", [("x", "<f4"), ("y", "<U2")])],
     np.dtype({"names": ["a", "b"], "formats": ["<i4", "<f8"], "offsets": [0, 16], "itemsize": 32})],
)  # fmt: skip
def test_headers_agree_with_numpy(dtype: object) -> None:
    array = np.zeros((3, 4), dtype=dtype)
    data = saved(array)
    header = read_header(BytesView(data))
    assert header.shape == (3, 4)
    assert header.kind.itemsize == array.dtype.itemsize
    assert header.kind.objects == array.dtype.hasobject
    if not array.dtype.hasobject:
        assert header.data + header.nbytes == len(data)


def header(text: bytes, version: int = 1) -> bytes:
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


@pytest.mark.parametrize(
    "text",
    [
        b"{'descr': '<f8', 'fortran_order': False}",
        b"{'descr': 'f8,O', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '(2,)O', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': 'object', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
        b"{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}",
        b"(" * 5000,
        b"\xff\xfe",
        b"[]",
    ],
)
def test_odd_headers_are_refused(text: bytes) -> None:
    with pytest.raises(NpyError):
        read_header(BytesView(header(text)))


@pytest.mark.parametrize("data", [b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x09\x00\x00\x00{}", b""])
def test_cut_off_headers_are_refused(data: bytes) -> None:
    with pytest.raises(NpyError):
        read_header(BytesView(data))


def test_a_huge_header_is_not_read() -> None:
    with pytest.raises(NpyError, match="longer"):
        read_header(BytesView(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 1000))


def test_types_nested_too_deeply_are_refused() -> None:
    descr: object = "<f4"
    for _ in range(40):
        descr = [("x", descr)]
    with pytest.raises(NpyError, match="deep"):
        kind_of(descr)
