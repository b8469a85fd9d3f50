"""Every model load that a cell can name before it runs, from its syntax tree alone.

    loads_in("m = torch.load('model.pt')\\nt = AutoTokenizer.from_pretrained(repo)", {"repo": "org/name"})
    # [CellLoad(loader='torch.load', target='model.pt', line=1), CellLoad(loader='AutoTokenizer.from_pretrained', …)]

Nothing of the cell is run. A target counts where it is a literal, a name that the cell assigns a literal, or a `str` or
`Path` that is already in the notebook; joined paths (`Path("a") / "b"`, `os.path.join`, `f"{folder}/x.pt"`, `+`) of
these too. What only shows itself at run time is caught by the interception then: this only saves questions.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any

from nbguard.loader_names import FROM_PRETRAINED, PREFIXES, PRETRAINED, Named, functions, methods

MAX_LOADS = 64
"""Loads taken from one cell; further ones are asked about when they happen."""

_OPENERS = frozenset({"open", "io.open", "gzip.open", "bz2.open", "lzma.open", "Path.open"})

_PATHS = (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)
"""Exact types: the text of a subclass would come from code of its own."""

_USUAL_NAMES = {"np": "numpy", "pd": "pandas", "cPickle": "pickle", "_pickle": "pickle"}
"""For names that an earlier cell may have bound and that are not in the notebook's namespace (they usually are)."""


@dataclass(frozen=True)
class CellLoad:
    """One call that would load something."""

    loader: str
    """As a person would type it."""
    target: str
    """A path or a Hub repository."""
    line: int
    """In the cell, from 1."""
    revision: str | None = None
    hub: bool = False
    """Whether the target may be a repository: `from_pretrained`, `pipeline`."""
    named: Named | None = field(default=None, compare=False)
    """The loader, where more than its name is known."""
    argument: str = field(default="", compare=False)
    """The source of the argument that names the target, where its value is not known before the cell runs."""


def loads_in(cell: str, namespace: Mapping[str, Any] | None = None) -> list[CellLoad]:
    """The loads that `cell` names, in the order of their lines, each target once for each loader.

    Args:
        cell: Python source; lines that start a magic or a shell command are passed over.
        namespace: what is bound in the notebook. Only modules, functions, `str` and `Path` values in it are looked at,
            none is called.

    Raises:
        SyntaxError: the cell is not Python.
    """
    return [load for load in Reader(namespace).loads(cell) if load.target]


class Reader:
    """Reads one cell after the other; what is known about names is kept from cell to cell."""

    def __init__(self, namespace: Mapping[str, Any] | None = None) -> None:
        """`namespace`: see `loads_in`."""
        self._walker = _Walker(namespace or {})

    def loads(self, cell: str) -> list[CellLoad]:
        """The loads of the cell, those among them whose target is not known before it runs: with an empty `target`.

        Raises:
            SyntaxError: the cell is not Python.
        """
        tree = ast.parse(_without_magics(cell))
        found: list[CellLoad] = []
        seen: set[tuple[str, str, str | None, int]] = set()
        for node in _in_order(tree):
            self._walker.learn(node)
            if not isinstance(node, ast.Call) or len(found) >= MAX_LOADS:
                continue
            for load in self._walker.loads(node):
                key = (load.loader, load.target, load.revision, 0 if load.target else load.line)
                if key not in seen:
                    seen.add(key)
                    found.append(load)
        return found[:MAX_LOADS]


class _Walker:
    """What is known about names while the cell is read from top to bottom."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._aliases: dict[str, str] = {}
        self._values: dict[str, str | None] = {}
        self._tables: dict[str, dict[object, str | None]] = {}
        self._loops: dict[str, tuple[str, ...]] = {}
        self._files: dict[str, str | None] = {}

    def learn(self, node: ast.AST) -> None:
        """Take in imports, assignments and `with open(…) as name`."""
        match node:
            case ast.Import():
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self._aliases[alias.asname or top] = alias.name if alias.asname else top
            case ast.ImportFrom(module=str(module), level=0):
                for alias in node.names:
                    self._aliases[alias.asname or alias.name] = f"{module}.{alias.name}"
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                self._values[name] = self._text(value)
                self._tables[name] = self._table(value)
                self._loops.pop(name, None)
                self._files[name] = self._opened(value)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    if isinstance(item.optional_vars, ast.Name):
                        self._files[item.optional_vars.id] = self._opened(item.context_expr)
            case (
                ast.For(target=ast.Name(id=name), iter=items) | ast.comprehension(target=ast.Name(id=name), iter=items)
            ):
                self._values[name] = None
                self._loops[name] = self._listed(items)
            case ast.AugAssign(target=ast.Name(id=name)):
                self._values[name] = None  # changes as it runs: not known here
                self._loops.pop(name, None)
                self._tables.pop(name, None)

    def loads(self, call: ast.Call) -> list[CellLoad]:
        """The loads that this call is: one, or one for each target of a loop over known ones."""
        named = self._named(call)
        if named is None or (named.loader == "timm.create_model" and not self._fetches(call, named)):
            return []
        looped = next((n.id for n in ast.walk(call) if isinstance(n, ast.Name) and self._loops.get(n.id)), None)
        if looped is not None:
            out = []
            for value in self._loops[looped][:MAX_LOADS]:
                self._values[looped] = value
                out.append(self._load(call, named))
            self._values[looped] = None
            return out
        return [self._load(call, named)]

    def _load(self, call: ast.Call, named: Named) -> CellLoad:
        node = self._node(call, named)
        target = None if node is None else self._text(node) or self._opened(node)
        if target and named.loader == "timm.create_model":
            target = target.partition(":")[2]
        revision = self._keyword(call, "revision") if named.hub else None
        shown = "" if target or node is None else ast.unparse(node)[:200]
        return CellLoad(named.loader, target or "", call.lineno, revision, named.hub, named, shown)

    def _fetches(self, call: ast.Call, named: Named) -> bool:
        """Whether timm would open a repository or a folder: any other name is a model of its own, made without one."""
        node = self._node(call, named)
        return node is not None and (self._text(node) or "").startswith(PREFIXES)

    def _named(self, call: ast.Call) -> Named | None:
        """The loader that is called."""
        dotted = self._dotted(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "from_pretrained":
            owner = (dotted or "from_pretrained").removesuffix(".from_pretrained").rpartition(".")[2]
            if owner.startswith("Peft") and owner != "PeftConfig":  # the model comes first
                return replace(FROM_PRETRAINED, loader=f"{owner}.from_pretrained", parameter="model_id", position=1)
            return replace(FROM_PRETRAINED, loader=f"{owner}.from_pretrained", parameter=PRETRAINED)
        if dotted == "transformers.pipeline" or (dotted == "pipeline" and "pipeline" not in self._namespace):
            return replace(functions()["transformers.pipeline"], loader="pipeline")
        if dotted is not None and (named := functions().get(dotted)) is not None:
            return named
        method = methods().get(call.func.attr) if isinstance(call.func, ast.Attribute) else None
        if method is None or self._node(call, method) is None or (dotted is not None and self._is_module(dotted)):
            return None
        return method

    def _is_module(self, dotted: str) -> bool:
        """Whether the name starts with something that was imported: then it is a function, and none that loads."""
        head = dotted.partition(".")[0]
        return head in self._aliases.values() or any(a.partition(".")[0] == head for a in self._aliases.values())

    def _node(self, call: ast.Call, named: Named) -> ast.expr | None:
        """The argument that names what is loaded."""
        if len(call.args) > named.position and not any(isinstance(a, ast.Starred) for a in call.args):
            return call.args[named.position]
        return next((k.value for k in call.keywords if k.arg == named.parameter), None)

    def _listed(self, node: ast.expr) -> tuple[str, ...]:
        """The texts of a literal list, or of a name that one was given to; empty where one of them is not known."""
        table = self._tables.get(node.id, {}) if isinstance(node, ast.Name) else self._table(node)
        texts = list(table.values())
        return tuple(t for t in texts if t is not None) if None not in texts else ()

    def _table(self, node: ast.expr) -> dict[object, str | None]:
        """Index or key → text, of a literal list or dictionary."""
        match node:
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return {number: self._text(item) for number, item in enumerate(items)}
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {key.value: self._text(value) for key, value in pairs if isinstance(key, ast.Constant)}
        return {}

    def _argument(self, call: ast.Call, keyword: str, position: int = 0) -> str | None:
        if len(call.args) > position and not any(isinstance(a, ast.Starred) for a in call.args):
            node: ast.expr | None = call.args[position]
        else:
            node = next((k.value for k in call.keywords if k.arg == keyword), None)
        if node is None:
            return None
        return self._text(node) or self._opened(node)

    def _keyword(self, call: ast.Call, keyword: str) -> str | None:
        node = next((k.value for k in call.keywords if k.arg == keyword), None)
        return None if node is None else self._text(node)

    def _dotted(self, node: ast.expr) -> str | None:
        """`np.load` → `numpy.load`, through the cell's imports and the modules and functions of the notebook."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        head = self._aliases.get(node.id) or self._bound(node.id) or _USUAL_NAMES.get(node.id, node.id)
        return ".".join([head, *reversed(parts)])

    def _bound(self, name: str) -> str | None:
        """The full name of a module or function of the notebook; only plain attributes of exact types are read."""
        import types

        value = self._namespace.get(name)
        if type(value) is types.ModuleType:
            found = value.__dict__.get("__name__")
            return found if isinstance(found, str) else None
        if type(value) in (types.FunctionType, types.BuiltinFunctionType):
            module, own = getattr(value, "__module__", None), getattr(value, "__name__", None)
            return f"{module}.{own}" if isinstance(module, str) and isinstance(own, str) else None
        return None

    def _text(self, node: ast.expr) -> str | None:
        """The string or path that the expression is, where that is known without running it."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._values[name] if name in self._values else self._known(name)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)):
                return self._tables.get(name, {}).get(key)
            case ast.JoinedStr(values=values):
                parts = [
                    v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else self._formatted(v)
                    for v in values
                ]
                return None if any(p is None for p in parts) else "".join(p for p in parts if p is not None)
            case ast.BinOp(left=left, op=ast.Add() | ast.Div(), right=right):
                one, other = self._text(left), self._text(right)
                if one is None or other is None:
                    return None
                return posixpath.join(one, other) if isinstance(node.op, ast.Div) else one + other
            case ast.Call(args=args, keywords=[]) if args:
                if self._dotted(node.func) in (
                    "pathlib.Path",
                    "pathlib.PurePath",
                    "Path",
                    "os.path.join",
                    "str",
                    "os.fspath",
                ):
                    parts = [self._text(a) for a in args]
                    return (
                        None if any(p is None for p in parts) else posixpath.join(*[p for p in parts if p is not None])
                    )
        return None

    def _formatted(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1:
            return self._text(node.value)
        return None

    def _known(self, name: str) -> str | None:
        value = self._namespace.get(name)
        if type(value) is str:
            return value
        return str(value) if type(value) in _PATHS else None

    def _opened(self, node: ast.expr) -> str | None:
        """The path of the file that the expression opens, or of the open file that it names."""
        if isinstance(node, ast.Name):
            return self._files.get(node.id)
        if not isinstance(node, ast.Call):
            return None
        if self._dotted(node.func) in _OPENERS:
            return self._argument(node, "file") or self._argument(node, "filename")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "open":
            return self._text(node.func.value)
        return None


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """The node and everything below it in source order; an assignment's value comes before its name is known, and a
    comprehension's loops before what they are for."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        yield from (n for child in ast.iter_child_nodes(node) for n in _in_order(child))
        yield node
        return
    yield node
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        children = [*node.generators, *(c for c in children if not isinstance(c, ast.comprehension))]
    for child in children:
        yield from _in_order(child)


def _without_magics(cell: str) -> str:
    """The cell with its magics and shell lines blanked out, the number of lines kept."""
    lines = cell.split("\n")
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + "pass" if line.lstrip()[:1] in ("%", "!", "?") else line
        for line in lines
    )
