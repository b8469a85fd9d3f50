"""What expressions may stand for.

resolve(machine, node, scope)       # the values of a part that is called, looked into or compared
evaluate(machine, node, scope)      # the same of a part whose value goes somewhere: that it is harmful is told
"""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source.folding import PLAIN, WIDE, fold_binary
from nbguard.scanners.source.lookups import MOST_ITEMS, elements, item, member, sliced
from nbguard.scanners.source.values import (
    DECODED,
    MODULE_NAME,
    UNKNOWN,
    Class,
    Const,
    Instance,
    Items,
    Ref,
    Scope,
    Table,
    Unknown,
    Value,
    Values,
    marks_of,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

_BUILTINS = frozenset(dir(builtins)) | {"anext", "aiter", "PythonFinalizationError", "BaseExceptionGroup"}
_GIVEN_NAMES = {"get_ipython": "IPython.get_ipython", "__builtins__": "builtins", "__loader__": "__loader__"}
"""Names that modules have without asking, besides builtins."""


def resolve(m: Machine, node: ast.expr | None, scope: Scope) -> Values:
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


def evaluate(m: Machine, node: ast.expr | None, scope: Scope) -> Values:
    """The same, where the value goes on to somewhere: whoever takes hold of `os.system` can lose it from sight."""
    values = resolve(m, node, scope)
    for value in values:
        if isinstance(value, Ref) and node is not None:
            taken(m, value, node)
    return values


def taken(m: Machine, value: Ref, node: ast.AST) -> None:
    """A harmful function, module or the whole environment is a value here, not what is called or looked into."""
    if m.effects.held(value.name) is not None:
        m.act("holds", m.effects.canonical(value.name), node)
    elif value.name == "os.environ":
        m.act("environment", "os.environ", node)
    elif (usual := m.effects.module(value.name)) is not None and usual not in ("sys", "platform"):
        m.act("holds", usual, node)


def name(m: Machine, node: ast.Name, scope: Scope) -> Values:
    found = scope.get(node.id)
    if found is not None:
        return set(found)
    starred = {Ref(f"{star}.{node.id}") for star in scope.module.stars if m.effects.of(f"{star}.{node.id}")}
    if starred:
        return set(starred)
    if node.id == "__name__":
        return {Const(MODULE_NAME)}
    if node.id == "__spec__":
        return {Ref("__spec__")}
    if node.id in _GIVEN_NAMES:
        return {Ref(_GIVEN_NAMES[node.id])}
    return {Ref(f"builtins.{node.id}")} if node.id in _BUILTINS else {UNKNOWN}


def attribute(m: Machine, node: ast.Attribute, scope: Scope) -> Values:
    bases = resolve(m, node.value, scope)
    return {v for base in bases for v in member(m, base, node.attr, node)}


def subscript(m: Machine, node: ast.Subscript, scope: Scope) -> Values:
    bases = resolve(m, node.value, scope)
    if isinstance(node.slice, ast.Slice):
        parts = [resolve(m, p, scope) for p in (node.slice.lower, node.slice.upper, node.slice.step)]
        for value in (v for p in parts for v in p if isinstance(v, Instance)):
            m.call_operators(value, node)
        return {v for base in bases for v in sliced(base, parts)}
    keys = resolve(m, node.slice, scope)
    return {v for base in bases for v in item(m, base, keys, node)}


def binary(m: Machine, node: ast.BinOp, scope: Scope) -> Values:
    left, right = _operands(m, node, scope)
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
            elif isinstance(one, Const) and isinstance(node.op, ast.Mod):
                parts = other if isinstance(other, Items) else Items((frozenset({other}),))
                out.add(_formatted(one, parts))
            elif isinstance(one, Items) and isinstance(other, Items) and isinstance(node.op, ast.Add):
                out.add(Items((one.values + other.values)[:MOST_ITEMS]))
            elif isinstance(node.op, ast.Div) and (isinstance(one, Ref) or isinstance(other, Ref)):
                out.add(_path(m, one, other, node))
            elif isinstance(one, Items) and isinstance(node.op, ast.Mult):
                out.add(one)
            else:
                out.add(Unknown(marks_of({one, other})))
            if len(out) > 8:
                return {*list(out)[:8], UNKNOWN}
    return out


def _operands(m: Machine, node: ast.BinOp, scope: Scope) -> tuple[Values, Values]:
    return resolve(m, node.left, scope), resolve(m, node.right, scope)


def _path(m: Machine, one: Value, other: Value, node: ast.BinOp) -> Value:
    """`Path.home() / ".ssh" / "id_rsa"`: the pieces are in the name, `pathlib.Path()/.ssh`."""
    said = [v.value if isinstance(v, Const) else v.name if isinstance(v, Ref) else "" for v in (one, other)]
    whole = "/".join(str(s) for s in said)[-400:]
    m.path(whole, node)
    pieces = whole.partition("pathlib.Path()/")[2] or str(said[1])
    return Ref(f"pathlib.Path()/{pieces}") if whole.startswith("pathlib.") else UNKNOWN


def _formatted(text: Const, parts: Items) -> Value:
    values = [next(iter(p)) if len(p) == 1 else UNKNOWN for p in parts.values]
    if (
        isinstance(text.value, str)
        and "*" not in text.value
        and not WIDE.search(text.value)
        and all(isinstance(v, Const) for v in values)
    ):
        try:
            joined = text.value % tuple(v.value for v in values if isinstance(v, Const))
            pieced = {DECODED} if len(values) > 1 or "%c" in text.value else set[str]()
            return Const(joined, text.marks | marks_of(set(values)) | pieced)
        except (TypeError, ValueError, OverflowError):
            return UNKNOWN
    return Unknown(text.marks | marks_of({parts}))


def joined(m: Machine, node: ast.JoinedStr, scope: Scope) -> Values:
    text, marks, known = "", frozenset[str](), True
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        values = evaluate(m, inner, scope)
        marks |= marks_of(values)
        for value in values:
            if isinstance(value, Instance):
                m.call_operators(value, node)
        if isinstance(part, ast.FormattedValue) and part.format_spec is not None:
            evaluate(m, part.format_spec, scope)
            known = False
        one = next(iter(values)) if len(values) == 1 else UNKNOWN
        if isinstance(one, Const) and isinstance(one.value, PLAIN):
            text += str(one.value)
        else:
            known = False
    return {Const(text, marks)} if known else {Unknown(marks)}


def literal(m: Machine, node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Values:
    parts: list[frozenset[Value]] = []
    for element in node.elts:
        if isinstance(element, ast.Starred):
            for value in resolve(m, element.value, scope):
                parts += elements(value)
        else:
            parts.append(frozenset(evaluate(m, element, scope)))
            if isinstance(node, ast.Set):
                _hashed(m, parts[-1], node)
    return {Items(tuple(parts[:MOST_ITEMS]))}


def _hashed(m: Machine, values: frozenset[Value] | Values, node: ast.AST) -> None:
    for value in values:
        if isinstance(value, Instance):
            m.call_operators(value, node)


def table(m: Machine, node: ast.Dict, scope: Scope) -> Values:
    rows: list[tuple[Any, frozenset[Value]]] = []
    for key, value in zip(node.keys, node.values, strict=True):
        held = frozenset(evaluate(m, value, scope))
        if key is None:
            rows += [row for v in held if isinstance(v, Table) for row in v.by_key]
            continue
        keys = resolve(m, key, scope)
        _hashed(m, keys, node)
        for k in keys:
            constant = k.value if isinstance(k, Const) and isinstance(k.value, str | int | bytes) else None
            rows.append((constant, held))
    return {Table(tuple(rows[:MOST_ITEMS]))}


def comprehension(m: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> Values:
    inner = Scope("function", scope.label, scope)
    out: list[frozenset[Value]] = []
    _loop(m, node.generators, 0, inner, lambda: out.append(frozenset(evaluate(m, node.elt, inner))), [MOST_ITEMS])
    return {Items(tuple(out[:MOST_ITEMS]))}


def dict_comprehension(m: Machine, node: ast.DictComp, scope: Scope) -> Values:
    inner = Scope("function", scope.label, scope)
    rows: list[tuple[Any, frozenset[Value]]] = []

    def once() -> None:
        for key in resolve(m, node.key, inner):
            constant = key.value if isinstance(key, Const) and isinstance(key.value, str | int | bytes) else None
            rows.append((constant, frozenset(evaluate(m, node.value, inner))))

    _loop(m, node.generators, 0, inner, once, [64])
    return {Table(tuple(rows))}


def _loop(m: Machine, rest: list[ast.comprehension], at: int, inner: Scope, once: Any, left: list[int]) -> None:
    if at == len(rest):
        once()
        return
    generator = rest[at]
    for source in list(resolve(m, generator.iter, inner))[:4]:
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
                resolve(m, condition, inner)
            _loop(m, rest, at + 1, inner, once, left)


def choice(m: Machine, node: ast.IfExp, scope: Scope) -> Values:
    tested(m, node.test, scope)
    return resolve(m, node.body, scope) | resolve(m, node.orelse, scope)


def tested(m: Machine, node: ast.expr, scope: Scope) -> None:
    """A condition: an object in it is asked whether it is true."""
    for value in resolve(m, node, scope):
        if isinstance(value, Instance):
            m.call_operators(value, node)


def either(m: Machine, node: ast.BoolOp, scope: Scope) -> Values:
    return {v for part in node.values for v in resolve(m, part, scope)}


def unary(m: Machine, node: ast.UnaryOp, scope: Scope) -> Values:
    values = resolve(m, node.operand, scope)
    _hashed(m, values, node)
    if isinstance(node.op, ast.Not) and all(isinstance(v, Const) for v in values):
        return {Const(not v.value, v.marks) for v in values if isinstance(v, Const)}
    if isinstance(node.op, ast.USub) and all(isinstance(v, Const) and isinstance(v.value, int | float) for v in values):
        return {Const(-v.value, v.marks) for v in values if isinstance(v, Const)}
    return {UNKNOWN}


def compare(m: Machine, node: ast.Compare, scope: Scope) -> Values:
    for part in (node.left, *node.comparators):
        for value in resolve(m, part, scope):
            if isinstance(value, Instance):
                m.call_operators(value, node)
    return {UNKNOWN}


def walrus(m: Machine, node: ast.NamedExpr, scope: Scope) -> Values:
    values = evaluate(m, node.value, scope)
    holder = scope  # a comprehension binds in the function around it; one more place to find it does no harm
    m.assign(node.target, values, holder)
    if holder.parent is not None:
        m.assign(node.target, values, holder.parent)
    return values


def function(m: Machine, node: ast.Lambda, scope: Scope) -> Values:
    return m.anonymous(node, scope)


def passed_on(m: Machine, node: Any, scope: Scope) -> Values:
    values = resolve(m, node.value, scope)
    out: Values = set()
    for value in values:
        waits = isinstance(node, ast.Await) and isinstance(value, Instance)
        out |= m.call_method(value, "__await__", node) if waits and isinstance(value, Instance) else {value}
    return out


def given(m: Machine, node: ast.Yield | ast.YieldFrom, scope: Scope) -> Values:
    m.give_back(evaluate(m, node.value, scope), one_by_one=True)
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


__all__ = ["evaluate", "register_call", "resolve", "taken", "tested"]
