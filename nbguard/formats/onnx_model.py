"""ONNX models: operators, tensors, where their data lies, and whatever names something outside of the file.

    model = read_model(view)
    model.operators[("", "Conv")], model.external[0].location

The graph is walked with every graph in it; the numbers of tensors are not read. Source: `onnx/onnx-ml.proto` (IR 13);
a test compares the field numbers with those of the installed library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from nbguard.formats import onnx_tensors
from nbguard.formats.onnx_tensors import BITS, HIGH, MAX_DIMENSIONS, WIDTHS, External, OnnxError
from nbguard.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, Budget, Field, WireError, fields, signed, varints
from nbguard.formats.view import View

MAX_DEPTH = 64
"""Graphs within graphs."""
MAX_TEXT = 1 << 20
"""Bytes of a name, a key or a string attribute that is kept."""
MAX_TENSORS = 1_000_000
MAX_EXPANDED = 10_000_000
"""Nodes of a graph once every call of the model's own functions is replaced by its body, as runtimes do."""
MAX_STRINGS = 100_000
"""String attributes of operators from outside of the standard that are kept."""

STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training"})
"""Domains of operators that the ONNX standard defines: they compute, and reach nothing outside."""

FIELDS: dict[str, dict[int, int]] = {
    "ModelProto": {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES,
                   20: BYTES, 25: BYTES, 26: BYTES},
    "GraphProto": dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 15, 16), BYTES),
    "NodeProto": dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 8, 9, 10), BYTES),
    "AttributeProto": {1: BYTES, 2: FIXED32, 3: VARINT, 4: BYTES, 5: BYTES, 6: BYTES, 7: BYTES, 8: BYTES, 9: BYTES,
                       10: BYTES, 11: BYTES, 13: BYTES, 14: BYTES, 15: BYTES, 20: VARINT, 21: BYTES, 22: BYTES,
                       23: BYTES},
    "TensorProto": {1: BYTES, 2: VARINT, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES, 7: BYTES, 8: BYTES, 9: BYTES,
                    10: BYTES, 11: BYTES, 12: BYTES, 13: BYTES, 14: VARINT, 16: BYTES},
    "SparseTensorProto": {1: BYTES, 2: BYTES, 3: BYTES},
    "FunctionProto": dict.fromkeys((1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14), BYTES),
    "TrainingInfoProto": dict.fromkeys((1, 2, 3, 4), BYTES),
    "StringStringEntryProto": {1: BYTES, 2: BYTES},
    "OperatorSetIdProto": {1: BYTES, 2: VARINT},
}  # fmt: skip
"""Message → field → wire type. A repeated number may also come one by one instead of packed (`_UNPACKED`)."""
_UNPACKED = {
    ("TensorProto", 1): VARINT, ("TensorProto", 4): FIXED32, ("TensorProto", 5): VARINT, ("TensorProto", 7): VARINT,
    ("TensorProto", 10): FIXED64, ("TensorProto", 11): VARINT, ("SparseTensorProto", 3): VARINT,
    ("AttributeProto", 7): FIXED32, ("AttributeProto", 8): VARINT,
}  # fmt: skip
_Key = tuple[str, str, str]
"""(domain, name, overload) of an operator or function."""


@dataclass(frozen=True)
class Setting:
    """A string attribute of an operator that the ONNX standard does not define."""

    domain: str
    operator: str
    name: str
    value: str


@dataclass
class OnnxModel:
    """What is in a model, as far as it matters for what loading it does."""

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    operators: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(domain, type) → how often, in all graphs and functions."""
    functions: set[tuple[str, str]] = field(default_factory=set)
    """(domain, name) of functions that the model defines itself."""
    tensors: list[tuple[str, str, int, int]] = field(default_factory=list)
    """(name, type, offset in the file or 0, bytes) of every tensor with numbers in the file, inner graphs included."""
    external: list[External] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(rule, sentence) of what readers may disagree on."""


def looks_like(view: View) -> bool:
    """Whether the fields on top are those of a `ModelProto`, with a graph among them, to the last byte."""
    seen: set[int] = set()
    known = FIELDS["ModelProto"]
    try:
        for found in fields(view, 0, view.size, Budget(20_000)):
            if known.get(found.number) != found.wire:
                return False
            seen.add(found.number)
    except WireError:
        return False
    return {1, 7} <= seen


def read_model(view: View) -> OnnxModel:
    """Walk the whole model.

    Raises:
        OnnxError: a message breaks off, nests too deeply, or has fields that ONNX does not define.
    """
    walk = _Walk(view)
    try:
        walk.model()
    except OnnxError:
        raise
    except WireError as error:
        raise OnnxError(str(error)) from error
    return walk.found


class _Walk:
    def __init__(self, view: View) -> None:
        self.view = view
        self.budget = Budget()
        self.found = OnnxModel()
        self.calls: Counter[_Key] = Counter()
        """What the graph or function that is being read calls."""
        self.bodies: dict[_Key, Counter[_Key]] = {}

    def fields(self, message: str, start: int, end: int, *, once: tuple[int, ...] = ()) -> list[Field]:
        """All fields, known by number and wire type; those in `once` at most one time, since readers merge repeats."""
        known, out, seen = FIELDS[message], [], set()
        for found in fields(self.view, start, end, self.budget):
            if known.get(found.number) != found.wire and _UNPACKED.get((message, found.number)) != found.wire:
                raise OnnxError(f"A {message} holds a field that ONNX does not define (number {found.number}).")
            if found.number in once:
                if found.number in seen:
                    raise OnnxError(f"A {message} says something twice (field {found.number}).")
                seen.add(found.number)
            out.append(found)
        return out

    def text(self, found: Field) -> str:
        if found.length > MAX_TEXT:
            raise OnnxError("A name in it is longer than any real one.")
        try:
            return self.view.read(found.start, found.length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise OnnxError("A name in it is no text.") from error

    def inner(self, found: Field, walk: Callable[[int, int, int], None], depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise OnnxError("Graphs are nested more deeply than is followed.")
        walk(found.start, found.start + found.length, depth + 1)

    def model(self) -> None:
        model = self.found
        for found in self.fields("ModelProto", 0, self.view.size, once=(1, 2, 5, 7)):
            if found.number == 1:
                model.ir_version = found.value
            elif found.number == 2:
                model.producer = self.text(found)
            elif found.number == 7:
                self.inner(found, self.graph, 0)
            elif found.number == 8:
                self.opset(found)
            elif found.number == 14:
                key, value = self.entry(found)
                if key in model.metadata:
                    model.problems.append(("onnx.duplicate", "A key of the metadata is there twice."))
                model.metadata[key] = value
            elif found.number == 20:
                for part in self.fields("TrainingInfoProto", found.start, found.start + found.length):
                    if part.number in (1, 2):
                        self.inner(part, self.graph, 0)
            elif found.number == 25:
                self.inner(found, self.function, 0)
        self.expanded()

    def expanded(self) -> None:
        """Functions that call themselves never end, and a few that call each other twice grow beyond all memory."""
        sizes: dict[_Key, int] = {}
        pending = [(key, False) for key in self.bodies]
        open_: set[_Key] = set()
        while pending:
            key, done = pending.pop()
            called = [k for k in self.bodies[key] if k in self.bodies]
            if done:
                open_.discard(key)
                sizes[key] = min(sum(n * sizes.get(k, 1) for k, n in self.bodies[key].items()), 2 * MAX_EXPANDED)
            elif key not in sizes:
                open_.add(key)
                if any(k in open_ for k in called):
                    self.found.problems.append(("onnx.recursion", "Functions in it call each other without an end."))
                    return
                pending.append((key, True))
                pending += [(k, False) for k in called if k not in sizes]
        if sum(n * sizes.get(k, 1) for k, n in self.calls.items()) > MAX_EXPANDED or any(
            size > MAX_EXPANDED for size in sizes.values()
        ):
            self.found.problems.append(
                ("onnx.expansion", "Functions in it call each other so often that no memory holds the whole graph.")
            )

    def opset(self, found: Field) -> None:
        domain, version = "", 0
        for part in self.fields("OperatorSetIdProto", found.start, found.start + found.length, once=(1, 2)):
            if part.number == 1:
                domain = self.text(part)
            else:
                version = part.value
        self.found.opsets[domain] = version

    def entry(self, found: Field) -> tuple[str, str]:
        key = value = ""
        for part in self.fields("StringStringEntryProto", found.start, found.start + found.length, once=(1, 2)):
            if part.number == 1:
                key = self.text(part)
            elif part.length <= MAX_TEXT:
                value = self.text(part)
            else:
                value = self.view.read(part.start, MAX_TEXT).decode("utf-8", "backslashreplace")
        return key, value

    def graph(self, start: int, end: int, depth: int) -> None:
        for found in self.fields("GraphProto", start, end, once=(2,)):
            if found.number == 1:
                self.inner(found, self.node, depth)
            elif found.number == 5:
                self.inner(found, self.tensor, depth)
            elif found.number == 15:
                self.inner(found, self.sparse, depth)

    def function(self, start: int, end: int, depth: int) -> None:
        name = domain = overload = ""
        outer, self.calls = self.calls, Counter()
        for found in self.fields("FunctionProto", start, end, once=(1, 10, 13)):
            if found.number == 1:
                name = self.text(found)
            elif found.number == 10:
                domain = self.text(found)
            elif found.number == 13:
                overload = self.text(found)
            elif found.number == 7:
                self.inner(found, self.node, depth)
            elif found.number == 9:
                self.opset(found)
            elif found.number == 11:
                self.inner(found, lambda start, end, depth: self.attribute(start, end, depth, None), depth)
        domain = "" if domain == "ai.onnx" else domain
        if (domain, name, overload) in self.bodies:
            self.found.problems.append(("onnx.duplicate", f"The function {name[:100]} is there twice."))
        self.bodies[domain, name, overload] = self.calls
        self.calls = outer
        self.found.functions.add((domain, name))

    def node(self, start: int, end: int, depth: int) -> None:
        operator = domain = overload = ""
        attributes = []
        for found in self.fields("NodeProto", start, end, once=(3, 4, 7, 8)):
            if found.number == 4:
                operator = self.text(found)
            elif found.number == 7:
                domain = self.text(found)
            elif found.number == 8:
                overload = self.text(found)
            elif found.number == 5:
                attributes.append(found)
        domain = "" if domain == "ai.onnx" else domain
        self.calls[domain, operator, overload] += 1
        self.found.operators[domain, operator] += 1
        of = None if domain in STANDARD else (domain, operator)
        for found in attributes:
            self.inner(found, lambda start, end, depth: self.attribute(start, end, depth, of), depth)

    def attribute(self, start: int, end: int, depth: int, of: tuple[str, str] | None) -> None:
        name, texts = "", []
        for found in self.fields("AttributeProto", start, end, once=(1, 2, 3, 4, 5, 6, 20, 21, 22)):
            if found.number == 1:
                name = self.text(found)
            elif found.number in (4, 9) and of is not None:
                texts.append(self.view.read(found.start, min(found.length, 4096)).decode("utf-8", "backslashreplace"))
            elif found.number in (5, 10):
                self.inner(found, self.tensor, depth)
            elif found.number in (6, 11):
                self.inner(found, self.graph, depth)
            elif found.number in (22, 23):
                self.inner(found, self.sparse, depth)
            elif found.number == 3 and of is not None:
                texts.append(str(signed(found.value)))
        if of is not None and len(self.found.settings) < MAX_STRINGS:
            self.found.settings += [Setting(*of, name, text) for text in texts]

    def sparse(self, start: int, end: int, depth: int) -> None:
        for found in self.fields("SparseTensorProto", start, end, once=(1, 2)):
            if found.number in (1, 2):
                self.inner(found, self.tensor, depth)

    def tensor(self, start: int, end: int, depth: int) -> None:
        name, kind, dims, external, outside = "", 0, [], [], False
        raw: Field | None = None
        typed: dict[int, tuple[int, int]] = {}
        for found in self.fields("TensorProto", start, end, once=(2, 3, 8, 9, 14)):
            match found.number:
                case 1:
                    dims += [found.value] if found.wire == VARINT else self.packed(found)
                    if len(dims) > MAX_DIMENSIONS:
                        raise OnnxError("A tensor has more dimensions than any real one.")
                case 2:
                    kind = found.value
                case 3:
                    raise OnnxError("A tensor comes in segments, which nobody writes.")
                case 8:
                    name = self.text(found)
                case 9:
                    raw = found
                case 13:
                    external.append(self.entry(found))
                case 14:
                    outside = found.value == 1
                case 4 | 5 | 6 | 7 | 10 | 11:
                    count, nbytes = typed.get(found.number, (0, 0))
                    typed[found.number] = (count + self.count(found), nbytes + found.length)
        self._tensor(name, kind, [signed(d) for d in dims], raw, typed, external, outside)

    def packed(self, found: Field) -> list[int]:
        if found.length > 4096:
            raise OnnxError("A tensor has more dimensions than any real one.")
        return varints(self.view.read(found.start, found.length))

    def count(self, found: Field) -> int:
        """How many values a field of numbers holds, one by one or packed."""
        if found.wire != BYTES or found.number == 6:
            return 1
        if found.number in WIDTHS:
            return found.length // WIDTHS[found.number]
        pieces = range(found.start, found.start + found.length, 1 << 20)
        end = found.start + found.length
        return sum(len(self.view.read(at, min(1 << 20, end - at)).translate(None, HIGH)) for at in pieces)

    def _tensor(
        self,
        name: str,
        kind: int,
        dims: list[int],
        raw: Field | None,
        typed: dict[int, tuple[int, int]],
        external: list[tuple[str, str]],
        outside: bool,
    ) -> None:
        model = self.found
        if len(model.tensors) + len(model.external) >= MAX_TENSORS:
            raise OnnxError("It holds more tensors than are looked at.")
        if kind not in BITS:
            raise OnnxError(f"The tensor {name[:100]} is of a type that ONNX does not define.")
        called, bits = BITS[kind]
        elements = onnx_tensors.elements(dims)
        if elements is None or elements * max(bits, 8) >= 1 << 62:
            raise OnnxError(f"The tensor {name[:100]} has a shape that no memory holds.")
        needed = (elements * bits + 7) // 8
        if outside or external:
            if not outside or raw is not None or typed or not bits:
                model.problems.append(
                    ("onnx.tensor-data", f"The tensor {name[:100]} is both in the file and in another one.")
                )
            place, odd = onnx_tensors.external(name, external, needed)
            if odd is not None:
                model.problems.append(("onnx.external-key", odd))
            model.external.append(place)
            return
        wrong = (
            raw.length != needed or bool(typed) or not bits
            if raw is not None
            else onnx_tensors.miscounted(kind, elements, typed)
        )
        if wrong:
            model.problems.append(
                ("onnx.tensor-size", f"The tensor {name[:100]} does not have the size that its shape says.")
            )
        stored = raw.length if raw else sum(nbytes for _, nbytes in typed.values())
        model.tensors.append((name[:500], called, raw.start if raw else 0, stored))


def read_tensor(view: View) -> OnnxModel:
    """A `TensorProto` by itself, as ONNX's test data has them. Raises OnnxError."""
    walk = _Walk(view)
    try:
        walk.tensor(0, view.size, 0)
    except OnnxError:
        raise
    except WireError as error:
        raise OnnxError(str(error)) from error
    return walk.found


__all__ = ["BITS", "External", "OnnxError", "OnnxModel", "Setting", "looks_like", "read_model", "read_tensor"]
