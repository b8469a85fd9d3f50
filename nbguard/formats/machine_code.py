"""What the readers of native files (ELF, PE, Mach-O, archives, WebAssembly) tell of one, and what they share.

    image = elf.read(view)
    image.kind, image.machine, image.imports, image.problems

Nothing is mapped or executed. A reader raises `NativeError` where there is nothing to read; what only lies about
itself (a part outside of the file, two parts in one place) is a `problem`, and reading goes on.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from nbguard.formats.view import View

MAX_NAMES = 200_000
"""Imported and exported names that are kept of one file; the largest libraries have some ten thousand."""
MAX_NAME = 512
"""Bytes of one name; mangled C++ names are longer, and what they are called for stands at their beginning."""
SAMPLE = 1 << 20
"""Bytes of each part with code that are measured."""


class NativeError(ValueError):
    """This is no native file that can be read. The message is one plain sentence."""


@dataclass
class Image:
    """One library, program or object file."""

    container: str
    """`ELF`, `PE`, `Mach-O`, `WebAssembly`."""
    kind: str = "file"
    """`library`, `program`, `object file`, …"""
    machine: str = ""
    """`x86-64`, `ARM64`, …"""
    libraries: list[str] = field(default_factory=list)
    """What the loader loads with it, as it stands there."""
    imports: set[str] = field(default_factory=set)
    exports: set[str] = field(default_factory=set)
    starts: list[str] = field(default_factory=list)
    """What runs by itself as soon as it is loaded or started: `3 constructors (.init_array)`."""
    entry: bool = False
    """It can be started as a program."""
    writable_code: list[str] = field(default_factory=list)
    """Parts of memory that are writable and executable at once."""
    executable_stack: bool = False
    search_paths: list[str] = field(default_factory=list)
    """Where it has its libraries looked for (RPATH, RUNPATH, LC_RPATH)."""
    interpreter: str = ""
    """The program that loads it, where it names one."""
    auditors: list[str] = field(default_factory=list)
    """Libraries that watch or stand in for others (DT_AUDIT, DT_FILTER; DYLD_* variables)."""
    code: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) of the parts with code."""
    parts: list[str] = field(default_factory=list)
    """Names of its sections."""
    end: int = 0
    """Behind the last byte that some header accounts for."""
    static: bool = False
    """It calls nothing by name, so that what it does cannot be seen from its imports."""
    encrypted: bool = False
    problems: list[str] = field(default_factory=list)
    """Where its headers lie, in plain sentences."""

    def problem(self, sentence: str) -> None:
        if sentence not in self.problems and len(self.problems) < 20:
            self.problems.append(sentence)

    def covers(self, view: View, what: str, offset: int, length: int) -> bool:
        """Count a range as belonging to the file; False, and a problem, where the file ends before."""
        if length <= 0:
            return True
        if offset < 0 or offset + length > view.size:
            self.problem(f"{what} lies outside of the file.")
            return False
        self.end = max(self.end, offset + length)
        return True

    def keep(self, names: set[str], name: str) -> None:
        if name and len(names) < MAX_NAMES:
            names.add(name)


def text_at(data: bytes, at: int, most: int = MAX_NAME) -> str:
    """The text that ends with a NUL at `at`, bounded; empty where there is none."""
    if not 0 <= at < len(data):
        return ""
    end = data.find(b"\0", at, at + most)
    return data[at : end if end >= 0 else at + most].decode("utf-8", "backslashreplace")


def entropy(view: View, offset: int, length: int) -> float:
    """Bits for each byte of a sample of that range: machine code has about six, compressed or encrypted bytes eight."""
    data = view.read(offset, min(length, SAMPLE))
    if not data:
        return 0.0
    return -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values())
