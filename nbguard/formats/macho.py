"""Mach-O: libraries and programs of macOS, and files that hold one for each kind of processor.

    images = read(view)             # one for each processor

Sources: Apple's `mach-o/loader.h`, `mach-o/fat.h`, `mach-o/nlist.h`.
"""

from __future__ import annotations

import struct

from nbguard.formats.machine_code import MAX_NAMES, Image, NativeError, text_at
from nbguard.formats.view import Part, View

THIN = {
    b"\xfe\xed\xfa\xce": (">", False), b"\xfe\xed\xfa\xcf": (">", True),
    b"\xce\xfa\xed\xfe": ("<", False), b"\xcf\xfa\xed\xfe": ("<", True),
}  # fmt: skip
FAT = {b"\xca\xfe\xba\xbe": False, b"\xca\xfe\xba\xbf": True}
MAX_ARCHITECTURES = 40
"""A Java class begins with the same four bytes; what follows is its version, 45 and above."""
MAX_COMMANDS = 16 << 20
"""Bytes of load commands."""
MAX_COUNT = 10_000
"""Load commands; the largest programs have some hundred."""
MAX_TEXT = 64 << 20
MACHINES = {7: "x86", 0x01000007: "x86-64", 12: "ARM", 0x0100000C: "ARM64", 0x0200000C: "ARM64 32", 18: "PowerPC"}
KINDS = {1: "object file", 2: "program", 6: "library", 8: "library", 9: "library", 10: "debugging information",
         11: "library"}  # fmt: skip
_SEGMENT, _SEGMENT64, _SYMTAB, _UNIXTHREAD = 0x1, 0x19, 0x2, 0x5
_DYLIBS = (0xC, 0x18, 0x1F, 0x20, 0x23)  # LOAD, LOAD_WEAK, REEXPORT, LAZY_LOAD, LOAD_UPWARD
_RPATH, _DYLINKER, _ENVIRONMENT, _MAIN, _ENCRYPTED, _ENCRYPTED64 = 0x1C, 0xE, 0x27, 0x28, 0x21, 0x2C
_LINKEDIT = (0x1D, 0x1E, 0x26, 0x29, 0x2B, 0x2E, 0x33, 0x34)  # signature, split info, starts, data in code, …


def is_fat(head: bytes) -> bool:
    """Whether it is a file for several processors, and no Java class."""
    return head[:4] in FAT and len(head) >= 8 and int.from_bytes(head[4:8], "big") <= MAX_ARCHITECTURES


def read(view: View) -> list[Image]:
    """Read a Mach-O file, one image for each processor; of several, the first has the end of the file.

    Raises:
        NativeError: its headers cannot be read at all.
    """
    head = view.read(0, 8)
    if not is_fat(head):
        return [_thin(view)]
    wide, count = FAT[head[:4]], int.from_bytes(head[4:8], "big")
    size = 32 if wide else 20
    table = view.read(8, size * count)
    if not count or len(table) < size * count:
        raise NativeError("The list of processors is cut off.")
    images: list[Image] = []
    places: list[tuple[int, int]] = []
    end, behind = 8 + size * count, 8 + size * count
    lies: list[str] = []
    for at in range(0, len(table), size):
        _, _, offset, length = struct.unpack_from(">IIQQ" if wide else ">4I", table, at)
        if not length or offset + length > view.size:
            raise NativeError("The code for one processor lies outside of the file.")
        places.append((offset, length))
        image = _inner(Part(view, offset, length))
        image.code = [(offset + o, n) for o, n in image.code]
        images.append(image)
        end = max(end, offset + length)
    for offset, length in sorted(places):
        if offset < behind:
            lies.append("The code for two processors lies in one place.")
        behind = offset + length
    images[0].end = end
    for lie in lies:
        images[0].problem(lie)
    return images


def _inner(view: View) -> Image:
    """A library of several processors may hold archives of object files instead."""
    if view.read(0, 8) == b"!<arch>\n":
        from nbguard.formats import archive

        return archive.read(view)
    return _thin(view)


def _thin(view: View) -> Image:
    head = view.read(0, 32)
    if head[:4] not in THIN or len(head) < 28:
        raise NativeError("This is no Mach-O file.")
    order, wide = THIN[head[:4]]
    machine, _, kind, count, size = struct.unpack_from(order + "IIIII", head, 4)
    image = Image("Mach-O", kind=KINDS.get(kind, f"file of kind {kind}"))
    image.machine = MACHINES.get(machine, f"machine {machine:#x}")
    start = 32 if wide else 28
    if size > MAX_COMMANDS or not image.covers(view, "The list of commands", 0, start + size):
        raise NativeError("The list of commands lies outside of the file.")
    data = view.read(start, size)
    at = done = 0
    if count > MAX_COUNT:
        raise NativeError("It has more commands than any real file.")
    while done < count:
        if at + 8 > len(data):
            raise NativeError("The list of commands is shorter than it says.")
        command, length = struct.unpack_from(order + "II", data, at)
        if length < 8 or at + length > len(data):
            raise NativeError("A command is longer than the list that it is in.")
        try:
            _command(view, image, order, wide, command & 0x7FFFFFFF, data[at : at + length])
        except struct.error as error:
            raise NativeError("A command is shorter than it has to be.") from error
        at += length
        done += 1
    image.static = image.kind in ("program", "library") and not image.libraries
    return image


def _command(view: View, image: Image, order: str, wide: bool, command: int, data: bytes) -> None:
    if command in (_SEGMENT, _SEGMENT64):
        _segment(view, image, order, command == _SEGMENT64, data)
    elif command in _DYLIBS:
        image.libraries.append(_text(order, data))
    elif command == _RPATH:
        image.search_paths.append(_text(order, data))
    elif command == _DYLINKER:
        image.interpreter = _text(order, data)
    elif command == _ENVIRONMENT:
        image.auditors.append(f"environment:{_text(order, data)}")
    elif command in (_MAIN, _UNIXTHREAD):
        image.entry = True
        image.starts.append("its entry point")
    elif command in (_ENCRYPTED, _ENCRYPTED64):
        image.encrypted |= struct.unpack_from(order + "I", data, 16)[0] != 0
    elif command in _LINKEDIT:
        image.covers(view, "A table of the linker", *struct.unpack_from(order + "II", data, 8))
    elif command == _SYMTAB and (image.imports or image.exports):
        image.problem("It has two tables of symbols.")
    elif command == _SYMTAB:
        _symbols(view, image, order, wide, data)


def _text(order: str, data: bytes) -> str:
    return text_at(data, struct.unpack_from(order + "I", data, 8)[0])


def _segment(view: View, image: Image, order: str, wide: bool, data: bytes) -> None:
    name = text_at(data[8:24] + b"\0", 0)
    if wide:
        _, _, offset, length, _, protection, count, _ = struct.unpack_from(order + "4Q4I", data, 24)
    else:
        _, _, offset, length, _, protection, count, _ = struct.unpack_from(order + "8I", data, 24)
    image.covers(view, f"The segment {ascii(name)[1:-1]}", offset, length)
    if protection & 6 == 6:
        image.writable_code.append(f"the segment {ascii(name)[1:-1]}")
    size, at = (80, 72) if wide else (68, 56)
    if at + size * count > len(data):
        image.problem("A segment says that it has more sections than there is room for.")
        return
    for place in range(at, at + size * count, size):
        _section(view, image, order, wide, data[place : place + size])


def _section(view: View, image: Image, order: str, wide: bool, data: bytes) -> None:
    name = text_at(data[:16] + b"\0", 0)
    length, offset = struct.unpack_from(order + ("QI" if wide else "II"), data, 40 if wide else 36)
    flags = struct.unpack_from(order + "I", data, 64 if wide else 56)[0]
    image.parts.append(name)
    kind = flags & 0xFF
    if kind in (0x1, 0xC, 0x12):  # filled with zeros
        return
    if length and not image.covers(view, f"The section {ascii(name)[1:-1]}", offset, length):
        return
    if flags & 0x80000000 and length:
        image.code.append((offset, length))
    if kind in (0x9, 0x16):
        count = length // (4 if kind == 0x16 or not wide else 8)
        image.starts.append(f"{count} constructor{'s' if count > 1 else ''} ({name})")


def _symbols(view: View, image: Image, order: str, wide: bool, data: bytes) -> None:
    offset, count, strings, size = struct.unpack_from(order + "4I", data, 8)
    row = 16 if wide else 12
    there = image.covers(view, "The table of symbols", offset, row * count)
    there &= image.covers(view, "The names of its symbols", strings, size)
    if not there:
        return
    names = view.read(strings, min(size, MAX_TEXT))
    table = view.read(offset, row * min(count, MAX_NAMES))
    for at in range(0, len(table) - row + 1, row):
        name, kind = struct.unpack_from(order + "IB", table, at)
        if not kind & 0xE0 and kind & 1:  # for others to see, and no debugging entry
            text = text_at(names, name)
            image.keep(image.exports if kind & 0xE else image.imports, text.removeprefix("_"))
