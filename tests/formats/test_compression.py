"""Compressed streams: every kind joblib writes, within bounds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import joblib
import lz4.frame
import pytest
from joblib.numpy_pickle_compat import write_zfile

from nbguard.formats.compression import CompressionError, decompress, detect
from nbguard.formats.view import BytesView

PACK: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "xz": lzma.compress,
    "lz4": lz4.frame.compress,
}
DATA = b"what comes out" * 5000


@pytest.mark.parametrize("kind", PACK)
def test_every_kind_is_detected_and_read(kind: str) -> None:
    packed = PACK[kind](DATA)
    assert detect(packed[:32]) == kind
    assert decompress(BytesView(packed), kind, limit=len(DATA)) == DATA


@pytest.mark.parametrize("kind", PACK)
def test_bombs_are_cut_short(kind: str) -> None:
    packed = PACK[kind](b"\0" * 30_000_000)
    with pytest.raises(CompressionError, match="more than") as caught:
        decompress(BytesView(packed), kind, limit=1_000_000)
    assert len(caught.value.seen) == 1_000_000


@pytest.mark.parametrize("kind", PACK)
def test_what_is_cut_off_gives_what_came_before(kind: str) -> None:
    import random

    data = random.Random(0).randbytes(3_000_000)
    with pytest.raises(CompressionError) as caught:
        decompress(BytesView(PACK[kind](data)[:2_000_000]), kind, limit=10_000_000)
    assert data.startswith(caught.value.seen)


@pytest.mark.parametrize("kind", ["zlib", "gzip", "bz2", "xz"])
def test_streams_laid_end_to_end_are_all_read(kind: str) -> None:
    packed = PACK[kind](b"one") + PACK[kind](b"two")
    assert decompress(BytesView(packed), kind, limit=100) == b"onetwo"


@pytest.mark.parametrize("kind", PACK)
def test_junk_behind_is_damage_or_nothing(kind: str) -> None:
    try:
        out = decompress(BytesView(PACK[kind](b"one") + b"\x99junk"), kind, limit=100)
    except CompressionError as error:
        out = error.seen
    assert out in (b"one", b"")


@pytest.mark.parametrize("compressor", ["zlib", "gzip", "bz2", "lzma", "xz", "lz4"])
def test_what_joblib_writes_is_detected(compressor: str, tmp_path) -> None:
    joblib.dump([1, 2], tmp_path / "x", compress=(compressor, 3))
    data = (tmp_path / "x").read_bytes()
    assert detect(data[:32]) == compressor
    assert decompress(BytesView(data), compressor, limit=10_000).endswith(b".")


def test_old_joblib_files(tmp_path) -> None:
    with open(tmp_path / "z", "wb") as out:
        write_zfile(out, DATA)
    data = (tmp_path / "z").read_bytes()
    assert detect(data[:32]) == "zfile"
    assert decompress(BytesView(data), "zfile", limit=len(DATA)) == DATA
    with pytest.raises(CompressionError):
        decompress(BytesView(data[:-5]), "zfile", limit=len(DATA))


@pytest.mark.parametrize("head", [b"", b"x", b"xyz", b"x = 1\ny = 2\n", b"BZip", b"\x80\x04", b"PK\x03\x04", b"]\x94."])
def test_other_beginnings_are_no_compression(head: bytes) -> None:
    assert detect(head) is None
