"""Readers of statistics' and data's formats: what is cut, changed or made up ends in one sentence, and quickly."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_set import columnar_tables, data_files, flax_arrays, r_files, sentencepiece_models, xml_documents

from nbguard.formats import (
    arrow_ipc,
    avro,
    mat5,
    msgpack,
    netcdf3,
    parquet,
    r_serialize,
    sentencepiece_model,
    sqlite_schema,
    thrift_compact,
    xml_document,
)
from nbguard.formats.view import BytesView

READERS: dict[str, tuple[Callable[[], bytes], Callable[[BytesView], Any]]] = {
    "flax": (flax_arrays.flax_model, msgpack.look),
    "flax in pieces": (flax_arrays.in_pieces, msgpack.look),
    "R": (lambda: r_files.of_r("test_function__xdr__version_3.rds"), r_serialize.read),
    "R, text": (lambda: r_files.of_r("test_dataframe__ascii__version_2.rds"), r_serialize.read),
    "R, code": (lambda: r_files.HEAD + r_files.values(r_files.promise(r_files.RUNS)), r_serialize.read),
    "sentencepiece": (sentencepiece_models.model, sentencepiece_model.read),
    "PMML": (xml_documents.model, xml_document.read),
    "XML with entities": (xml_documents.laughing, xml_document.read),
    "Parquet": (lambda: columnar_tables.PARQUET, parquet.read),
    "Arrow": (lambda: columnar_tables.ARROW, arrow_ipc.read),
    "Arrow, stream": (lambda: columnar_tables.STREAM, arrow_ipc.read),
    "Feather": (lambda: columnar_tables.FEATHER, arrow_ipc.read),
    "Avro": (lambda: data_files.avro(data_files.RECORD), avro.read),
    "MATLAB": (lambda: data_files.mat(False), lambda view: mat5.read(view, limit=1 << 20)),
    "MATLAB, compressed": (data_files.mat, lambda view: mat5.read(view, limit=1 << 20)),
    "NetCDF": (data_files.netcdf, netcdf3.read),
    "SQLite": (data_files.database, sqlite_schema.read),
    "SQLite, several pages": (data_files.circle, sqlite_schema.read),
}


def tried(read: Callable[[BytesView], Any], data: bytes) -> None:
    try:
        read(BytesView(data))
    except ValueError as error:
        assert str(error)  # noqa: PT017 - most are malformed, and each says why


@pytest.mark.parametrize("name", READERS)
def test_changed_bytes_end_in_a_sentence(name: str) -> None:
    honest, read = READERS[name]
    data = honest()
    places = st.integers(0, len(data) - 1)
    changes = st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)
    words = st.tuples(
        places, st.sampled_from((0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000, 0)), st.sampled_from("<>")
    )

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(changes, words, st.integers(0, len(data)), st.booleans())
    def change(bytes_: list[tuple[int, int]], word: tuple[int, int, str], end: int, cut: bool) -> None:
        changed = bytearray(data)
        for at, value in bytes_:
            changed[at] = value
        if word[0] + 4 <= len(changed):
            struct.pack_into(word[2] + "I", changed, word[0], word[1])
        tried(read, bytes(changed[:end] if cut else changed))

    change()


@pytest.mark.parametrize("name", READERS)
def test_every_prefix_ends_in_a_sentence(name: str) -> None:
    honest, read = READERS[name]
    data = honest()
    for end in [*range(0, min(len(data), 200)), *range(200, len(data), max(1, len(data) // 60))]:
        tried(read, data[:end])


def test_a_shape_that_flax_writes_is_read_whatever_its_size() -> None:
    np = pytest.importorskip("numpy")
    flax = pytest.importorskip("flax.serialization")
    for shape in ((), (0,), (1,), (127, 1), (200,), (2, 0, 3), (70_000,)):
        for kind in ("f4", "i8", "?", "c8"):
            found = msgpack.look(BytesView(flax.msgpack_serialize({"a": np.zeros(shape, kind)})))
            assert (found.whole, found.problems, len(found.tensors)) == (True, [], 1)


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("how", ["ascii", "xdr"])
def test_all_that_r_wrote_for_a_reader_of_its_files_is_read(how: str, version: str) -> None:
    from pathlib import Path

    tests = pytest.importorskip("rdata.tests")
    folder = Path(tests.__file__).parent / "data" / "generated"
    paths = sorted(folder.glob(f"*__{how}__version_{version}.rd*"))
    assert len(paths) > 100
    for path in paths:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = zlib.decompress(data, 31)
        assert r_serialize.looks_like(data[:64])
        assert r_serialize.read(BytesView(data)).items > 0


def test_a_compressed_variable_is_not_unpacked_beyond_the_limit() -> None:
    packed = zlib.compress(struct.pack("<II", 14, 0x7FFFFFF0) + bytes(1 << 24))
    data = data_files.mat(False)[:128] + struct.pack("<II", 15, len(packed)) + packed
    with pytest.raises(mat5.MatError, match="more than is read"):
        mat5.read(BytesView(data), limit=1 << 20)


def test_entities_that_are_short_and_few_are_no_bomb() -> None:
    found = xml_document.read(BytesView(xml_documents.ILLUSTRATOR))
    assert (found.root, found.growing, found.external) == ("http://www.w3.org/2000/svg svg", "", [])


def test_a_definition_that_goes_on_over_pages_is_read_whole() -> None:
    wide = "create table wide (" + ", ".join(f"a_column_with_a_long_name_{n} text" for n in range(700)) + ")"
    parts = sqlite_schema.read(BytesView(data_files.database(wide))).parts
    assert [sql for _, name, sql in parts if name == "wide"] == ["CREATE TABLE" + wide[12:]]


@pytest.mark.parametrize("data", [b"\x1c" * 5_000 + b"\0" * 5_000, b"\x19\xfc" + b"\xff" * 9 + b"\x01", b"\x19" * 300])
def test_thrift_that_nests_or_counts_without_end(data: bytes) -> None:
    with pytest.raises(thrift_compact.ThriftError):
        thrift_compact.read(data)
