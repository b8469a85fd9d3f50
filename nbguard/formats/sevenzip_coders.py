"""What 7z packs with, undone by the standard library: LZMA, LZMA2, Deflate, BZip2, zstandard, and their filters.

    data = undo(coder.method, coder.properties, packed, size)

Every step is given the size that has to come out and stops there. liblzma's filters for machine code want to be in
front of LZMA2; to undo one alone, its input is put into chunks of LZMA2 that are stored as they are. Sources:
`DOC/Methods.txt` and `DOC/7zFormat.txt` of 7-Zip, `lzma2` in liblzma.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from nbguard.formats import compression

COPY = b"\x00"
_PIECE = 1 << 20
_STORED = 1 << 16
"""Bytes of one chunk of LZMA2 that is stored as it is."""
_FILTERS = {
    b"\x04": lzma.FILTER_X86, b"\x03\x03\x01\x03": lzma.FILTER_X86,
    b"\x05": lzma.FILTER_POWERPC, b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x06": lzma.FILTER_IA64, b"\x03\x03\x04\x01": lzma.FILTER_IA64,
    b"\x07": lzma.FILTER_ARM, b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x08": lzma.FILTER_ARMTHUMB, b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB,
    b"\x09": lzma.FILTER_SPARC, b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
}  # fmt: skip
_UNREAD = {
    b"\x0a": "ARM64", b"\x0b": "RISCV", b"\x03\x03\x01\x1b": "BCJ2", b"\x03\x04\x01": "PPMd",
    b"\x04\x01\x09": "Deflate64", b"\x04\xf7\x11\x02": "brotli", b"\x04\xf7\x11\x04": "LZ4",
    b"\x04\xf7\x11\x05": "LZ5", b"\x04\xf7\x11\x06": "lizard",
}  # fmt: skip
_READ = {b"\x21": "LZMA2", b"\x03\x01\x01": "LZMA", b"\x04\x01\x08": "Deflate", b"\x04\x02\x02": "BZip2", COPY: "Copy"}
AES = b"\x06\xf1\x07\x01"
ENCRYPTED = "It is encrypted: nobody without the password can say what is in it."


class CoderError(ValueError):
    """A step cannot be undone. The message is one plain sentence.

    Attributes:
        encrypted: for want of the password.
    """

    def __init__(self, message: str, *, encrypted: bool = False) -> None:
        super().__init__(message)
        self.encrypted = encrypted


def called(method: bytes) -> str:
    """A method's name for people."""
    return _UNREAD.get(method) or _READ.get(method, f"the method {method.hex()}")


def undo(method: bytes, properties: bytes, packed: bytes, size: int) -> bytes:
    """The `size` bytes that `packed` was made of.

    Raises:
        CoderError: the method is not known or needs a password, or `size` bytes do not come out.
    """
    if method == AES:
        raise CoderError(ENCRYPTED, encrypted=True)
    if method == COPY:
        return _exactly(packed, size)
    if method in _FILTERS or method == b"\x03":
        return _filter(method, properties, packed, size)
    make = _MACHINES.get(method)
    if make is None:
        raise CoderError(f"It is packed with {called(method)}, which nbguard does not read.")
    try:
        return _exactly(_run(lambda: make(properties, size), packed, size), size)
    except CoderError:
        raise
    except Exception as error:
        # lzma, zlib, bz2 and zstandard each have classes of their own for damaged input and odd settings.
        raise CoderError("The packed data are damaged.") from error


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise CoderError("The packed data do not have the size that the archive says.")
    return data


def _run(make: Callable[[], compression.Machine], packed: bytes, size: int) -> bytes:
    machine, out, at = make(), io.BytesIO(), 0
    while out.tell() < size:
        if machine.eof:
            rest = machine.unused_data or b""
            at -= len(rest)
            if at >= len(packed):
                break
            machine = make()  # BZip2 may be several streams
        piece = b""
        if machine.needs_input:
            piece = packed[at : at + _PIECE]
            at += len(piece)
            if not piece:
                break
        out.write(machine.decompress(piece, min(_PIECE, size - out.tell())))
    return out.getvalue()


def _lzma(properties: bytes, size: int) -> compression.Machine:
    if len(properties) != 5 or properties[0] >= 225:
        raise CoderError("The settings of a packed stream are malformed.")
    lc, rest = properties[0] % 9, properties[0] // 9
    window = int.from_bytes(properties[1:5], "little")
    settings = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": rest % 5, "pb": rest // 5}
    return _raw({**settings, "dict_size": _needed(window, size)})


def _lzma2(properties: bytes, size: int) -> compression.Machine:
    if len(properties) != 1 or properties[0] > 40:
        raise CoderError("The settings of a packed stream are malformed.")
    window = (2 | properties[0] & 1) << (properties[0] // 2 + 11)
    return _raw({"id": lzma.FILTER_LZMA2, "dict_size": _needed(window, size)})


def _needed(window: int, size: int) -> int:
    """No reader needs a window larger than what comes out; the archive may ask for 4 GiB."""
    return max(4096, min(window, size, (1 << 32) - 1))


def _raw(*filters: dict[str, Any]) -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


_MACHINES: dict[bytes, Callable[[bytes, int], compression.Machine]] = {
    b"\x21": _lzma2,
    b"\x03\x01\x01": _lzma,
    b"\x04\x01\x08": lambda properties, size: compression.Deflate(-zlib.MAX_WBITS),
    b"\x04\x02\x02": lambda properties, size: bz2.BZ2Decompressor(),
    b"\x04\xf7\x11\x01": lambda properties, size: compression.zstd_machine(),
}


def _filter(method: bytes, properties: bytes, packed: bytes, size: int) -> bytes:
    """Undo a filter, which changes no lengths."""
    _exactly(packed, size)
    if method == b"\x03":
        if len(properties) != 1:
            raise CoderError("The settings of a packed stream are malformed.")
        chain: dict[str, Any] = {"id": lzma.FILTER_DELTA, "dist": properties[0] + 1}
    else:
        chain = {"id": _FILTERS[method]}
        if properties.strip(b"\0"):
            chain["start_offset"] = int.from_bytes(properties[:4], "little")
    try:
        machine, out = _raw(chain, {"id": lzma.FILTER_LZMA2, "dict_size": _STORED}), io.BytesIO()
        for at in range(0, size, _STORED):
            piece = packed[at : at + _STORED]
            control = b"\2" if at else b"\1"
            out.write(machine.decompress(control + (len(piece) - 1).to_bytes(2, "big") + piece))
        out.write(machine.decompress(b"\0"))
    except (lzma.LZMAError, ValueError) as error:
        raise CoderError("The packed data are damaged.") from error
    return _exactly(out.getvalue(), size)
