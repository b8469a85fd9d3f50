"""Native files made in code, and real ones with one thing changed: for tests of what stands out in machine code.

data = elf_with(real_elf(), segment_flags=7)
data = macho(rpaths=["/tmp/x"])
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from sample_set import MARKER


@cache
def real_elf() -> bytes:
    """A small library that is in every environment: the speed-ups of MarkupSafe."""
    spec = find_spec("markupsafe")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("_speedups*.so")).read_bytes()


@cache
def real_exe() -> bytes:
    spec = find_spec("setuptools")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "cli-64.exe").read_bytes()


def segments(data: bytes) -> list[tuple[int, tuple[int, ...]]]:
    """(offset of the row, its fields) for a 64-bit ELF file."""
    (at,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    return [(at + size * n, struct.unpack_from("<IIQQQQQQ", data, at + size * n)) for n in range(count)]


def elf_with_flags(kind: int, flags: int, number: int = 0) -> bytes:
    """The first segment of that kind gets these flags."""
    data = bytearray(real_elf())
    row = [at for at, fields in segments(data) if fields[0] == kind][number]
    struct.pack_into("<I", data, row + 4, flags)
    return bytes(data)


def elf_with_dynamic(tag: int) -> bytes:
    """Its first DT_NEEDED becomes another entry of the dynamic table, with the same text."""
    data = bytearray(real_elf())
    place = next(fields[2] for _, fields in segments(data) if fields[0] == 2)
    while struct.unpack_from("<q", data, place)[0] != 1:
        place += 16
    struct.pack_into("<q", data, place, tag)
    return bytes(data)


def elf_with_segment_outside() -> bytes:
    data = bytearray(real_elf())
    row = [at for at, fields in segments(data) if fields[0] == 1][-1]
    struct.pack_into("<Q", data, row + 32, len(data) * 2)
    struct.pack_into("<Q", data, row + 40, len(data) * 2)
    return bytes(data)


def elf_with_two_dynamic_tables() -> bytes:
    """Tools read the dynamic table at its offset, the loader at its address: let them differ."""
    data = bytearray(real_elf())
    row = next(at for at, fields in segments(data) if fields[0] == 2)
    (offset,) = struct.unpack_from("<Q", data, row + 8)
    struct.pack_into("<Q", data, row + 8, offset + 64)
    return bytes(data)


@cache
def compiled(source: str, *options: str) -> bytes:
    """What gcc makes of it. Only where there is one."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.c").write_text(source)
        subprocess.run(["gcc", "-O1", *options, "-o", "x.so", "x.c"], cwd=folder, check=True, capture_output=True)
        return (Path(folder) / "x.so").read_bytes()


HAVE_GCC = shutil.which("gcc") is not None
CONSTRUCTOR = f"""
#include <stdlib.h>
__attribute__((constructor)) static void at_load(void) {{ system("echo ran > {MARKER}"); }}
"""


def macho(
    *,
    libraries: tuple[str, ...] = ("/usr/lib/libSystem.B.dylib",),
    rpaths: tuple[str, ...] = (),
    imports: tuple[str, ...] = ("malloc", "free"),
    protection: int = 5,
    environment: str = "",
    encrypted: int = 0,
) -> bytes:
    """A 64-bit library for ARM64 as the linker of macOS lays it out: a text segment, symbols, their names."""

    def text(command: int, head: bytes, value: str) -> bytes:
        body = head + value.encode() + b"\0"
        body += bytes(-(8 + len(body)) % 8)
        return struct.pack("<II", command, 8 + len(body)) + body

    names = b"\0" + b"".join(b"_" + n.encode() + b"\0" for n in imports)
    at, rows = 1, b""
    for name in imports:
        rows += struct.pack("<IBBHQ", at, 1, 0, 0x100, 0)
        at += len(name) + 2
    code = bytes.fromhex("00008052c0035fd6") * 64
    start, link = 4096, 4096 + len(code)
    section = struct.pack("<16s16sQQ8I", b"__text", b"__TEXT", start, len(code), start, 2, 0, 0, 0x80000400, 0, 0, 0)
    commands = [
        struct.pack("<II16s4Q4I", 0x19, 72 + 80, b"__TEXT", 0, 8192, 0, link, protection, protection, 1, 0) + section,
        struct.pack("<II16s4Q4I", 0x19, 72, b"__LINKEDIT", 8192, 4096, link, len(rows) + len(names), 1, 1, 0, 0),
        struct.pack("<6I", 2, 24, link, len(imports), link + len(rows), len(names)),
    ]
    commands += [text(0xC, struct.pack("<4I", 24, 2, 0x10000, 0x10000), name) for name in libraries]
    commands += [text(0x8000001C, struct.pack("<I", 12), path) for path in rpaths]
    if environment:
        commands.append(text(0x27, struct.pack("<I", 12), environment))
    if encrypted:
        commands.append(struct.pack("<6I", 0x2C, 24, start, len(code), encrypted, 0))
    body = b"".join(commands)
    head = struct.pack("<4sIIIIIII", b"\xcf\xfa\xed\xfe", 0x0100000C, 0, 6, len(commands), len(body), 0x85, 0)
    return (head + body).ljust(start, b"\0") + code + rows + names


def fat(*parts: bytes, overlap: bool = False) -> bytes:
    table, body, at = b"", b"", 4096
    for number, part in enumerate(parts):
        table += struct.pack(">5I", (0x01000007, 0x0100000C)[number % 2], 3, 4096 if overlap else at, len(part), 12)
        body += part.ljust(-(-len(part) // 4096) * 4096, b"\0")
        at = 4096 + len(body)
    return (b"\xca\xfe\xba\xbe" + struct.pack(">I", len(parts)) + table).ljust(4096, b"\0") + body


def wasm(imports: tuple[tuple[str, str], ...] = (("env", "abort"),), *, start: bool = False) -> bytes:
    """A module with one function, which adds one."""

    def vector(rows: list[bytes]) -> bytes:
        return bytes([len(rows)]) + b"".join(rows)

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    def section(number: int, body: bytes) -> bytes:
        return bytes([number, len(body)]) + body

    out = b"\0asm\1\0\0\0" + section(1, vector([b"\x60\0\0"]))
    out += section(2, vector([text(m) + text(n) + b"\0\0" for m, n in imports]))
    out += section(3, vector([b"\0"])) + section(7, vector([text("run") + b"\0" + bytes([len(imports)])]))
    if start:
        out += section(8, bytes([len(imports)]))
    return out + section(10, vector([b"\x02\0\x0b"]))


def archive(*members: tuple[str, bytes]) -> bytes:
    """As `ar` writes it."""
    out = b"!<arch>\n"
    for name, data in members:
        out += (
            f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) & 1)
        )
    return out


def exe_with(**changes: int) -> bytes:
    """The launcher of setuptools with the flags of a section changed: `exe_with(text=0xE0000020)`."""
    data = bytearray(real_exe())
    at = struct.unpack_from("<I", data, 60)[0]
    count, optional = struct.unpack_from("<H", data, at + 6)[0], struct.unpack_from("<H", data, at + 20)[0]
    for row in range(at + 24 + optional, at + 24 + optional + 40 * count, 40):
        name = bytes(data[row : row + 8]).strip(b"\0.").decode()
        if name in changes:
            struct.pack_into("<I", data, row + 36, changes[name])
    return bytes(data)


def exe_importing(*names: str) -> bytes:
    """The launcher asks for these functions instead of some that it has names of the same length or longer for."""
    data = real_exe()
    olds = [b"GetSystemTimeAsFileTime", b"QueryPerformanceCounter", b"InitializeSListHead", b"GetCurrentProcessId"]
    for old, new in zip(olds, names, strict=False):
        assert old in data
        assert len(new) <= len(old)
        data = data.replace(old, new.encode().ljust(len(old), b"\0"))
    return data
