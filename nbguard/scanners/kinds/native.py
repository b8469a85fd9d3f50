"""Native files: libraries and programs of Linux, Windows and macOS, static libraries, WebAssembly.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from collections.abc import Callable

from nbguard.formats import archive, elf, llamafile, macho, pe, wasm
from nbguard.formats.machine_code import Image, NativeError
from nbguard.formats.view import View
from nbguard.scanners import native_code
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts

Reader = Callable[[View], list[Image]]


class NativeScanner:
    name = "native"

    def recognise(self, job: Job) -> bool:
        return _reader(job) is not None and not llamafile.is_one(job.head)

    def scan(self, job: Job) -> Facts:
        found = _reader(job)
        assert found is not None
        format, read = found
        facts = plain(job, format, "code")
        try:
            images = read(job.view)
        except NativeError as error:
            facts = unverifiable(
                job,
                format,
                "native.malformed",
                str(error),
                meaning="It may still be loaded: loaders look at less than what was looked for here.",
                remedy="Do not load it. Get it again from its publisher.",
            )
            native_code.pin(job, facts)
            return facts
        native_code.judge(job, images, facts)
        return facts


SCANNER = NativeScanner()


def _reader(job: Job) -> tuple[str, Reader] | None:
    head = job.head
    if head.startswith(elf.MAGIC):
        return "elf", lambda view: [elf.read(view)]
    if head.startswith(b"MZ"):
        at = pe.place(head)
        if at >= 0 and job.view.read(at, 4) == b"PE\0\0":
            return "pe", lambda view: [pe.read(view)]
    if head[:4] in macho.THIN or macho.is_fat(head):
        return "mach-o", macho.read
    if head.startswith((archive.MAGIC, archive.THIN)):
        return "static-library", lambda view: [archive.read(view)]
    if head.startswith(wasm.MAGIC):
        return "wasm", lambda view: [wasm.read(view)]
    return None


_CHECKED = (
    "what it asks of the system by name (programs, network, further libraries, other programs' memory), what runs as "
    "soon as it is loaded, memory that is writable and executable, where its libraries are looked for, packed code, a "
    "name that calls it data, texts that only attacks hold, and what is appended to it, which is judged by itself"
)
_UNCHECKED = "the instructions: nobody can tell by looking what machine code does, which is why it is never *safe*"
_VERDICTS = (
    "*review*; *unverifiable* where it is packed, its headers lie, or something unknown is appended; *danger* for what "
    "has no honest explanation beside a model (`rules/tables/native.toml` says why for each)"
)
FORMATS = (
    Format(
        "elf",
        "Libraries and programs of Linux",
        (".so", ".o"),
        "the mark `\\x7fELF`",
        _CHECKED,
        _UNCHECKED,
        _VERDICTS,
    ),
    Format(
        "pe",
        "Libraries and programs of Windows",
        (".dll", ".pyd", ".exe"),
        "the marks `MZ` and `PE`",
        _CHECKED,
        _UNCHECKED,
        _VERDICTS,
    ),
    Format(
        "mach-o",
        "Libraries and programs of macOS",
        (".dylib", ".so"),
        "the number at its start, for one processor or several",
        _CHECKED,
        _UNCHECKED,
        _VERDICTS,
        untested="no package for Linux brings one; the tests write one as the linker of macOS lays it out",
    ),
    Format(
        "static-library",
        "Static libraries",
        (".a", ".lib"),
        "the mark `!<arch>`",
        "what its object files for Linux and macOS ask for by name",
        "object files of Windows; nothing loads a static library by itself",
        "*review*; *unverifiable* where it cannot be read to its end, or only names files elsewhere; *danger* as above",
    ),
    Format(
        "wasm",
        "WebAssembly",
        (".wasm",),
        "the mark `\\0asm`",
        "its sections, and what it asks of the program that runs it",
        "the instructions, which reach nothing but what they are handed",
        "*review*; *unverifiable* where it cannot be read to its end",
    ),
)
