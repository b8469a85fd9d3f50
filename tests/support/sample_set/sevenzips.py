"""7z: archives of py7zr, and what its writer would not write."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

from seven_forge import LINK, Item, seven, wrapped

from sample_set import Sample, written
from sample_set.compressed import GOOD, HARM


def packed(members: dict[str, bytes], filters: list[str] | None = None, **options: Any) -> bytes:
    """What py7zr writes, with the filters named: `["X86", "LZMA2"]`."""
    import py7zr

    chain = [{"id": getattr(py7zr, f"FILTER_{f}"), **_MORE.get(f, {})} for f in filters] if filters else None
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=chain, **options) as archive:
        for name, data in members.items():
            archive.writestr(data, name)
    return out.getvalue()


_MORE: dict[str, dict[str, int]] = {"PPMD": {"order": 6, "mem": 24}, "LZMA2": {"preset": 3}, "BROTLI": {"level": 5}}
MEMBERS = {"model/readme.txt": b"a model", "model/weights.pkl": GOOD, "model/empty": b"", "model/b.bin": GOOD * 20}
FILTERS = ("LZMA2", "LZMA", "COPY", "DEFLATE", "BZIP2", "ZSTD", "DELTA LZMA2", "X86 LZMA2", "X86 LZMA", "ARM LZMA2",
           "POWERPC LZMA2", "SPARC LZMA2", "IA64 LZMA2", "ARMTHUMB LZMA2")  # fmt: skip


def _broken() -> bytes:
    data = bytearray(packed(MEMBERS, ["COPY"]))
    data[40] ^= 255
    return bytes(data)


def _stub() -> bytes:
    return b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(400) + packed({"weights.pkl": HARM})


def _bomb() -> bytes:
    """A megabyte that says it is 4 GiB: the sizes are believed by nobody who counts."""
    return seven([Item("zeros", b"\0" * 1000)], method=b"\x21", sizes=[4 << 30])


def _hidden() -> bytes:
    whole = seven([Item("readme.txt", b"a model")])
    header = whole[32 + 7 :]
    return wrapped(b"a model" + HARM, header)


def _overlap() -> bytes:
    plain = seven([Item("a.txt", b"abcd"), Item("b.txt", b"efgh")])
    header = plain[40:].replace(b"\x09\x04\x04", b"\x09\x04\x7f")
    return wrapped(plain[32:40] + bytes(119), header)


def _forged(name: str, build: Callable[[], bytes], verdicts: tuple[str, ...], trick: str, rule: str = "") -> Sample:
    return Sample(f"7z/{name}", "7z", written("m.7z", build), verdicts, rule=rule, trick=trick)


NEEDS = ("py7zr",)
SAMPLES = (
    Sample("7z/honest", "7z", written("m.7z", lambda: packed(MEMBERS)), ("safe",), honest=True, needs=NEEDS),
    *(
        Sample(
            f"7z/honest-{f.lower().replace(' ', '-')}", "7z", written("m.7z", lambda f=f: packed(MEMBERS, f.split())),
            ("safe",), honest=True, needs=NEEDS,
        )
        for f in FILTERS
    ),
    Sample(
        "7z/honest-link", "7z",
        written("m.7z", lambda: seven([Item("m/a.txt", b"text"), Item("m/b.txt", b"a.txt", LINK)])), ("safe",),
        honest=True,
    ),
    *(
        Sample(
            f"7z/harm-{f.lower().replace(' ', '-')}", "7z",
            written("m.7z", lambda f=f: packed({"a.txt": b"x", "d/w.pkl": HARM}, f.split())), ("danger",),
            rule="pickle.gadget", needs=NEEDS, trick="One of its files starts a shell when it is loaded.",
        )
        for f in ("LZMA2", "COPY", "X86 LZMA", "ZSTD")
    ),
    Sample(
        "7z/encrypted", "7z", written("m.7z", lambda: packed(MEMBERS, password="secret")), ("unverifiable",),
        rule="7z.encrypted", needs=NEEDS, trick="Only who has the password can look into it.",
    ),
    Sample(
        "7z/encrypted-names", "7z",
        written("m.7z", lambda: packed(MEMBERS, password="secret", header_encryption=True)), ("unverifiable",),
        rule="7z.malformed", needs=NEEDS, trick="Not even the names can be read.",
    ),
    *(
        Sample(
            f"7z/{f.lower()}", "7z", written("m.7z", lambda f=f: packed({"w.pkl": HARM}, [f])), ("unverifiable",),
            rule="7z.packed", needs=NEEDS, trick="It is packed by a method that nbguard does not read.",
        )
        for f in ("PPMD", "BROTLI")
    ),
    Sample(
        "7z/program", "7z", written("m.exe", _stub), ("danger",), rule="7z.program", needs=NEEDS,
        trick="The archive lies behind a program that unpacks it.",
    ),
    Sample(
        "7z/damaged", "7z", written("m.7z", _broken), ("unverifiable", "danger"), rule="7z.checksum", needs=NEEDS,
        trick="A byte of a file was changed.",
    ),
    Sample(
        "7z/trailing", "7z", written("m.7z", lambda: packed(MEMBERS) + HARM), ("danger",), rule="7z.trailing",
        needs=NEEDS, trick="Something follows that no reader of 7z sees.",
    ),
    _forged("escape", lambda: seven([Item("../../.bashrc", b"text")]), ("danger",),
            "Unpacking it writes outside of the folder.", "archive.path"),
    _forged("backslash", lambda: seven([Item("..\\..\\x", b"text")]), ("danger",),
            "The same with Windows' separator.", "archive.path"),
    _forged("drive", lambda: seven([Item("C:\\x", b"text")]), ("danger",), "It names a drive.", "archive.path"),
    _forged("link-out", lambda: seven([Item("x", b"/etc/passwd", LINK)]), ("danger",),
            "A link leads to a file of the machine.", "archive.link"),
    _forged("anti", lambda: seven([Item("a.txt", b"x"), Item("models", b"", 0, anti=True)]), ("danger",),
            "Unpacking it deletes a file.", "7z.anti-item"),
    _forged("bomb", _bomb, ("unverifiable",), "It says that it unpacks to 4 GiB.", "7z.packed"),
    _forged("wrong-crc", lambda: seven([Item("a.txt", b"x", crc=7)]), ("unverifiable",),
            "The check sum is another one's.", "7z.checksum"),
    _forged("hidden", _hidden, ("danger",), "Bytes between the parts belong to none of them.", "7z.hidden"),
    _forged("overlap", _overlap, ("unverifiable",), "Two files share bytes.", ""),
    _forged("twice", lambda: seven([Item("a", b"x"), Item("a", b"y")]), ("unverifiable",),
            "Two files have one name.", "7z.duplicate-member"),
    _forged("unknown-method", lambda: seven([Item("a", b"x")], method=b"\x7f\x01"), ("unverifiable",),
            "A method of packing that nobody knows.", "7z.packed"),
    _forged("header-lies", lambda: wrapped(b"", b"\x01\x05" + b"\xff" * 9 + bytes(9)), ("unverifiable",),
            "It says that it holds 2^64 files.", "7z.malformed"),
    _forged("cut-off", lambda: seven([Item("a", GOOD)])[:-9], ("unverifiable",), "Its end is missing.", "7z.malformed"),
    _forged("wrong-head", lambda: wrapped(b"", b"\x01\x00", crc=zlib.crc32(b"other")), ("unverifiable",),
            "The check sum of the list of files is wrong.", "7z.malformed"),
)  # fmt: skip
