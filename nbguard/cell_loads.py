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
from dataclasses import dataclass
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any

MAX_LOADS = 64
"""Loads taken from one cell; further ones are asked about when they happen."""

_OPENERS = frozenset({"open", "io.open", "gzip.open", "bz2.open", "lzma.open", "Path.open"})

# Public name → name of its first parameter. The interception knows the same functions at run time.
_LOADERS: Mapping[str, str] = {
    "torch.load": "f",
    "torch.jit.load": "f",
    "pickle.load": "file",
    "pickle.Unpickler": "file",
    "joblib.load": "filename",
    "numpy.load": "file",
    "pandas.read_pickle": "filepath_or_buffer",
    "dill.load": "file",
    "cloudpickle.load": "file",
}
_HOMES: Mapping[str, str] = {
    "torch.serialization.load": "torch.load",
    "torch.jit._serialization.load": "torch.jit.load",
    "joblib.numpy_pickle.load": "joblib.load",
    "numpy.lib._npyio_impl.load": "numpy.load",
    "numpy.lib.npyio.load": "numpy.load",
    "pandas.io.pickle.read_pickle": "pandas.read_pickle",
    "dill._dill.load": "dill.load",
    "_pickle.load": "pickle.load",
    "_pickle.Unpickler": "pickle.Unpickler",
}
"""Where functions say that they were defined → their public name."""

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


def loads_in(cell: str, namespace: Mapping[str, Any] | None = None) -> list[CellLoad]:
    """The loads that `cell` names, in the order of their lines, each target once for each loader.

    Args:
        cell: Python source; lines that start a magic or a shell command are passed over.
        namespace: what is bound in the notebook. Only modules, functions, `str` and `Path` values in it are looked at,
            none is called.

    Raises:
        SyntaxError: the cell is not Python.
    """
    tree = ast.parse(_without_magics(cell))
    walker = _Walker(namespace or {})
    found: list[CellLoad] = []
    seen: set[tuple[str, str, str | None]] = set()
    for node in _in_order(tree):
        walker.learn(node)
        if isinstance(node, ast.Call) and len(found) < MAX_LOADS:
            load = walker.load(node)
            if load is not None and (load.loader, load.target, load.revision) not in seen:
                seen.add((load.loader, load.target, load.revision))
                found.append(load)
    return found


class _Walker:
    """What is known about names while the cell is read from top to bottom."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._aliases: dict[str, str] = {}
        self._values: dict[str, str | None] = {}
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
                self._files[name] = self._opened(value)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    if isinstance(item.optional_vars, ast.Name):
                        self._files[item.optional_vars.id] = self._opened(item.context_expr)
            case ast.AugAssign(target=ast.Name(id=name)) | ast.For(target=ast.Name(id=name)):
                self._values[name] = None  # changes as it runs: not known here

    def load(self, call: ast.Call) -> CellLoad | None:
        """The load that this call is, where its target is known."""
        dotted = self._dotted(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "from_pretrained":
            owner = (dotted or "from_pretrained").removesuffix(".from_pretrained").rpartition(".")[2]
            target = self._argument(call, "pretrained_model_name_or_path")
            return self._made(call, f"{owner}.from_pretrained", target, hub=True)
        if dotted is None:
            return None
        if dotted == "transformers.pipeline" or (dotted == "pipeline" and "pipeline" not in self._namespace):
            return self._made(call, "pipeline", self._argument(call, "model", position=1), hub=True)
        name = _HOMES.get(dotted, dotted)
        if name in _LOADERS:
            return self._made(call, name, self._argument(call, _LOADERS[name]), hub=False)
        return None

    def _made(self, call: ast.Call, loader: str, target: str | None, *, hub: bool) -> CellLoad | None:
        if not target:
            return None
        revision = self._keyword(call, "revision") if hub else None
        return CellLoad(loader, target, call.lineno, revision, hub)

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
    """The node and everything below it in source order; an assignment's value comes before its name is known."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        yield from (n for child in ast.iter_child_nodes(node) for n in _in_order(child))
        yield node
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _without_magics(cell: str) -> str:
    """The cell with its magics and shell lines blanked out, the number of lines kept."""
    lines = cell.split("\n")
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + "pass" if line.lstrip()[:1] in ("%", "!", "?") else line
        for line in lines
    )
