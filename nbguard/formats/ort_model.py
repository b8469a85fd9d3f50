"""Models in ONNX Runtime's own format (`.ort`): the same graph as ONNX, as a FlatBuffer.

    model = read_model(data)
    model.operators, model.tensors

Source: `onnxruntime/core/flatbuffers/schema/ort.fbs`. Types of values, edges and optimisations are left where they are:
they say nothing about what runs, and the runtime verifies the buffer before it reads it.
"""

from __future__ import annotations

from math import prod
from typing import Any

from nbguard.formats.flatbuffer import FlatBufferError, Numbers, Scalar, Table, Tables, Text, Vector, read
from nbguard.formats.onnx_model import MAX_DEPTH, OnnxModel, Setting
from nbguard.formats.onnx_tensors import BITS, MAX_DIMENSIONS, OnnxError

MAGIC = b"ORTM"
"""At offset 4."""
_TEXT, _OFFSETS = Text(), Vector("I")
_TENSOR = Table(
    "Tensor", _TEXT, _TEXT, Vector("q"), Scalar("i"), Vector("B"), Tables(_TEXT), Scalar("q", -1)
)  # fmt: skip
_SPARSE = Table("SparseTensor", _TENSOR, _TENSOR, Vector("q"))
_GRAPH = Table("Graph")
_ATTRIBUTE = Table(
    "Attribute", _TEXT, _TEXT, Scalar("i"), Scalar("f"), Scalar("q"), _TEXT, _TENSOR, _GRAPH, Vector("f"), Vector("q"),
    Tables(_TEXT), Tables(_TENSOR), Tables(_GRAPH),
)  # fmt: skip
_NODE = Table(
    "Node", _TEXT, _TEXT, _TEXT, Scalar("i"), Scalar("I"), _TEXT, Scalar("i"), _TEXT, Tables(_TEXT), Tables(_TEXT),
    Tables(_ATTRIBUTE), Vector("i"), Tables(_TEXT),
)  # fmt: skip
_GRAPH.fields = (
    Tables(_TENSOR), _OFFSETS, Tables(_NODE), Scalar("I"), _OFFSETS, Tables(_TEXT), Tables(_TEXT), Tables(_SPARSE),
    Table("RuntimeOptimizations", _OFFSETS),
)  # fmt: skip
_MODEL = Table(
    "Model", Scalar("q"), Tables(Table("OperatorSetId", _TEXT, Scalar("q"))), _TEXT, _TEXT, _TEXT, Scalar("q"), _TEXT,
    _GRAPH, _TEXT, Tables(Table("StringStringEntry", _TEXT, _TEXT)),
)  # fmt: skip
_SESSION = Table("InferenceSession", _TEXT, _MODEL, Scalar("I"), Table("KernelTypeStrResolver", _OFFSETS))


def read_model(data: bytes) -> OnnxModel:
    """The graph with all that is in it.

    Raises:
        OnnxError: an offset leads out of the file, a field is not known, or a tensor does not have its size.
    """
    try:
        session = read(data, _SESSION)
    except FlatBufferError as error:
        raise OnnxError(str(error)) from error
    found = OnnxModel()
    if session[1] is None:
        raise OnnxError("There is no model in it.")
    model = session[1]
    found.ir_version, found.producer = model[0], model[2] or ""
    found.opsets = {domain or "": version for domain, version in model[1] or ()}
    for key, value in model[9] or ():
        if key in found.metadata:
            found.problems.append(("onnx.duplicate", "A key of the metadata is there twice."))
        found.metadata[key or ""] = value or ""
    if model[7] is not None:
        _graph(model[7], found, 0)
    return found


def _graph(graph: list[Any], found: OnnxModel, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise OnnxError("Graphs are nested more deeply than is followed.")
    for tensor in graph[0] or ():
        _tensor(tensor, found)
    for values, indices, _ in graph[7] or ():
        for tensor in (values, indices):
            if tensor is not None:
                _tensor(tensor, found)
    for node in graph[2] or ():
        domain = "" if node[2] in (None, "ai.onnx") else node[2]
        operator = node[5] or ""
        found.operators[domain, operator] += 1
        for attribute in node[10] or ():
            _attribute(attribute, (domain, operator), found, depth)


def _attribute(attribute: list[Any], of: tuple[str, str], found: OnnxModel, depth: int) -> None:
    name, _, _, _, number, text, tensor, graph, _, _, texts, tensors, graphs = attribute
    for value in (*([text] if text is not None else []), *([str(number)] if number else []), *(texts or ())):
        found.settings.append(Setting(*of, name or "", value[:4096]))
    if name == "embed_mode" and not number:
        found.settings.append(Setting(*of, name, "0"))
    for inner in (*([tensor] if tensor is not None else []), *(tensors or ())):
        _tensor(inner, found)
    for inner in (*([graph] if graph is not None else []), *(graphs or ())):
        _graph(inner, found, depth + 1)


def _tensor(tensor: list[Any], found: OnnxModel) -> None:
    name, _, dims, kind, raw, texts, outside = tensor
    shown = (name or "")[:100]
    if dims is not None and len(dims) > MAX_DIMENSIONS:
        raise OnnxError(f"The tensor {shown} has more dimensions than any real one.")
    shape = list(dims.values()) if dims is not None else []
    if kind not in BITS:
        raise OnnxError(f"The tensor {shown} is of a type that ONNX does not define.")
    called, bits = BITS[kind]
    if any(d < 0 for d in shape) or prod(shape) * max(bits, 8) >= 1 << 62:
        raise OnnxError(f"The tensor {shown} has a shape that no memory holds.")
    if outside != -1:
        raise OnnxError(f"The data of the tensor {shown} lies in a file that the model does not name.")
    place, size = (raw.offset, raw.nbytes) if isinstance(raw, Numbers) else (0, 0)
    if bits and size != (prod(shape) * bits + 7) // 8:
        found.problems.append(("onnx.tensor-size", f"The tensor {shown} does not have the size that its shape says."))
    if not bits and len(texts or ()) != prod(shape):
        found.problems.append(("onnx.tensor-size", f"The tensor {shown} does not have the size that its shape says."))
    found.tensors.append(((name or "")[:500], called, place, size))
