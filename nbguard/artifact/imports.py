"""Which Python files of a folder run when one of them is imported, as far as its source tells.

    import_closure(names, read, ["hubconf.py"])      # {"hubconf.py", "models/__init__.py", "models/common.py"}

For folders that stand on `sys.path` while they are loaded: `import models.common` means a file there. What is computed
at run time is not seen; whoever imports from the folder looks at each file again when it is reached for.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable, Iterator

Read = Callable[[str], "bytes | None"]
"""Gives the bytes of a file by its relative name; None where there is none."""
MAX_FILES = 2_000
"""Of one closure; more is no model's code."""


def import_closure(names: Iterable[str], read: Read, start: Iterable[str]) -> set[str]:
    """`start`, and everything among `names` that importing these files imports, packages' `__init__.py` included."""
    there = set(names)
    found: set[str] = set()
    pending = [name for name in start if name in there]
    while pending and len(found) < MAX_FILES:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        for module in imported(read(name) or b"", name):
            pending += [n for n in _files(module) if n in there]
    return found


def imported(source: bytes, name: str) -> Iterator[str]:
    """Paths, without `.py`, of what a file imports, its own folder being the top for what is not relative.

    Names in `importlib.import_module("a.b")` and `__import__("a.b")` count, wherever they stand.
    """
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    folder = posixpath.dirname(name)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.replace(".", "/")
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").replace(".", "/")
            if node.level:
                up = folder.split("/") if folder else []
                up = up[: len(up) - (node.level - 1)] if node.level > 1 else up
                base = posixpath.join(*up, base) if up else base
            if base:
                yield base.rstrip("/")
            for alias in node.names:
                yield posixpath.join(base, alias.name)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            value = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(value, str):
                yield value.replace(".", "/").strip("/")


def _files(module: str) -> Iterator[str]:
    """The files that importing a module runs: its own, and those of the packages that it lies in."""
    parts = [p for p in module.split("/") if p]
    for end in range(1, len(parts) + 1):
        yield "/".join((*parts[:end], "__init__.py"))
    if parts:
        yield "/".join(parts) + ".py"
