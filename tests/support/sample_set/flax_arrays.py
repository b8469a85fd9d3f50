"""MessagePack and Flax: what their own writers make, and arrays whose sizes and types lie."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sample_set import Sample, written


@cache
def flax_model() -> bytes:
    import jax.numpy as jnp
    import numpy as np
    from flax.serialization import msgpack_serialize

    weights = {"kernel": np.ones((3, 4), "f4"), "bias": jnp.zeros(4, jnp.bfloat16), "empty": np.zeros((0, 2))}
    return msgpack_serialize({"params": {"dense": weights}, "step": 3, "rate": np.float32(0.1), "phase": 1 + 2j})


@cache
def in_pieces() -> bytes:
    """An array above Flax's limit, which is lowered for it."""
    import numpy as np
    from flax import serialization

    limit, serialization.MAX_CHUNK_SIZE = serialization.MAX_CHUNK_SIZE, 64
    try:
        return serialization.msgpack_serialize({"table": np.arange(60, dtype="f4").reshape(15, 4)})
    finally:
        serialization.MAX_CHUNK_SIZE = limit


def changed(before: bytes, after: bytes, data: bytes | None = None) -> bytes:
    data = flax_model() if data is None else data
    assert before in data
    assert len(before) == len(after)
    return data.replace(before, after, 1)


@cache
def plain_table() -> bytes:
    import srsly

    return bytes(srsly.msgpack_dumps({"words": ["a", "b" * 70], "n": [1, -5, 2.5, None, True], "bytes": b"\0" * 300}))


def loads_flax(place: Path) -> None:
    from flax.serialization import msgpack_restore

    msgpack_restore(place.read_bytes())


FLAX, SRSLY = ("flax",), ("srsly",)
SHAPE = b"\x93\x92\x03\x04\xa7float32"
SAMPLES = (
    Sample("flax/honest", "flax", written("flax_model.msgpack", flax_model), ("safe",), honest=True, needs=FLAX),
    Sample("flax/in-pieces", "flax", written("flax_model.msgpack", in_pieces), ("safe",), honest=True, needs=FLAX),
    Sample(
        "flax/shape-lies",
        "flax",
        written("m.msgpack", lambda: changed(SHAPE, SHAPE.replace(b"\x03\x04", b"\x7f\x04"))),
        ("unverifiable",),
        needs=FLAX,
        rule="msgpack.array",
        loads=loads_flax,
        trick="The shape of an array needs more bytes than there are.",
    ),
    Sample(
        "flax/objects",
        "flax",
        written("m.msgpack", lambda: changed(b"\xa7float32", b"\xa7object_")),
        ("unverifiable",),
        needs=FLAX,
        rule="msgpack.array",
        loads=loads_flax,
        trick="An array is said to hold objects.",
    ),
    Sample(
        "flax/pieces-lie",
        "flax",
        written("m.msgpack", lambda: changed(b"\xa10\x0f\xa11\x04", b"\xa10\x10\xa11\x04", in_pieces())),
        ("unverifiable",),
        needs=FLAX,
        rule="msgpack.array",
        loads=loads_flax,
        trick="The pieces of an array do not make up its shape.",
    ),
    Sample(
        "flax/another-type",
        "flax",
        written("m.msgpack", lambda: flax_model().replace(b"\x02\x92\xcb", b"\x2a\x92\xcb", 1)),
        ("unverifiable",),
        needs=FLAX,
        rule="msgpack.extension",
        trick="A value is of a type that Flax does not have.",
    ),
    Sample(
        "flax/cut-off",
        "flax",
        written("m.msgpack", lambda: flax_model()[:-5]),
        ("unverifiable",),
        needs=FLAX,
        rule="msgpack.malformed",
        loads=loads_flax,
        trick="The file ends within a value.",
    ),
    Sample("msgpack/honest", "msgpack", written("vocab", plain_table), ("safe",), honest=True, needs=SRSLY),
    Sample(
        "msgpack/own-type",
        "msgpack",
        written("vocab", lambda: b"\x81\xa1a\xd6\x2a\0\0\0\0"),
        ("unverifiable",),
        rule="msgpack.extension",
        trick="A value of a type that only some program knows.",
    ),
    Sample(
        "msgpack/object-array",
        "msgpack",
        written("vocab", lambda: b"\x83\xa2nd\xc3\xa4type\xa2|O\xa4data\xc4\x01\x80"),
        ("unverifiable",),
        rule="msgpack.array",
        trick="An array of objects, which the reader of NumPy's arrays unpickles.",
    ),
    Sample(
        "msgpack/never-ends",
        "msgpack",
        written("vocab.msgpack", lambda: b"\xdf\xff\xff\xff\xff\xa1a\0"),
        ("unverifiable",),
        trick="A table that says it holds four thousand million values.",
    ),
)
