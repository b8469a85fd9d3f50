"""safetensors: what the library writes, and headers that lie."""

from __future__ import annotations

import base64
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sample_set import COMMAND, Sample, written

NEEDS = ("safetensors", "numpy")


def build(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header: JSON, or its bytes; `length` is what stands in front of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, end: int, shape: Any = None, dtype: Any = "U8", **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end], **more}


def honest() -> bytes:
    import numpy as np
    from safetensors.numpy import save

    tensors = {
        "a": np.zeros((3, 5), np.float32), "b": np.ones(7, np.int64), "empty": np.zeros(0), "scalar": np.float16(3.5),
        "half": np.ones((2, 2), np.float16), "byte": np.ones(3, np.uint8), "yes": np.ones(5, np.bool_),
    }  # fmt: skip
    return bytes(save({k: np.asarray(v) for k, v in tensors.items()}, {"format": "pt", "note": "a note, and 日本"}))


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


def pickle_in_metadata() -> bytes:
    text = base64.b64encode(pickle.dumps(Payload())).decode()
    return build({"__metadata__": {"config": text}, "a": tensor(0, 4)}, b"1234")


def pickle_as_characters() -> bytes:
    text = pickle.dumps(Payload()).decode("latin-1")
    return build({"__metadata__": {"config": text}, "a": tensor(0, 4)}, b"1234")


ONE = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
BROKEN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "overlap": ("Two tensors share bytes.", lambda: build({"a": tensor(0, 4), "b": tensor(2, 6)}, b"x" * 6)),
    "gap": (
        "Bytes between two tensors belong to none.",
        lambda: build({"a": tensor(0, 4), "b": tensor(5, 6)}, b"x" * 6),
    ),
    "behind": ("Something follows behind the last tensor.", lambda: build({"a": tensor(0, 4)}, b"x" * 4 + b"more")),
    "cut-off": ("The last tensor reaches beyond the end.", lambda: build({"a": tensor(0, 9)}, b"x" * 4)),
    "header-length": (
        "The header claims to be longer than the file.",
        lambda: build({"a": tensor(0, 4)}, b"x" * 4, 1 << 60),
    ),
    "header-short": (
        "The header's length ends within its JSON, so that the rest counts as numbers.",
        lambda: build(b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}   hidden!', b"", 53),
    ),
    "same-name": ("A name is there twice.", lambda: build(b'{"a":%s,"a":%s}' % (ONE, ONE), b"x")),
    "same-field": (
        "A field of a tensor is there twice, with two types.",
        lambda: build(b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', b"x"),
    ),
    "shape-lies": ("The shape asks for more than there is.", lambda: build({"a": tensor(0, 4, [1 << 20])}, b"x" * 4)),
    "shape-overflows": (
        "The shape's product leaves 64 bits and comes back to nothing.",
        lambda: build({"a": tensor(0, 0, [1 << 32, 1 << 32])}),
    ),
    "shape-overflows-before-zero": (
        "The product overflows before it meets the zero that would excuse it.",
        lambda: build({"a": tensor(0, 0, [1 << 62, 1 << 62, 0])}),
    ),
    "negative": ("An offset is below zero.", lambda: build({"a": tensor(-4, 0)}, b"")),
    "float": (
        "An offset is no whole number.",
        lambda: build(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4.0]}}', b"x" * 4),
    ),
    "huge": ("An offset is larger than 64 bits.", lambda: build({"a": tensor(0, 1 << 70)}, b"x" * 4)),
    "shape-is-text": ("The shape is a text.", lambda: build({"a": tensor(0, 1, "")}, b"x")),
    "type-is-a-list": ("The type is a list.", lambda: build({"a": tensor(0, 1, dtype=["U8"])}, b"x")),
    "unknown-type": ("The type is none.", lambda: build({"a": tensor(0, 4, dtype="X9")}, b"x" * 4)),
    "unknown-field": (
        "A tensor brings a field that the format does not have.",
        lambda: build({"a": tensor(0, 1, code="import os")}, b"x"),
    ),
    "metadata-is-a-number": ("Metadata holds a number.", lambda: build({"__metadata__": {"k": 1}})),
    "metadata-is-a-list": ("The metadata is an empty list.", lambda: build({"__metadata__": []})),
    "not-utf-8": ("The header is no UTF-8.", lambda: build(b'{"\xff\xfe":%s}' % ONE, b"x")),
    "utf-16": (
        "The header is UTF-16, which Python's JSON reader takes.",
        lambda: build('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.encode("utf-16-le"), b"x"),
    ),
    "surrogate": ("A name is half a character.", lambda: build(b'{"\\ud800":%s}' % ONE, b"x")),
    "nan": ("A number is none.", lambda: build(b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', b"x")),
    "deep": (
        "The JSON is nested deeper than readers can follow.",
        lambda: build(b'{"a":' * 200_000),
    ),
    "no-bracket": ("The header begins with a blank.", lambda: build(b' {"a":%s}' % ONE, b"x")),
}


def refused(path: Path) -> None:
    """The library refuses it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "numpy") as file:
            file.keys()
    except (SafetensorError, ValueError, UnicodeDecodeError):
        return
    raise AssertionError("the library takes it")


TAKEN = ("same-name", "unknown-field", "no-bracket")
"""What the library takes, so that another reader may see another file."""
SAMPLES = (
    Sample(
        "safetensors/honest", "safetensors", written("model.safetensors", honest), ("safe",), honest=True, needs=NEEDS
    ),
    Sample(
        "safetensors/padded", "safetensors",
        written("model.safetensors", lambda: build(b'{"a":%s}    ' % ONE, b"x")), ("safe",),
    ),
    *(
        Sample(
            f"safetensors/{name}", "safetensors", written("model.safetensors", make), ("unverifiable",),
            rule="safetensors.header", trick=trick, loads=None if name in TAKEN else refused,
        )
        for name, (trick, make) in BROKEN.items()
    ),
    Sample(
        "safetensors/pickle-in-metadata", "safetensors", written("model.safetensors", pickle_in_metadata), ("review",),
        rule="safetensors.metadata", trick="A pickle waits in the metadata, as base64.",
    ),
    Sample(
        "safetensors/pickle-as-characters", "safetensors", written("model.safetensors", pickle_as_characters),
        ("review",), rule="safetensors.metadata", trick="A pickle waits in the metadata, each byte as a character.",
    ),
)  # fmt: skip
