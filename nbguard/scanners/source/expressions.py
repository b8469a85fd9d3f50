"""What expressions may stand for."""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source.folding import PLAIN, fold_binary, fold_slice
from nbguard.scanners.source.values import (
    DECODED,
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Items,
    Ref,
    Scope,
    Table,
    Unknown,
    Value,
    marks_of,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

_BUILTINS = frozenset(dir(builtins))
_MOST_ITEMS = 4096
"""Elements of a literal or comprehension that are followed one by one."""
REACHING = {"__globals__": "<globals>", "f_globals": "<globals>", "f_builtins": "builtins", "__builtins__": "builtins"}
"""Attributes through which any object of Python leads to everything."""
_TREE = ("__subclasses__", "__bases__", "__mro__", "__base__", "mro")

Values = set[Value]


def evaluate(m: Machine, node: ast.expr | None, scope: Scope) -> Values:
    """What `node` may stand for, after everything in it was run."""
    if node is None:
        return {Const(None)}
    m.step()
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        found: Values = handler(m, node, scope)
        return found
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            evaluate(m, child, scope)
    return {UNKNOWN}


def name(m: Machine, node: ast.Name, scope: Scope) -> Values:
    found = scope.get(node.id)
    if found is not None:
        return set(found)
    starred = {Ref(f"{module}.{node.id}") for module in m.stars if m.effects.of(f"{module}.{node.id}")}
    if starred:
        return set(starred)
    if node.id == "__builtins__":
        return {Ref("builtins")}
    if node.id == "__name__":
        return {Const(m.module_name)}
    return {Ref(f"builtins.{node.id}")} if node.id in _BUILTINS else {UNKNOWN}


def attribute(m: Machine, node: ast.Attribute, scope: Scope) -> Values:
    bases = evaluate(m, node.value, scope)
    return {v for base in bases for v in member(m, base, node.attr, node)}


def member(m: Machine, base: Value, attr: str, node: ast.AST) -> Values:
    """What an attribute of `base` may be."""
    if attr in REACHING and not (isinstance(base, Ref) and base.name == "builtins"):
        if attr != "f_globals":
            m.act("hidden", f"….{attr}", node)
        return {Ref(REACHING[attr])}
    if attr == "__subclasses__" and isinstance(base, Ref | Unknown | Const):
        m.act("hidden", "….__subclasses__", node)
    if isinstance(base, Ref):
        if attr == "__dict__":
            return {base}
        if attr == "__loader__" or attr.endswith("__self__"):
            return {Ref(f"{base.name}.{attr}"), Ref("builtins")} if attr == "__self__" else {Ref(f"{base.name}.{attr}")}
        return {Ref(m.effects.canonical(f"{base.name}.{attr}"))}
    if isinstance(base, Instance):
        if attr == "__class__":
            return {base.of}
        return _of_class(m, base.of, attr, bound=True)
    if isinstance(base, Class):
        return _of_class(m, base, attr, bound=False)
    if isinstance(base, Const | Items | Table):
        return {Ref(f"<{_kind(base)}>.{attr}")} if attr not in _TREE else {UNKNOWN}
    if isinstance(base, Func) and attr == "__code__":
        return {UNKNOWN}
    return {Unknown(marks_of({base}))}


def _kind(value: Const | Items | Table) -> str:
    return type(value.value).__name__ if isinstance(value, Const) else "items" if isinstance(value, Items) else "table"


def _of_class(m: Machine, cls: Class, attr: str, *, bound: bool, depth: int = 0) -> Values:
    found: Values = set()
    for value in cls.scope.names.get(attr, ()):
        if isinstance(value, Func):
            found.add(Func(value.node, value.scope, value.label, cls))
        else:
            found.add(value)
    if found or depth > 8:
        return found or {UNKNOWN}
    for base in cls.bases:
        if isinstance(base, Class):
            inherited = _of_class(m, base, attr, bound=bound, depth=depth + 1)
            if inherited != {UNKNOWN}:
                return {Func(v.node, v.scope, v.label, cls) if isinstance(v, Func) else v for v in inherited}
        elif isinstance(base, Ref) and m.effects.of(f"{base.name}().{attr}"):
            return {Ref(f"{base.name}().{attr}")}
    return {UNKNOWN}


def subscript(m: Machine, node: ast.Subscript, scope: Scope) -> Values:
    bases = evaluate(m, node.value, scope)
    if isinstance(node.slice, ast.Slice):
        parts = [evaluate(m, p, scope) for p in (node.slice.lower, node.slice.upper, node.slice.step)]
        return {v for base in bases for v in _sliced(base, parts)}
    keys = evaluate(m, node.slice, scope)
    return {v for base in bases for v in item(m, base, keys, node)}


def _sliced(base: Value, parts: list[Values]) -> Values:
    bounds = [next(iter(p)) for p in parts]
    if all(isinstance(b, Const) and isinstance(b.value, int | None) for b in bounds):
        lower, upper, step = (b.value for b in bounds if isinstance(b, Const))
        if isinstance(base, Const) and isinstance(base.value, str | bytes):
            folded = fold_slice(base.value, lower, upper, step)
            return {Const(folded.value, folded.marks | base.marks)} if folded else {UNKNOWN}
        if isinstance(base, Items) and step != 0:
            return {Items(base.values[lower:upper:step])}
    return {Unknown(marks_of({base}) | {DECODED} if isinstance(base, Const) else marks_of({base}))}


def item(m: Machine, base: Value, keys: Values | frozenset[Value], node: ast.AST) -> Values:
    """What `base[key]` may be."""
    out: Values = set()
    for key in keys:
        constant = key.value if isinstance(key, Const) else None
        if isinstance(base, Ref):
            out |= _of_namespace(m, base, key, constant, node)
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
            m.call_method(base, "__class_getitem__" if isinstance(base, Class) else "__getitem__", node)
            out.add(UNKNOWN)
        else:
            out.add(Unknown(marks_of({base})))
    return out or {UNKNOWN}


def _of_namespace(m: Machine, base: Ref, key: Value, constant: Any, node: ast.AST) -> Values:
    """`sys.modules["os"]`, `globals()["x"]`, `os.__dict__["system"]`, `os.environ["X"]`."""
    if base.name in ("os.environ", "os.environb"):
        m.looked_up(constant, node)
        return {UNKNOWN}
    if base.name == "sys.modules":
        if isinstance(constant, str):
            return {Ref("<globals>")} if constant == m.module_name else {Ref(m.effects.canonical(constant))}
        if DECODED in marks_of({key}):
            m.act("hidden", "sys.modules[…]", node)
        return {UNKNOWN}
    if base.name == "<globals>":
        if isinstance(constant, str):
            held = m.module.get(constant)
            if held:
                return set(held)
            if constant == "__builtins__":
                return {Ref("builtins")}
            return {Ref(constant)} if constant in m.effects.guarded_modules else {UNKNOWN}
        return {UNKNOWN}
    if isinstance(constant, str) and constant.isidentifier():
        return member(m, base, constant, node)
    if base.name in m.effects.guarded_modules and base.name not in ("sys", "platform"):
        m.act("hidden", f"{base.name}[…]", node)
    return {UNKNOWN}


def binary(m: Machine, node: ast.BinOp, scope: Scope) -> Values:
    left, right = evaluate(m, node.left, scope), evaluate(m, node.right, scope)
    out: Values = set()
    for one in left:
        for other in right:
            if isinstance(one, Instance | Class) or isinstance(other, Instance | Class):
                for side in (one, other):
                    if isinstance(side, Instance):
                        m.call_operators(side, node)
                out.add(UNKNOWN)
            elif isinstance(one, Const) and isinstance(other, Const):
                folded = fold_binary(node.op, one.value, other.value)
                marks = one.marks | other.marks
                pieces = isinstance(node.op, ast.BitXor) or (isinstance(one.value, str) and len(one.value) < 3)
                out.add(Const(folded.value, marks | ({DECODED} if pieces else set())) if folded else Unknown(marks))
            elif isinstance(one, Const) and isinstance(other, Items) and isinstance(node.op, ast.Mod):
                out.add(_formatted(one, other))
            elif isinstance(one, Items) and isinstance(other, Items) and isinstance(node.op, ast.Add):
                out.add(Items((one.values + other.values)[:_MOST_ITEMS]))
            else:
                out.add(Unknown(marks_of({one, other})))
            if len(out) > 8:
                return {*list(out)[:8], UNKNOWN}
    return out


def _formatted(text: Const, parts: Items) -> Value:
    values = [next(iter(p)) if len(p) == 1 else UNKNOWN for p in parts.values]
    if isinstance(text.value, str) and "*" not in text.value and all(isinstance(v, Const) for v in values):
        try:
            joined = text.value % tuple(v.value for v in values if isinstance(v, Const))
            return Const(joined, text.marks | marks_of(set(values)) | ({DECODED} if len(values) > 1 else set()))
        except (TypeError, ValueError):
            return UNKNOWN
    return Unknown(text.marks | marks_of({parts}))


def joined(m: Machine, node: ast.JoinedStr, scope: Scope) -> Values:
    text, marks, known = "", frozenset[str](), True
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        values = evaluate(m, inner, scope)
        marks |= marks_of(values)
        one = next(iter(values)) if len(values) == 1 else UNKNOWN
        plain = isinstance(one, Const) and (not isinstance(part, ast.FormattedValue) or part.format_spec is None)
        if plain and isinstance(one, Const) and isinstance(one.value, PLAIN):
            text += str(one.value)
        else:
            known = False
    return {Const(text, marks)} if known else {Unknown(marks)}


def literal(m: Machine, node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Values:
    parts: list[frozenset[Value]] = []
    for element in node.elts:
        if isinstance(element, ast.Starred):
            for value in evaluate(m, element.value, scope):
                parts += elements(value)
        else:
            parts.append(frozenset(evaluate(m, element, scope)))
    return {Items(tuple(parts[:_MOST_ITEMS]))}


def table(m: Machine, node: ast.Dict, scope: Scope) -> Values:
    rows: list[tuple[Any, frozenset[Value]]] = []
    for key, value in zip(node.keys, node.values, strict=True):
        held = frozenset(evaluate(m, value, scope))
        if key is None:
            rows += [row for v in held if isinstance(v, Table) for row in v.by_key]
            continue
        for k in evaluate(m, key, scope):
            constant = k.value if isinstance(k, Const) and isinstance(k.value, str | int | bytes) else None
            rows.append((constant, held))
    return {Table(tuple(rows[:_MOST_ITEMS]))}


def elements(value: Value) -> list[frozenset[Value]]:
    """What iterating gives, one by one where that is known."""
    if isinstance(value, Items):
        return list(value.values)
    if isinstance(value, Const) and isinstance(value.value, str | bytes):
        return [frozenset({Const(part, value.marks)}) for part in value.value[:_MOST_ITEMS]]
    if isinstance(value, Table):
        return [frozenset({Const(k)}) for k, _ in value.by_key]
    return [frozenset({Unknown(marks_of({value}))})]


def comprehension(m: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> Values:
    inner = Scope("function", scope.label, scope)
    out: list[frozenset[Value]] = []
    _loop(m, node.generators, 0, inner, lambda: out.append(frozenset(evaluate(m, node.elt, inner))), [_MOST_ITEMS])
    return {Items(tuple(out[:_MOST_ITEMS]))}


def dict_comprehension(m: Machine, node: ast.DictComp, scope: Scope) -> Values:
    inner = Scope("function", scope.label, scope)

    def once() -> None:
        evaluate(m, node.key, inner)
        evaluate(m, node.value, inner)

    _loop(m, node.generators, 0, inner, once, [64])
    return {UNKNOWN}


def _loop(m: Machine, rest: list[ast.comprehension], at: int, inner: Scope, once: Any, left: list[int]) -> None:
    if at == len(rest):
        once()
        return
    generator = rest[at]
    for source in list(evaluate(m, generator.iter, inner))[:4]:
        if isinstance(source, Instance):
            m.call_method(source, "__iter__", generator.iter)
        for element in elements(source):
            left[0] -= 1
            if left[0] < 0:
                return
            for target in ast.walk(generator.target):
                if isinstance(target, ast.Name):
                    inner.names.pop(target.id, None)
            m.assign(generator.target, set(element), inner)
            for condition in generator.ifs:
                evaluate(m, condition, inner)
            _loop(m, rest, at + 1, inner, once, left)


def choice(m: Machine, node: ast.IfExp, scope: Scope) -> Values:
    evaluate(m, node.test, scope)
    return evaluate(m, node.body, scope) | evaluate(m, node.orelse, scope)


def either(m: Machine, node: ast.BoolOp, scope: Scope) -> Values:
    return {v for part in node.values for v in evaluate(m, part, scope)}


def unary(m: Machine, node: ast.UnaryOp, scope: Scope) -> Values:
    values = evaluate(m, node.operand, scope)
    if isinstance(node.op, ast.USub) and all(isinstance(v, Const) and isinstance(v.value, int | float) for v in values):
        return {Const(-v.value, v.marks) for v in values if isinstance(v, Const)}
    return {UNKNOWN}


def compare(m: Machine, node: ast.Compare, scope: Scope) -> Values:
    for part in (node.left, *node.comparators):
        for value in evaluate(m, part, scope):
            if isinstance(value, Instance):
                m.call_operators(value, node)
    return {UNKNOWN}


def walrus(m: Machine, node: ast.NamedExpr, scope: Scope) -> Values:
    values = evaluate(m, node.value, scope)
    m.assign(node.target, values, scope)
    return values


def function(m: Machine, node: ast.Lambda, scope: Scope) -> Values:
    made = Func(node, scope, f"lambda line {node.lineno}")
    for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
        evaluate(m, default, scope)
    m.call_function(made, [], {}, node)  # nobody hides a command in one that is not meant to be called
    return {made}


def passed_on(m: Machine, node: Any, scope: Scope) -> Values:
    return evaluate(m, node.value, scope)


def given(m: Machine, node: ast.Yield | ast.YieldFrom, scope: Scope) -> Values:
    m.give_back(evaluate(m, node.value, scope))
    return {UNKNOWN}


def constant(m: Machine, node: ast.Constant, scope: Scope) -> Values:
    return {Const(node.value)} if isinstance(node.value, PLAIN) else {UNKNOWN}


_HANDLERS: dict[type[ast.expr], Any] = {
    ast.Name: name, ast.Attribute: attribute, ast.Subscript: subscript, ast.BinOp: binary, ast.JoinedStr: joined,
    ast.List: literal, ast.Tuple: literal, ast.Set: literal, ast.Dict: table, ast.ListComp: comprehension,
    ast.SetComp: comprehension, ast.GeneratorExp: comprehension, ast.DictComp: dict_comprehension, ast.IfExp: choice,
    ast.BoolOp: either, ast.UnaryOp: unary, ast.Compare: compare, ast.NamedExpr: walrus, ast.Lambda: function,
    ast.Await: passed_on, ast.Starred: passed_on, ast.Yield: given, ast.YieldFrom: given, ast.Constant: constant,
    ast.FormattedValue: passed_on,
}  # fmt: skip


def register_call(handler: Any) -> None:
    """Calls are the matter of another module."""
    _HANDLERS[ast.Call] = handler
