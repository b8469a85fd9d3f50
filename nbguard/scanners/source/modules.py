"""Files that import each other: found, read once, and run once, as Python does it.

files = Files({"modeling_x.py": b"from .helper import go", "helper.py": b"…"})
files.load(machine, "modeling_x.py", None)      # runs helper.py on the way
"""

from __future__ import annotations

import ast
import posixpath
import warnings
from typing import TYPE_CHECKING

from nbguard.scanners.source.values import UNKNOWN, Func, Namespace, Ref, Scope, Value, Values

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

IMPORT = "import:"
"""Mark of a reference to a module by its whole name, which is a file beside where the folder is on `sys.path`."""
MOST_IMPORTS = 500
"""Imports of one file that are listed."""


class Files:
    """The files that are followed together, by path; a single file is called ``."""

    def __init__(self, sources: dict[str, bytes | str]) -> None:
        self.sources = sources
        self.scopes: dict[str, Scope] = {}
        self.relative: list[str] = []
        self.absolute: list[str] = []
        self._trees: dict[str, ast.Module | None] = {}

    def read(self, path: str) -> ast.Module:
        """The syntax tree of a file. Raises SyntaxError, ValueError, RecursionError or MemoryError."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is no matter here
            tree = self._trees[path] = ast.parse(self.sources[path])
        return tree

    def tree(self, path: str) -> ast.Module | None:
        """The same, None for one that Python cannot read."""
        if path not in self._trees:
            try:
                self.read(path)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._trees[path] = None
        return self._trees[path]

    def load(self, m: Machine, path: str, node: ast.AST | None) -> Scope | None:
        """Run a module, unless it was run before or is running; `node` is the import that sets it off."""
        if path in self.scopes:
            return self.scopes[path]
        tree = self.tree(path)
        if tree is None:
            return None
        scope = self.scopes[path] = Scope("module", "import", file=path)
        if node is None:
            m.here = path
            m.run(tree.body, scope)
            return scope
        m.enter(f"import of {path}, from line {getattr(node, 'lineno', 0)}", path, node)
        try:
            m.run(tree.body, scope)
        finally:
            m.leave()
        return scope

    def bring(self, m: Machine, dotted: str, level: int, node: ast.AST) -> str | None:
        """Find and run what `from ..dotted` or `import dotted` means, packages on the way first; its path."""
        folder = posixpath.dirname(m.here)
        places = [posixpath.join(folder, *[".."] * (level - 1))] if level else dict.fromkeys((folder, ""))
        for place in places:
            parts = dotted.split(".") if dotted else []
            found = None
            for end in range(len(parts) + 1):
                found = self._file(posixpath.normpath(posixpath.join(place, *parts[:end])), package_only=end == 0)
                if found is not None and (level or end) and found != m.here:
                    self.load(m, found, node)
            if found is not None and (level or parts):
                return found
        return None

    def _file(self, base: str, *, package_only: bool = False) -> str | None:
        package = posixpath.normpath(f"{base}/__init__.py")
        if package in self.sources:
            return package
        return f"{base}.py" if not package_only and f"{base}.py" in self.sources else None

    def below(self, m: Machine, namespace: Namespace, name: str, node: ast.AST) -> Values:
        """A name of a module, or a file in the folder of a package, or what its `__getattr__` gives."""
        scope = namespace.scope
        if name in scope.names:
            return set(scope.names[name])
        if posixpath.basename(scope.file) == "__init__.py":
            found = self._file(posixpath.join(posixpath.dirname(scope.file), name))
            inner = self.load(m, found, node) if found is not None else None
            if inner is not None:
                return {Namespace(inner)}
        out: Values = set()
        for value in list(scope.names.get("__getattr__", ())):
            if isinstance(value, Func):
                out |= m.call_function(value, [], {}, node)
        out |= {Ref(f"{module}.{name}") for module in scope.stars if m.effects.of(f"{module}.{name}")}
        return out or {UNKNOWN}

    def beside(self, m: Machine, folder: str, name: str, node: ast.AST) -> Values | None:
        """`from . import name` where the folder is no package; None where there is no such file."""
        found = self._file(posixpath.normpath(posixpath.join(folder, name)))
        scope = self.load(m, found, node) if found is not None else None
        return {Namespace(scope)} if scope is not None else None


def import_(m: Machine, node: ast.Import, scope: Scope) -> None:
    """`import a.b as c`."""
    for alias in node.names:
        _acting(m, alias.name, node)
        if len(m.files.absolute) < MOST_IMPORTS:
            m.files.absolute.append(alias.name)
        own = _own(m, alias.name, 0, node)
        whole = m.effects.canonical(alias.name)
        if alias.asname:
            scope.put(alias.asname, own or {Ref(whole)})
        else:
            top = alias.name.partition(".")[0]
            scope.put(top, _own(m, top, 0, node) or {Ref(m.effects.canonical(top))})


def import_from(m: Machine, node: ast.ImportFrom, scope: Scope) -> None:
    """`from ..a import b as c`, `from a import *`."""
    module = "." * node.level + (node.module or "")
    _list(m, node)
    _acting(m, module, node)
    if node.module == "__future__" and not node.level:
        return
    own = _own(m, node.module or "", node.level, node)
    for alias in node.names:
        if alias.name == "*":
            _everything(m, own, module, scope)
            continue
        whole = f"{module}.{alias.name}" if module.strip(".") else f"{module}{alias.name}"
        _acting(m, whole, node)
        values: Values | None = None
        if own is not None:
            values = {v for n in own if isinstance(n, Namespace) for v in m.files.below(m, n, alias.name, node)}
        if (values is None or values <= {UNKNOWN}) and node.level and not (node.module and own):
            folder = posixpath.join(posixpath.dirname(m.here), *[".."] * (node.level - 1))
            if node.module:
                folder = posixpath.join(folder, *node.module.split("."))
            values = m.files.beside(m, folder, alias.name, node) or values
        scope.put(alias.asname or alias.name, values or {Ref(m.effects.canonical(whole))})


def named(m: Machine, name: str, node: ast.AST) -> Values | None:
    """What `importlib.import_module(name)` gives of these files; None where it is none of them."""
    level = len(name) - len(name.lstrip("."))
    where = name.lstrip(".").replace(".", "/")
    if level and len(m.files.relative) < MOST_IMPORTS:
        m.files.relative.append(f"{'../' * (level - 1)}{where}.py")
    elif len(m.files.absolute) < MOST_IMPORTS:
        m.files.absolute.append(name)
    return _own(m, name.lstrip("."), level, node)


def _own(m: Machine, dotted: str, level: int, node: ast.AST) -> Values | None:
    path = m.files.bring(m, dotted, level, node)
    scope = m.files.scopes.get(path) if path is not None else None
    return {Namespace(scope)} if scope is not None else None


def _everything(m: Machine, own: Values | None, module: str, scope: Scope) -> None:
    for value in own or ():
        if isinstance(value, Namespace):
            for name, held in list(value.scope.names.items()):
                scope.put(name, set(held))
            scope.module.stars += value.scope.stars
    if own is None and not module.startswith("."):
        scope.module.stars.append(module)


def _acting(m: Machine, module: str, node: ast.AST) -> None:
    if module in m.effects.acting_imports or module.endswith(".__main__"):
        m.act("code", f"import {module}", node)


def _list(m: Machine, node: ast.ImportFrom) -> None:
    """Note which files it would be, for those who look which files a load needs."""
    files = m.files
    if len(files.relative) >= MOST_IMPORTS:
        return
    if not node.level:
        files.absolute += [f"{node.module}.{a.name}" for a in node.names if a.name != "*"] or [node.module or ""]
        return
    up = "../" * (node.level - 1)
    base = up + (node.module.replace(".", "/") if node.module else "")
    files.relative += [f"{base}.py"] if node.module else [f"{up}{a.name}.py" for a in node.names if a.name != "*"]


__all__ = ["Files", "Value", "import_", "import_from", "named"]
