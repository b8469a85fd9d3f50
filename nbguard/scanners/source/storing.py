"""Give values to names, attributes, items, and the parts of patterns."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nbguard.scanners.source.expressions import resolve
from nbguard.scanners.source.values import (
    MODULE_NAME,
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Items,
    Namespace,
    Ref,
    Scope,
    Table,
    Unknown,
    Value,
    Values,
    constants,
    marks_of,
    within,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine


def assign(m: Machine, target: ast.expr, values: Values, scope: Scope) -> None:
    """`target = …`."""
    if isinstance(target, ast.Name):
        if target.id == "__path__" and scope.kind == "module":
            _search(m, values, target)
        scope.put(target.id, values)
    elif isinstance(target, ast.Starred):
        assign(m, target.value, values, scope)
    elif isinstance(target, ast.Tuple | ast.List):
        _parts(m, target, values, scope)
    elif isinstance(target, ast.Attribute):
        for base in resolve(m, target.value, scope):
            store(m, base, target.attr, values, target)
    elif isinstance(target, ast.Subscript):
        keys = resolve(m, target.slice, scope)
        for base in resolve(m, target.value, scope):
            store_item(m, base, keys, values, target)
            _remember(m, target.value, base, keys, values, scope)


def _parts(m: Machine, target: ast.Tuple | ast.List, values: Values, scope: Scope) -> None:
    star = next((n for n, part in enumerate(target.elts) if isinstance(part, ast.Starred)), None)
    behind = 0 if star is None else len(target.elts) - star - 1
    for number, part in enumerate(target.elts):
        got: Values = set()
        for value in values:
            if not isinstance(value, Items):
                got.add(Unknown(marks_of({value})))
            elif number == star:
                got.add(Items(value.values[number : len(value.values) - behind]))
            else:
                at = number if star is None or number < star else len(value.values) - (len(target.elts) - number)
                got |= value.values[at] if 0 <= at < len(value.values) else {UNKNOWN}
        assign(m, part, got or {UNKNOWN}, scope)


def _remember(m: Machine, holder: ast.expr, base: Value, keys: Values, values: Values, scope: Scope) -> None:
    """A table or list in a name, after something was put into it."""
    if not isinstance(holder, ast.Name | ast.Attribute):
        return
    if isinstance(base, Table) and len(base.by_key) < 256:
        rows = tuple((k.value if isinstance(k, Const) else None, frozenset(values)) for k in keys)
        assign(m, holder, {Table((*base.by_key, *rows))}, scope)
    elif isinstance(base, Items) and len(base.values) < 256:
        assign(m, holder, {Items((*base.values, frozenset(values)))}, scope)


def store(m: Machine, base: Value, attr: str, values: Values, node: ast.AST) -> None:
    """`base.attr = …`; changing what Python itself or another module holds is an act."""
    if isinstance(base, Instance):
        _descriptor(m, base.of, attr, values, node)
        if attr == "__class__":
            for value in values:
                if isinstance(value, Class):
                    m.call_operators(Instance(value), node)
        base.of.scope.put(attr, values)
    elif isinstance(base, Class | Namespace):
        base.scope.put(attr, values)
    elif isinstance(base, Ref):
        _replace(m, f"{base.name}.{attr}", values, node)
    elif isinstance(base, Func) and attr in ("__code__", "__globals__"):
        m.act("hook", f"{attr} = …", node)


def _descriptor(m: Machine, cls: Class, attr: str, values: Values, node: ast.AST) -> None:
    for held in list(cls.scope.names.get(attr, ())):
        if isinstance(held, Instance):
            m.call_method(held, "__set__", node, [{Instance(cls)}, values])


def _replace(m: Machine, name: str, values: Values, node: ast.AST) -> None:
    """Something of another module is exchanged."""
    if "()" in name or "[]" in name:
        return
    usual = m.effects.canonical(name)
    if m.effects.replacing(usual):
        if usual == "sys.path":
            search_path(m, values, node)
        if usual in ("sys.path", "sys.argv"):
            m.act("search-path", f"{usual} = …", node)
        else:
            m.act("hook", f"{usual} = …", node)
    elif any(isinstance(v, Func) for v in values):
        m.act("replaces", f"{usual} = …", node)


def store_item(m: Machine, base: Value, keys: Values, values: Values, node: ast.AST) -> None:
    """`base[key] = …`."""
    words = constants(keys, (str, bytes))
    if isinstance(base, Namespace):
        for word in words:
            base.scope.put(str(word), values)
    elif isinstance(base, Instance):
        m.call_method(base, "__setitem__", node, [keys, values])
    elif isinstance(base, Ref):
        if base.name in ("os.environ", "os.environb"):
            steer(m, words, node)
        elif base.name == "sys.modules":
            exchange(m, words, node)
        elif base.name == "sys.path":
            search_path(m, values, node)
            m.act("search-path", "sys.path[…] = …", node)
        elif m.effects.canonical(base.name) in m.effects.guarded_modules or base.name == "sys.meta_path":
            m.act("hook", f"{base.name}[…] = …", node)
        else:
            for word in words[:16]:
                _replace(m, f"{base.name}.{word!s}", values, node)


def steer(m: Machine, words: list[str | bytes], node: ast.AST) -> None:
    """Variables of the environment are set; some make other programs run or fetch something else."""
    for word in words:
        plain = word.decode("latin-1") if isinstance(word, bytes) else word
        if plain in m.effects.steering_variables:
            m.act("hook", f"os.environ[{plain!r}] = …", node)


def exchange(m: Machine, words: list[str | bytes], node: ast.AST) -> None:
    """`sys.modules["json"] = …`; a module that puts something in its own place is nothing odd."""
    for word in words:
        if str(word).partition(".")[0] in m.effects.modules and str(word) != MODULE_NAME:
            m.act("hook", f"sys.modules[{str(word)[:40]!r}] = …", node)


def search_path(m: Machine, values: Values, node: ast.AST) -> None:
    """Folders for modules: those that the code names outright; one that it works out (its own) is told less loudly."""
    for path in constants(set(within(values)), str):
        if path.startswith(("/", "~", "\\", "http", "C:")):
            m.act("import-elsewhere", f"sys.path ({path[:60]})", node)


def _search(m: Machine, values: Values, node: ast.AST) -> None:
    """`__path__ = ["/elsewhere"]`: where the modules of this package come from."""
    for value in values:
        if isinstance(value, Items) and any(constants(part, str) for part in value.values):
            m.act("import-elsewhere", "__path__ = …", node)


__all__ = ["assign", "exchange", "search_path", "steer", "store", "store_item"]
