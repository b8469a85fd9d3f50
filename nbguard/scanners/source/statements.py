"""Run statements: names are bound, both sides of a condition are followed, loops until nothing new is bound."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source import definitions, modules
from nbguard.scanners.source.expressions import evaluate, resolve, tested
from nbguard.scanners.source.lookups import elements, item
from nbguard.scanners.source.storing import assign, search_path
from nbguard.scanners.source.values import (
    DECODED,
    UNKNOWN,
    Const,
    Instance,
    Ref,
    Scope,
    Unknown,
    Value,
    Values,
    marks_of,
    within,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

_ROUNDS = 2
"""How often the body of a loop is followed, where the round before bound something new."""


def run(m: Machine, body: list[ast.stmt], scope: Scope) -> None:
    """Follow `body` in this scope."""
    for statement in body:
        m.step()
        _RUN.get(type(statement), _other)(m, statement, scope)


def _assign(m: Machine, node: ast.Assign, scope: Scope) -> None:
    values = evaluate(m, node.value, scope)
    for target in node.targets:
        assign(m, target, values, scope)


def _annotated(m: Machine, node: ast.AnnAssign, scope: Scope) -> None:
    definitions.annotation(m, node.annotation, scope)
    if node.value is not None:
        assign(m, node.target, evaluate(m, node.value, scope), scope)


def _augmented(m: Machine, node: ast.AugAssign, scope: Scope) -> None:
    values = evaluate(m, node.value, scope)
    before = resolve(m, node.target, scope) if isinstance(node.target, ast.Name | ast.Attribute) else set()
    for value in before:
        if isinstance(value, Instance):
            m.call_operators(value, node)
        elif isinstance(value, Ref) and m.effects.replacing(value.name):  # `sys.path += […]`, `sys.meta_path += […]`
            path = value.name == "sys.path"
            if path:
                search_path(m, values, node)
            m.act("search-path" if path else "hook", f"{value.name} += …", node)
    pieced = {DECODED} if any(isinstance(v, Const) and isinstance(v.value, str | bytes) for v in before) else set()
    kept = {v for v in within(values | before) if not isinstance(v, Const | Unknown)}  # `list += [f]`
    assign(m, node.target, {Unknown(marks_of(values | before) | pieced), *kept}, scope)


def _for(m: Machine, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
    got: Values = set()
    for source in resolve(m, node.iter, scope):
        if isinstance(source, Instance):
            for name in ("__iter__", "__next__", "__aiter__", "__anext__"):
                got |= m.call_method(source, name, node) - {UNKNOWN}
        for element in elements(source)[:64]:
            got |= element
    assign(m, node.target, got or {UNKNOWN}, scope)
    _again(m, node.body, scope)
    run(m, node.orelse, scope)


def _while(m: Machine, node: ast.While, scope: Scope) -> None:
    tested(m, node.test, scope)
    _again(m, node.body, scope)
    run(m, node.orelse, scope)


def _again(m: Machine, body: list[ast.stmt], scope: Scope) -> None:
    """The body of a loop: a second time where the first one bound a name to something that it was not before."""
    for _ in range(_ROUNDS):
        before = (scope.changes, scope.module.changes)
        run(m, body, scope)
        if (scope.changes, scope.module.changes) == before:
            return


def _if(m: Machine, node: ast.If, scope: Scope) -> None:
    tested(m, node.test, scope)
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


def _try(m: Machine, node: ast.Try, scope: Scope) -> None:
    run(m, node.body, scope)
    for handler in node.handlers:
        if handler.type is not None:
            resolve(m, handler.type, scope)
        if handler.name:
            scope.put(handler.name, {UNKNOWN})
        run(m, handler.body, scope)
    run(m, node.orelse, scope)
    run(m, node.finalbody, scope)


def _with(m: Machine, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
    for entry in node.items:
        inside: Values = set()
        for value in resolve(m, entry.context_expr, scope):
            if isinstance(value, Instance):
                for name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
                    inside |= m.call_method(value, name, node)
            else:
                inside.add(value)
        if entry.optional_vars is not None:
            assign(m, entry.optional_vars, inside, scope)
    run(m, node.body, scope)


def _return(m: Machine, node: ast.Return, scope: Scope) -> None:
    m.give_back(evaluate(m, node.value, scope))


def _outer(m: Machine, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
    scope.outer.update(node.names)
    if isinstance(node, ast.Global):
        scope.everywhere.update(node.names)
        for name in node.names:
            scope.module.names.setdefault(name, set())


def _match(m: Machine, node: ast.Match, scope: Scope) -> None:
    values = evaluate(m, node.subject, scope)
    parts: Values = set(within(values))
    for case in node.cases:
        for part in ast.walk(case.pattern):
            for name in (getattr(part, "name", None), getattr(part, "rest", None)):
                if isinstance(name, str):
                    scope.put(name, values if part is case.pattern else parts)
            if isinstance(part, ast.MatchValue):
                resolve(m, part.value, scope)
            elif isinstance(part, ast.MatchClass):
                resolve(m, part.cls, scope)
        if case.guard is not None:
            tested(m, case.guard, scope)
        run(m, case.body, scope)


def _expression(m: Machine, node: ast.Expr, scope: Scope) -> None:
    if not isinstance(node.value, ast.Constant):
        resolve(m, node.value, scope)


def _delete(m: Machine, node: ast.Delete, scope: Scope) -> None:
    for target in node.targets:
        if isinstance(target, ast.Subscript):
            for value in resolve(m, target.value, scope):
                if isinstance(value, Instance):
                    m.call_method(value, "__delitem__", node)
                else:
                    _without(m, value, resolve(m, target.slice, scope), node)
            continue
        for value in resolve(m, target, scope):
            if isinstance(value, Instance):
                m.call_method(value, "__del__", node)


def _without(m: Machine, value: Value, keys: Values, node: ast.AST) -> None:
    """`del os.environ["X"]` reads nothing; `del sys.modules["x"]` is for the looking-up to judge."""
    if isinstance(value, Ref) and value.name != "os.environ":
        item(m, value, keys, node)


def _other(m: Machine, node: ast.stmt, scope: Scope) -> None:
    """Whatever statement a newer Python has: its expressions and bodies are followed all the same."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            evaluate(m, child, scope)
        elif isinstance(child, ast.stmt):
            run(m, [child], scope)


_RUN: dict[type[ast.stmt], Any] = {
    ast.FunctionDef: definitions.define, ast.AsyncFunctionDef: definitions.define, ast.ClassDef: definitions.build,
    ast.Import: modules.import_, ast.ImportFrom: modules.import_from, ast.Assign: _assign, ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented, ast.For: _for, ast.AsyncFor: _for, ast.If: _if, ast.While: _while, ast.Try: _try,
    ast.TryStar: _try, ast.With: _with, ast.AsyncWith: _with, ast.Return: _return, ast.Global: _outer,
    ast.Nonlocal: _outer, ast.Match: _match, ast.Expr: _expression, ast.Delete: _delete,
}  # fmt: skip
