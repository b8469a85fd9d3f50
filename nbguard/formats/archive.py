"""Archives of object files (`ar`): what is linked into programs.

    image = read(view)

Sources: `ar(5)` of System V and BSD, `ar.h` of glibc.
"""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.formats import elf
from nbguard.formats.machine_code import Image, NativeError
from nbguard.formats.view import Part, View

MAGIC = b"!<arch>\n"
THIN = b"!<thin>\n"
MAX_MEMBERS = 20_000


def members(view: View) -> Iterator[tuple[str, View]]:
    """The name and the bytes of each member. Raises NativeError where it does not hold together."""
    at = len(MAGIC)
    for _ in range(MAX_MEMBERS):
        if at >= view.size:
            return
        head = view.read(at, 60)
        size = head[48:58].strip()
        if len(head) < 60 or head[58:] != b"`\n" or not size.isdigit():
            raise NativeError("A member of the archive has no header that can be read.")
        start, length = at + 60, int(size)
        if start + length > view.size:
            raise NativeError("A member of the archive reaches beyond its end.")
        name = head[:16].rstrip(b" ")
        if name.startswith(b"#1/") and name[3:].isdigit():  # BSD: the name comes before the data
            extra = int(name[3:])
            if extra > min(length, 4_096):
                raise NativeError("A member of the archive has a name that is longer than itself.")
            name = view.read(start, extra).rstrip(b"\0")
            yield name.decode("utf-8", "backslashreplace"), Part(view, start + extra, length - extra)
        else:
            yield name.decode("utf-8", "backslashreplace"), Part(view, start, length)
        at = start + length + (length & 1)
    raise NativeError("The archive has more members than are looked at.")


def read(view: View) -> Image:
    """Read an archive: what its members that are ELF or Mach-O import and bring.

    Raises:
        NativeError: it cannot be read to its end.
    """
    if view.read(0, 8) == THIN:
        raise NativeError("The archive only names files elsewhere, which nobody has looked at.")
    image = Image("archive", kind="static library", end=view.size)
    machines: set[str] = set()
    count = 0
    for name, part in members(view):
        if name in ("/", "//", "/SYM64/", "__.SYMDEF", "__.SYMDEF SORTED") or name.startswith("__.SYMDEF"):
            continue
        if name.rstrip("/") == "debian-binary":
            raise NativeError("This is a Debian package, whose scripts run when it is installed.")
        count += 1
        for inner in _objects(part, image):
            machines.add(inner.machine)
            for text in inner.imports:
                image.keep(image.imports, text)
            for text in inner.exports:
                image.keep(image.exports, text)
            for sentence in inner.problems:
                image.problem(f"{name[:80]}: {sentence}")
    image.machine = ", ".join(sorted(machines)[:4]) or "unknown processors"
    image.kind = f"static library of {count} object file{'s' if count != 1 else ''}"
    return image


def _objects(part: View, image: Image) -> list[Image]:
    from nbguard.formats import macho

    head = part.read(0, 8)
    try:
        if head.startswith(elf.MAGIC):
            return [elf.read(part)]
        if head[:4] in macho.THIN:
            return macho.read(part)
    except NativeError as error:
        image.problem(str(error))
    return []
