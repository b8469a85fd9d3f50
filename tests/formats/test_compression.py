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
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.numpy_pickle_compat import write_zfile
from sample_set.compressed import PACK as SET
from sample_set.compressed import skipped, zstd

from nbguard.formats.compression import CompressionError, decompress, detect, unpack
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


# zstandard, lz4's legacy frames, and what lies between streams.


def test_frames_that_are_skipped_hide_nothing() -> None:
    for kind in ("zstd", "lz4"):
        packed = skipped(b"x" * 5000) + SET[kind](DATA) + skipped(b"") + SET[kind](b"more")
        assert decompress(BytesView(packed), kind, limit=1 << 20) == DATA + b"more"
        assert detect((skipped(b"x") + SET[kind](DATA))[:4096]) == kind


@pytest.mark.parametrize("kind", SET)
def test_the_first_stream_is_told_apart(kind: str) -> None:
    if kind == "zfile":
        pytest.skip("is one stream")
    unpacked = unpack(BytesView(SET[kind](b"one") + SET[kind](b"two")), kind, limit=100)
    assert unpacked.data == b"onetwo"
    assert unpacked.first in (3, 6)  # legacy frames of lz4 have no end of their own


@pytest.mark.parametrize("kind", ["zstd", "bz2", "xz", "gzip", "lz4"])
def test_what_follows_a_stream_is_told(kind: str) -> None:
    with pytest.raises(CompressionError, match="followed by something else") as caught:
        decompress(BytesView(SET[kind](b"one") + b"something else"), kind, limit=100)
    assert caught.value.seen == b"one"
    assert decompress(BytesView(SET[kind](b"one") + bytes(512)), kind, limit=100) == b"one"


def test_a_frame_that_asks_for_a_huge_window_is_not_given_it() -> None:
    frame = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"
    with pytest.raises(CompressionError, match=r"memory|damaged"):
        decompress(BytesView(frame), "zstd", limit=100)
    greedy = bytearray(SET["lzma"](DATA))
    greedy[1:5] = (0x80000000).to_bytes(4, "little")
    with pytest.raises(CompressionError, match=r"memory|damaged"):
        decompress(BytesView(bytes(greedy)), "lzma", limit=100_000)


def test_a_window_of_a_dictionary_that_is_missing_is_damage() -> None:
    dictionary = zstd.train_dict([b"some text %d" % n * 20 for n in range(2000)], 4096)
    with pytest.raises(CompressionError):
        decompress(BytesView(zstd.compress(DATA, zstd_dict=dictionary)), "zstd", limit=1 << 20)


def test_a_million_tiny_streams_end() -> None:
    tiny = gzip.compress(b"")
    with pytest.raises(CompressionError, match="pieces"):
        decompress(BytesView(tiny * 250_000), "gzip", limit=100)


def test_lzma_with_other_settings_is_detected() -> None:
    filters = [{"id": lzma.FILTER_LZMA1, "lc": 1, "lp": 1, "pb": 1, "dict_size": 1 << 16}]
    packed = lzma.compress(DATA, lzma.FORMAT_ALONE, filters=filters)
    assert not packed.startswith(b"\x5d\x00")
    assert detect(packed[:4096]) == "lzma"
    assert decompress(BytesView(packed), "lzma", limit=1 << 20) == DATA


def test_zlib_with_other_windows_is_detected() -> None:
    machine = zlib.compressobj(6, zlib.DEFLATED, 10)
    packed = machine.compress(DATA) + machine.flush()
    assert not packed.startswith(b"\x78")
    assert detect(packed[:4096]) == "zlib"


@pytest.mark.parametrize(
    "head",
    [b"XGBoost model\n" * 9, b"HG is a tool\n", b"(S'x'\n.", b"h\x81 text", b"\x00\x01\x00\x00\x00\x0c" + bytes(900)],
)
def test_texts_and_fonts_are_no_streams(head: bytes) -> None:
    assert detect(head) is None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SET)), st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), max_size=4))
def test_broken_streams_raise_nothing_else(kind: str, changes: list[tuple[int, int]]) -> None:
    broken = bytearray(SET[kind](DATA))
    for at, value in changes:
        broken[at % len(broken)] = value
    try:
        out = decompress(BytesView(bytes(broken)), kind, limit=200_000)
    except CompressionError as error:
        out = error.seen
    assert len(out) <= 200_000
