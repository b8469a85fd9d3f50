"""llamafile: a program for every system and the weights that it runs, in one file.

    program = read(view)
    program.stub, program.directory

An "actually portable executable" is a Windows program, a shell script and a zip at once: its first bytes are the marks
of a Windows program and, for a shell, an assignment; the script prints the header of an ELF or Mach-O program. The zip
at its end holds the weights and `.args`, the words of the command line that it starts with. Sources: Cosmopolitan's
`ape/specification.md`, llamafile's README ("Creating llamafiles").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbguard.formats.view import View
from nbguard.formats.zip_reader import ZipDirectory, ZipError, has_end, read_directory

MARKS = (b"MZqFpD='", b"jartsr='", b"APEDBG='")
"""With and without a Windows program in it, and for debugging (APE specification, "Magic Numbers")."""
STUB = 64 * 1024
"""Bytes in which the script lies."""
ARGUMENTS = ".args"
MAX_ARGUMENTS = 64 * 1024
_LINE = re.compile(rb"[\t\n\x20-\x7e]{6,}")
_PRINTF = re.compile(rb"printf '((?:\\[0-7]{1,3}|[^'\\])+)'")
"""How the script holds another system's header, in its first 8,192 bytes (APE specification, "ELF")."""


@dataclass(frozen=True)
class Program:
    """What can be told of one."""

    stub: str
    """The shell script, as far as it is text."""
    systems: tuple[str, ...]
    """Whose headers it has."""
    directory: ZipDirectory | None


def is_one(head: bytes) -> bool:
    """Whether a shell or the loader of such programs would start it."""
    return head.startswith(MARKS)


def read(view: View) -> Program:
    """Read the script and the zip's directory.

    Raises:
        ZipError: there is the end of a zip, and no zip that can be read.
    """
    head = view.read(0, STUB)
    if not is_one(head):
        raise ZipError("This is no program of that kind.")
    lines = b"\n".join(_LINE.findall(head[8:]))
    systems = ["Windows"] if head.startswith(b"MZ") else []
    for match in _PRINTF.finditer(head, 0, 8_192):
        text = re.sub(rb"\\([0-7]{1,3})", lambda m: bytes([int(m[1], 8) & 255]), match[1])
        if text.startswith(b"\x7fELF"):
            systems.append("Linux and BSD")
        elif text[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe"):
            systems.append("macOS")
    directory = read_directory(view) if has_end(view) else None
    return Program(lines[:8_000].decode("ascii"), tuple(dict.fromkeys(systems)), directory)


def arguments(data: bytes) -> list[str]:
    """The words of `.args`, one a line."""
    return [
        line.strip() for line in data[:MAX_ARGUMENTS].decode("utf-8", "backslashreplace").splitlines() if line.strip()
    ]
