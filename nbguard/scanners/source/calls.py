"""What calls do: acts, the functions of the files themselves, and what is handed on to somewhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source.expressions import register_call, resolve, taken
from nbguard.scanners.source.folding import DECODERS, fold_call, fold_method
from nbguard.scanners.source.lookups import ANY_MODULE, elements, item
from nbguard.scanners.source.values import (
    DECODED,
    FETCHED,
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

Special = Callable[["Machine", list[Values], dict[str, Values], ast.AST], Values | None]
SPECIAL: dict[str, Special] = {}
"""Functions that lead somewhere else (`getattr`, `open`, …), filled in by `special.py` and those like it."""
ASKING = frozenset(
    {
        "builtins.isinstance", "builtins.issubclass", "builtins.hasattr", "builtins.callable", "builtins.id",
        "builtins.type", "builtins.len", "builtins.super", "builtins.getattr", "builtins.setattr", "builtins.vars",
        "builtins.dir", "importlib.reload", "inspect.getmembers", "builtins.delattr", "builtins.__import__",
    }
)  # fmt: skip
"""Functions that call nothing of what they are handed, and keep nothing."""
_HARMFUL = ("os", "builtins", "pickle", "marshal", "runpy")
_RUNNING = frozenset(("run", "call", "Popen", "CDLL", "check_output", "check_call", "getoutput"))
"""Functions of `subprocess` and `ctypes`, whose names say little by themselves."""
_ADDRESS = re.compile(r"^(?!file:)[a-z][a-z0-9+.-]{1,9}://.", re.I)


def call(m: Machine, node: ast.Call, scope: Scope) -> Values:
    functions = resolve(m, node.func, scope)
    args: list[Values] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            held = resolve(m, argument.value, scope)
            spread = [elements(v) for v in held if isinstance(v, Items)]
            args += [set(e) for e in (spread[0][:64] if spread else [frozenset({UNKNOWN})])]
        else:
            args.append(resolve(m, argument, scope))
    kwargs: dict[str, Values] = {}
    for keyword in node.keywords:
        values = resolve(m, keyword.value, scope)
        tables = [v for v in values if isinstance(v, Table)] if keyword.arg is None else []
        for name, part in (row for t in tables for row in t.by_key[:64]):
            kwargs.setdefault(str(name), set()).update(part)
        if not tables:
            kwargs[keyword.arg or "**"] = values
    receiver: Values = set()
    if isinstance(node.func, ast.Attribute) and any(isinstance(f, Ref) and f.name[0] == "<" for f in functions):
        receiver = resolve(m, node.func.value, scope)
    word = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    _arguments(m, functions, word, args, kwargs, node)
    out: Values = set()
    for function in functions:
        out |= invoke(m, function, args, kwargs, node, receiver)
    _grow(m, node, functions, receiver, args, kwargs, scope)
    return out or {UNKNOWN}


def _arguments(
    m: Machine, functions: Values, word: str, args: list[Values], kwargs: dict[str, Values], node: ast.Call
) -> None:
    """What the arguments tell, whatever is called: `trust_remote_code=True`, a path of a secret, an address."""
    for name in kwargs.keys() & m.effects.telling:
        for value in kwargs[name]:
            flag = bool(value.value) if isinstance(value, Const) else isinstance(value, Ref)
            key = m.effects.arguments.get(f"{name}={flag}") if isinstance(value, Const | Ref) else None
            if key is not None:
                m.act(key, f"{name}={flag}", node)
    texts = [t for values in (*args, *kwargs.values()) for t in constants(values, str) if len(t) < 500]
    outside = [f.name for f in functions if isinstance(f, Ref) and not f.name.startswith(("<", "os.", "builtins."))]
    changing = any((e := m.effects.of(name)) is not None and e.key in ("files", "write") for name in outside)
    changing = changing or (bool(texts) and _last(outside, word).startswith(m.effects.writing))
    for text in texts:
        if changing:
            m.fixed(text, node)
        if not any(isinstance(f, Func | Class) for f in functions):
            m.path(text, node)
        if _ADDRESS.match(text):
            for called in (*outside, word if any(isinstance(f, Unknown) for f in functions) else ""):
                if called.rpartition(".")[2].lower().startswith(m.effects.fetching):
                    m.act("network", called, node)
                    break
    if word and any(isinstance(f, Unknown) for f in functions):
        _on_anything(m, word, word, args, node)


def _last(outside: list[str], word: str) -> str:
    return (outside[0].rpartition(".")[2] if outside else word).lower()


def _on_anything(m: Machine, method: str, name: str, args: list[Values], node: ast.AST) -> None:
    """A method that tells by its name what it does, and one that runs the text which it is given."""
    effect = m.effects.called_on_anything(method)
    if effect is not None:
        m.act(effect.key, f"….{name}" if name == method else name, node)
    texts = constants(args[0], str) if method in m.effects.evaluating and args else []
    if any(mark in text for text in texts for mark in ("__", "@", "(", "import ")):
        m.act("code", f"….{method}", node)


def invoke(
    m: Machine, function: Value, args: list[Values], kwargs: dict[str, Values], node: ast.AST, receiver: Values
) -> Values:
    """What calling `function` gives, after it was called."""
    if isinstance(function, Func):
        return m.call_function(function, args, kwargs, node)
    if isinstance(function, Class):
        return m.instantiate(function, args, kwargs, node)
    if isinstance(function, Instance):
        return m.call_method(function, "__call__", node, args, kwargs)
    if isinstance(function, Ref):
        if function.name.startswith("<"):
            return _of_constant(m, function, args, kwargs, node, receiver)
        return _of_ref(m, function, args, kwargs, node)
    hand_on(m, args, kwargs, node, kept=True)
    return {Unknown(marks_of({function}))}


def _of_constant(
    m: Machine, function: Ref, args: list[Values], kwargs: dict[str, Values], node: ast.AST, receiver: Values
) -> Values:
    """A method of a literal: text that is put together, lists and tables that are looked into."""
    name = function.name.rpartition(".")[2]
    out: Values = set()
    for value in receiver:
        if isinstance(value, Table | Namespace) and name in ("get", "pop", "setdefault", "__getitem__") and args:
            out |= item(m, value, args[0], node)
            if len(args) > 1:
                out |= args[1]
        elif isinstance(value, Namespace) and name in ("values", "items", "copy"):
            out.add(Items(tuple(frozenset(held) for held in value.scope.names.values())))
        elif isinstance(value, Namespace) and name == "update":
            for key, held in kwargs.items():
                value.scope.put(key, held)
        elif isinstance(value, Table) and name == "items":
            pairs = (frozenset({Items((frozenset({Const(k)}), held))}) for k, held in value.by_key)
            out.add(Items(tuple(pairs)))
        elif isinstance(value, Table) and name == "values":
            out.add(Items(tuple(held for _, held in value.by_key)))
        elif isinstance(value, Table) and name == "keys":
            out.add(Items(tuple(frozenset({Const(k)}) for k, _ in value.by_key)))
        elif isinstance(value, Items | Table) and name == "copy":
            out.add(value)
        elif isinstance(value, Items) and name in ("pop", "__getitem__", "popleft"):
            out |= {v for part in value.values for v in part}
        elif isinstance(value, Const):
            out.add(_of_text(value, name, args, kwargs))
    hand_on(m, args, kwargs, node)
    return out or {UNKNOWN}


def _of_text(value: Const, name: str, args: list[Values], kwargs: dict[str, Values]) -> Value:
    plain = [_plain(_single(a)) for a in args]
    named = {k: _plain(_single(v)) for k, v in kwargs.items()}
    folded = None
    if all(p is not None for p in (*plain, *named.values())):
        folded = fold_method(value.value, name, [p[0] for p in plain if p], {k: v[0] for k, v in named.items() if v})
    marks = value.marks | frozenset(x for a in args for x in marks_of(a))
    if folded is None:
        pieced = name in ("join", "decode", "translate", "replace", "format", "format_map")
        return Unknown(marks | ({DECODED} if pieced else frozenset()))
    if isinstance(folded.value, tuple):
        return Items(tuple(frozenset({Const(part, marks | folded.marks)}) for part in folded.value))
    return Const(folded.value, marks | folded.marks)


def _grow(
    m: Machine,
    node: ast.Call,
    functions: Values,
    receiver: Values,
    args: list[Values],
    kwargs: dict[str, Values],
    scope: Scope,
) -> None:
    """`list.append(x)`, `table.update(x=…)`: what is put into a list or table is in it from then on."""
    if not receiver or not isinstance(node.func, ast.Attribute) or not isinstance(node.func.value, ast.Name):
        return
    method = node.func.attr
    name = node.func.value.id
    for value in receiver:
        if isinstance(value, Items) and method in ("append", "add", "appendleft", "insert", "extend"):
            if len(value.values) < 256 and any(isinstance(v, Ref | Func) for v in within(args[-1] if args else ())):
                scope.put(name, {Items((*value.values, frozenset(within(args[-1]))))})
        elif isinstance(value, Items) and method in ("reverse", "sort", "remove", "clear"):
            scope.put(name, {Unknown(frozenset({DECODED}))})
        elif isinstance(value, Table) and method in ("update", "setdefault") and len(value.by_key) < 256:
            rows = [(k, frozenset(v)) for k, v in kwargs.items()]
            rows += [row for a in args[:1] for v in a if isinstance(v, Table) for row in v.by_key]
            if method == "setdefault" and len(args) > 1:
                rows += [(k, frozenset(args[1])) for k in constants(args[0], str)]
            scope.put(name, {Table((*value.by_key, *rows))})


def _single(values: Values | frozenset[Value]) -> Value:
    return next(iter(values)) if len(values) == 1 else UNKNOWN


def _plain(value: Value) -> tuple[Any] | None:
    """The constant that a value is (lists and tables of constants too) in a tuple of its own; else None."""
    if isinstance(value, Const):
        return (value.value,)
    if isinstance(value, Items):
        parts = [_plain(_single(p)) for p in value.values]
        return ([p[0] for p in parts if p],) if all(parts) else None
    if isinstance(value, Table):
        rows = [(k, _plain(_single(held))) for k, held in value.by_key]
        return ({k: p[0] for k, p in rows if p},) if all(p for _, p in rows) else None
    return None


def _of_ref(m: Machine, function: Ref, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
    name = m.effects.canonical(function.name)
    special = m.special.get(name)
    if special is not None:
        done = special(m, args, kwargs, node)
        if done is not None:
            return done
    reached = _namespace_method(m, name, args, node)
    if reached is not None:
        return reached
    effect = m.effects.of(name)
    if effect is not None:
        m.act(effect.key, name, node)
    elif name.startswith(f"{ANY_MODULE}."):
        _of_any_module(m, name, node)
    elif name not in m.effects.harmless:
        _on_anything(m, name.rpartition(".")[2], name, args, node)
    if name not in ASKING:
        hand_on(m, args, kwargs, node, kept=True)
    plain = [_plain(_single(a)) for a in args]
    named = {k: _plain(_single(v)) for k, v in kwargs.items()}
    marks = frozenset(x for a in args for x in marks_of(a))
    if name in DECODERS or name.startswith(("builtins.", "operator.", "os.f", "sys.intern")):
        if all(plain) and all(named.values()):
            folded = fold_call(name, [p[0] for p in plain if p], {k: v[0] for k, v in named.items() if v})
            if folded is not None:
                return {Const(folded.value, folded.marks | marks)}
        if name in DECODERS:
            return {Unknown(marks | {DECODED})}
    if effect is not None and effect.key == "network":
        marks |= {FETCHED}
    return {Ref(f"{name}()") if not marks else Unknown(marks)} if name.count("()") < 3 else {UNKNOWN}


def _of_any_module(m: Machine, name: str, node: ast.AST) -> None:
    """A function of a module that nobody can tell: whichever it is, or one that harmful modules have."""
    function = name.partition(".")[2]
    if function.startswith(ANY_MODULE):
        m.act("hidden", "getattr(import_module(…), …)", node)
    elif function in _RUNNING or any(m.effects.held(f"{module}.{function}") for module in _HARMFUL):
        m.act("hidden", f"import_module(…).{function}", node)


def _namespace_method(m: Machine, name: str, args: list[Values], node: ast.AST) -> Values | None:
    """`vars(os).get("system")`, `os.__getattribute__("system")`, `vars(os).values()`."""
    base, _, method = name.rpartition(".")
    if method in ("__getattribute__", "__getattr__") and args:
        owner: list[Values] = [{Ref(base)}] if len(args) == 1 else []
        return m.special["builtins.getattr"](m, [*owner, *args][:2], {}, node)
    module = m.effects.module(base) if base and not base.endswith(("()", "[]")) else None
    if module is None or m.effects.of(name) is not None:
        return None
    if method in ("get", "__getitem__", "pop", "setdefault") and args:
        return item(m, Ref(module), args[0], node)
    if method in ("values", "items", "copy", "__iter__") and module not in ("sys", "platform"):
        m.act("hidden", f"vars({module}).{method}", node)
    return None


def hand_on(
    m: Machine,
    args: list[Values],
    kwargs: dict[str, Values],
    node: ast.AST,
    *,
    kept: bool = False,
    functions: bool = True,
) -> None:
    """Functions that are handed to something which may call them (those of the files too, or only others), or keep them
    (`kept`)."""
    for values in (*args, *kwargs.values()):
        for value in within(values):
            if isinstance(value, Func):
                if functions:
                    m.call_function(value, [], {}, node)
            elif isinstance(value, Ref):
                effect = m.effects.of(value.name)
                if effect is not None and effect.handed_on and not value.name.endswith(("()", "[]")):
                    m.act(effect.key, value.name, node)
                elif kept:
                    taken(m, value, node)
            elif isinstance(value, Instance):
                m.call_operators(value, node)


register_call(call)
