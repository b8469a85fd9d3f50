"""TensorFlow's graphs and SavedModels, read from their Protocol Buffers without TensorFlow.

    for meta in read_saved_model(view):
        meta.graph.nodes[0].op, meta.functions["__inference_f_1"].nodes
    read_graph(view)            # a frozen graph

Sources: `tensorflow/core/protobuf/saved_model.proto`, `meta_graph.proto`, `saved_object_graph.proto`, and
`tensorflow/core/framework/{graph,node_def,function,attr_value,tensor}.proto`. A field that the format has once and the
file twice is merged by Protocol Buffers in ways that readers could get wrong, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nbguard.formats import protobuf
from nbguard.formats.protobuf import BYTES, VARINT, Field, WireError
from nbguard.formats.view import BytesView, View

MAX_NODES = 3_000_000
MAX_TEXT = 16 << 20
"""Bytes of one name or one description."""
MAX_VALUE = 4096
"""Bytes that are read of a text in an attribute or a constant; a path is no longer than that."""
STRING, RESOURCE, VARIANT = 7, 20, 21
"""`DataType` of texts, of handles, and of values that only their own kernels can read."""


@dataclass(frozen=True)
class Node:
    """One operation."""

    name: str
    op: str
    inputs: tuple[str, ...]
    functions: tuple[str, ...]
    """Functions of the library that it may call."""
    texts: tuple[tuple[str, bytes], ...]
    """(attribute, value) of texts, those in constant tensors included."""
    left_open: frozenset[str] = frozenset()
    """Attributes of a function's operation that its caller fills in."""

    def text(self, attribute: str) -> bytes | None:
        return next((value for name, value in self.texts if name == attribute), None)


@dataclass
class Graph:
    """A graph, or a function's body."""

    nodes: list[Node] = field(default_factory=list)
    arguments: tuple[str, ...] = ()


@dataclass
class MetaGraph:
    """One graph of a SavedModel with what belongs to it."""

    graph: Graph = field(default_factory=Graph)
    functions: dict[str, Graph] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    """Tensor → file name in the folder `assets`."""
    files: list[str] = field(default_factory=list)
    """Every file name of an asset, also where two belong to one tensor."""
    outputs: set[str] = field(default_factory=set)
    """Operations that a signature of the graph gives results of."""
    objects: list[tuple[str, str]] = field(default_factory=list)
    """(identifier, metadata) of the objects that were saved."""
    constants: dict[int, str] = field(default_factory=dict)
    """Number of an object → the node that holds its value."""
    bound: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Function → numbers of the objects that are its last arguments."""


class _Reader:
    def __init__(self, view: View) -> None:
        self.view = view
        self.budget = protobuf.Budget()
        self.nodes = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        return protobuf.fields(self.view, start, end, self.budget)

    def inside(self, outer: Field) -> Iterator[Field]:
        if outer.wire != BYTES:
            raise WireError("A message stands where none can be.")
        return self.fields(outer.start, outer.start + outer.length)

    def raw(self, found: Field) -> bytes:
        if found.wire != BYTES or found.length > MAX_TEXT:
            raise WireError("A text in it is longer than any real one.")
        return self.view.read(found.start, found.length)

    def value(self, found: Field) -> bytes:
        """The beginning of a text, which may be a whole compiled program."""
        if found.wire != BYTES:
            raise WireError("A message stands where none can be.")
        return self.view.read(found.start, min(found.length, MAX_VALUE))

    def text(self, found: Field) -> str:
        return self.raw(found).decode("utf-8", "backslashreplace")

    def pair(self, outer: Field) -> tuple[str, Field | None]:
        """Key and value of an entry of a map."""
        key, value = "", None
        for found in self.inside(outer):
            if found.number == 1:
                key = self.text(found)
            elif found.number == 2:
                if value is not None:
                    raise WireError("An entry in it has two values.")
                value = found
        return key, value

    # graphs

    def graph(self, start: int, end: int, into: Graph, functions: dict[str, Graph]) -> None:
        for found in self.fields(start, end):
            if found.number == 1:
                into.nodes.append(self.node(found))
            elif found.number == 2:
                for function in self.inside(found):
                    if function.number == 1:
                        self.function(function, functions)

    def function(self, outer: Field, functions: dict[str, Graph]) -> None:
        name, body, arguments = "", Graph(), []
        for found in self.inside(outer):
            if found.number == 1:
                for part in self.inside(found):
                    if part.number == 1:
                        name = self.text(part)
                    elif part.number == 2:
                        arguments += [self.text(f) for f in self.inside(part) if f.number == 1]
            elif found.number == 3:
                body.nodes.append(self.node(found))
        if name in functions:
            raise WireError("Two functions in it have the same name.")
        body.arguments = tuple(arguments)
        functions[name] = body

    def node(self, outer: Field) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise WireError("It holds more operations than any real graph.")
        seen: dict[int, str] = {}
        inputs: list[str] = []
        functions: list[str] = []
        texts: list[tuple[str, bytes]] = []
        left_open: list[str] = []
        for found in self.inside(outer):
            if found.number in (1, 2):
                if found.number in seen:
                    raise WireError("An operation in it has two names.")
                seen[found.number] = self.text(found)
            elif found.number == 3:
                inputs.append(self.text(found))
            elif found.number == 5:
                name, value = self.pair(found)
                if value is not None and self.attribute(name, value, functions, texts):
                    left_open.append(name)
        return Node(
            seen.get(1, ""), seen.get(2, ""), tuple(inputs), tuple(functions), tuple(texts), frozenset(left_open)
        )

    def attribute(self, name: str, value: Field, functions: list[str], texts: list[tuple[str, bytes]]) -> bool:
        """Texts and functions of an `AttrValue`, or of its list; whether the caller of the function fills it in."""
        several = False
        left_open = False
        for found in self.inside(value):
            if several:
                raise WireError("An attribute of an operation has two values.")
            several = True
            if found.number == 1:
                for item in self.inside(found):
                    if item.number == 2:
                        texts.append((name, self.value(item)))
                    elif item.number == 8:
                        self.tensor(name, item, texts)
                    elif item.number == 9:
                        functions += [self.text(f) for f in self.inside(item) if f.number == 1]
            elif found.number == 2 and name != "_class":
                texts.append((name, self.value(found)))
            elif found.number == 8:
                self.tensor(name, found, texts)
            elif found.number == 9:
                left_open = True
            elif found.number == 10:
                functions += [self.text(f) for f in self.inside(found) if f.number == 1]
        return left_open

    def tensor(self, name: str, outer: Field, texts: list[tuple[str, bytes]]) -> None:
        """The texts of a constant, one by one or packed (`Tensor::FromProto`, `DecodeStringList`)."""
        kind = 0
        values: list[bytes] = []
        packed: Field | None = None
        for found in self.inside(outer):
            if found.number == 1 and found.wire == VARINT:
                kind = found.value
            elif found.number == 4 and found.wire == BYTES:
                packed = found
            elif found.number == 8 and found.wire == BYTES and len(values) < 10_000:
                values.append(self.value(found))
        if kind == STRING and packed is not None:
            values += _unpacked(self.raw(packed))
        if kind == STRING:
            texts += [(name, v) for v in values]

    # SavedModels

    def meta(self, outer: Field) -> MetaGraph:
        meta = MetaGraph()
        for found in self.inside(outer):
            if found.number == 2:
                self.graph(found.start, found.start + found.length, meta.graph, meta.functions)
            elif found.number == 4:
                self.collection(found, meta)
            elif found.number == 5:
                self.signature(found, meta)
            elif found.number == 6:
                self.asset(found.start, found.start + found.length, meta)
            elif found.number == 7:
                self.objects(found, meta)
        return meta

    def collection(self, outer: Field, meta: MetaGraph) -> None:
        """TensorFlow 1 keeps its assets in a collection (`saved_model/builder_impl.py`)."""
        name, value = self.pair(outer)
        for kind in self.inside(value) if value is not None and name == "saved_model_assets" else ():
            for held in self.inside(kind) if kind.number == 5 else ():
                for part in self.inside(held) if held.number == 1 else ():
                    if part.number == 2:
                        self.asset(part.start, part.start + part.length, meta)

    def signature(self, outer: Field, meta: MetaGraph) -> None:
        _, value = self.pair(outer)
        for found in self.inside(value) if value is not None else ():
            if found.number == 2:
                _, tensor = self.pair(found)
                names = [self.text(f) for f in self.inside(tensor) if f.number == 1] if tensor is not None else []
                meta.outputs |= {n.partition(":")[0] for n in names}

    def asset(self, start: int, end: int, meta: MetaGraph) -> None:
        tensor = file = ""
        for found in self.fields(start, end):
            if found.number == 1:
                for part in self.inside(found):
                    tensor = self.text(part) if part.number == 1 else tensor
            elif found.number == 2:
                file = self.text(found)
        meta.files.append(file)
        meta.assets[tensor.partition(":")[0]] = file

    def objects(self, outer: Field, meta: MetaGraph) -> None:
        number = 0
        for found in self.inside(outer):
            if found.number == 1:
                self.object(found, number, meta)
                number += 1
            elif found.number == 2:
                name, value = self.pair(found)
                bound: list[int] = []
                for part in self.inside(value) if value is not None else ():
                    if part.number == 2:
                        bound += protobuf.varints(self.raw(part)) if part.wire == BYTES else [part.value]
                meta.bound[name] = tuple(bound)

    def object(self, outer: Field, number: int, meta: MetaGraph) -> None:
        for found in self.inside(outer):
            if found.number == 4:
                parts = {f.number: self.text(f) for f in self.inside(found) if f.number in (1, 3)}
                meta.objects.append((parts.get(1, ""), parts.get(3, "")))
            elif found.number == 9:
                for part in self.inside(found):
                    if part.number == 1:
                        meta.constants[number] = self.text(part)
            elif found.number == 12:
                for part in self.inside(found):
                    if part.number == 1:
                        meta.constants[number] = self.text(part).partition(":")[0]


def _unpacked(data: bytes) -> list[bytes]:
    """Texts that lie end to end behind all of their lengths. Raises WireError."""
    lengths: list[int] = []
    at = total = 0
    while at + total < len(data):
        length, at = protobuf.varint(data, at)
        lengths.append(length)
        total += length
    if at + total != len(data) or len(lengths) > 1_000_000:
        raise WireError("The texts of a constant do not fill the room that they have.")
    found = []
    for length in lengths[:10_000]:
        found.append(data[at : at + min(length, MAX_VALUE)])
        at += length
    return found


def read_saved_model(view: View) -> list[MetaGraph]:
    """All graphs of a `saved_model.pb`. Raises WireError where it is none that can be read."""
    reader = _Reader(view)
    return [reader.meta(f) for f in reader.fields(0, view.size) if f.number == 2]


def read_graph(view: View) -> MetaGraph:
    """A frozen graph (`GraphDef`), without assets or objects. Raises WireError."""
    meta = MetaGraph()
    _Reader(view).graph(0, view.size, meta.graph, meta.functions)
    return meta


def kind_of(view: View) -> str:
    """`saved-model` or `graph` where the beginning is that of one, else empty."""
    reader = _Reader(view)
    try:
        for found in reader.fields(0, view.size):
            if found.number == 1 and found.wire == VARINT and found.value < 100:
                continue
            if found.number == 2 and found.wire == BYTES:
                return "saved-model" if _is_meta(reader, found) else ""
            return "graph" if found.number == 1 and found.wire == BYTES and _is_node(reader, found) else ""
    except WireError:
        return ""
    return ""


def _is_meta(reader: _Reader, outer: Field) -> bool:
    for found in reader.inside(outer):
        if found.wire != BYTES or not 1 <= found.number <= 7:
            return False
        if found.number == 2:
            first = next(reader.inside(found), None)
            return first is not None and (first.number != 1 or _is_node(reader, first))
    return False


def _is_node(reader: _Reader, outer: Field) -> bool:
    parts = {f.number: reader.text(f) for f in reader.inside(outer) if f.number in (1, 2) and f.wire == BYTES}
    return len(parts) == 2 and parts[2].isidentifier()


def saved_metadata(view: View) -> list[tuple[str, str]]:
    """(identifier, metadata) of every object of a `keras_metadata.pb`. Raises WireError."""
    reader = _Reader(view)
    found: list[tuple[str, str]] = []
    for outer in reader.fields(0, view.size):
        if outer.number == 1:
            parts = {f.number: reader.text(f) for f in reader.inside(outer) if f.number in (4, 5)}
            found.append((parts.get(4, ""), parts.get(5, "")))
    return found


def read_node(data: bytes) -> Node:
    """One operation's definition by itself (`NodeDef`). Raises WireError."""
    reader = _Reader(BytesView(data))
    return reader.node(Field(0, BYTES, len(data), 0, len(data)))
