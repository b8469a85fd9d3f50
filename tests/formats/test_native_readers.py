"""Native files are read as the tools of their systems read them, and hostile ones break no reader."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import compiled_elsewhere as elsewhere
import native_forge as forge
import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_set.compiled import by_the_compiler
from sample_set.llamafiles import llamafile, program

from nbguard.formats import archive, elf, java, macho, pe, pyc, wasm
from nbguard.formats import llamafile as llamafile_format
from nbguard.formats.machine_code import NativeError
from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.registry import examine


def libraries() -> list[Path]:
    """Some libraries of different compilers: C, C++, Fortran, Rust."""
    found: list[Path] = []
    for module, pattern in (
        ("markupsafe", "_speedups*.so"),
        ("numpy", "../numpy.libs/libgfortran*.so*"),
        ("safetensors", "*.so"),
        ("regex", "*.so"),
        ("sklearn", "../scikit_learn.libs/libgomp*.so*"),
    ):
        spec = find_spec(module)
        if spec is not None and spec.origin is not None:
            found += sorted(Path(spec.origin).parent.glob(pattern))[:1]
    return found


@pytest.mark.parametrize("place", libraries(), ids=lambda p: p.name)
def test_imports_and_libraries_are_those_that_another_reader_finds(place: Path) -> None:
    data = place.read_bytes()
    image = elf.read(BytesView(data))
    other = ELFFile(io.BytesIO(data))
    dynamic = next(s for s in other.iter_sections() if isinstance(s, DynamicSection))
    symbols = next(s for s in other.iter_sections() if isinstance(s, SymbolTableSection) and s.name == ".dynsym")
    wanted = {
        s.name[:512]
        for s in symbols.iter_symbols()
        if s["st_shndx"] == "SHN_UNDEF" and s.name and s["st_info"]["bind"] != "STB_LOCAL"
    }
    assert image.imports == wanted
    assert image.libraries == [t.needed for t in dynamic.iter_tags() if t.entry.d_tag == "DT_NEEDED"]
    assert image.problems == []
    assert image.kind == "library"


@pytest.mark.skipif(not forge.HAVE_GCC, reason="needs a compiler")
def test_a_program_says_who_starts_it_and_a_static_one_that_it_asks_for_nothing() -> None:
    main = "int main(void) { return 0; }"
    image = elf.read(BytesView(forge.compiled(main)))
    assert (image.kind, image.entry, image.static) == ("program", True, False)
    assert image.interpreter.startswith("/lib")
    alone = elf.read(BytesView(forge.compiled("void _start(void) { for (;;) ; }", "-static", "-nostdlib")))
    assert (alone.kind, alone.static, alone.interpreter) == ("program", True, "")


@pytest.mark.skipif(not forge.HAVE_GCC, reason="needs a compiler")
def test_an_object_file_names_what_it_needs() -> None:
    image = elf.read(BytesView(forge.compiled("int system(const char *); int f(void) { return system(0); }", "-c")))
    assert (image.kind, image.imports) == ("object file", {"system"})


def test_a_windows_program_names_its_libraries_and_functions() -> None:
    image = pe.read(BytesView(forge.real_exe()))
    assert (image.kind, image.machine) == ("program", "x86-64")
    assert "KERNEL32.dll" in image.libraries
    assert "CreateProcessA" in image.imports
    assert (image.problems, image.end) == ([], len(forge.real_exe()))


def test_a_library_of_macos_is_read_for_each_processor() -> None:
    data = forge.fat(forge.macho(imports=("system",)), forge.macho(rpaths=("@loader_path/x",)))
    first, second = macho.read(BytesView(data))
    assert (first.imports, second.search_paths) == ({"system"}, ["@loader_path/x"])
    assert first.libraries == ["/usr/lib/libSystem.B.dylib"]
    assert first.problems == second.problems == []


def test_a_module_of_webassembly_says_what_it_asks_for() -> None:
    image = wasm.read(BytesView(forge.wasm((("wasi_snapshot_preview1", "path_open"),), start=True)))
    assert image.imports == {"wasi_snapshot_preview1.path_open"}
    assert image.starts == ["a start function"]


def test_a_class_of_java_is_no_file_of_macos_and_the_other_way_round() -> None:
    assert java.is_class(elsewhere.JAVA_CLASS) and not macho.is_fat(elsewhere.JAVA_CLASS)  # noqa: PT018
    assert macho.is_fat(forge.fat(forge.macho())) and not java.is_class(forge.fat(forge.macho()))  # noqa: PT018


def test_lists_that_name_one_place_many_times_are_read_once() -> None:
    """A table of libraries in which each shares one table of functions: thousands times thousands of names."""
    data = bytearray(forge.real_exe())
    at = struct.unpack_from("<I", data, 60)[0]
    sections = at + 24 + struct.unpack_from("<H", data, at + 20)[0]
    names = struct.pack("<Q", 0x1000) * 4_000 + bytes(8)
    rows = struct.pack("<5I", 0x5000, 0, 0, 0x5000, 0x5000) * 4_000 + bytes(20)
    start = len(data) + -len(data) % 512
    data = data.ljust(start, b"\0") + names + rows
    for row in range(sections, sections + 40 * struct.unpack_from("<H", data, at + 6)[0], 40):
        if struct.unpack_from("<I", data, row + 12)[0] >= 0x5000:
            struct.pack_into("<I", data, row + 12, 0x900000 + row)
    struct.pack_into("<4I", data, sections + 8, len(names) + len(rows), 0x5000, len(names) + len(rows), start)
    struct.pack_into("<I", data, at + 24 + 112 + 8, 0x5000 + len(names))
    image = pe.read(BytesView(bytes(data)))
    assert any("more than is looked at" in p for p in image.problems)


HONEST: dict[str, Callable[[], bytes]] = {
    "elf": forge.real_elf,
    "pe": lambda: forge.real_exe(),
    "mach-o": lambda: forge.fat(forge.macho(rpaths=("@rpath/x",)), forge.macho()),
    "archive": lambda: forge.archive(("a.o", forge.macho()), ("b.o", forge.macho())),
    "wasm": lambda: forge.wasm(start=True),
    "llamafile": lambda: llamafile({".args": b"--host\n0.0.0.0", "x.txt": b"text"}, program()),
    "java": lambda: elsewhere.JAVA_CLASS,
    "java object": lambda: elsewhere.JAVA_GADGET,
    "pyc": by_the_compiler,
    "pyc 3.8": lambda: elsewhere.PYC["3.8"],
}
READERS: dict[str, Callable[[bytes], object]] = {
    "elf": lambda data: elf.read(BytesView(data)),
    "pe": lambda data: pe.read(BytesView(data)),
    "mach-o": lambda data: macho.read(BytesView(data)),
    "archive": lambda data: archive.read(BytesView(data)),
    "wasm": lambda data: wasm.read(BytesView(data)),
    "llamafile": lambda data: llamafile_format.read(BytesView(data)),
    "java": java.read_class,
    "java object": java.stream_classes,
    "pyc": pyc.read_header,
    "pyc 3.8": pyc.read_header,
}


@pytest.mark.parametrize("kind", HONEST)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_changed_and_cut_files_break_no_reader_and_are_never_safe(kind: str, data: st.DataObject) -> None:
    raw = bytearray(HONEST[kind]())
    most = min(len(raw), 4_096) - 1  # headers and tables; what lies behind them are instructions
    for at, value in data.draw(st.lists(st.tuples(st.integers(4, most), st.integers(0, 255)), max_size=6)):
        raw[at] = value
    changed = bytes(raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(5, len(raw))))])
    with contextlib.suppress(ValueError):
        READERS[kind](changed)
    limits = Limits()
    facts = examine(Job("m.bin", BytesView(changed), limits, Budget(limits.unpacked, limits.members)))
    assert facts.verdict is not Verdict.SAFE or facts.format == "text"  # a few first bytes, or their mark is gone


@pytest.mark.parametrize("number", [8, 16, 24])
def test_a_hash_is_the_one_that_python_notes(number: int) -> None:
    import importlib.util

    source = b"x = 1\n" * number + b"#" * (number % 7)
    key = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    assert pyc.source_hash(key, source, rounds=1) == importlib.util.source_hash(source)


def test_the_source_of_a_compiled_file_is_where_python_looks() -> None:
    assert pyc.source_of("a/__pycache__/m.cpython-311.pyc") == ["a/m.py"]
    assert pyc.source_of("__pycache__/m.cpython-313.opt-2.pyc") == ["m.py"]
    assert pyc.source_of("a/m.pyc") == ["a/m.py"]
    assert pyc.source_of("weights.bin") == []


def test_what_is_no_native_file_is_told_in_one_sentence() -> None:
    for read in (elf.read, pe.read, macho.read, archive.read, wasm.read):
        with pytest.raises(NativeError, match=r"^[A-Z].*\.$"):
            read(BytesView(b"\x7fELF" if read is elf.read else b"nothing at all"))
