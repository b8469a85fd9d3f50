"""PE: libraries and programs of Windows.

    image = read(view)

Sources: Microsoft's "PE Format", and how `ntdll` takes what is malformed: what lies outside of the file is a problem.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nbguard.formats.machine_code import MAX_NAMES, Image, NativeError, text_at
from nbguard.formats.view import View

MAX_SECTIONS = 96
"""What the Windows loader takes."""
MAX_LIBRARIES = 4_096
MAX_TABLE = 32 << 20
"""Bytes of one section in which names are looked for."""
MACHINES = {
    0x14C: "x86", 0x8664: "x86-64", 0x1C0: "ARM", 0x1C4: "ARM", 0xAA64: "ARM64", 0xA641: "ARM64", 0x200: "Itanium",
    0xEBC: "EFI byte code", 0x5064: "RISC-V",
}  # fmt: skip
_EXPORT, _IMPORT, _SECURITY, _TLS, _DELAY, _CLR = 0, 1, 4, 9, 13, 14
_MEMORY = {"execute": 0x20000000, "write": 0x80000000}


@dataclass(frozen=True)
class _Section:
    name: str
    address: int
    length: int
    offset: int
    size: int
    flags: int


def place(head: bytes) -> int:
    """Where the PE header lies, as the DOS header before it says; -1 where it says nothing."""
    return int.from_bytes(head[60:64], "little") if head[:2] == b"MZ" and len(head) >= 64 else -1


class _File:
    def __init__(self, view: View, image: Image) -> None:
        self.view, self.image = view, image
        self.names = MAX_NAMES
        """Names that may still be read; lists may name one place many times."""
        at = place(view.read(0, 64))
        head = view.read(at, 24) if at >= 0 else b""
        if len(head) < 24 or head[:4] != b"PE\0\0":
            raise NativeError("The PE header is not where the file says.")
        machine, sections, _, symbols, count, optional, self.flags = struct.unpack_from("<HHIIIHH", head, 4)
        image.machine = MACHINES.get(machine, f"machine {machine:#x}")
        header = view.read(at + 24, optional)
        magic = int.from_bytes(header[:2], "little")
        if magic not in (0x10B, 0x20B) or len(header) < (96 if magic == 0x10B else 112):
            raise NativeError("The PE header is cut off.")
        self.wide = magic == 0x20B
        self.entry = struct.unpack_from("<I", header, 16)[0]
        self.base = struct.unpack_from("<Q", header, 24)[0] if self.wide else struct.unpack_from("<I", header, 28)[0]
        number = struct.unpack_from("<I", header, 108 if self.wide else 92)[0]
        start = 112 if self.wide else 96
        places = range(start, min(len(header), start + 8 * min(number, 16)) - 7, 8)
        self.directories = [struct.unpack_from("<II", header, p) for p in places]
        if symbols and count:
            image.covers(view, "The table of symbols", symbols, 18 * count)
            strings = view.read(symbols + 18 * count, 4)
            if len(strings) == 4:
                image.covers(view, "The names of its symbols", symbols + 18 * count, int.from_bytes(strings, "little"))
        image.covers(view, "The header", 0, at + 24 + optional)
        self.sections = self._sections(at + 24 + optional, sections)

    def _sections(self, at: int, count: int) -> list[_Section]:
        if count > MAX_SECTIONS:
            raise NativeError("It has more sections than Windows takes.")
        if not self.image.covers(self.view, "The table of sections", at, 40 * count):
            return []
        found: list[_Section] = []
        taken: list[tuple[int, int]] = []
        for place in range(at, at + 40 * count, 40):
            row = self.view.read(place, 40)
            length, address, size, offset = struct.unpack_from("<4I", row, 8)
            flags = struct.unpack_from("<I", row, 36)[0]
            name = row[:8].rstrip(b"\0").decode("latin-1")
            if size and offset and not self.image.covers(self.view, f"The section {ascii(name)[1:-1]}", offset, size):
                size = max(0, self.view.size - offset)
            found.append(_Section(name, address, max(length, 1), offset, size if offset else 0, flags))
            if size and offset:
                taken.append((offset, size))
        behind = 0
        for offset, size in sorted(taken):
            if offset < behind:
                self.image.problem("Two sections share bytes of the file.")
            behind = max(behind, offset + size)
        return found

    def read(self, rva: int, length: int) -> bytes:
        """Bytes at an address relative to the image's start; short where they are not in the file."""
        for section in self.sections:
            inside = rva - section.address
            if 0 <= inside < max(section.length, section.size):
                return self.view.read(section.offset + inside, min(length, section.size - inside))
        return b""

    def text(self, rva: int) -> str:
        return text_at(self.read(rva, 512) + b"\0", 0)

    def directory(self, number: int) -> tuple[int, int]:
        return self.directories[number] if number < len(self.directories) else (0, 0)


def read(view: View) -> Image:
    """Read one PE file.

    Raises:
        NativeError: its headers cannot be read at all.
    """
    image = Image("PE")
    file = _File(view, image)
    image.kind = "library" if file.flags & 0x2000 else "program"
    image.entry = image.kind == "program"
    image.parts = [s.name for s in file.sections]
    for section in file.sections:
        if section.flags & _MEMORY["execute"] and section.size:
            image.code.append((section.offset, section.size))
            if section.flags & _MEMORY["write"]:
                image.writable_code.append(f"the section {ascii(section.name)[1:-1]}")
    _imports(file, image, _IMPORT, 20)
    _imports(file, image, _DELAY, 32)
    _exports(file, image)
    _starts(file, image)
    offset, length = file.directory(_SECURITY)
    if length:
        image.covers(view, "The signature", offset, length)
    image.static = not image.imports and not file.directory(_CLR)[0]
    if file.directory(_CLR)[0]:
        image.kind += " for .NET"
    return image


def _imports(file: _File, image: Image, number: int, size: int) -> None:
    """Libraries and functions: the table of imports, and the one of those that are looked for when they are needed."""
    start, _ = file.directory(number)
    if not start:
        return
    if not file.read(start, size):
        image.problem("Its list of libraries lies outside of the file.")
        return
    for row in range(MAX_LIBRARIES):
        entry = file.read(start + row * size, size)
        if len(entry) < size or not any(entry):
            return
        if size == 20:
            names, _, _, library, first = struct.unpack("<5I", entry)
        else:
            flags, library, _, first, names = struct.unpack_from("<5I", entry)
            if not flags & 1:  # addresses of the oldest linkers instead of distances
                library, names, first = (v - file.base if v >= file.base else v for v in (library, names, first))
        image.libraries.append(file.text(library))
        _functions(file, image, names or first)
    image.problem("Its list of libraries has no end.")


def _functions(file: _File, image: Image, rva: int) -> None:
    width = 8 if file.wide else 4
    data = file.read(rva, width * 65_536)
    for at in range(0, len(data) - width + 1, width):
        value = int.from_bytes(data[at : at + width], "little")
        file.names -= 1
        if file.names < 0:
            image.problem("It imports more than is looked at.")
        if not value or file.names < 0:
            return
        if not value >> (8 * width - 1):  # else by number
            image.keep(image.imports, file.text(value + 2))


def _exports(file: _File, image: Image) -> None:
    start, _ = file.directory(_EXPORT)
    head = file.read(start, 40) if start else b""
    if len(head) < 40:
        return
    count, _, names = struct.unpack_from("<III", head, 24)
    table = file.read(names, 4 * min(count, MAX_NAMES))
    for at in range(0, len(table) - 3, 4):
        image.keep(image.exports, file.text(int.from_bytes(table[at : at + 4], "little")))


def _starts(file: _File, image: Image) -> None:
    if file.entry:
        image.starts.append("its entry point" if image.entry else "its DllMain")
        if not file.read(file.entry, 1):
            image.problem("It starts in a place that is not in the file.")
        else:
            home = next(s for s in file.sections if 0 <= file.entry - s.address < max(s.length, s.size))
            if not home.flags & _MEMORY["execute"]:
                image.problem("It starts in a part that is no code.")
    start, _ = file.directory(_TLS)
    if start:
        width = 8 if file.wide else 4
        entry = file.read(start, 4 * width)
        callbacks = int.from_bytes(entry[3 * width : 4 * width], "little") if len(entry) == 4 * width else 0
        count = 0
        table = file.read(callbacks - file.base, width * 256) if callbacks > file.base else b""
        for at in range(0, len(table) - width + 1, width):
            if not any(table[at : at + width]):
                break
            count += 1
        if count:
            image.starts.append(f"{count} function{'s' if count > 1 else ''} before its entry point (TLS callbacks)")
