"""Compressed streams, opened within bounds.

    data = decompress(view, "gzip", limit=1 << 28)

The magic numbers are joblib's (`joblib/compressor.py`), which tells compressions apart by content; pandas and people's
own code use the same streams.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

from nbguard.formats.view import View, buffered

ZFILE = b"ZF0x"
"""joblib before 0.10: this, the length in hexadecimal, and a zlib stream."""
MAGIC: tuple[tuple[str, bytes], ...] = (
    ("zlib", b"\x78"),
    ("gzip", b"\x1f\x8b"),
    ("bz2", b"BZ"),
    ("lzma", b"\x5d\x00"),
    ("xz", b"\xfd7zXZ"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("zfile", ZFILE),
)
_CHUNK = 1 << 20


class CompressionError(ValueError):
    """The stream cannot be read to its end within the bounds. The message is one plain sentence.

    Attributes:
        seen: what came out before that; a loader that reads piece by piece would have run it.
    """

    def __init__(self, message: str, seen: bytes = b"") -> None:
        super().__init__(message)
        self.seen = seen


def detect(head: bytes) -> str | None:
    """The compression that a loader would take these first bytes for."""
    for name, magic in MAGIC:
        if head.startswith(magic):
            if name == "zlib" and not _zlib_header(head):
                continue
            if name == "bz2" and not (head[2:3] == b"h" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")):
                continue
            return name
    return None


def _zlib_header(head: bytes) -> bool:
    """RFC 1950: deflate, the check bits right, and what follows begins a stream (a text may begin with `x `)."""
    if len(head) < 2 or head[0] & 15 != 8 or int.from_bytes(head[:2], "big") % 31:
        return False
    try:
        zlib.decompressobj().decompress(head, 1)
    except zlib.error:
        return False
    return True


def decompress(view: View, kind: str, *, limit: int) -> bytes:
    """All that comes out of the stream, streams laid end to end included.

    Raises:
        CompressionError: more than `limit` bytes, cut off or damaged, or followed by something else.
    """
    if kind == "zfile":
        return _zfile(view, limit)
    out = bytearray()
    try:
        with _OPENERS[kind](view) as stream:
            while part := stream.read(_CHUNK):
                out += part
                if len(out) > limit:
                    raise CompressionError(_too_much(limit), bytes(out[:limit]))
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        if isinstance(error, CompressionError):
            raise
        raise CompressionError(f"The {kind} stream is cut off or damaged.", bytes(out)) from error
    except ImportError as error:
        raise CompressionError(f"Reading {kind} needs a package that is not installed here.") from error
    except Exception as error:
        raise CompressionError(f"The {kind} stream is cut off or damaged.", bytes(out)) from error
    return bytes(out)


def _too_much(limit: int) -> str:
    return f"The stream unpacks to more than {limit:,} bytes, which is more than is read."


class _Zlib(io.RawIOBase):
    """zlib streams end to end, as joblib's `BinaryZlibFile` reads them."""

    def __init__(self, view: View, start: int = 0) -> None:
        super().__init__()
        self._view, self._at, self._machine, self._rest = view, start, zlib.decompressobj(), b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._machine.eof:
                self._rest = self._machine.unused_data or self._fill()
                if not self._rest:
                    return b""
                self._machine = zlib.decompressobj()
            feed = self._rest or self._machine.unconsumed_tail or self._fill()
            self._rest = b""
            if not feed:
                raise EOFError("the zlib stream is cut off")
            part = self._machine.decompress(feed, size)
            if part:
                return part

    def _fill(self) -> bytes:
        data = self._view.read(self._at, _CHUNK)
        self._at += len(data)
        return data


def _zfile(view: View, limit: int) -> bytes:
    head = view.read(0, 22)
    try:
        length = int(head[2:21].strip(), 16)
    except ValueError as error:
        raise CompressionError("The length in front of the old joblib file cannot be read.") from error
    stream = _Zlib(view, 22 if head[21:22] == b" " else 21)
    out = bytearray()
    try:
        while part := stream.read(_CHUNK):
            out += part
            if len(out) > limit:
                raise CompressionError(_too_much(limit), bytes(out[:limit]))
    except (EOFError, zlib.error) as error:
        raise CompressionError("The old joblib stream is cut off or damaged.", bytes(out)) from error
    if len(out) != length:
        raise CompressionError("The old joblib stream does not have the length that stands in front.", bytes(out))
    return bytes(out)


def _gzip(view: View) -> BinaryIO:
    import gzip

    return cast(BinaryIO, gzip.GzipFile(fileobj=buffered(view), mode="rb"))


def _bz2(view: View) -> BinaryIO:
    import bz2

    return cast(BinaryIO, bz2.BZ2File(buffered(view)))


def _lzma(view: View) -> BinaryIO:
    import lzma

    return cast(BinaryIO, lzma.LZMAFile(buffered(view)))


def _lz4(view: View) -> BinaryIO:
    import lz4.frame

    return cast(BinaryIO, lz4.frame.LZ4FrameFile(buffered(view)))


_OPENERS: dict[str, Callable[[View], BinaryIO]] = {
    "zlib": lambda view: cast(BinaryIO, _Zlib(view)),
    "gzip": _gzip, "bz2": _bz2, "lzma": _lzma, "xz": _lzma, "lz4": _lz4,
}  # fmt: skip
