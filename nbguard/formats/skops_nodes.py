"""What each kind of node in a skops schema constructs, in opcodes.

NODES["ObjectNode"](tree, {"__module__": "sklearn.svm._classes", "__class__": "SVC", …}, 1)

Source: the `_construct` methods in `skops/io` (`_general.py`, `_numpy.py`, `_scipy.py`, `_sklearn.py`, `old/`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from nbguard.formats.npy import MAGIC, NpyError, read_header
from nbguard.formats.skops_tree import NodeWriter, SkopsError, Tree, dotted
from nbguard.formats.view import BytesView

MAX_RECORDS = 64 << 20
"""Bytes of one array of records (the nodes of a decision tree), which is looked into."""
_MAX_BYTES = 1 << 16

_SCALARS = """
bool bool_ int8 int16 int32 int64 longlong uint8 uint16 uint32 uint64 ulonglong float16 float32 float64 longdouble
complex64 complex128 clongdouble str_ bytes_ datetime64 timedelta64 void
"""
_BUILTINS = "str int float bool bytes list dict tuple set frozenset slice bytearray complex"
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
SCALARS = frozenset(f"numpy.{name}" for name in _SCALARS.split())
PLAIN = SCALARS | {
    "numpy.ndarray",
    "numpy.ma.MaskedArray",
    "numpy.random.RandomState",
    "numpy.random.mtrand.RandomState",
    "numpy.random.Generator",
    "numpy.random._generator.Generator",
    "numpy.random.bit_generator.SeedSequence",
    *(f"numpy.random.{name}" for name in _BIT_GENERATORS),
    *(f"builtins.{name}" for name in _BUILTINS.split()),
}
"""What a node may import without being named in the program: nothing but data comes of calling it on data."""
_KEYS = SCALARS | {"builtins.str", "builtins.int", "builtins.float", "builtins.bool"}


def _dict(tree: Tree, state: dict[str, Any], depth: int) -> None:
    types, content = state.get("key_types"), state.get("content")
    if not isinstance(content, dict) or not isinstance(types, dict):
        raise SkopsError("A dictionary of the schema is not complete.")
    if dotted(state) == "builtins.dict":
        tree.out.empty_dict()
    else:
        tree.of(state)
        tree.out.mark()
        tree.out.tuple_()
        tree.out.reduce()
    types = tree.first(types)
    kinds = tree.rows(types.get("content")) if types.get("__loader__") == "ListNode" else None
    if kinds is None or dotted(types) != "builtins.list" or len(kinds) != len(content):
        raise SkopsError("The keys of a dictionary have other types than keys.")
    tree.out.mark()
    for kind, (key, value) in zip(kinds, content.items(), strict=True):
        first = tree.first(kind)
        if first.get("__loader__") == "TypeNode" and dotted(first) in _KEYS:
            tree.out.value(key)
        else:  # what stands for the type of a key is called with the key
            tree.node(kind, depth + 1)
            tree.out.mark()
            tree.out.value(key)
            tree.out.tuple_()
            tree.out.reduce()
        tree.node(value, depth)
    tree.out.items()


def _default_dict(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.named("collections", "defaultdict")
    tree.out.mark()
    tree.node(tree.content(state, "default_factory"), depth)
    tree.out.tuple_()
    tree.out.reduce()
    tree.out.mark()
    tree.out.value("main")
    tree.node(tree.content(state, "main"), depth)
    tree.out.items()


def _sequence(tree: Tree, state: dict[str, Any], depth: int) -> None:
    shown, rows = dotted(state), tree.rows(state.get("content"))
    simple = {"builtins.list": tree.out.list_, "builtins.tuple": tree.out.tuple_, "builtins.set": tree.out.set_}
    if shown not in simple:
        tree.of(state)
        tree.out.mark()
    tree.out.mark()
    for row in rows:
        tree.node(row, depth)
    if shown in simple:
        simple[shown]()
    else:  # any other class is called with the list, a named tuple with what is in it
        tree.out.list_()
        tree.out.tuple_()
        tree.out.reduce()


def _json(tree: Tree, state: dict[str, Any], depth: int) -> None:
    text = state.get("content")
    try:
        tree.out.value(json.loads(text) if isinstance(text, str) else None)
    except (ValueError, RecursionError) as error:
        raise SkopsError("A value of the schema is no JSON.") from error
    if not isinstance(text, str):
        raise SkopsError("A value of the schema is no JSON.")


def _bytes(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.out.bytes_((tree.file(state) or b"")[:_MAX_BYTES])


def _slice(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.named("builtins", "slice")
    tree.out.value(tuple(tree.content(state, key) for key in ("start", "stop", "step")))
    tree.out.reduce()


def _type(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.of(state)


def _function(tree: Tree, state: dict[str, Any], depth: int) -> None:
    """Protocol 0 kept the name that counts in `content`; whoever makes the file says which protocol it is."""
    old = state.get("content")
    if isinstance(old, dict) and "function" in old:
        tree.named(old.get("module_path"), old.get("function"))
        if tree.program.protocol == 0:
            return
        tree.out.pop()
    tree.of(state)


def _partial(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.named("functools", "partial")
    tree.out.mark()
    tree.node(tree.content(state, "func"), depth)
    tree.out.tuple_()
    tree.out.reduce()
    tree.out.mark()
    for key in ("func", "args", "kwds", "namespace"):
        tree.node(tree.content(state, key), depth)
    tree.out.tuple_()
    tree.out.build()


def _constructor(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.of(state)
    _arguments(tree, tree.content(state), depth)
    tree.out.reduce()


def _arguments(tree: Tree, value: Any, depth: int) -> None:
    """A tuple of arguments; what is none is taken apart as Python would, which nothing here follows."""
    first = tree.first(value)
    if first.get("__loader__") != "TupleNode" or dotted(first) != "builtins.tuple":
        raise SkopsError("A call in the schema has no tuple of arguments.")
    tree.node(value, depth)


def _object(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.of(state)
    tree.out.mark()
    tree.out.tuple_()
    tree.out.new_object()
    if state.get("content") is not None:
        tree.node(state["content"], depth)
        tree.out.build()


def _method(tree: Tree, state: dict[str, Any], depth: int) -> None:
    """`getattr`, by a name in the file, on an object that may be another than the node shows."""
    tree.of(state)
    tree.out.pop()
    tree.named("builtins", "getattr")
    tree.out.mark()
    tree.node(tree.content(state, "obj"), depth)
    tree.out.value(tree.content(state, "func"))
    tree.out.tuple_()
    tree.out.reduce()


def _operator(tree: Tree, state: dict[str, Any], depth: int) -> None:
    """`operator.<name>(*attrs)`, whatever module the node shows."""
    if state.get("__module__") != "operator":
        tree.of(state)
        tree.out.pop()
    tree.named("operator", state.get("__class__"))
    _arguments(tree, state.get("attrs"), depth)
    tree.out.reduce()


def _reduce_node(tree: Tree, state: dict[str, Any], depth: int) -> None:
    """A decision tree or a loss function: called, then given state. The tree's class is skops' own choice."""
    shown = dotted(state)
    reduce = state.get("__reduce__")
    if not isinstance(reduce, dict):
        raise SkopsError("A node of the schema is not complete.")
    if state.get("__loader__") == "TreeNode" and shown != "sklearn.tree._tree.Tree":
        tree.of(state)
        tree.out.pop()
        tree.named("sklearn.tree._tree", "Tree")
    else:
        tree.of(state)
    _arguments(tree, reduce.get("args"), depth)
    tree.out.reduce()
    content = tree.content(state)
    if not _is_empty(content):
        tree.node(content, depth)
        tree.out.build()


def _array(tree: Tree, state: dict[str, Any], depth: int) -> None:
    plain = dotted(state) == "numpy.ndarray" or dotted(state) in SCALARS
    if not plain:
        tree.of(state)
        tree.out.mark()
    if state.get("type") == "numpy":
        data = tree.file(state)
        if not (data is not None and _records(tree, data)):
            tree.out.value(None)
    elif state.get("type") == "json":
        tree.out.mark()
        for row in tree.rows(state.get("content")):
            tree.node(row, depth)
        tree.node(state.get("shape"), depth)
        tree.out.list_()
    else:
        raise SkopsError("An array of the schema is of no known kind.")
    if not plain:
        tree.out.tuple_()
        tree.out.reduce()


def _records(tree: Tree, data: bytes) -> bool:
    """Write an array of records with its bytes; others hold nothing that a rule looks at."""
    if data[:6] != MAGIC or len(data) > MAX_RECORDS:
        return False
    try:
        header = read_header(BytesView(data))
        rows = ast.literal_eval(header.descr) if header.descr.startswith("[") else None
    except (NpyError, ValueError, SyntaxError):
        return False
    raw = data[header.data :]
    if not isinstance(rows, list) or header.kind.objects or len(raw) != header.nbytes:
        return False
    if not all(len(row) == 2 and isinstance(row[1], str) and row[1][:1] in "<>|" for row in rows):
        return False
    tree.out.records(rows, header.kind.itemsize, header.shape, raw)
    tree.program.names |= {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct")}
    return True


def _masked(tree: Tree, state: dict[str, Any], depth: int) -> None:
    _pair(tree, state, depth, "data", "mask")


def _pair(tree: Tree, state: dict[str, Any], depth: int, *keys: str) -> None:
    tree.out.mark()
    for key in keys:
        tree.node(tree.content(state, key), depth)
    tree.out.tuple_()


def _random_state(tree: Tree, state: dict[str, Any], depth: int) -> None:
    if dotted(state) not in PLAIN:
        tree.of(state)
        tree.out.mark()
        tree.out.tuple_()
        tree.out.reduce()
        tree.out.pop()
    tree.node(tree.content(state), depth)


def _generator(tree: Tree, state: dict[str, Any], depth: int) -> None:
    """The state names an attribute of `numpy.random`, which is called."""
    inner = tree.first(tree.content(state, "bit_generator"))
    named = inner.get("bit_generator")
    if named is None:
        text = tree.first(tree.content(inner, "bit_generator")).get("content")
        try:
            named = json.loads(text) if isinstance(text, str) else None
        except ValueError as error:
            raise SkopsError("A random generator of the schema does not name its kind.") from error
    if type(named) is not str:
        raise SkopsError("A random generator of the schema does not name its kind.")
    if named not in _BIT_GENERATORS:
        tree.named("numpy.random", named)
        tree.out.mark()
        tree.out.tuple_()
        tree.out.reduce()
        tree.out.pop()
    if dotted(state) not in PLAIN:
        tree.of(state)
        tree.out.mark()
        tree.out.tuple_()
        tree.out.reduce()
        tree.out.pop()
    if "__loader__" in inner:
        tree.node(inner, depth)
    else:
        tree.out.value(None)
    if "seed_seq" in state["content"]:
        tree.node(tree.content(state, "seed_seq"), depth)
        tree.out.pop()


def _only_content(tree: Tree, state: dict[str, Any], depth: int) -> None:
    tree.node(tree.content(state), depth)


def _sparse(tree: Tree, state: dict[str, Any], depth: int) -> None:
    """`scipy.sparse.load_npz` of a member, which is judged as what it is."""
    tree.file(state)
    tree.out.value(None)


def _deprecated_keys(tree: Tree, state: dict[str, Any], depth: int) -> None:
    _pair(tree, state, depth, "main", "_deprecated_key_to_new_key")


def _is_empty(state: Any) -> bool:
    return isinstance(state, dict) and state.get("__loader__") == "DictNode" and state.get("content") == {}


NODES: Mapping[str, NodeWriter] = {
    "DictNode": _dict,
    "DefaultDictNode": _default_dict,
    "ListNode": _sequence,
    "SetNode": _sequence,
    "TupleNode": _sequence,
    "JsonNode": _json,
    "BytesNode": _bytes,
    "BytearrayNode": _bytes,
    "SliceNode": _slice,
    "FunctionNode": _function,
    "PartialNode": _partial,
    "TypeNode": _type,
    "ConstructorFromReduceNode": _constructor,
    "ObjectNode": _object,
    "MethodNode": _method,
    "OperatorFuncNode": _operator,
    "TreeNode": _reduce_node,
    "LossNode": _reduce_node,
    "QuantileForestNode": _reduce_node,
    "NdArrayNode": _array,
    "MaskedArrayNode": _masked,
    "RandomStateNode": _random_state,
    "RandomGeneratorNode": _generator,
    "DTypeNode": _only_content,
    "SparseMatrixNode": _sparse,
    "_DictWithDeprecatedKeysNode": _deprecated_keys,
}
