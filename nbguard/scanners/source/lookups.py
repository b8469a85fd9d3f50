"""What attributes, items and elements of a value may be."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source.folding import fold_slice
from nbguard.scanners.source.values import (
    DECODED,
    MODULE_NAME,
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Items,
    Namespace,
    Ref,
    Table,
    Unknown,
    Value,
    Values,
    marks_of,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

MOST_ITEMS = 4096
"""Elements of a literal or comprehension that are followed one by one."""
REACHING = ("__globals__", "f_globals", "f_builtins", "__builtins__")
"""Attributes through which any object of Python leads to everything."""
_SAME = ("__call__", "__get__", "__wrapped__", "__func__", "__dict__", "__spec__", "func", "__init__.__wrapped__")
"""Attributes of a function or module that are, or do, the same as itself."""
ANY_MODULE = "?"
"""The module that an import of an unknown name gives."""


def member(m: Machine, base: Value, attr: str, node: ast.AST) -> Values:
    """What an attribute of `base` may be."""
    if attr in REACHING and not (isinstance(base, Ref) and base.name == "builtins"):
        if attr != "f_globals":
            m.act("hidden", f"….{attr}", node)
        if attr in ("f_builtins", "__builtins__"):
            return {Ref("builtins")}
        return {_globals(m)}
    if attr == "__subclasses__" and not isinstance(base, Class | Instance | Func):
        m.act("hidden", "….__subclasses__", node)
    if isinstance(base, Ref):
        return _of_ref(m, base, attr)
    if isinstance(base, Namespace):
        return {Ref(f"<globals>.{attr}")} if base.as_dictionary else m.files.below(m, base, attr, node)
    if isinstance(base, Instance):
        if attr == "__class__":
            return {base.of}
        return {Ref("<instance>.__dict__")} if attr == "__dict__" else of_class(m, base.of, attr)
    if isinstance(base, Class):
        return of_class(m, base, attr)
    if isinstance(base, Const | Items | Table):
        return {Ref(f"<{_kind(base)}>.{attr}")} if not attr.startswith("__") or attr == "__getitem__" else {UNKNOWN}
    if isinstance(base, Func):
        if attr == "__code__":
            return {Ref("types.CodeType()")}
        return {base} if attr in _SAME else {UNKNOWN}
    return {Unknown(marks_of({base}))}


def _of_ref(m: Machine, base: Ref, attr: str) -> Values:
    if attr in _SAME and attr != "func":
        return {base}
    if attr == "__self__":
        return {Ref(f"{base.name}.{attr}"), Ref("builtins")}
    if base.name.startswith("pathlib.Path()/"):
        base = Ref("pathlib.Path()")
    if attr in ("__name__", "__qualname__"):
        return {Const(base.name.rpartition(".")[2], frozenset({DECODED}))}
    if attr == "__class__":
        return {Ref(base.name[:-2]) if base.name.endswith("()") else Ref("builtins.type")}
    return {Ref(m.effects.canonical(f"{base.name}.{attr}"))}


def _globals(m: Machine) -> Namespace:
    return Namespace(m.files.scopes[m.here], as_dictionary=True)


def _kind(value: Const | Items | Table) -> str:
    return type(value.value).__name__ if isinstance(value, Const) else "items" if isinstance(value, Items) else "table"


def of_class(m: Machine, cls: Class, attr: str, depth: int = 0) -> Values:
    """An attribute of a class of these files, or of an object of it."""
    found: Values = set()
    for value in cls.scope.names.get(attr, ()):
        if isinstance(value, Func):
            found.add(Func(value.node, value.scope, value.label, cls))
        else:
            found.add(value)
    if found or depth > 8:
        return found or {UNKNOWN}
    for base in cls.bases[:16]:
        if isinstance(base, Class) and base != cls:
            inherited = of_class(m, base, attr, depth + 1)
            if inherited != {UNKNOWN}:
                return {Func(v.node, v.scope, v.label, cls) if isinstance(v, Func) else v for v in inherited}
        elif isinstance(base, Ref) and m.effects.of(f"{base.name}().{attr}"):
            return {Ref(f"{base.name}().{attr}")}
    return {UNKNOWN}


def sliced(base: Value, parts: list[Values]) -> Values:
    """`base[lower:upper:step]`."""
    bounds = [next(iter(p)) for p in parts]
    if all(isinstance(b, Const) and isinstance(b.value, int | None) for b in bounds):
        lower, upper, step = (b.value for b in bounds if isinstance(b, Const))
        if isinstance(base, Const) and isinstance(base.value, str | bytes):
            folded = fold_slice(base.value, lower, upper, step)
            return {Const(folded.value, folded.marks | base.marks)} if folded else {UNKNOWN}
        if isinstance(base, Items) and step != 0:
            return {Items(base.values[lower:upper:step])}
    if isinstance(base, Items | Table | Ref):
        return {base}
    return {Unknown(marks_of({base}) | {DECODED} if isinstance(base, Const) else marks_of({base}))}


def item(m: Machine, base: Value, keys: Values | frozenset[Value], node: ast.AST) -> Values:
    """What `base[key]` may be."""
    out: Values = set()
    for key in keys:
        constant = key.value if isinstance(key, Const) else None
        if isinstance(base, Ref):
            out |= _of_namespace(m, base, key, constant, node)
        elif isinstance(base, Namespace):
            out |= _of_names(m, base, key, constant, node)
        elif isinstance(base, Table):
            out |= base.get(constant) if isinstance(key, Const) else base.all()
        elif isinstance(base, Items) and isinstance(key, Const) and isinstance(constant, int):
            out |= base.values[constant] if -len(base.values) <= constant < len(base.values) else {UNKNOWN}
        elif isinstance(base, Items):
            out |= {v for part in base.values for v in part}
        elif isinstance(base, Const) and isinstance(base.value, str | bytes) and isinstance(constant, int):
            try:
                out.add(Const(base.value[constant], base.marks))
            except IndexError:
                out.add(UNKNOWN)
        elif isinstance(base, Class | Instance):
            method = "__class_getitem__" if isinstance(base, Class) else "__getitem__"
            out |= m.call_method(base, method, node, [{key}])
            if isinstance(base, Instance):
                out |= m.call_method(base, "__missing__", node, [{key}])
            for inner in (key,) if isinstance(key, Instance) else ():
                m.call_operators(inner, node)
        else:
            out.add(Unknown(marks_of({base})))
        if isinstance(key, Instance):
            m.call_operators(key, node)
    return out or {UNKNOWN}


def _of_namespace(m: Machine, base: Ref, key: Value, constant: Any, node: ast.AST) -> Values:
    """`sys.modules["os"]`, `os.__dict__["system"]`, `os.environ["X"]`."""
    if base.name in ("os.environ", "os.environb"):
        if isinstance(key, Ref) and key.name.startswith("os.environ"):
            m.act("environment", base.name, node)
        looked_up(m, constant, node)
        return {UNKNOWN}
    if base.name == "sys.modules":
        if isinstance(constant, str):
            own = constant == MODULE_NAME
            return {Namespace(m.files.scopes[m.here]) if own else Ref(m.effects.canonical(constant))}
        if DECODED in marks_of({key}):
            m.act("hidden", "sys.modules[…]", node)
        return {UNKNOWN}
    if isinstance(constant, str) and constant.isidentifier():
        return member(m, base, constant, node)
    if base.name in m.effects.guarded_modules and base.name not in ("sys", "platform"):
        m.act("hidden", f"{base.name}[…]", node)
    return {Ref(f"{base.name}[]")} if base.name.count("[]") < 3 else {UNKNOWN}


def _of_names(m: Machine, base: Namespace, key: Value, constant: Any, node: ast.AST) -> Values:
    """`globals()["x"]`; where the key is not known, any harmful function that the module has."""
    if isinstance(constant, str):
        held = base.scope.names.get(constant)
        if held:
            return set(held)
        if constant == "__builtins__":
            return {Ref("builtins")}
        return {Ref(constant)} if constant in m.effects.guarded_modules else {UNKNOWN}
    return harmful(m, base) or {UNKNOWN}


def harmful(m: Machine, namespace: Namespace) -> Values:
    """Functions of other modules among the names of a file that do harm when they are called."""
    every = (v for held in namespace.scope.names.values() for v in held)
    return {v for v in every if isinstance(v, Ref) and m.effects.held(v.name)}


def looked_up(m: Machine, word: Any, node: ast.AST) -> None:
    """A variable of the environment is read."""
    plain = word.decode("latin-1") if isinstance(word, bytes) else word
    if isinstance(plain, str) and plain in m.effects.secret_variables:
        m.act("secret", f"os.environ[{plain!r}]", node)


def elements(value: Value) -> list[frozenset[Value]]:
    """What iterating gives, one by one where that is known."""
    if isinstance(value, Items):
        return list(value.values)
    if isinstance(value, Const) and isinstance(value.value, str | bytes):
        return [frozenset({Const(part, value.marks)}) for part in value.value[:MOST_ITEMS]]
    if isinstance(value, Table):
        return [frozenset({Const(k)}) for k, _ in value.by_key]
    if isinstance(value, Ref):
        return [frozenset({Ref(f"{value.name}[]") if value.name.count("[]") < 3 else UNKNOWN})]
    return [frozenset({Unknown(marks_of({value}))})]
