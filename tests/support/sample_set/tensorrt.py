"""TensorRT: its mark, alone and behind notes, and with a library within."""

from __future__ import annotations

import json

from sample_set import Sample, written


def engine(inside: bytes = b"") -> bytes:
    return b"ftrt" + b"\x00\x00\x00\x0a" * 8 + bytes(64) + inside + bytes(64)


def noted() -> bytes:
    notes = json.dumps({"description": "a detector", "stride": 32}).encode()
    return len(notes).to_bytes(4, "little") + notes + engine()


SAMPLES = (
    Sample(
        "tensorrt/engine", "tensorrt", written("m.engine", engine), ("unverifiable",), rule="format.unread",
        trick="Compiled code that nobody can read.",
    ),
    Sample(
        "tensorrt/behind-notes", "tensorrt", written("m.engine", noted), ("unverifiable",), rule="format.unread",
        trick="The same behind notes.",
    ),
    Sample(
        "tensorrt/library", "tensorrt", written("m.plan", lambda: engine(b"\x7fELF\x02\x01\x01" + bytes(32))),
        ("unverifiable",), rule="tensorrt.library", trick="With a library for the host in it.",
    ),
)  # fmt: skip
