"""ELF: libraries and programs of Linux and other Unix systems, objects, and code for graphics processors.

    image = read(view)

What counts is what the dynamic loader looks at: the program headers and, through their addresses, the dynamic table.
Section headers, which only tools look at, add names and the end of the file. Sources: the System V ABI (gABI, chapters
4 and 5), `elf.h` of glibc, `elf/dl-load.c`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nbguard.formats.machine_code import MAX_NAMES, Image, NativeError, text_at
from nbguard.formats.view import View

MAGIC = b"\x7fELF"
MAX_HEADERS = 200_000
"""Sections; objects compiled with a section for each function have tens of thousands."""
MAX_SEGMENTS = 4_096
MAX_DYNAMIC = 65_536
MAX_PLACES = 100_000
"""Relocations of one table that are looked through."""
MAX_PATHS = 1 << 16
"""Bytes of one list of folders."""
MAX_TEXT = 64 << 20
"""Bytes of one table of names."""
MACHINES = {
    2: "SPARC", 3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC 64", 22: "S/390", 40: "ARM", 43: "SPARC 64",
    50: "Itanium", 62: "x86-64", 183: "ARM64", 190: "an NVIDIA graphics processor", 224: "an AMD graphics processor",
    243: "RISC-V", 247: "BPF", 258: "LoongArch",
}  # fmt: skip
_LOAD, _DYNAMIC, _INTERP, _STACK = 1, 2, 3, 0x6474E551
_NOBITS = 8
_NEEDED, _STRTAB, _SYMTAB, _STRSZ, _HASH, _GNU_HASH = 1, 5, 6, 10, 4, 0x6FFFFEF5
_PATHS = (15, 29)  # DT_RPATH, DT_RUNPATH
_WATCH = (0x6FFFFEFC, 0x6FFFFEFB, 0x7FFFFFFD, 0x7FFFFFFF)  # DT_AUDIT, DT_DEPAUDIT, DT_AUXILIARY, DT_FILTER
_FLAGS_1, _PIE = 0x6FFFFFFB, 0x08000000


@dataclass(frozen=True)
class _Segment:
    kind: int
    flags: int
    offset: int
    address: int
    filesz: int
    memsz: int


@dataclass(frozen=True)
class _Section:
    name: int
    kind: int
    flags: int
    offset: int
    size: int
    link: int


class _File:
    """The headers, in the byte order and the width that the file says."""

    def __init__(self, view: View) -> None:
        head = view.read(0, 64)
        if head[:4] != MAGIC or len(head) < 52:
            raise NativeError("The ELF header is cut off.")
        if head[4] not in (1, 2) or head[5] not in (1, 2):
            raise NativeError("The ELF header says neither 32 nor 64 bits.")
        self.view, self.wide, self.order = view, head[4] == 2, "<" if head[5] == 1 else ">"
        if self.wide and len(head) < 64:
            raise NativeError("The ELF header is cut off.")
        fields = struct.unpack_from(self.order + ("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH"), head, 16)
        self.type, self.machine, _, self.entry, self.phoff, self.shoff = fields[:6]
        _, self.ehsize, self.phentsize, self.phnum, self.shentsize, self.shnum, self.shstrndx = fields[6:]

    def numbers(self, format: str, data: bytes, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + format, data, at)


def read(view: View) -> Image:
    """Read one ELF file.

    Raises:
        NativeError: its headers cannot be read at all.
    """
    file = _File(view)
    image = Image("ELF", machine=MACHINES.get(file.machine, f"machine {file.machine}"))
    image.covers(view, "The header", 0, 64 if file.wide else 52)
    segments = _segments(file, image)
    sections = _sections(file, image)
    dynamic = _dynamic(file, image, segments)
    if dynamic:
        _linked(file, image, segments, dynamic)
    elif sections:
        _symbols_of_sections(file, image, sections)
    _kind(file, image, segments, dynamic)
    _memory(image, segments)
    if not image.code:
        image.code = [(s.offset, s.filesz) for s in segments if s.kind == _LOAD and s.flags & 1]
    return image


def _segments(file: _File, image: Image) -> list[_Segment]:
    size = 56 if file.wide else 32
    if not file.phnum:
        return []
    if file.phentsize != size or file.phnum > MAX_SEGMENTS:
        raise NativeError("The table of segments is none that a loader takes.")
    if not image.covers(file.view, "The table of segments", file.phoff, size * file.phnum):
        raise NativeError("The table of segments lies outside of the file.")
    data = file.view.read(file.phoff, size * file.phnum)
    found: list[_Segment] = []
    for at in range(0, len(data), size):
        if file.wide:
            kind, flags, offset, address, _, filesz, memsz, _ = file.numbers("IIQQQQQQ", data, at)
        else:
            kind, offset, address, _, filesz, memsz, flags, _ = file.numbers("8I", data, at)
        if kind and kind != _STACK:
            image.covers(file.view, "A segment", offset, filesz)
        if kind == _LOAD and filesz > memsz:
            image.problem("A segment takes more bytes from the file than it has room for.")
        found.append(_Segment(kind, flags, offset, address, filesz, memsz))
    behind = -1
    for load in sorted((s for s in found if s.kind == _LOAD), key=lambda s: s.address):
        if load.address < behind:
            image.problem("Two segments lie in one place in memory.")
        behind = load.address + load.memsz
    return found


def _sections(file: _File, image: Image) -> list[_Section]:
    size = 64 if file.wide else 40
    if not file.shoff:
        return []
    if file.shentsize != size:
        image.problem("The table of sections has entries of an impossible size.")
        return []
    count, names = file.shnum, file.shstrndx
    first = file.view.read(file.shoff, size)
    if len(first) == size:  # more than fit into the header's field: the first section says how many
        wide = file.numbers("IIQQQQIIQQ" if file.wide else "10I", first, 0)
        count = count or wide[5]
        names = wide[6] if names == 0xFFFF else names
    if count > MAX_HEADERS or not image.covers(file.view, "The table of sections", file.shoff, size * count):
        image.problem("The table of sections lies outside of the file.")
        return []
    data = file.view.read(file.shoff, size * count)
    found: list[_Section] = []
    for at in range(0, len(data), size):
        name, kind, flags, _, offset, length, link, *_ = file.numbers("IIQQQQIIQQ" if file.wide else "10I", data, at)
        if kind not in (0, _NOBITS):
            image.covers(file.view, "A section", offset, length)
            if flags & 4 and length and offset + length <= file.view.size:
                image.code.append((offset, length))
        found.append(_Section(name, kind, flags, offset, length, link))
    if names < len(found):
        table = file.view.read(found[names].offset, min(found[names].size, MAX_TEXT))
        image.parts = sorted({text_at(table, s.name) for s in found[:2_000]} - {""})
    return found


def _place(segments: list[_Segment], address: int) -> int:
    """Where in the file the loader takes the bytes at `address` from; -1 where nowhere."""
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.filesz:
            return segment.offset + address - segment.address
    return -1


def _dynamic(file: _File, image: Image, segments: list[_Segment]) -> list[tuple[int, int]]:
    """The dynamic table, from the place where the loader reads it."""
    tables = [s for s in segments if s.kind == _DYNAMIC]
    if not tables:
        return []
    at = _place(segments, tables[-1].address)
    if at != tables[-1].offset or len(tables) > 1:
        image.problem("Its dynamic table is in another place for the loader than for tools that look at it.")
    if at < 0:
        return []
    size, format = (16, "qQ") if file.wide else (8, "iI")
    data = file.view.read(at, size * MAX_DYNAMIC)
    found: list[tuple[int, int]] = []
    for place in range(0, len(data) - size + 1, size):
        tag, value = file.numbers(format, data, place)
        if tag == 0:
            return found
        found.append((tag, value))
    image.problem("Its dynamic table has no end.")
    return found


def _linked(file: _File, image: Image, segments: list[_Segment], dynamic: list[tuple[int, int]]) -> None:
    values = dict(dynamic)
    start, length = _place(segments, values.get(_STRTAB, -1)), values.get(_STRSZ, 0)
    if start < 0 or start + length > file.view.size:
        image.problem("Its table of names lies outside of the file.")
        return
    names = file.view.read(start, min(length, MAX_TEXT))
    for tag, value in dynamic[:MAX_DYNAMIC]:
        wanted = (
            image.libraries if tag == _NEEDED else image.search_paths if tag in _PATHS else
            image.auditors if tag in _WATCH else None
        )  # fmt: skip
        if wanted is None:
            continue
        if value >= length:
            image.problem("A library's name lies outside of the table of names.")
        elif len(wanted) < 1_000:
            kind = {0x6FFFFEFC: "audit", 0x6FFFFEFB: "audit"}.get(tag, "stands in") if tag in _WATCH else ""
            text = text_at(names, value, MAX_PATHS)
            wanted += [f"{kind}:{text}"] if kind else text.split(":") if tag in _PATHS else [text]
    _constructors(file, image, values)
    count = _how_many(file, image, segments, values)
    at = _place(segments, values.get(_SYMTAB, -1))
    if at >= 0:
        _symbols(file, image, at, count, names)


def _constructors(file: _File, image: Image, values: dict[int, int]) -> None:
    word = 8 if file.wide else 4
    if values.get(12):
        image.starts.append("an initialiser (DT_INIT)")
    for tag, size, name in ((32, 33, ".preinit_array"), (25, 27, ".init_array")):
        if values.get(tag) and (count := values.get(size, 0) // word):
            image.starts.append(f"{count} constructor{'s' if count > 1 else ''} ({name})")
    image.entry = bool(values.get(_FLAGS_1, 0) & _PIE)


def _how_many(file: _File, image: Image, segments: list[_Segment], values: dict[int, int]) -> int:
    """Symbols of the dynamic table, which says so nowhere: its hash tables do, and the places that are filled in."""
    counts = [_relocated(file, segments, values)]
    if (at := _place(segments, values.get(_HASH, -1))) >= 0:
        head = file.view.read(at, 8)
        counts.append(file.numbers("II", head, 0)[1] if len(head) == 8 else 0)
    if (at := _place(segments, values.get(_GNU_HASH, -1))) >= 0:
        counts.append(_gnu_count(file, at))
    if not max(counts):  # neither: the names usually come right behind the symbols
        counts.append(max(0, values.get(_STRTAB, 0) - values.get(_SYMTAB, 0)) // (24 if file.wide else 16))
    return min(max(counts), MAX_NAMES)


def _relocated(file: _File, segments: list[_Segment], values: dict[int, int]) -> int:
    """One more than the highest symbol that the loader fills in somewhere, as far as that is looked through."""
    highest = 0
    for table, length, with_addend in ((23, 2, values.get(20, 7) == 7), (7, 8, True), (17, 18, False)):
        at, size = _place(segments, values.get(table, -1)), values.get(length, 0)
        row = (24 if with_addend else 16) if file.wide else (12 if with_addend else 8)
        if at < 0 or not size:
            continue
        start = at + max(0, size // row - MAX_PLACES) * row  # those with symbols come last
        data = file.view.read(start, min(size, MAX_PLACES * row))
        format = ("QQq" if with_addend else "QQ") if file.wide else ("IIi" if with_addend else "II")
        for _, info, *_ in struct.iter_unpack(file.order + format, data[: len(data) // row * row]):
            highest = max(highest, info >> 32 if file.wide else info >> 8)
    return highest + 1 if highest else 0


def _gnu_count(file: _File, at: int) -> int:
    """Symbols that a GNU hash table covers: the last chain's end. 0 where it cannot be told."""
    head = file.view.read(at, 16)
    if len(head) < 16:
        return 0
    buckets, offset, bloom, _ = file.numbers("4I", head, 0)
    if buckets > MAX_NAMES or bloom > MAX_NAMES:
        return 0
    start = at + 16 + bloom * (8 if file.wide else 4)
    data = file.view.read(start, 4 * buckets)
    if len(data) < 4 * buckets or not buckets:
        return offset
    last = max(file.numbers(f"{buckets}I", data, 0))
    if last < offset:
        return offset
    chain = start + 4 * buckets + 4 * (last - offset)
    entries = file.view.read(chain, 4 * 65_536)
    for number, (entry,) in enumerate(struct.iter_unpack(file.order + "I", entries[: len(entries) // 4 * 4])):
        if entry & 1:
            return last + number + 1
    return last


def _symbols(file: _File, image: Image, at: int, count: int, names: bytes) -> None:
    size = 24 if file.wide else 16
    data = file.view.read(at, size * count)
    for place in range(0, len(data) - size + 1, size):
        if file.wide:
            name, info, _, section, _, _ = file.numbers("IBBHQQ", data, place)
        else:
            name, _, _, info, _, section = file.numbers("IIIBBH", data, place)
        if name and info >> 4:  # not local
            image.keep(image.exports if section else image.imports, text_at(names, name))


def _symbols_of_sections(file: _File, image: Image, sections: list[_Section]) -> None:
    """Objects and programs without a dynamic table: what their own list of symbols says, where it was kept."""
    for section in sections:
        if section.kind != 2 or section.link >= len(sections):
            continue
        names = sections[section.link]
        text = file.view.read(names.offset, min(names.size, MAX_TEXT))
        size = 24 if file.wide else 16
        _symbols(file, image, section.offset, min(section.size // size, MAX_NAMES), text)
        return  # there is one; more of them would be read again and again


def _kind(file: _File, image: Image, segments: list[_Segment], dynamic: list[tuple[int, int]]) -> None:
    interpreter = next((s for s in segments if s.kind == _INTERP), None)
    if interpreter is not None:
        image.interpreter = text_at(file.view.read(interpreter.offset, min(interpreter.filesz, 4_096)) + b"\0", 0)
        if not image.interpreter:
            image.problem("It names no loader where it says that it does.")
    kinds = {1: "object file", 2: "program", 3: "library", 4: "memory image of a program"}
    image.kind = kinds.get(file.type, f"file of kind {file.type}")
    image.entry = image.entry or file.type == 2 or (file.type == 3 and bool(image.interpreter) and not _soname(dynamic))
    if file.type == 3 and image.entry:
        image.kind = "program"
    gpu = file.machine in (190, 224)
    image.static = not gpu and not dynamic and file.type in (2, 3)
    if file.type in (2, 3) and not gpu:
        if not any(s.kind == _LOAD for s in segments):
            image.problem("It has nothing that a loader would load.")
        elif file.entry and _place(segments, file.entry) < 0:
            image.problem("It starts in a place that is not in the file.")


def _soname(dynamic: list[tuple[int, int]]) -> bool:
    return any(tag == 14 for tag, _ in dynamic)


def _memory(image: Image, segments: list[_Segment]) -> None:
    for segment in segments:
        if segment.kind == _LOAD and segment.flags & 3 == 3:
            image.writable_code.append(f"a segment at {segment.address:#x}")
        if segment.kind == _STACK and segment.flags & 1:
            image.executable_stack = True
