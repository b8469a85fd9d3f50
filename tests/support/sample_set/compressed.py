"""Compressed streams of every kind, honest and hostile, and the kinds that are only known by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import zlib
from collections.abc import Callable

import lz4.block
import lz4.frame

from sample_set import COMMAND, Sample, written

try:
    from compression import zstd
except ImportError:
    from backports import zstd


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


HARM = pickle.dumps({"x": _Runs()}, 2)
GOOD = pickle.dumps({"x": list(range(200))}, 2)


def lz4_legacy(data: bytes) -> bytes:
    """What `lz4 -l` writes: blocks of 8 MiB, the packed length in front of each."""
    out = b"\x02\x21\x4c\x18"
    for at in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[at : at + (8 << 20)], store_size=False)
        out += len(block).to_bytes(4, "little") + block
    return out


def zfile(data: bytes) -> bytes:
    from joblib.numpy_pickle_compat import write_zfile

    out = io.BytesIO()
    write_zfile(out, data)
    return out.getvalue()


def skipped(payload: bytes = b"hello") -> bytes:
    """A frame that both zstandard and lz4 pass over."""
    return b"\x50\x2a\x4d\x18" + len(payload).to_bytes(4, "little") + payload


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "zfile": zfile,
    "lz4": lz4.frame.compress,
    "lz4-legacy": lz4_legacy,
    "zstd": zstd.compress,
}
"""Each kind's own writer."""
UNREAD = {
    "rar": (b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"),
    "compress": (b"\x1f\x9d\x90", b"\x1f\x9d\x8c"),
    "lzip": (b"LZIP\x01", b"LZIP\x00"),
    "lzop": (b"\x89LZO\0\r\n\x1a\n\x10", b"\x89LZO\0\r\n\x1a\n\x00"),
    "snappy": (b"\xff\x06\0\0sNaPpY\x00", b"\xff\x06\0\0sNaPpY\x01"),
    "cab": (b"MSCF\0\0\0\0\x01", b"MSCF\0\0\0\0\x02"),
    "lha": (b"\x20\x01-lh5-", b"\x20\x01-lh0-"),
    "cpio": (b"070701", b"070707"),
    "zpaq": (b"zPQ\x01", b"7kSt\xa0"),
    "ace": (b"\0\0\0\0\0\0\0**ACE**", b"\0\0\1\0\0\0\0**ACE**"),
    "brotli": (b"\x8b\x02\x80", b"\x1b\xff\xff"),
}
_BUNCH = bytes(range(128, 256)) * 3


def _window() -> bytes:
    """zstandard that wants a window of 2 GiB: `--long=31`."""
    return b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"


def _greedy_lzma() -> bytes:
    data = bytearray(lzma.compress(HARM, lzma.FORMAT_ALONE))
    data[1:5] = (0x80000000).to_bytes(4, "little")
    return bytes(data)


def _kind(kind: str, pack: Callable[[bytes], bytes]) -> tuple[Sample, ...]:
    return (
        Sample(f"{kind}/honest", kind, written(f"m.{kind}", lambda: pack(GOOD)), ("safe",), honest=True),
        Sample(
            f"{kind}/harm", kind, written(f"m.{kind}", lambda: pack(HARM)), ("danger",), rule="pickle.gadget",
            trick="A pickle that starts a shell is packed.",
        ),
        Sample(
            f"{kind}/cut-off", kind, written(f"m.{kind}", lambda: pack(os.urandom(5000))[:3000]), ("unverifiable",),
            trick="The stream ends before its end.",
        ),
        Sample(
            f"{kind}/twice", kind, written(f"m.{kind}", lambda: pack(pack(HARM))), ("danger",), rule="pickle.gadget",
            trick="It is packed two times.",
        ),
    )  # fmt: skip


def _unread(kind: str, number: int, magic: bytes) -> Sample:
    name = {"compress": "m.Z", "brotli": "m.br"}.get(kind, f"m.{kind}")
    return Sample(
        f"{kind}/{number}", kind, written(name, lambda: magic + _BUNCH), ("unverifiable",), rule="format.unread",
        trick="Nobody here can unpack it.",
    )  # fmt: skip


SAMPLES = (
    *(sample for kind, pack in PACK.items() for sample in _kind(kind, pack)),
    *(_unread(kind, n, magic) for kind, magics in UNREAD.items() for n, magic in enumerate(magics)),
    Sample(
        "gzip/second-stream", "gzip", written("m.gz", lambda: gzip.compress(GOOD) + gzip.compress(HARM)), ("danger",),
        trick="The harm is in a second stream behind the first one.",
    ),
    Sample(
        "zstd/behind-skipped", "zstd", written("m.zst", lambda: skipped() + zstd.compress(HARM)), ("danger",),
        trick="A frame that readers pass over hides what follows.",
    ),
    Sample(
        "zstd/honest-frames", "zstd",
        written("m.zst", lambda: zstd.compress(GOOD[:100]) + skipped() + zstd.compress(GOOD[100:])), ("safe",),
        honest=True,
    ),
    Sample(
        "zstd/first-frame-alone", "zstd", written("m.zst", lambda: zstd.compress(HARM) + zstd.compress(b"\xff" * 9)),
        ("danger",), trick="Readers that stop behind the first frame run it; all frames together are no pickle.",
    ),
    Sample(
        "zstd/window", "zstd", written("m.zst", _window), ("unverifiable",), rule="compression.damaged",
        trick="The frame asks for 2 GiB of memory.",
    ),
    Sample(
        "zstd/old", "zstd", written("m.zst", lambda: b"\x25\xb5\x2f\xfd" + _BUNCH), ("unverifiable",),
        rule="format.unread", trick="Written by a version before 0.8, which only some readers read.",
    ),
    Sample(
        "zstd/followed", "zstd", written("m.zst", lambda: zstd.compress(GOOD) + b"something else"), ("unverifiable",),
        rule="compression.damaged", trick="Something that is no frame follows.",
    ),
    Sample(
        "lz4/behind-skipped", "lz4", written("m.lz4", lambda: skipped() + lz4.frame.compress(HARM)), ("danger",),
        trick="A frame that readers pass over hides what follows.",
    ),
    Sample(
        "lzma/greedy", "lzma", written("m.lzma", _greedy_lzma), ("unverifiable",), rule="compression.damaged",
        trick="It asks for a window of 2 GiB.",
    ),
    Sample(
        "bz2/followed", "bz2", written("m.bz2", lambda: bz2.compress(GOOD) + HARM), ("danger",),
        rule="compression.damaged", trick="Python's reader passes over what follows without a word.",
    ),
    Sample(
        "xz/honest-padded", "xz", written("m.xz", lambda: lzma.compress(GOOD) + bytes(8)), ("safe",), honest=True,
    ),
)  # fmt: skip
