"""Files of data: MATLAB's, NetCDF, Avro, Zarr, SQLite; what their own writers make, and such with something changed."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from sample_set import COMMAND, Sample, written


@cache
def mat(compressed: bool = True) -> bytes:
    import numpy as np
    import scipy.io
    import scipy.sparse

    out = io.BytesIO()
    cells = np.array([1, "two", np.eye(2)], dtype=object)
    scipy.io.savemat(out, {
        "a": np.arange(12.0).reshape(3, 4), "text": "hello", "z": 1 + 2j, "cells": cells, "yes": np.array([True]),
        "s": {"x": 1, "y": [1, 2, 3]}, "sparse": scipy.sparse.csc_matrix(np.eye(4)),
    }, do_compression=compressed)  # fmt: skip
    return out.getvalue()


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(what: int, body: bytes, name: bytes = b"f") -> bytes:
    flags, shape = element(6, struct.pack("<II", what, 0)), element(5, struct.pack("<ii", 1, 1))
    return element(14, flags + shape + element(1, name) + body)


def handle(code: str) -> bytes:
    """A function, as MATLAB writes it: a structure with its text in it."""
    text = element(17, code.encode("utf-16-le"))
    inner = element(6, struct.pack("<II", 4, 0)) + element(5, struct.pack("<ii", 1, len(code))) + element(1, b"") + text
    fields = element(5, struct.pack("<i", 9)) + element(1, b"function\0") + element(14, inner)
    return mat(False)[:128] + matrix(16, matrix(2, fields, b""))


def nested(depth: int) -> bytes:
    inner = matrix(6, element(9, bytes(8)), b"")
    for _ in range(depth):
        inner = matrix(1, inner, b"")
    return mat(False)[:128] + inner


@cache
def netcdf() -> bytes:
    import numpy as np
    import scipy.io

    out = io.BytesIO()
    file = scipy.io.netcdf_file(out, "w")
    file.history = "made for a test"
    file.createDimension("time", None)
    file.createDimension("x", 5)
    file.createVariable("rain", "f4", ("time", "x"))[:] = np.ones((3, 5))
    file.createVariable("x", "f8", ("x",))[:] = np.arange(5.0)
    file.flush()
    return out.getvalue()


def long(value: int) -> bytes:
    value = value << 1 if value >= 0 else ~(value << 1)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def avro(schema: Any, codec: str = "deflate", said: int | None = None) -> bytes:
    """As the specification has it: schema and codec, a mark, and one block of three whole numbers."""
    pairs = [(b"avro.schema", json.dumps(schema).encode()), (b"avro.codec", codec.encode())]
    head = b"".join(long(len(part)) + part for pair in pairs for part in pair)
    machine = zlib.compressobj(wbits=-15)
    data = machine.compress(long(1) + long(2) + long(-3)) + machine.flush()
    mark = bytes(range(16))
    return (
        b"Obj\x01" + long(2) + head + long(0) + mark + long(3) + long(len(data) if said is None else said) + data + mark
    )


RECORD = {"type": "record", "name": "Row", "namespace": "a.b", "fields": [{"name": "n", "type": "long"}]}
CLASS = {
    "type": "record",
    "name": "Row",
    "fields": [
        {
            "name": "n",
            "type": {"type": "array", "items": "string", "java-element-class": "javax.script.ScriptEngineManager"},
        }
    ],
}


def zarr(driver: str) -> Any:
    def build(folder: Path) -> Path:
        import numpy as np
        import tensorstore

        place = {"driver": "file", "path": str(folder / "array.zarr")}
        spec = {"driver": driver, "kvstore": place}
        layout = tensorstore.ChunkLayout(chunk_shape=[2, 2])
        array = tensorstore.open(
            spec, create=True, dtype=tensorstore.float32, shape=[4, 4], chunk_layout=layout
        ).result()
        array.write(np.arange(16, dtype="f4").reshape(4, 4)).result()
        return folder / "array.zarr"

    return build


def described(codec: dict[str, Any], version: int = 2) -> bytes:
    known = {"zarr_format": version, "shape": [4], "chunks": [4], "dtype": "|O", "order": "C", "fill_value": None}
    packed = {"filters": [codec], "compressor": None} if version == 2 else {"codecs": [codec], "node_type": "array"}
    return json.dumps({**known, **packed}).encode()


def database(*statements: str) -> bytes:
    base = sqlite3.connect(":memory:")
    for statement in ("create table words (id integer primary key, word text)", *statements):
        base.execute(statement)
    base.commit()
    return base.serialize()


def circle() -> bytes:
    """Enough tables that the schema has pages below its first; one of them is said to be the first again."""
    data = bytearray(database(*(f"create table t{n} (a_rather_long_name_of_a_column text)" for n in range(200))))
    assert data[100] == 5
    struct.pack_into(">I", data, 108, 1)
    return bytes(data)


def one(
    name: str, format: str, file: str, data: Any, verdict: str, rule: str = "", trick: str = "", *needs: str
) -> Sample:
    return Sample(f"{format}/{name}", format, written(file, data), (verdict,), honest=not trick, rule=rule, trick=trick,
                  needs=needs)  # fmt: skip


LOADS = "create trigger t after insert on words begin select load_extension('./x.so'); end"
WRITES = f"create view v as select writefile('x', '{COMMAND}')"
SAMPLES = (
    one("compressed", "matlab", "m.mat", mat, "safe", "", "", "scipy"),
    one("plain", "matlab", "m.mat", lambda: mat(False), "safe", "", "", "scipy"),
    one(
        "function",
        "matlab",
        "m.mat",
        lambda: handle("@(x) x.^2"),
        "review",
        "matlab.handle",
        "It holds a function.",
        "scipy",
    ),
    one(
        "harmful-function",
        "matlab",
        "m.mat",
        lambda: handle("@(x) system('id')"),
        "danger",
        "matlab.handle",
        "It holds a function that runs a program.",
        "scipy",
    ),
    one(
        "values-lie",
        "matlab",
        "m.mat",
        lambda: mat(False).replace(struct.pack("<ii", 3, 4), struct.pack("<ii", 3, 400), 1),
        "unverifiable",
        "matlab.malformed",
        "An array says a shape that its values do not fill.",
        "scipy",
    ),
    one(
        "sparse-lies",
        "matlab",
        "m.mat",
        lambda: mat(False).replace(struct.pack("<4i", 0, 1, 2, 3), struct.pack("<4i", 0, 1, 2, 99), 1),
        "unverifiable",
        "matlab.malformed",
        "A row of a sparse array lies outside of it, where readers in C++ write.",
        "scipy",
    ),
    one(
        "depth",
        "matlab",
        "m.mat",
        lambda: nested(5_000),
        "unverifiable",
        "matlab.malformed",
        "Cells five thousand deep.",
        "scipy",
    ),
    one("honest", "netcdf", "m.nc", netcdf, "safe", "", "", "scipy"),
    one(
        "dimension-lies",
        "netcdf",
        "m.nc",
        lambda: netcdf().replace(struct.pack(">i", 5), struct.pack(">i", 1 << 30), 1),
        "unverifiable",
        "netcdf.malformed",
        "A variable says more values than there are bytes.",
        "scipy",
    ),
    one(
        "cut-off",
        "netcdf",
        "m.nc",
        lambda: netcdf()[:90],
        "unverifiable",
        "netcdf.malformed",
        "The header is cut off.",
        "scipy",
    ),
    one("by-the-specification", "avro", "m.avro", lambda: avro(RECORD), "safe"),
    one(
        "class",
        "avro",
        "m.avro",
        lambda: avro(CLASS),
        "danger",
        "avro.class",
        "The schema has a reader in Java make objects of a class (CVE-2024-47561).",
    ),
    one(
        "block-lies",
        "avro",
        "m.avro",
        lambda: avro(RECORD, said=1 << 40),
        "unverifiable",
        "avro.malformed",
        "A block says a length that leads out of the file.",
    ),
    one(
        "another-codec",
        "avro",
        "m.avro",
        lambda: avro(RECORD, "python"),
        "unverifiable",
        "avro.malformed",
        "The values are packed in a way that Avro does not have.",
    ),
    Sample("zarr/version-2", "zarr", zarr("zarr"), ("safe",), honest=True, needs=("tensorstore",)),
    Sample("zarr/version-3", "zarr", zarr("zarr3"), ("safe",), honest=True, needs=("tensorstore",)),
    one(
        "pickles",
        "zarr",
        ".zarray",
        lambda: described({"id": "pickle", "protocol": 5}),
        "danger",
        "zarr.pickle",
        "The values are packed as pickles.",
    ),
    one(
        "pickles-3",
        "zarr",
        "zarr.json",
        lambda: described({"name": "numcodecs.pickle"}, 3),
        "danger",
        "zarr.pickle",
        "The values are packed as pickles, in the newer version.",
    ),
    one(
        "own-codec",
        "zarr",
        "zarr.json",
        lambda: described({"name": "my-package.codec"}, 3),
        "review",
        "zarr.codec",
        "The values are packed by an installed package.",
    ),
    Sample("sqlite/plain", "sqlite", written("m.db", database), ("unverifiable",), honest=True, rule="sqlite.values"),
    one(
        "loads-code",
        "sqlite",
        "m.db",
        lambda: database(LOADS),
        "danger",
        "sqlite.harmful",
        "A trigger loads native code when a row is put in.",
    ),
    one(
        "writes-files",
        "sqlite",
        "m.db",
        lambda: database(WRITES),
        "danger",
        "sqlite.harmful",
        "A view writes a file when it is looked at.",
    ),
    one(
        "circle",
        "sqlite",
        "m.db",
        lambda: circle(),
        "unverifiable",
        "sqlite.malformed",
        "The schema's pages go in a circle.",
    ),
)
