"""Compressed streams, opened within bounds.

    kind = detect(head)
    data = decompress(view, kind, limit=1 << 28)

The magic numbers are joblib's (`joblib/compressor.py`), which tells compressions apart by content; pandas and people's
own code use the same streams. zstandard: RFC 8878, with its skippable frames; lz4: `lz4_Frame_format.md`, with the
legacy frames of the Linux kernel and of `lz4 -l`; `.lzma`: `lzma-file-format.txt` of XZ Utils.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from nbguard.formats.view import Part, View

ZFILE = b"ZF0x"
"""joblib before 0.10: this, the length in hexadecimal, and a zlib stream."""
MAGIC: tuple[tuple[str, bytes], ...] = (
    ("gzip", b"\x1f\x8b"),
    ("bz2", b"BZ"),
    ("lzma", b"\x5d\x00"),
    ("xz", b"\xfd7zXZ"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("lz4-legacy", b"\x02\x21\x4c\x18"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("zfile", ZFILE),
)
_OF = dict(MAGIC)
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""zstandard's and lz4's frames of something else; a length of four bytes follows."""
_CHUNK = 1 << 20
_FIRST = 4096
"""Bytes that are fed first to each stream, so that a million tiny streams do not copy a million chunks."""
MAX_STREAMS = 200_000
"""Streams end to end in one file; `bgzip` cuts 1 GiB into 16,384 of them."""
MAX_WINDOW = 512 << 20
"""Bytes of memory that xz and lzma may ask for (`xz -9` asks for 65 MB)."""
MAX_WINDOW_LOG = 27
"""zstandard's own default for readers: windows up to 128 MB. More needs `--long=31` or the like to be read at all."""
_LEGACY_BLOCK = 8 << 20
"""Bytes that come out of one block of a legacy lz4 frame, at most."""


class CompressionError(ValueError):
    """The stream cannot be read to its end within the bounds. The message is one plain sentence.

    Attributes:
        seen: what came out before that; a loader that reads piece by piece would have run it.
        bomb: more came out than was allowed.
    """

    def __init__(self, message: str, seen: bytes = b"", *, bomb: bool = False) -> None:
        super().__init__(message)
        self.seen = seen
        self.bomb = bomb


class _TroubleError(Exception):
    """What a machine cannot read; `str()` is the end of a sentence."""


class Machine(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def detect(head: bytes) -> str | None:
    """The compression that a loader would take these first bytes for; `head` should hold 4 KiB where there are."""
    for name, magic in MAGIC:
        if head.startswith(magic):
            if name == "bz2" and not (head[2:3] == b"h" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")):
                continue
            return name
    if _SKIPPABLE.match(head):
        return _behind_skippable(head)
    if _zlib_header(head):
        return "zlib"
    return "lzma" if _lzma_header(head) else None


def _behind_skippable(head: bytes) -> str:
    """What the frames are behind those that are skipped: both formats share them, and zstandard's writers use them."""
    at = 0
    while _SKIPPABLE.match(head, at):
        at += 8 + int.from_bytes(head[at + 4 : at + 8], "little")
    return "lz4" if head.startswith(_OF["lz4"], at) else "zstd"


def _zlib_header(head: bytes) -> bool:
    """RFC 1950: deflate, the check bits right, and what follows begins a stream (a text may begin with `x `)."""
    if len(head) < 2 or head[0] & 15 != 8 or head[0] > 0x78 or int.from_bytes(head[:2], "big") % 31 or head[1] & 32:
        return False
    try:
        # Only windows of 32 KiB are what writers make; anything else has to look right further than its first byte.
        zlib.decompressobj().decompress(head, 1 if head[0] == 0x78 else 1 << 16)
    except zlib.error:
        return False
    return True


def _lzma_header(head: bytes) -> bool:
    """`.lzma` with unusual settings: by liblzma's own rules for them, and a start that can be read."""
    if len(head) < 18 or head[0] >= 225 or head[13]:
        return False
    window, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    power = 1 << max(0, window.bit_length() - 1)
    if not 1 << 12 <= window <= 1 << 30 or window not in (power, power + power // 2):
        return False
    if size != (1 << 64) - 1 and not 0 < size < 1 << 38:
        return False
    try:
        return bool(lzma.LZMADecompressor(lzma.FORMAT_ALONE, MAX_WINDOW).decompress(head[:_FIRST], 1 << 16))
    except lzma.LZMAError:
        return False


@dataclass(frozen=True)
class Unpacked:
    """What comes out of a file of streams."""

    data: bytes
    first: int
    """Bytes that come out of the first stream that holds any: some readers stop behind it."""


def decompress(view: View, kind: str, *, limit: int) -> bytes:
    """All that comes out of the stream, streams laid end to end included.

    Raises:
        CompressionError: more than `limit` bytes, cut off or damaged, or followed by something else.
    """
    return unpack(view, kind, limit=limit).data


def unpack(view: View, kind: str, *, limit: int) -> Unpacked:
    """The same, and where the first stream ends. Raises CompressionError as `decompress` does."""
    if kind == "zfile":
        return _zfile(view, limit)
    out = _Out(limit)
    try:
        return _all_streams(view, kind, out)
    except _TroubleError as error:
        raise CompressionError(f"The {kind} stream {error}.", out.data(), bomb=out.full) from error
    except MemoryError as error:
        raise CompressionError(f"The {kind} stream asks for more memory than is given to it.", out.data()) from error
    except Exception as error:
        # lz4 and zstandard raise classes of their own, lz4 sometimes bare RuntimeErrors.
        text = "asks for more memory than is given to it" if "emory" in str(error) else "is cut off or damaged"
        raise CompressionError(f"The {kind} stream {text}.", out.data()) from error


class _Out:
    """What came out so far, and how much of it may. BytesIO hands its bytes over without copying them."""

    def __init__(self, limit: int) -> None:
        self._buffer, self._limit, self.size = io.BytesIO(), limit, 0

    @property
    def full(self) -> bool:
        return self.size > self._limit

    def add(self, part: bytes) -> None:
        self._buffer.write(part)
        self.size += len(part)
        if self.full:
            self._buffer.truncate(self._limit)
            raise _TroubleError(f"unpacks to more than {self._limit:,} bytes, which is more than is read")

    def data(self) -> bytes:
        return self._buffer.getvalue()


def _all_streams(view: View, kind: str, out: _Out) -> Unpacked:
    at = first = 0
    for number in range(MAX_STREAMS):
        at = _to_next(view, kind, at, number)
        if at >= view.size:
            if not number:
                raise _TroubleError("holds nothing")
            return Unpacked(out.data(), first)
        at = _legacy_lz4(view, at, out) if kind == "lz4-legacy" else _one_stream(view, at, _MACHINES[kind](), out)
        first = first or out.size
    raise _TroubleError(f"is cut into more than {MAX_STREAMS:,} pieces")


def _to_next(view: View, kind: str, at: int, number: int) -> int:
    """The offset of the next stream, past what may lie between two; the size of the view where there is none."""
    if kind in ("zstd", "lz4"):
        for _ in range(MAX_STREAMS):
            head = view.read(at, 8)
            if not _SKIPPABLE.match(head):
                break
            at += 8 + int.from_bytes(head[4:8], "little")
            if len(head) < 8 or at > view.size:
                raise _TroubleError("is cut off or damaged")
    if number and not view.read(at, 1).strip(b"\0"):
        at = _past_zeros(view, at)  # what fills up a block of a tape, or the four bytes of xz' own padding
    if at < view.size and not _begins(view.read(at, 16), kind, number):
        raise _TroubleError("is followed by something else" if number else "is cut off or damaged")
    return at


def _past_zeros(view: View, at: int) -> int:
    while piece := view.read(at, _CHUNK):
        rest = piece.lstrip(b"\0")
        at += len(piece) - len(rest)
        if rest:
            break
    return at


def _begins(head: bytes, kind: str, number: int) -> bool:
    if kind == "zlib":
        return len(head) > 1 and head[0] & 15 == 8 and not int.from_bytes(head[:2], "big") % 31
    return head.startswith(_OF[kind]) or (kind == "lzma" and not number)


def _one_stream(view: View, at: int, machine: Machine, out: _Out) -> int:
    """Unpack the stream that begins at `at`; the offset behind it."""
    step = _FIRST
    feed = b""
    while not machine.eof:
        if machine.needs_input:
            feed = view.read(at, step)
            at += len(feed)
            step = min(_CHUNK, step * 2)
            if not feed:
                raise _TroubleError("is cut off")
        out.add(machine.decompress(feed, _CHUNK))
        feed = b""
    return at - len(machine.unused_data or b"")


class Deflate:
    """zlib's and gzip's streams with the face of the others."""

    def __init__(self, bits: int) -> None:
        self._machine, self.needs_input = zlib.decompressobj(bits), True

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        part = self._machine.decompress(self._machine.unconsumed_tail + data, max_length)
        self.needs_input = not self._machine.unconsumed_tail and len(part) < max_length
        return part


class _Lz4:
    """lz4's own machine; it has been seen to raise bare RuntimeErrors."""

    def __init__(self) -> None:
        import lz4.frame

        self._machine = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._machine.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._machine.needs_input)

    @property
    def unused_data(self) -> bytes | None:
        return cast("bytes | None", self._machine.unused_data)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return bytes(self._machine.decompress(data, max_length))


def zstd_machine() -> Machine:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})


_MACHINES: dict[str, Callable[[], Machine]] = {
    "zlib": lambda: Deflate(zlib.MAX_WBITS),
    "gzip": lambda: Deflate(16 + zlib.MAX_WBITS),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, MAX_WINDOW),
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_WINDOW),
    "lz4": _Lz4,
    "zstd": zstd_machine,
}


def _legacy_lz4(view: View, at: int, out: _Out) -> int:
    """A legacy frame: blocks with their packed length in front, up to the end or another magic number."""
    import lz4.block

    at += 4
    while at < view.size:
        length = int.from_bytes(view.read(at, 4), "little")
        if view.read(at, 4) in (_OF["lz4-legacy"], _OF["lz4"]) or _SKIPPABLE.match(view.read(at, 4)):
            return at
        if not 0 < length <= _LEGACY_BLOCK + _LEGACY_BLOCK // 255 + 16 or length > view.size - at - 4:
            raise _TroubleError("is cut off or damaged")
        out.add(bytes(lz4.block.decompress(view.read(at + 4, length), uncompressed_size=_LEGACY_BLOCK)))
        at += 4 + length
    return at


def _zfile(view: View, limit: int) -> Unpacked:
    head = view.read(0, 22)
    try:
        length = int(head[2:21].strip(), 16)
    except ValueError as error:
        raise CompressionError("The length in front of the old joblib file cannot be read.") from error
    start = 22 if head[21:22] == b" " else 21
    try:
        data = decompress(Part(view, start, view.size - start), "zlib", limit=limit)
    except CompressionError as error:
        text = str(error) if error.bomb else "The old joblib stream is cut off or damaged."
        raise CompressionError(text, error.seen, bomb=error.bomb) from error
    if len(data) != length:
        raise CompressionError("The old joblib stream does not have the length that stands in front.", data)
    return Unpacked(data, len(data))
