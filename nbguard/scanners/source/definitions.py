"""Functions and classes: what their statements run at once, and what calling them begins with."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from nbguard.scanners.source.expressions import evaluate, resolve
from nbguard.scanners.source.values import (
    GIVEN,
    UNKNOWN,
    Class,
    Func,
    Instance,
    Items,
    Ref,
    Scope,
    Table,
    Unknown,
    Values,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_ASKING = frozenset(
    ("isinstance", "issubclass", "hasattr", "callable", "getattr", "setattr", "len", "repr", "str", "id")
)
_LONGEST_ANNOTATION = 2_000
"""Characters of one that is written as text."""


def define(m: Machine, node: _Function, scope: Scope) -> None:
    """A function statement: defaults, annotations and decorators run."""
    label = f"{scope.label}.{node.name}()" if scope.kind == "class" else f"{node.name}()"
    made = Func(node, scope, label)
    m.functions.setdefault(id(node), made)
    _defaults(m, node.args, scope)
    given = node.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    for annotated in (*(a.annotation for a in every if a is not None), node.returns):
        annotation(m, annotated, scope)
    type_parameters(m, node, scope)
    values: Values = {made}
    if node.decorator_list:
        values = values | decorated(m, node.decorator_list, {made}, scope)
    scope.put(node.name, values)


def anonymous(m: Machine, node: ast.Lambda, scope: Scope) -> Values:
    """A lambda. It is followed at once: nobody hides a command in one that is not meant to be called."""
    made = Func(node, scope, f"lambda line {node.lineno}")
    _defaults(m, node.args, scope)
    m.call_function(made, [], {}, node)
    return {made}


def _defaults(m: Machine, spec: ast.arguments, scope: Scope) -> None:
    for default in (*spec.defaults, *spec.kw_defaults):
        if default is not None:
            evaluate(m, default, scope)


def annotation(m: Machine, node: ast.expr | None, scope: Scope) -> None:
    """What an annotation does; one that is text, or that is put off, runs when something asks for it."""
    if node is None:
        return
    if isinstance(node, ast.Constant):
        text = node.value
        if not isinstance(text, str) or "(" not in text or len(text) > _LONGEST_ANNOTATION:
            return
        parsed = parse_expression(text, node)
        if parsed is None:
            return
        node = parsed
    if any(isinstance(part, ast.Call) for part in ast.walk(node)):
        resolve(m, node, scope)


def parse_expression(text: str, at: ast.AST) -> ast.expr | None:
    """Text as an expression that stands where `at` does; None where it is none."""
    try:
        parsed = ast.parse(text.strip()[:_LONGEST_ANNOTATION], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for part in ast.walk(parsed):
        if hasattr(part, "lineno"):
            part.lineno = getattr(at, "lineno", 0)
    return parsed


def type_parameters(m: Machine, node: ast.AST, scope: Scope) -> None:
    """The bounds and defaults of `def f[T: bound]` run when something asks for them."""
    for parameter in getattr(node, "type_params", ()):
        for part in (getattr(parameter, "bound", None), getattr(parameter, "default_value", None)):
            if part is not None:
                evaluate(m, part, scope)


def decorated(m: Machine, decorators: list[ast.expr], made: Values, scope: Scope) -> Values:
    """What decorators make of a function or class."""
    out: Values = set()
    for decorator in reversed(decorators):
        for function in resolve(m, decorator, scope):
            plain = isinstance(function, Unknown) or (
                isinstance(function, Ref) and m.effects.of(function.name) is None and function.name[0] != "?"
            )  # one that registers, caches or wraps: it does not call
            got = set() if plain else m.invoke(function, [set(made)], {}, decorator)
            out |= {v for v in got if not isinstance(v, Unknown)}
    return out


def build(m: Machine, node: ast.ClassDef, scope: Scope) -> None:
    """A class statement: its body runs, then whatever hooks into the making of classes."""
    bases = [next(iter(resolve(m, b, scope)), UNKNOWN) for b in node.bases]
    keywords = {k.arg or "**": evaluate(m, k.value, scope) for k in node.keywords}
    type_parameters(m, node, scope)
    made = m.classes.get(id(node))
    if made is None or made.scope.parent is not scope:
        made = Class(node, Scope("class", node.name, scope), node.name, tuple(bases))
    m.classes[id(node)] = made
    inner = made.scope
    m.run(node.body, inner)
    for values in list(inner.names.values()):
        for function in list(values):
            if isinstance(function, Func) and function.bound is None and id(function.node) in m.functions:
                m.functions[id(function.node)] = Func(function.node, function.scope, function.label, made)
    for metaclass in keywords.get("metaclass", set()):
        if isinstance(metaclass, Class):
            for name in ("__prepare__", "__new__", "__init__", "__call__"):
                m.call_method(metaclass, name, node)
        elif isinstance(metaclass, Func | Ref):
            decorated(m, [k.value for k in node.keywords if k.arg == "metaclass"], {made}, scope)
    given = {k: v for k, v in keywords.items() if k != "metaclass"}
    for base in bases:
        if isinstance(base, Class):
            m.call_method(base, "__init_subclass__", node, [], given)
            _of_metaclass(m, base, node)
        elif isinstance(base, Instance):
            m.call_method(base, "__mro_entries__", node)
    for held in list(inner.names.values()):
        for part in list(held):
            if isinstance(part, Instance):
                m.call_method(part, "__set_name__", node)
    scope.put(node.name, {made} | decorated(m, node.decorator_list, {made}, scope))


def _of_metaclass(m: Machine, base: Class, node: ast.AST) -> None:
    """A class that derives from one with a metaclass is made by that metaclass."""
    for keyword in base.node.keywords:
        if keyword.arg == "metaclass" and base.scope.parent is not None:
            for metaclass in resolve(m, keyword.value, base.scope.parent):
                if isinstance(metaclass, Class):
                    for name in ("__prepare__", "__new__", "__init__"):
                        m.call_method(metaclass, name, node)


def line(cls: Class, depth: int = 0) -> list[Class]:
    """The class and those of these files that it derives from."""
    out = [cls]
    if depth < 8:
        for base in cls.bases[:16]:
            if isinstance(base, Class) and base not in out:
                out += [c for c in line(base, depth + 1) if c not in out]
    return out


def bind(m: Machine, function: Func, args: list[Values], kwargs: dict[str, Values], scope: Scope) -> None:
    """Give a function's parameters what it is called with; defaults, and anything at all, where nothing is known."""
    spec = function.node.args
    positional = [*spec.posonlyargs, *spec.args]
    given = list(args)
    if function.bound is not None and positional and not _static(function.node):
        instance = Instance(function.bound)
        given.insert(0, {instance, function.bound} if _on_class(function.node) else {instance})
    called = bool(args or kwargs)
    defaults = dict(zip([p.arg for p in positional][::-1], spec.defaults[::-1], strict=False))
    for number, parameter in enumerate(positional):
        values = given[number] if number < len(given) else kwargs.get(parameter.arg)
        _bind_one(m, function, parameter.arg, values, defaults.get(parameter.arg), scope, called)
    for parameter, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        _bind_one(m, function, parameter.arg, kwargs.get(parameter.arg), default, scope, called)
    if spec.vararg is not None:
        rest = [frozenset(v) for v in given[len(positional) :]]
        scope.put(spec.vararg.arg, {Items(tuple(rest)) if rest else Unknown(frozenset({GIVEN}))})
    if spec.kwarg is not None:
        names = {p.arg for p in (*positional, *spec.kwonlyargs)}
        left = tuple((k, frozenset(v)) for k, v in kwargs.items() if k not in names)
        scope.put(spec.kwarg.arg, {Table(left)} if left else {Unknown(frozenset({GIVEN}))})


def _bind_one(
    m: Machine, function: Func, name: str, values: Values | None, default: ast.expr | None, scope: Scope, called: bool
) -> None:
    got: Values = set(values) if values is not None else set()
    if not got and default is not None:
        got |= resolve(m, default, function.scope)
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


def calls_what_it_is_given(node: _Function | ast.Lambda) -> bool:
    """Whether a function calls one of its parameters, or hands it to a function; keeping it somewhere is no call."""
    spec = node.args
    every = (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg)
    names = {p.arg for p in every if p is not None}
    pending: list[ast.AST] = list(node.body) if not isinstance(node, ast.Lambda) else [node.body]
    while pending:
        part = pending.pop()
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            handed = {a.id for a in part.args if isinstance(a, ast.Name)} if part.func.id not in _ASKING else set()
            if names & {part.func.id, *handed}:
                return True
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending += ast.iter_child_nodes(part)
    return False


def generated(result: Values) -> Values:
    """What a generator gives, one by one, and what it gives where it is a context manager."""
    known = frozenset(v for v in result if not isinstance(v, Unknown))
    return {Items((known,)), *known, UNKNOWN} if known else {UNKNOWN}
