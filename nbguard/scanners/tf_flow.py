"""Where the paths come from that a TensorFlow graph reads and writes.

    for use in file_uses(meta): use.op, use.path, use.given

A SavedModel always holds operations that write files: those that save it again, to a path that the caller of a save
gives. Such an operation is as harmless as its path. So each path is followed back through the graph to the constants
and arguments that it is made of, and through the calls of the function that it is an argument of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nbguard.formats.protobuf import WireError
from nbguard.formats.tf_graph import Graph, MetaGraph, Node
from nbguard.scanners.tables import table

MAX_STEPS = 5_000_000
"""Inputs that are followed, all together."""
SAVING = re.compile(rb"(|\.part|part|_temp(_[0-9a-f]{32})?/part|_temp|model|\^s3://\.\*|\^gs://\.\*)\Z")
"""What TensorFlow's own savers put together with the path that they are given (`training/saver.py`,
`checkpoint/functional_saver.py`)."""


@dataclass(frozen=True)
class FileUse:
    """One operation that opens a file, and one of the places that its path comes from."""

    op: str
    where: str
    """Name of the operation, with the function's name before it."""
    path: bytes | None
    """A constant, or None where it is something else."""
    computed: bool = False
    """It is made of more than texts that are put together, so that what it will be cannot be said."""


class _Scope:
    def __init__(self, name: str, graph: Graph) -> None:
        self.name = name
        self.nodes = graph.nodes
        self.arguments = {name: number for number, name in enumerate(graph.arguments)}
        self.by_name = {node.name: node for node in graph.nodes}
        if len(self.by_name) != len(graph.nodes) or self.by_name.keys() & self.arguments.keys():
            raise WireError("Two operations in one graph have the same name.")
        self.assigned: dict[str, list[str]] = {}
        """Variable → what is assigned to it."""
        for node in graph.nodes:
            if node.op == "AssignVariableOp" and len(node.inputs) > 1:
                self.assigned.setdefault(node.inputs[0].partition(":")[0], []).append(node.inputs[1])


@dataclass
class _Origin:
    """What a path is made of."""

    constants: list[bytes] = field(default_factory=list)
    arguments: set[int] = field(default_factory=set)
    given: bool = False
    computed: bool = False


def file_uses(meta: MetaGraph) -> list[FileUse]:
    """Every file operation with every place that its path may come from. Raises ValueError where that is too many."""
    return _Flow(meta).uses()


class _Flow:
    def __init__(self, meta: MetaGraph) -> None:
        self.meta = meta
        rules = table("tensorflow")
        self.opening = rules["reads"]["operations"] | rules["restores"]["operations"] | rules["saves"]["operations"]
        self.scopes = [_Scope("", meta.graph), *(_Scope(n, g) for n, g in meta.functions.items())]
        self.sinks: dict[str, set[tuple[str, int]]] = {}
        """Function → (operation in it, number of the argument that its path comes from)."""
        self.found: dict[FileUse, None] = {}
        self.steps = MAX_STEPS
        self.fetched = self._behind(meta.outputs)

    def _behind(self, outputs: set[str]) -> set[str]:
        """Every operation that the graph's signatures run, those included that only have to be done before."""
        pending, seen = list(outputs), set[str]()
        by_name = self.scopes[0].by_name
        while pending:
            name = pending.pop()
            if name not in seen and name in by_name:
                seen.add(name)
                pending += [i.removeprefix("^").partition(":")[0] for i in by_name[name].inputs]
        return seen

    def _is_asset(self, scope: _Scope, op: str, reader: Node, source: Node) -> bool:
        """Whether the constant stands for a file among the assets, whose place is put in while the model is loaded.

        TensorFlow 2 writes no text into it; TensorFlow 1 leaves the path that the file had where it was saved, and puts
        the asset's in its place only for the operations that initialise.
        """
        if scope.name or source.name not in self.meta.assets:
            return False
        texts = [value for attribute, value in source.texts if attribute == "value" and value]
        base = self.meta.assets[source.name].rpartition("/")[2].encode("utf-8", "surrogatepass")
        same = all(re.split(rb"[/\\\\]", text)[-1] == base for text in texts)
        fills = op in _FILLS and not scope.name and reader.name not in self.fetched
        return not texts or (same and fills) or all(text == base for text in texts)

    def uses(self) -> list[FileUse]:
        changed = True
        while changed:
            changed = False
            for scope in self.scopes:
                for node in scope.nodes:
                    for op, inputs in self._paths(node):
                        changed |= self._follow(scope, node, op, inputs)
        for name in self.sinks:
            self._bound(name)
        return list(self.found)

    def _paths(self, node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(operation, inputs that its path comes from), where `node` is one or calls a function with one in it."""
        if node.op in self.opening:
            numbers = _PATHS.get(node.op)
            yield (
                node.op,
                node.inputs if numbers is None else tuple(node.inputs[n] for n in numbers if n < len(node.inputs)),
            )
        called = (*node.functions, node.op) if node.op in self.meta.functions else node.functions
        plain = node.op in _CALLS or node.op in self.meta.functions
        for function in called:
            for op, number in sorted(self.sinks.get(function, ())):
                yield op, node.inputs[number : number + 1] if plain else node.inputs

    def _follow(self, scope: _Scope, node: Node, op: str, inputs: tuple[str, ...]) -> bool:
        """Note where a path comes from; True where an argument of this function is a new one."""
        origin = self._origin(scope, inputs, op, node)
        where = f"{scope.name}/{node.name}" if scope.name else node.name
        for path in origin.constants:
            self.found[FileUse(op, where, path)] = None
        if origin.given or origin.arguments:
            self.found[FileUse(op, where, None)] = None
        if origin.computed:
            self.found[FileUse(op, where, None, computed=True)] = None
        sinks = self.sinks.setdefault(scope.name, set())
        new = {(op, number) for number in origin.arguments} - sinks
        sinks |= new
        return bool(new)

    def _origin(self, scope: _Scope, inputs: tuple[str, ...], op: str, reader: Node) -> _Origin:
        """What `inputs` are made of."""
        pending, seen = list(_names(inputs)), set[str]()
        origin = _Origin()
        while pending:
            self.steps -= 1
            if self.steps < 0:
                raise ValueError("The graph has more connections than are followed")
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            source = scope.by_name.get(name)
            if source is None:
                origin.arguments |= {scope.arguments[name]} if name in scope.arguments else set()
                origin.computed = origin.computed or name not in scope.arguments
            elif source.op == "Const":
                texts = [value for attribute, value in source.texts if attribute == "value"]
                asset = self._is_asset(scope, op, reader, source)
                origin.constants += [] if asset else texts
                origin.computed = origin.computed or not (texts or asset)
            elif source.op == "VarHandleOp":
                pending += _names(scope.assigned.get(name, ()))
                origin.computed = origin.computed or name not in scope.assigned  # a checkpoint fills it
            else:
                origin.given = origin.given or source.op.startswith("Placeholder")
                origin.computed = origin.computed or source.op not in _JOINS or bool(source.left_open - {"T", "N"})
                if source.op == "StringJoin":  # what stands between the parts is part of the path too
                    origin.constants += [v for attribute, v in source.texts if attribute == "separator" and v]
                pending += _names(source.inputs[:1] if source.op == "ShardedFilename" else source.inputs)
        return origin

    def _bound(self, function: str) -> None:
        """Constant texts that are passed to a function whenever it is called, because it was saved with them."""
        bound = self.meta.bound.get(function, ())
        first = len(self.meta.functions[function].arguments) - len(bound) if function else 0
        by_name = self.scopes[0].by_name
        for op, number in sorted(self.sinks[function]) if bound else ():
            name = self.meta.constants.get(bound[number - first]) if first <= number < first + len(bound) else None
            node = by_name.get(name) if name is not None and name not in self.meta.assets else None
            for attribute, value in node.texts if node is not None else ():
                if attribute == "value":
                    self.found[FileUse(op, function, value)] = None


_FILLS = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
"""Operations that fill a table from a file of the assets."""
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Operations whose inputs are the arguments of the function that they call, one for one."""
_JOINS = frozenset(
    {"Identity", "StringJoin", "Pack", "Select", "SelectV2", "StaticRegexFullMatch", "ShardedFilename", "Placeholder",
     "PlaceholderV2", "PlaceholderWithDefault", "ExpandDims", "Reshape", "ReadVariableOp"}
)  # fmt: skip
"""Operations that put texts together or choose among them; the saver's paths go through no others."""
_PATHS = {
    "Save": (0,), "SaveV2": (0,), "SaveSlices": (0,), "MergeV2Checkpoints": (0, 1), "Restore": (0,), "RestoreV2": (0,),
    "RestoreSlice": (0,), "InitializeTableFromTextFile": (1,), "InitializeTableFromTextFileV2": (1,), "ReadFile": (0,),
    "GenerateVocabRemapping": (0, 1), "LoadAndRemapMatrix": (0,),
}  # fmt: skip
"""Which inputs are paths; of an operation that is not here any may be one."""


def _names(inputs: Iterable[str]) -> Iterator[str]:
    """The operations that inputs name; those that only order the execution carry no value."""
    return (i.partition(":")[0] for i in inputs if not i.startswith("^"))
