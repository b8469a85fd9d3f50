"""Run statements: names are bound, both sides of a condition are followed, loops once."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source.expressions import Values, elements, evaluate
from nbguard.scanners.source.values import (
    DECODED,
    GIVEN,
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Ref,
    Scope,
    Unknown,
    marks_of,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def run(m: Machine, body: list[ast.stmt], scope: Scope) -> None:
    """Follow `body` in this scope."""
    for statement in body:
        m.step()
        _RUN.get(type(statement), _other)(m, statement, scope)


def bind(m: Machine, function: Func, args: list[Values], kwargs: dict[str, Values], scope: Scope) -> None:
    """Give a function's parameters what it is called with; defaults, and anything at all, where nothing is known."""
    spec = function.node.args
    positional = [*spec.posonlyargs, *spec.args]
    given = list(args)
    if function.bound is not None and positional and not _static(function.node):
        given.insert(
            0, {Instance(function.bound), function.bound} if _on_class(function.node) else {Instance(function.bound)}
        )
    called = bool(args or kwargs)
    defaults = dict(zip([p.arg for p in positional][::-1], spec.defaults[::-1], strict=False))
    for number, parameter in enumerate(positional):
        values = given[number] if number < len(given) else kwargs.get(parameter.arg)
        _bind_one(m, function, parameter.arg, values, defaults.get(parameter.arg), scope, called)
    for parameter, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        _bind_one(m, function, parameter.arg, kwargs.get(parameter.arg), default, scope, called)
    for extra in (spec.vararg, spec.kwarg):
        if extra is not None:
            scope.put(extra.arg, {Unknown(frozenset({GIVEN}))})


def _bind_one(
    m: Machine, function: Func, name: str, values: Values | None, default: ast.expr | None, scope: Scope, called: bool
) -> None:
    got: Values = set(values) if values is not None else set()
    if not got and default is not None:
        got |= evaluate(m, default, function.scope)
    if not got or not called:
        got.add(Unknown(frozenset({GIVEN})))
    scope.put(name, got)


def _static(node: _Function | ast.Lambda) -> bool:
    return not isinstance(node, ast.Lambda) and any(
        isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
    )


def _on_class(node: _Function | ast.Lambda) -> bool:
    return not isinstance(node, ast.Lambda) and (
        node.name in ("__new__", "__init_subclass__", "__class_getitem__", "__prepare__")
        or any(isinstance(d, ast.Name) and d.id == "classmethod" for d in node.decorator_list)
    )


def define(m: Machine, node: _Function, scope: Scope) -> None:
    label = f"{scope.label}.{node.name}()" if scope.kind == "class" else f"{node.name}()"
    made = m.functions.setdefault(id(node), Func(node, scope, label))
    if made.scope is not scope:
        made = Func(node, scope, label)
    arguments = node.args
    for default in (*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)):
        evaluate(m, default, scope)
    if not m.deferred_annotations:
        given = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        for annotation in (*(a.annotation for a in given if a is not None), node.returns):
            if annotation is not None and not isinstance(annotation, ast.Constant):
                evaluate(m, annotation, scope)
    scope.put(node.name, {made} | _decorated(m, node.decorator_list, {made}, scope))


def _decorated(m: Machine, decorators: list[ast.expr], made: Values, scope: Scope) -> Values:
    from nbguard.scanners.source.calls import invoke

    out: Values = set()
    for decorator in reversed(decorators):
        for function in evaluate(m, decorator, scope):
            plain = isinstance(function, Ref) and m.effects.of(function.name) is None
            got = set() if plain else invoke(m, function, [set(made)], {}, decorator, set())
            out |= {v for v in got if not isinstance(v, Unknown)}
    return out


def build(m: Machine, node: ast.ClassDef, scope: Scope) -> None:
    """A class statement: its body runs, then whatever hooks into the making of classes."""
    bases = [next(iter(evaluate(m, b, scope)), UNKNOWN) for b in node.bases]
    keywords = {k.arg: evaluate(m, k.value, scope) for k in node.keywords}
    inner = Scope("class", node.name, scope)
    made = Class(node, inner, node.name, tuple(bases))
    if id(node) in m.classes:
        made = m.classes[id(node)]
        inner = made.scope
    m.classes[id(node)] = made
    run(m, node.body, inner)
    for metaclass in keywords.get("metaclass", set()):
        if isinstance(metaclass, Class):
            for name in ("__prepare__", "__new__", "__init__", "__call__"):
                m.call_method(metaclass, name, node)
        elif isinstance(metaclass, Func | Ref):
            _decorated(m, [k.value for k in node.keywords if k.arg == "metaclass"], {made}, scope)
    for base in bases:
        if isinstance(base, Class):
            m.call_method(base, "__init_subclass__", node)
            _of_metaclass(m, base, node)
        elif isinstance(base, Instance):
            m.call_method(base, "__mro_entries__", node)
    for values in list(inner.names.values()):
        for value in list(values):
            if isinstance(value, Instance):
                m.call_method(value, "__set_name__", node)
    scope.put(node.name, {made} | _decorated(m, node.decorator_list, {made}, scope))


def _of_metaclass(m: Machine, base: Class, node: ast.AST) -> None:
    """A class that derives from one with a metaclass is made by that metaclass."""
    for keyword in base.node.keywords:
        if keyword.arg == "metaclass" and base.scope.parent is not None:
            for metaclass in evaluate(m, keyword.value, base.scope.parent):
                if isinstance(metaclass, Class):
                    for name in ("__prepare__", "__new__", "__init__"):
                        m.call_method(metaclass, name, node)


def _import(m: Machine, node: ast.Import, scope: Scope) -> None:
    for alias in node.names:
        whole = m.effects.canonical(alias.name)
        if alias.asname:
            scope.put(alias.asname, {Ref(whole)})
        else:
            top = alias.name.partition(".")[0]
            scope.put(top, {Ref(m.effects.canonical(top))})


def _import_from(m: Machine, node: ast.ImportFrom, scope: Scope) -> None:
    if node.level:
        up = "../" * (node.level - 1)
        base = up + (node.module.replace(".", "/") if node.module else "")
        m.relative += [f"{base}.py"] if node.module else [f"{up}{a.name}.py" for a in node.names]
    for alias in node.names:
        if alias.name == "*":
            if not node.level:
                m.stars.append(str(node.module))
            continue
        module = "." * node.level + (node.module or "")
        whole = f"{module}.{alias.name}" if module.strip(".") else f"{module}{alias.name}"
        scope.put(alias.asname or alias.name, {Ref(m.effects.canonical(whole))})


def _assign(m: Machine, node: ast.Assign, scope: Scope) -> None:
    values = evaluate(m, node.value, scope)
    for target in node.targets:
        m.assign(target, values, scope)


def _annotated(m: Machine, node: ast.AnnAssign, scope: Scope) -> None:
    if not m.deferred_annotations and scope.kind != "function":
        evaluate(m, node.annotation, scope)
    if node.value is not None:
        m.assign(node.target, evaluate(m, node.value, scope), scope)


def _augmented(m: Machine, node: ast.AugAssign, scope: Scope) -> None:
    values = evaluate(m, node.value, scope)
    before = evaluate(m, node.target, scope) if isinstance(node.target, ast.Name | ast.Attribute) else set()
    for value in before:
        if isinstance(value, Instance):
            m.call_operators(value, node)
    pieced = {DECODED} if any(isinstance(v, Const) and isinstance(v.value, str | bytes) for v in before) else set()
    m.assign(node.target, {Unknown(marks_of(values | before) | pieced)}, scope)


def _for(m: Machine, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
    got: Values = set()
    for source in evaluate(m, node.iter, scope):
        if isinstance(source, Instance):
            for name in ("__iter__", "__next__", "__aiter__", "__anext__"):
                m.call_method(source, name, node)
        for element in elements(source)[:64]:
            got |= element
    m.assign(node.target, got or {UNKNOWN}, scope)
    run(m, node.body, scope)
    run(m, node.orelse, scope)


def _if(m: Machine, node: ast.If, scope: Scope) -> None:
    evaluate(m, node.test, scope)
    if not _main_only(node) or m.phase == "function":
        run(m, node.body, scope)
    run(m, node.orelse, scope)


def _main_only(node: ast.If) -> bool:
    """`if __name__ == "__main__":` does not run at import."""
    test = node.test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, *test.comparators]
    return any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides) and any(
        isinstance(s, ast.Constant) and s.value == "__main__" for s in sides
    )


def _while(m: Machine, node: ast.While, scope: Scope) -> None:
    evaluate(m, node.test, scope)
    run(m, node.body, scope)
    run(m, node.orelse, scope)


def _try(m: Machine, node: ast.Try, scope: Scope) -> None:
    run(m, node.body, scope)
    for handler in node.handlers:
        if handler.type is not None:
            evaluate(m, handler.type, scope)
        if handler.name:
            scope.put(handler.name, {UNKNOWN})
        run(m, handler.body, scope)
    run(m, node.orelse, scope)
    run(m, node.finalbody, scope)


def _with(m: Machine, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
    for entry in node.items:
        values = evaluate(m, entry.context_expr, scope)
        inside: Values = set()
        for value in values:
            if isinstance(value, Instance):
                for name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
                    inside |= m.call_method(value, name, node)
            else:
                inside.add(value)
        if entry.optional_vars is not None:
            m.assign(entry.optional_vars, inside, scope)
    run(m, node.body, scope)


def _return(m: Machine, node: ast.Return, scope: Scope) -> None:
    m.give_back(evaluate(m, node.value, scope))


def _outer(m: Machine, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
    scope.outer.update(node.names)
    if isinstance(node, ast.Global):
        for name in node.names:
            m.module.names.setdefault(name, set())


def _match(m: Machine, node: ast.Match, scope: Scope) -> None:
    values = evaluate(m, node.subject, scope)
    for case in node.cases:
        for part in ast.walk(case.pattern):
            for name in (getattr(part, "name", None), getattr(part, "rest", None)):
                if isinstance(name, str):
                    scope.put(name, values)
            if isinstance(part, ast.MatchValue):
                evaluate(m, part.value, scope)
        if case.guard is not None:
            evaluate(m, case.guard, scope)
        run(m, case.body, scope)


def _expression(m: Machine, node: ast.Expr, scope: Scope) -> None:
    evaluate(m, node.value, scope)


def _delete(m: Machine, node: ast.Delete, scope: Scope) -> None:
    for target in node.targets:
        for value in evaluate(m, target, scope) if not isinstance(target, ast.Subscript) else ():
            if isinstance(value, Instance):
                m.call_method(value, "__del__", node)


def _other(m: Machine, node: ast.stmt, scope: Scope) -> None:
    """Whatever statement a newer Python has: its expressions and bodies are followed all the same."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            evaluate(m, child, scope)
        elif isinstance(child, ast.stmt):
            run(m, [child], scope)


_RUN: dict[type[ast.stmt], Any] = {
    ast.FunctionDef: define, ast.AsyncFunctionDef: define, ast.ClassDef: build, ast.Import: _import,
    ast.ImportFrom: _import_from, ast.Assign: _assign, ast.AnnAssign: _annotated, ast.AugAssign: _augmented,
    ast.For: _for, ast.AsyncFor: _for, ast.If: _if, ast.While: _while, ast.Try: _try, ast.TryStar: _try,
    ast.With: _with, ast.AsyncWith: _with, ast.Return: _return, ast.Global: _outer, ast.Nonlocal: _outer,
    ast.Match: _match, ast.Expr: _expression, ast.Delete: _delete,
}  # fmt: skip
