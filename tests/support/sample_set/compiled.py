"""Compiled code that no processor runs: Python's, Java's, and PyTorch's own."""

from __future__ import annotations

import importlib.util
import io
import json
import marshal
import os
import pickle
import py_compile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import compiled_elsewhere as elsewhere
import native_forge

from sample_set import COMMAND, MARKER, Sample, written

REVIEW, DANGER, UNVERIFIABLE = ("review",), ("danger",), ("unverifiable",)


class Runs:
    def __reduce__(self) -> Any:
        return os.system, (COMMAND,)


# --- Python ---


def pyc(
    source: str, *, flags: int = 0, number: bytes = importlib.util.MAGIC_NUMBER, length: int | None = None
) -> bytes:
    """What this Python compiles the source to."""
    code = marshal.dumps(compile(source, "small.py", "exec"))
    noted = (
        importlib.util.source_hash(source.encode())
        if flags & 1
        else (0).to_bytes(4, "little") + (len(source) if length is None else length).to_bytes(4, "little")
    )
    return number + flags.to_bytes(4, "little") + noted + code


def repository(source: str, compiled: bytes) -> Callable[[Path], Path]:
    """A folder with a module and what is to be its compiled form."""

    def build(folder: Path) -> Path:
        (folder / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_small.Net"}, "model_type": "small"}')
        (folder / "modeling_small.py").write_text(source)
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / f"modeling_small.{os.sys.implementation.cache_tag}.pyc").write_bytes(compiled)
        return folder

    return build


def crafted() -> bytes:
    import dis

    raw = bytearray(pyc("text = 'a'\n"))
    raw[raw.index(dis.opmap["RESUME"], 16) + 3] = 200
    return bytes(raw)


def by_the_compiler() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "small.py").write_text(elsewhere.SMALL)
        out = py_compile.compile(f"{folder}/small.py", cfile=f"{folder}/small.pyc", dfile="small.py", doraise=True)
        assert out is not None
        return Path(out).read_bytes()


def runs_bytecode(place: Path) -> None:
    import runpy

    runpy.run_path(str(place))


AT_IMPORT = f"import os\nos.system({COMMAND!r})\n"
TRICKS = {
    "at-import": (AT_IMPORT, "It runs a command as soon as it is imported."),
    "renamed": (f"from os import system as s\ns({COMMAND!r})\n", "It calls the function by another name."),
    "kept": (f"import os\nx = os\ny = x.system\ny({COMMAND!r})\n", "It keeps the module under another name."),
    "getattr": (f"import os\ngetattr(os, 'sys' + 'tem')({COMMAND!r})\n", "It puts the name together while it runs."),
    "import-hidden": (f"__import__('o' + 's').system({COMMAND!r})\n", "It puts the module's name together."),
    "imported-by-text": (
        f"import importlib\nimportlib.import_module('o' + 's').system({COMMAND!r})\n", "It has the module looked up."
    ),
    "beneath": (
        f"[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]"
        f".__init__.__globals__['system']({COMMAND!r})\n",
        "It reaches the function through what lies beneath an object.",
    ),
    "in-a-class": (f"class A:\n    import os\n    x = os.popen({COMMAND!r}).read()\n", "A class body runs it."),
    "exec": (f"exec({AT_IMPORT!r})\n", "It runs code that is given as text."),
    "posix": (f"import posix\nposix.system({COMMAND!r})\n", "It uses the module that os is made of."),
    "through-another": (f"import shutil\nshutil.os.system({COMMAND!r})\n", "It reaches os through another module."),
}  # fmt: skip
EVIL_SMALL = elsewhere.SMALL.replace("SCALE = 3", f"SCALE = 3\nimport os\nos.system({COMMAND!r})")
PYTHON = (
    Sample("pyc/honest", "pyc", written("small.pyc", by_the_compiler), REVIEW, honest=True),
    Sample("pyc/honest-with-its-source", "pyc", repository(elsewhere.SMALL, pyc(elsewhere.SMALL)), REVIEW, honest=True),
    *(
        Sample(f"pyc/honest-{version}", "pyc", written("small.pyc", lambda v=version: elsewhere.PYC[v]), REVIEW,
               honest=True)
        for version in ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
    ),
    *(
        Sample(f"pyc/{name}", "pyc", written("small.pyc", lambda s=source: pyc(s)), DANGER, rule="pyc.harm",
               trick=trick, loads=runs_bytecode)
        for name, (source, trick) in TRICKS.items()
    ),
    Sample("pyc/unchecked", "pyc", written("small.pyc", lambda: pyc(AT_IMPORT, flags=1)), DANGER, rule="pyc.harm",
           trick="Its header tells Python not to compare it with its source.", loads=runs_bytecode),
    Sample("pyc/swapped", "pyc",
           repository(elsewhere.SMALL, pyc("import turtle\nturtle.done()\n", length=len(elsewhere.SMALL))), DANGER,
           rule="pyc.swapped", trick="The source beside it does something else."),
    Sample("pyc/stale", "pyc", repository(elsewhere.SMALL, pyc(elsewhere.SMALL, length=12)), REVIEW, rule="pyc.stale",
           trick="The source was changed after it was compiled."),
    Sample("pyc/stale-hash", "pyc",
           repository(elsewhere.SMALL + "# more\n", pyc(elsewhere.SMALL, flags=1)), REVIEW, rule="pyc.stale",
           trick="Its hash is that of another source, and nobody compares it."),
    Sample("pyc/crafted", "pyc", written("small.pyc", crafted), DANGER, rule="pyc.crafted",
           trick="An instruction reaches beyond the constants."),
    Sample("pyc/cut-off", "pyc", written("small.pyc", lambda: by_the_compiler()[:-20]), UNVERIFIABLE,
           rule="pyc.malformed", trick="Its end is missing."),
    Sample("pyc/unknown-version", "pyc",
           written("small.pyc", lambda: pyc(AT_IMPORT, number=b"\x7b\x0f\r\n")), UNVERIFIABLE, rule="pyc.version",
           trick="It says that a version of Python wrote it that is not known."),
    *(
        Sample(f"pyc/old-{version}", "pyc", written("small.pyc", lambda v=version: elsewhere.PYC[v]), UNVERIFIABLE,
               rule="pyc.version", trick="Its instructions are those of a version that is not known here.")
        for version in ("2.7", "3.7")
    ),
    Sample("pyc/another-name", "pyc", written("weights.bin", lambda: pyc(AT_IMPORT)), DANGER, rule="pyc.harm",
           trick="Its name says that it is something else."),
    Sample("marshal/values", "marshal", written("vocabulary.marshal", lambda: marshal.dumps({"a": [1, 2.5, "text"]})),
           UNVERIFIABLE, honest=True),  # without a mark: known where `marshal` loads it
    Sample("marshal/code", "marshal", written("m.marshal", lambda: marshal.dumps(compile(AT_IMPORT, "m", "exec"))),
           DANGER, rule="marshal.code", trick="It is code."),
    Sample("marshal/code-behind", "marshal",
           written("m.marshal", lambda: marshal.dumps((lambda: 1).__code__) + marshal.dumps([1])), DANGER,
           rule="marshal.code", trick="Values follow the code."),
)  # fmt: skip

# --- PyTorch ---


class Net:
    """Modules of PyTorch, made when they are asked for."""

    @staticmethod
    @cache
    def scripted() -> bytes:
        import torch

        out = io.BytesIO()
        torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())), out)
        return out.getvalue()

    @staticmethod
    @cache
    def exported() -> bytes:
        import torch

        out = io.BytesIO()
        torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), out)
        return out.getvalue()


def rewritten(data: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The archive with other members, as PyTorch writes archives."""
    import torch

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members)
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/m.pt"
        writer = torch._C.PyTorchFileWriter(place)
        for name, body in members.items():
            if not name.startswith(".data") and name != "byteorder":
                writer.write_record(name, body, len(body))
        writer.write_end_of_file()
        return Path(place).read_bytes()


def at_load(*lines: str) -> Callable[[], bytes]:
    """An archive whose `__setstate__` holds these lines, which PyTorch's compiler takes from its own format."""

    def build() -> bytes:
        def change(members: dict[str, bytes]) -> None:
            name = next(n for n in members if n.endswith("container.py"))
            module = members[name].decode()
            state = "".join(f"    {line}\n" for line in lines)
            kind = module[module.index("class ") + 6 : module.index("(Module)")]
            path = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
            members[name] = (
                module + f"  def __getstate__(self: {path}.{kind}) -> int:\n    return 1\n"
                f"  def __setstate__(self: {path}.{kind}, state: int) -> NoneType:\n{state}    return None\n"
            ).encode()
            members["data.pkl"] = pickled_state(f"{path} {kind}")

        return rewritten(Net.scripted(), change)

    return build


def pickled_state(name: str) -> bytes:
    """A pickle of one object of that class, whose state is 1: what has PyTorch call `__setstate__`."""
    module, kind = name.split()
    return b"\x80\x02c" + f"{module}\n{kind}\n".encode() + b")\x81K\x01b."


def loads_script(place: Path) -> None:
    import torch

    torch.jit.load(str(place))


WRITES = f'(torch.ones([1]), "{MARKER}")'
SPELLINGS = {
    "plain": (f"_0 = torch.save{WRITES}",),
    "continued": (f"_0 = torch.\\\n save{WRITES}",),
    "in-brackets": (f"_0 = (torch).save{WRITES}",),
    "getattr": (f'_0 = getattr(torch, "save"){WRITES}',),
    "getattr-in-pieces": (f'_0 = getattr(torch, "sa" "ve"){WRITES}',),
    "getattr-escaped": (f'_0 = getattr(torch, "\\163ave"){WRITES}',),
    "ops": (f"_0 = ops.aten.save{WRITES}",),
    "getattr-of-ops": (f'_0 = getattr(ops, "aten").save{WRITES}',),
    "kept-module": ("t = torch", f"_0 = t.save{WRITES}"),
    "kept-library": ("t = ops.aten", f"_0 = t.save{WRITES}"),
    "kept-operator": ("t = torch.save", f"_0 = t{WRITES}"),
}


@cache
def mobile() -> bytes:
    import torch

    class Writes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.from_file("never", True, 1)

    with tempfile.TemporaryDirectory() as folder:
        torch.jit.script(Writes())._save_for_lite_interpreter(f"{folder}/m.ptl")
        with zipfile.ZipFile(f"{folder}/m.ptl") as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
    only = {n: d for n, d in members.items() if "/code/" not in n}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in only.items():
            archive.writestr(name, data)
    return out.getvalue()


def package(source: str, **others: bytes) -> Callable[[], bytes]:
    def build() -> bytes:
        from torch.package import PackageExporter

        out = io.BytesIO()
        with PackageExporter(out) as exporter:
            exporter.save_source_string("mod", source)
            for name, data in others.items():
                exporter.save_binary("mod", name.replace("_dot_", "."), data)
        return out.getvalue()

    return build


def loads_package(place: Path) -> None:
    from torch.package import PackageImporter

    PackageImporter(str(place)).import_module("mod")


def with_member(name: str, data: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: rewritten(Net.exported(), lambda members: members.update({name: data()}))


def condition() -> bytes:
    def change(members: dict[str, bytes]) -> None:
        program = json.loads(members["models/model.json"])
        program["guards_code"] = [f"__import__('os').system({COMMAND!r})"]
        members["models/model.json"] = json.dumps(program).encode()

    return rewritten(Net.exported(), change)


TORCH = ("torch",)
PYTORCH = (
    Sample("torchscript/honest", "torchscript", written("m.pt", Net.scripted), REVIEW, honest=True, needs=TORCH),
    *(
        Sample(f"torchscript/{name}", "torchscript", written("m.pt", at_load(*lines)), DANGER, needs=TORCH,
               trick="It writes a file while it is loaded, by one of many spellings.", loads=loads_script)
        for name, lines in SPELLINGS.items()
    ),
    Sample("torchscript/mobile", "torchscript", written("m.ptl", mobile), DANGER, rule="torchscript.files", needs=TORCH,
           trick="Only the instructions for phones name the operator that maps a file."),
    Sample("torch-package/honest", "torch-package", written("p.pt", package("x = 1\n")), DANGER, honest=True,
           needs=TORCH),
    Sample("torch-package/runs", "torch-package", written("p.pt", package(AT_IMPORT)), DANGER,
           rule="code.acts-at-import", needs=TORCH, trick="Its module runs a command.", loads=loads_package),
    Sample("torch-package/library", "torch-package",
           written("p.pt", package("x = 1\n", ops_dot_so=native_forge.real_elf())), DANGER, rule="native.library",
           needs=TORCH, trick="A library lies beside its module."),
    Sample("torch-export/honest", "torch-export", written("m.pt2", Net.exported), ("safe",), honest=True, needs=TORCH),
    Sample("torch-export/library", "torch-export",
           written("m.pt2", with_member("data/aotinductor/model/model.so", native_forge.real_elf)), DANGER,
           rule="native.library", needs=TORCH, trick="It brings a library that PyTorch loads."),
    Sample("torch-export/source", "torch-export",
           written("m.pt2", with_member("data/aotinductor/model/m.wrapper.cpp", lambda: b"int main() { return 0; }")),
           DANGER, rule="torch.export.compiled", needs=TORCH, trick="It brings a source that PyTorch compiles."),
    Sample("torch-export/condition", "torch-export", written("m.pt2", condition), DANGER, rule="torch.export.code",
           needs=TORCH, trick="A condition on its inputs is Python code."),
    Sample("torch-export/pickle", "torch-export",
           written("m.pt2", with_member("data/constants/constant_0", lambda: pickle.dumps(Runs()))), DANGER,
           needs=TORCH, trick="A constant is a harmful pickle."),
    Sample("torch-export/extra", "torch-export",
           written("m.pt2", with_member("extra/notes.txt", lambda: pickle.dumps(Runs()))), DANGER, needs=TORCH,
           trick="What lies beside the program is a harmful pickle."),
)  # fmt: skip

# --- Java ---


def jar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n\r\n")
        for name, data in members.items():
            archive.writestr(name.replace("_dot_", "."), data)
    return out.getvalue()


JAVA = (
    Sample("java/honest-class", "java", written("Net.class", lambda: elsewhere.JAVA_CLASS), REVIEW, honest=True),
    Sample("java/honest-archive", "java", written("net.jar", lambda: elsewhere.JAVA_ARCHIVE), REVIEW, honest=True),
    Sample("java/cut-off", "java", written("Net.class", lambda: elsewhere.JAVA_CLASS[:-9]), UNVERIFIABLE,
           rule="java.malformed", trick="Its end is missing."),
    Sample("java/runs-a-program", "java",
           written("ops.jar", lambda: jar(Evil_dot_class=elsewhere.JAVA_RUNS_PROGRAMS)), REVIEW, rule="java.code",
           trick="It starts a program as soon as one of its classes is used."),
    Sample("java/no-class", "java", written("ops.jar", lambda: jar(Evil_dot_class=pickle.dumps(Runs()))), UNVERIFIABLE,
           rule="java.malformed", trick="What it calls a class is a pickle."),
    Sample("java/library", "java",
           written("ops.jar", lambda: jar(ops_dot_so=native_forge.real_elf() + b"\xff\0\xfe\1" * 90)),
           UNVERIFIABLE, rule="native.appended", trick="It brings a library with something hidden behind it."),
    Sample("java-serialized/honest", "java-serialized", written("m.ser", lambda: elsewhere.JAVA_OBJECT), UNVERIFIABLE,
           honest=True),
    Sample("java-serialized/gadget", "java-serialized", written("m.ser", lambda: elsewhere.JAVA_GADGET), DANGER,
           rule="java.gadget", trick="It is made of a class that runs what it is told."),
    Sample("java-serialized/hidden-gadget", "java-serialized",
           written("m.ser", lambda: elsewhere.JAVA_OBJECT + elsewhere.JAVA_GADGET[4:]), DANGER, rule="java.gadget",
           trick="The harmful object comes second."),
)  # fmt: skip
SAMPLES = (*PYTHON, *PYTORCH, *JAVA)
