"""Compute what the source gives away: joined, sliced, decoded and decompressed constants.

    fold_call("base64.b64decode", [b"b3M="], {})        # Const(b"os", {"decoded"})

Only a closed list of pure functions over plain constants, with bounds on what goes in and comes out.
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import codecs
import html
import lzma
import operator
import re
import urllib.parse
import zlib
from collections.abc import Callable
from typing import Any

from nbguard.scanners.source.values import DECODED, MOST_CHARACTERS, Const

PLAIN = (str, bytes, int, float, bool, type(None))
_MOST_TIMES = 10_000
_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    OSError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    AttributeError,
)

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.BitXor: operator.xor, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv, ast.RShift: operator.rshift,
}  # fmt: skip


def _bounded(decompress: Callable[[], Any]) -> Callable[[bytes], bytes]:
    def run(data: bytes) -> bytes:
        out: bytes = decompress().decompress(data, MOST_CHARACTERS)
        return out

    return run


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data, MOST_CHARACTERS)


_CODECS = frozenset(
    {
        "utf8", "utf", "utf16", "utf16le", "utf16be", "utf32", "utf32le", "utf32be", "utf7", "utf8sig", "ascii",
        "usascii", "latin1", "iso88591", "cp1252", "cp437", "cp850", "rot13", "hex", "hexcodec", "base64",
        "base64codec", "quopri", "unicodeescape", "rawunicodeescape",
    }
)  # fmt: skip
"""Codecs that are quick whatever they are given; what another one gives is unknown."""
WIDE = re.compile(r"\d{4}")
"""A width in a text that formats, which makes much out of little."""


def _codec(data: Any, name: Any = "utf-8", *more: Any) -> Any:
    word = str(name)[:40].lower().replace("_", "").replace("-", "")
    if word in ("zlib", "zip", "zlibcodec"):
        return _bounded(zlib.decompressobj)(data)
    if word in ("bz2", "bz2codec"):
        return _bounded(bz2.BZ2Decompressor)(data)
    if word not in _CODECS:
        raise LookupError("not one that is followed")
    return codecs.decode(data, word if word == "rot13" else str(name)[:40])


DECODERS: dict[str, Callable[..., Any]] = {
    "base64.b64decode": base64.b64decode, "base64.b32decode": base64.b32decode, "base64.b16decode": base64.b16decode,
    "base64.b85decode": base64.b85decode, "base64.a85decode": base64.a85decode,
    "base64.decodebytes": base64.decodebytes,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode, "base64.standard_b64decode": base64.standard_b64decode,
    "binascii.unhexlify": binascii.unhexlify, "binascii.a2b_base64": binascii.a2b_base64,
    "binascii.a2b_hex": binascii.a2b_hex,
    "builtins.bytes.fromhex": bytes.fromhex,
    "builtins.bytearray.fromhex": bytes.fromhex, "codecs.decode": _codec,
    "zlib.decompress": _bounded(zlib.decompressobj), "gzip.decompress": _gunzip,
    "bz2.decompress": _bounded(bz2.BZ2Decompressor),
    "lzma.decompress": _bounded(lambda: lzma.LZMADecompressor(memlimit=64 << 20)),
    "urllib.parse.unquote": urllib.parse.unquote, "urllib.parse.unquote_plus": urllib.parse.unquote_plus,
    "builtins.chr": chr, "builtins.bytes": bytes, "builtins.bytearray": bytes,
    "html.unescape": lambda s: html.unescape(s[:10_000]),
}  # fmt: skip
"""Functions that make text or code out of something that does not look like it."""
_PURE: dict[str, Callable[..., Any]] = {
    "builtins.str": str, "builtins.int": int, "builtins.ord": ord, "builtins.len": len, "builtins.abs": abs,
    "builtins.repr": repr, "builtins.ascii": ascii, "builtins.float": float, "builtins.bool": bool,
    "sys.intern": str, "os.fsdecode": str, "os.fspath": str, "operator.add": operator.add,
    "operator.concat": operator.add, "operator.xor": operator.xor,
}  # fmt: skip
_METHODS = frozenset(
    {
        "join", "replace", "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "swapcase", "casefold",
        "translate", "format", "zfill", "center", "ljust", "rjust", "removeprefix", "removesuffix", "expandtabs", "hex",
        "split", "rsplit", "partition", "rpartition", "splitlines", "format_map", "find", "index", "count",
    }
)  # fmt: skip
_DECODING_METHODS = frozenset(("decode", "encode", "translate", "replace", "swapcase", "join", "fromhex"))


def fold_call(name: str, args: list[Any], kwargs: dict[str, Any]) -> Const | None:
    """The constant that a known function gives for constants; None where that is not known or too much."""
    function = DECODERS.get(name) or _PURE.get(name)
    if function is None or not _small(*args, *kwargs.values()):
        return None
    if function is bytes and args and isinstance(args[0], int):
        return None
    try:
        return _const(function(*args, **kwargs), frozenset({DECODED}) if name in DECODERS else frozenset())
    except _ERRORS:
        return None


def fold_method(value: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Const | None:
    """The same for a method of a text or bytes."""
    if not isinstance(value, str | bytes) or not _small(value, *args, *kwargs.values()):
        return None
    marks = frozenset({DECODED}) if name in _DECODING_METHODS else frozenset[str]()
    try:
        if name == "decode" and isinstance(value, bytes) and (not args or isinstance(args[0], str)):
            return _const(_codec(value, *args[:1]), marks)
        if name == "encode" and isinstance(value, str):
            known = not args or str(args[0]).lower().replace("_", "").replace("-", "") in _CODECS
            return _const(value.encode(*args[:1]), marks) if known else None
        if not _bounded_method(value, name, args):
            return None
        if name in ("zfill", "center", "ljust", "rjust", "expandtabs") and (not args or args[0] > _MOST_TIMES):
            return None
        if name in _METHODS and hasattr(value, name):
            return _const(getattr(value, name)(*args, **kwargs), marks)
    except _ERRORS:
        return None
    return None


def _bounded_method(value: Any, name: str, args: list[Any]) -> bool:
    """Whether what a method makes is about as small as what goes in."""
    if name in ("format", "format_map"):
        return WIDE.search(value if isinstance(value, str) else "") is None and len(value) <= _MOST_TIMES
    if name == "replace" and len(args) > 1:
        return bool(value.count(args[0]) * max(1, len(args[1])) <= MOST_CHARACTERS)
    if name == "translate" and args and isinstance(args[0], dict):
        widest = max((len(v) for v in args[0].values() if isinstance(v, str)), default=1)
        return len(value) * max(1, widest) <= MOST_CHARACTERS
    if name == "join" and args and isinstance(args[0], list):
        return sum(len(part) for part in args[0]) + len(value) * len(args[0]) <= MOST_CHARACTERS
    return True


def fold_binary(op: ast.operator, left: Any, right: Any) -> Const | None:
    """`left op right` of two constants."""
    if not _small(left, right):
        return None
    try:
        if isinstance(op, ast.Mult):
            text, times = (left, right) if isinstance(left, str | bytes) else (right, left)
            if isinstance(text, str | bytes) and isinstance(times, int) and times * len(text) > _MOST_TIMES:
                return None
            if isinstance(left, int) and isinstance(right, int) and max(abs(left), abs(right)) > 1 << 64:
                return None
            return _const(left * right)
        if isinstance(op, ast.Mod) and isinstance(left, str | bytes):
            text = left if isinstance(left, str) else left.decode("latin-1")
            if "*" in text or WIDE.search(text):
                return None
        function = _BINARY.get(type(op))
        return _const(function(left, right)) if function is not None else None
    except _ERRORS:
        return None


def fold_slice(value: Any, lower: Any, upper: Any, step: Any) -> Const | None:
    """A slice of a constant; a stride hides what the text says."""
    try:
        return _const(value[slice(lower, upper, step)], frozenset({DECODED}) if step not in (None, 1) else frozenset())
    except _ERRORS:
        return None


def _const(value: Any, marks: frozenset[str] = frozenset()) -> Const | None:
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if isinstance(value, list | tuple) and len(value) <= 256 and all(isinstance(v, str | bytes | int) for v in value):
        return Const(tuple(value), marks)
    if not isinstance(value, PLAIN) or not _small(value):
        return None
    return Const(value, marks)


def _small(*values: Any) -> bool:
    for value in values:
        if isinstance(value, str | bytes) and len(value) > MOST_CHARACTERS:
            return False
        if isinstance(value, int) and value.bit_length() > 4096:
            return False
        if isinstance(value, list | tuple) and len(value) > MOST_CHARACTERS:
            return False
    return True
