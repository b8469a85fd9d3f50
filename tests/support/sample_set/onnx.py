"""ONNX: models of its own helpers and of ONNX Runtime, and graphs that reach out or lie."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sample_set import COMMAND, MARKER, Sample, written

NEEDS = ("onnx", "numpy")
RUNTIME = (*NEEDS, "onnxruntime")


def model(*nodes: Any, tensors: Any = None, functions: Any = (), opsets: Any = (), **metadata: str) -> Any:
    """A model of these nodes, from `x` and the tensor `w` to `y`."""
    import numpy as np
    from onnx import helper, numpy_helper

    held = [numpy_helper.from_array(np.arange(8, dtype=np.float32), "w")] if tensors is None else tensors
    graph = helper.make_graph(
        nodes or [node("Add", "x", "w")], "g", [helper.make_tensor_value_info("x", 1, [8])],
        [helper.make_tensor_value_info("y", 1, [8])], held,
    )  # fmt: skip
    wanted = [helper.make_opsetid("", 20), *(helper.make_opsetid(d, 1) for d in opsets)]
    made = helper.make_model(graph, functions=functions, opset_imports=wanted, ir_version=9)
    helper.set_model_props(made, metadata)
    return made


def node(op: str, *inputs: str, domain: str = "", **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, list(inputs) or ["w"], ["y"], domain=domain, **attributes)


def function(name: str, *nodes: Any, domain: str = "own") -> Any:
    from onnx import helper

    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    return helper.make_function(domain, name, ["w"], ["y"], nodes, opsets)


def inside(inner: Any) -> Any:
    """A node with a graph in it, in which `inner` stands."""
    from onnx import helper

    branch = helper.make_graph([inner], "branch", [], [helper.make_tensor_value_info("y", 1, [8])])
    other = helper.make_graph([], "other", [], [])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=other)


def made(build: Callable[[], Any]) -> Callable[[], bytes]:
    return lambda: bytes(build().SerializeToString())


def outside(name: str = "w", kind: int = 1, **told: object) -> Any:
    """A tensor of eight numbers that lie in another file."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=kind, dims=[8], data_location=1)
    for key, value in told.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def tensor(**fields: Any) -> Any:
    from onnx import TensorProto

    return TensorProto(name="w", **fields)


def beside(location: str, data: bytes = bytes(range(32)), **told: object) -> Callable[[Path], Path]:
    """A `build` for a folder of a model, and the file that its tensor lies in."""

    def build(folder: Path) -> Path:
        held = outside(location=location, **told)
        (folder / "model.onnx").write_bytes(model(tensors=[held]).SerializeToString())
        (folder / "w.bin").write_bytes(data)
        return folder

    return build


def linked(folder: Path) -> Path:
    """The data file is a link to one outside of the folder."""
    (folder.parent / "secret").write_bytes(bytes(range(32)))
    (folder / "w.bin").symlink_to(folder.parent / "secret")
    (folder / "model.onnx").write_bytes(model(tensors=[outside(location="w.bin")]).SerializeToString())
    return folder / "model.onnx"


def honest() -> Any:
    """Operators with graphs and functions in them, and tensors of many types, raw and typed."""
    import numpy as np
    from onnx import helper, numpy_helper

    kinds = [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.bool_,
             np.complex64]  # fmt: skip
    held = [numpy_helper.from_array(np.ones((2, 3), kind), f"t{n}") for n, kind in enumerate(kinds)]
    held += [helper.make_tensor(f"k{kind}", kind, [3], [1, 0, 1]) for kind in (1, 6, 7, 9, 10, 11, 12, 16, 17, 21, 22)]
    held += [helper.make_tensor("words", 8, [2], [b"a", b"b"]), helper.make_tensor("complex", 14, [2], [1j, 2j])]
    held += [numpy_helper.from_array(np.arange(8, dtype=np.float32), "w"), helper.make_tensor("none", 1, [0], [])]
    twice = function("Twice", node("Add", "w", "w"))
    nodes = [node("Twice", "w", domain="own"), inside(node("Constant", value=held[0]))]
    return model(*nodes, tensors=held, functions=[twice], opsets=["own"], names="{0: 'cat', 1: 'dog'}", stride="32")


def honest_outside(folder: Path) -> Path:
    import onnx

    held = model()
    onnx.save_model(
        held, str(folder / "model.onnx"), save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    assert (folder / "model.onnx.data").exists()
    return folder


@cache
def runtime(suffix: str) -> bytes:
    """What ONNX Runtime writes once it has optimised a model: `.ort` or `.onnx`."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = f"{folder}/m{suffix}"
        if suffix == ".ort":
            options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(
            model(node("Gelu", "x", domain="com.microsoft"), opsets=["com.microsoft"]).SerializeToString(), options,
            providers=["CPUExecutionProvider"],
        )  # fmt: skip
        return Path(folder, f"m{suffix}").read_bytes()


def ort(find: bytes, value: bytes) -> Callable[[], bytes]:
    """ONNX Runtime's own format with one text in it changed to another of its length."""
    return lambda: runtime(".ort").replace(find, value)


def text(form: str) -> Callable[[], bytes]:
    def write() -> bytes:
        from onnx import printer, serialization

        held = model(tensors=[outside(location="../../../etc/passwd")])
        if form == "onnxtxt":
            return printer.to_text(held).encode()
        return bytes(serialization.registry.get(form).serialize_proto(held))

    return write


def graph_first() -> bytes:
    """JSON with the graph before everything that tells what it is, and that in escapes."""
    held = json.loads(text("json")())
    held = {"graph": {"name": "x" * 100_000, **held["graph"]}, **held}
    return json.dumps(held).replace("irVersion", "ir\\u0056ersion").replace("opsetImport", "opset\\u0049mport").encode()


def deep() -> Any:
    inner = node("Constant", value_float=1.0)
    for _ in range(24):
        inner = inside(inner)
    return model(inner)


def laughs() -> Any:
    """Sixty functions, each of which calls the next one twice."""
    chain = [
        function(f"f{n}", node(f"f{n + 1}", "w", domain="own"), node(f"f{n + 1}", "w", domain="own")) for n in range(60)
    ]
    return model(node("f0", "w", domain="own"), functions=[*chain, function("f60", node("Relu", "w"))], opsets=["own"])


def endless() -> Any:
    a, b = function("a", node("b", "w", domain="own")), function("b", node("a", "w", domain="own"))
    return model(node("a", "w", domain="own"), functions=[a, b], opsets=["own"])


def trained() -> Any:
    held = model()
    training = held.training_info.add()
    training.algorithm.name = "t"
    training.algorithm.node.append(node("PythonOp", domain="com.microsoft", func_name="os.system"))
    return held


def sparse() -> Any:
    held = model()
    one = held.graph.sparse_initializer.add(dims=[8])
    one.values.CopyFrom(outside("v", location="/etc/passwd"))
    one.indices.CopyFrom(tensor(data_type=7, dims=[8], int64_data=range(8)))
    return held


PYTHON = {"module": "os", "func_name": "system", "input_types": [8]}
DATA: dict[str, Callable[[], Any]] = {
    "absolute": lambda: model(tensors=[outside(location="/etc/passwd")]),
    "climbs": lambda: model(tensors=[outside(location="../../../etc/passwd")]),
    "climbs-in-the-middle": lambda: model(tensors=[outside(location="data/../../../etc/passwd")]),
    "backslashes": lambda: model(tensors=[outside(location="..\\..\\secret.bin")]),
    "drive": lambda: model(tensors=[outside(location="C:/secret.bin")]),
    "in-an-attribute": lambda: model(node("Constant", value=outside(location="/etc/passwd"))),
    "in-an-inner-graph": lambda: model(inside(node("Constant", value=outside(location="../x")))),
    "in-a-function": lambda: model(functions=[function("f", node("Constant", value=outside(location="../x")))]),
    "in-a-sparse-tensor": sparse,
}
PYTHONS: dict[str, Callable[[], Any]] = {
    "PyOp": lambda: model(node("PyOp", "x", domain="pyopmulti", **PYTHON), opsets=["pyopmulti"]),
    "PythonOp": lambda: model(node("PythonOp", domain="com.microsoft", func_name="os.system")),
    "PyCustomOp": lambda: model(node("PyCustomOp", domain="ai.onnx.contrib")),
    "any-of-the-domain": lambda: model(node("Whatever", domain="pyop")),
    "in-an-inner-graph": lambda: model(inside(node("PythonOp", domain="com.microsoft", func_name="os.system"))),
    "in-a-function": lambda: model(
        node("f", "w", domain="own"), functions=[function("f", node("PyOp", domain="pyop"))], opsets=["own"]
    ),
    "in-the-training": trained,
    "that-says-it-is-a-function": lambda: model(
        node("PythonOp", domain="com.microsoft", func_name="os.system"),
        functions=[function("PythonOp", node("Relu"), domain="com.microsoft")],
    ),
}
BROKEN: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "raw-too-short": (
        "onnx.tensor-size", "A tensor has fewer bytes than its shape says.",
        lambda: model(tensors=[tensor(data_type=1, dims=[8], raw_data=bytes(4))]),
    ),
    "raw-too-long": (
        "onnx.tensor-size", "A tensor has more bytes than its shape says.",
        lambda: model(tensors=[tensor(data_type=1, dims=[8], raw_data=bytes(400))]),
    ),
    "typed-too-few": (
        "onnx.tensor-size", "A tensor has fewer numbers than its shape says.",
        lambda: model(tensors=[tensor(data_type=1, dims=[1 << 20], float_data=[1.0])]),
    ),
    "typed-otherwise": (
        "onnx.tensor-size", "A tensor of one type brings numbers of another.",
        lambda: model(tensors=[tensor(data_type=1, dims=[8], int64_data=range(8))]),
    ),
    "no-numbers": (
        "onnx.tensor-size", "A tensor has a shape and no numbers.",
        lambda: model(tensors=[tensor(data_type=1, dims=[8])]),
    ),
    "raw-texts": (
        "onnx.tensor-size", "Texts come as raw bytes, which readers take for pointers.",
        lambda: model(tensors=[tensor(data_type=8, dims=[1], raw_data=bytes(32))]),
    ),
    "shape-overflows": (
        "onnx.malformed", "The product of the dimensions leaves 64 bits.",
        lambda: model(tensors=[tensor(data_type=1, dims=[1 << 33, 1 << 33], raw_data=b"")]),
    ),
    "negative-dimension": (
        "onnx.malformed", "A dimension is below zero.",
        lambda: model(tensors=[tensor(data_type=1, dims=[-8], raw_data=bytes(32))]),
    ),
    "thousands-of-dimensions": (
        "onnx.malformed", "A tensor has more dimensions than anybody multiplies.",
        lambda: model(tensors=[tensor(data_type=1, dims=[1] * 100_000, raw_data=bytes(4))]),
    ),
    "unknown-type": (
        "onnx.malformed", "A tensor is of a type that there is not.",
        lambda: model(tensors=[tensor(data_type=99, dims=[1], raw_data=bytes(4))]),
    ),
    "negative-offset": (
        "onnx.malformed", "The data in another file begins before it.",
        lambda: model(tensors=[outside(location="w.bin", offset=-4096)]),
    ),
    "place-that-is-code": (
        "onnx.external-key", "A key of the place sets an attribute of the reader's own (CVE-2026-34445).",
        lambda: model(tensors=[outside(location="w.bin", __class__="x")]),
    ),
    "another-folder": (
        "onnx.external-key", "A key of the place says that it counts from elsewhere.",
        lambda: model(tensors=[outside(location="w.bin", basepath="/etc")]),
    ),
    "texts-outside": (
        "onnx.tensor-data", "Texts lie in another file, which readers take for pointers.",
        lambda: model(tensors=[outside(kind=8, location="w.bin")]),
    ),
    "deep": ("onnx.malformed", "Graphs are nested deeper than readers can follow.", deep),
    "endless-functions": ("onnx.recursion", "Functions call each other without an end.", endless),
    "doubling-functions": ("onnx.expansion", "Sixty functions that call the next one twice.", laughs),
}  # fmt: skip
WIRE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "cut-off": ("The file breaks off.", lambda data: data[:-5]),
    "behind": ("Something follows behind the model.", lambda data: data + b"more of it"),
    "unknown-field": ("A field that ONNX does not have.", lambda data: data + b"\xaa\x06\x01x"),
    "two-graphs": ("A second graph, which some readers merge and others take instead.", lambda d: d + b"\x3a\x00"),
}
CODE = f"__import__('os').system({COMMAND!r})"


def refused(path: Path) -> None:
    """ONNX Runtime refuses to load it."""
    import onnxruntime

    path = path / "model.onnx" if path.is_dir() else path
    try:
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - each of its errors is a class of its own
        return
    raise AssertionError("it takes it")


def runs(path: Path) -> None:
    """What YOLOv5 does with the names of its classes."""
    import onnxruntime

    found = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_modelmeta()
    eval(found.custom_metadata_map["names"])
    assert Path(MARKER).exists()


def taken(path: Path) -> None:
    import onnxruntime

    onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def quantised() -> bytes:
    import numpy as np
    from onnx import numpy_helper
    from onnxruntime.quantization import quantize_dynamic

    weight = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.onnx").write_bytes(model(node("MatMul", "x", "w"), tensors=[weight]).SerializeToString())
        quantize_dynamic(f"{folder}/a.onnx", f"{folder}/b.onnx")
        return Path(folder, "b.onnx").read_bytes()


def alone() -> bytes:
    import numpy as np
    from onnx import numpy_helper

    return bytes(numpy_helper.from_array(np.ones((2, 3), np.float32), "input").SerializeToString())


def test_data(**fields: Any) -> Callable[[], bytes]:
    return made(lambda: tensor(data_type=1, dims=[8], **fields))


ORT_BROKEN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "cut-off": ("The file breaks off.", lambda: runtime(".ort")[:-9]),
    "root-outside": ("The first offset leads out of the file.", lambda: b"\xff\xff\xff\x7f" + runtime(".ort")[4:]),
    "table-outside": (
        "A table's own description lies before the file.",
        lambda: (lambda d, at: d[:at] + b"\xff\xff\xff\x7f" + d[at + 4 :])(
            runtime(".ort"), int.from_bytes(runtime(".ort")[:4], "little")
        ),
    ),
}  # fmt: skip
SAMPLES = (
    Sample("onnx/honest", "onnx", written("model.onnx", made(honest)), ("safe",), honest=True, needs=NEEDS),
    Sample("onnx/quantised", "onnx", written("m.onnx", quantised), ("safe",), honest=True, needs=RUNTIME, loads=taken),
    Sample(
        "onnx/optimised", "onnx", written("m.onnx", lambda: runtime(".onnx")), ("safe",), honest=True, needs=RUNTIME
    ),
    Sample("onnx/honest-outside", "onnx", honest_outside, ("safe",), honest=True, needs=NEEDS),
    *(
        Sample(
            f"onnx/data-{name}", "onnx", written("model.onnx", made(make)), ("danger",), rule="onnx.external-path",
            trick="A tensor takes its numbers from a file outside of the model's folder.", needs=NEEDS,
            loads=refused if name in ("absolute", "climbs", "climbs-in-the-middle") else None,
        )
        for name, make in DATA.items()
    ),
    Sample(
        "onnx/data-in-memory", "onnx",
        written(
            "model.onnx",
            made(lambda: model(tensors=[outside(location="*/_ORT_MEM_ADDR_/*", offset=4096, length=32)])),
        ),
        ("danger",), rule="onnx.memory-address", trick="A tensor's offset is an address in the process.", needs=NEEDS,
    ),
    Sample(
        "onnx/data-linked", "onnx", linked, ("unverifiable",), rule="source.unreachable", needs=NEEDS,
        trick="The data file is a link to a file outside of the model's folder.",
    ),
    Sample(
        "onnx/data-cut-off", "onnx", beside("w.bin", b"\xff\xfe\xfd" * 5), ("unverifiable",), rule="data.cut-off",
        trick="The data file is shorter than the tensor.", needs=NEEDS, loads=refused,
    ),
    Sample(
        "onnx/data-behind-its-file", "onnx", beside("w.bin", b"\xff\xfe\xfd\xfc" * 8, offset=1 << 40),
        ("unverifiable",), rule="data.cut-off", trick="The offset leads far behind the data file.", needs=NEEDS,
        loads=refused,
    ),
    Sample(
        "onnx/data-length-lies", "onnx", beside("w.bin", b"\xff\xfe\xfd\xfc" * 8, length=4), ("unverifiable",),
        rule="onnx.tensor-size", trick="The length is another one than the shape's.", needs=NEEDS, loads=refused,
    ),
    *(
        Sample(
            f"onnx/python-{name}", "onnx", written("model.onnx", made(make)), ("danger",), rule="onnx.python",
            trick="An operator imports a module by name and calls it.", needs=NEEDS,
        )
        for name, make in PYTHONS.items()
    ),
    *(
        Sample(
            f"onnx/{name}", "onnx", written("model.onnx", made(make)), ("unverifiable",), rule=rule, trick=trick,
            needs=NEEDS,
            loads=refused if name in ("raw-too-short", "raw-too-long", "typed-too-few", "shape-overflows") else None,
        )
        for name, (rule, trick, make) in BROKEN.items()
    ),
    *(
        Sample(
            f"onnx/{name}", "onnx",
            written("model.onnx", lambda change=change: change(model().SerializeToString())), ("unverifiable",),
            rule="onnx.malformed", trick=trick, needs=NEEDS,
        )
        for name, (trick, change) in WIRE.items()
    ),
    Sample(
        "onnx/metadata-that-is-evaluated", "onnx",
        written("yolo.onnx", made(lambda: model(names=CODE, stride="32"))), ("danger",), rule="onnx.metadata-code",
        trick="The names of the classes are Python code, which YOLOv5 evaluates.", needs=RUNTIME, loads=runs,
    ),
    Sample(
        "onnx/session-options", "onnx",
        written("m.onnx", made(lambda: model(ort_config='{"session_options": {"enable_profiling": 1}}'))), ("review",),
        rule="onnx.session-options", trick="The model brings options for its own session.", needs=NEEDS,
    ),
    Sample(
        "onnx/compiled-outside", "onnx",
        written(
            "m.onnx",
            made(lambda: model(node("EPContext", domain="com.microsoft", ep_cache_context="../e.so", embed_mode=0))),
        ),
        ("danger",), rule="onnx.compiled", trick="A compiled graph lies outside of the model's folder.", needs=NEEDS,
    ),
    Sample(
        "onnx/operator-of-a-library", "onnx", written("m.onnx", made(lambda: model(node("Run", domain="com.example")))),
        ("review",), rule="onnx.operator", trick="An operator of a library that must be registered.", needs=NEEDS,
    ),
    Sample(
        "onnx/operator-in-the-standards-name", "onnx", written("m.onnx", made(lambda: model(node("RunShell", "x")))),
        ("review",), rule="onnx.operator", trick="An operator goes by the standard's domain and is none of it.",
        needs=RUNTIME, loads=refused,
    ),
    *(
        Sample(
            f"onnx/{form}", "onnx", written(name, text(form)), ("unverifiable",), rule="onnx.form",
            trick="The model is written as text, which onnx.load takes by its name.", needs=NEEDS,
        )
        for form, name in (("onnxtxt", "m.onnxtxt"), ("json", "m.onnxjson"), ("textproto", "m.textproto"))
    ),
    Sample(
        "onnx/json-in-escapes", "onnx", written("m.json", graph_first), ("unverifiable",), rule="onnx.form",
        trick="The words that tell what it is stand far behind, in escapes.", needs=NEEDS,
    ),
    Sample("onnx-tensor/honest", "onnx-tensor", written("input_0.pb", alone), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "onnx-tensor/outside", "onnx-tensor",
        written("input_0.pb", made(lambda: outside(location="../../etc/passwd"))), ("danger",),
        rule="onnx.external-path", trick="The tensor's numbers lie in a file of the machine.", needs=NEEDS,
    ),
    Sample(
        "onnx-tensor/too-short", "onnx-tensor", written("input_0.pb", test_data(raw_data=bytes(4))), ("unverifiable",),
        rule="onnx.tensor-size", trick="It has fewer bytes than its shape says.", needs=NEEDS,
    ),
    Sample(
        "ort/honest", "ort", written("m.ort", lambda: runtime(".ort")), ("safe",), honest=True, needs=RUNTIME,
        loads=taken,
    ),
    Sample(
        "ort/operator-of-a-library", "ort", written("m.ort", ort(b"com.microsoft", b"com.harmfully")), ("review",),
        rule="onnx.operator", trick="The domain of an operator is that of a library.", needs=RUNTIME,
    ),
    *(
        Sample(
            f"ort/{name}", "ort", written("m.ort", make), ("unverifiable",), rule="onnx.malformed", trick=trick,
            needs=RUNTIME, loads=refused,
        )
        for name, (trick, make) in ORT_BROKEN.items()
    ),
)  # fmt: skip
