"""What calls do: acts, the functions of the module itself, and the builtins that lead somewhere else."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbguard.scanners.source.expressions import elements, evaluate, item, member, register_call
from nbguard.scanners.source.folding import DECODERS, fold_call, fold_method
from nbguard.scanners.source.values import (
    DECODED,
    FETCHED,
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
    constants,
    marks_of,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

Values = set[Value]
_ASKS = frozenset(
    {
        "builtins.isinstance", "builtins.issubclass", "builtins.hasattr", "builtins.callable", "builtins.id",
        "builtins.type", "builtins.repr", "builtins.print", "builtins.len", "builtins.super", "builtins.str",
        "builtins.bool",
    }
)  # fmt: skip
"""Functions that call nothing of what they are handed."""
_WRITING = frozenset("wax+")


def call(m: Machine, node: ast.Call, scope: Scope) -> Values:
    functions = evaluate(m, node.func, scope)
    args: list[Values] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            held = evaluate(m, argument.value, scope)
            spread = [elements(v) for v in held if isinstance(v, Items)]
            args += [set(e) for e in (spread[0] if spread else [frozenset({UNKNOWN})])]
        else:
            args.append(evaluate(m, argument, scope))
    kwargs = {k.arg or "**": evaluate(m, k.value, scope) for k in node.keywords}
    receiver = (
        evaluate(m, node.func.value, scope) if isinstance(node.func, ast.Attribute) and _method(functions) else set()
    )
    out: Values = set()
    for function in functions:
        out |= invoke(m, function, args, kwargs, node, receiver)
    return out or {UNKNOWN}


def _method(functions: Values) -> bool:
    return any(isinstance(f, Ref) and f.name.startswith("<") for f in functions)


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
    hand_on(m, args, kwargs, node)
    return {Unknown(marks_of({function}))}


def _of_constant(
    m: Machine, function: Ref, args: list[Values], kwargs: dict[str, Values], node: ast.AST, receiver: Values
) -> Values:
    """A method of a literal: text that is put together, lists and tables that are looked into."""
    name = function.name.rpartition(".")[2]
    out: Values = set()
    for value in receiver:
        if isinstance(value, Table) and name in ("get", "pop", "setdefault", "__getitem__") and args:
            out |= item(m, value, args[0], node)
        elif isinstance(value, Table) and name in ("values", "items", "keys"):
            out.add(Items(tuple(held for _, held in value.by_key)))
        elif isinstance(value, Items) and name in ("pop", "__getitem__"):
            out |= {v for part in value.values for v in part}
        elif isinstance(value, Const):
            given = [_single(a) for a in args]
            named = {k: _single(v) for k, v in kwargs.items()}
            plain = [_plain(g) for g in given]
            folded = None
            if all(p is not None for p in plain) and all(isinstance(v, Const) for v in named.values()):
                folded = fold_method(
                    value.value,
                    name,
                    [p[0] for p in plain if p],
                    {k: v.value for k, v in named.items() if isinstance(v, Const)},
                )
            marks = value.marks | frozenset(x for a in args for x in marks_of(a))
            made = (
                frozenset({DECODED})
                if name in ("join", "decode", "translate", "replace") and not folded
                else frozenset[str]()
            )
            out.add(Const(folded.value, marks | folded.marks) if folded else Unknown(marks | made))
    hand_on(m, args, kwargs, node)
    return out or {UNKNOWN}


def _single(values: Values) -> Value:
    return next(iter(values)) if len(values) == 1 else UNKNOWN


def _plain(value: Value) -> tuple[Any] | None:
    """The constant that a value is, lists of constants too, in a tuple of its own; None for anything else."""
    if isinstance(value, Const):
        return (value.value,)
    if isinstance(value, Items):
        parts = [_plain(next(iter(p))) if len(p) == 1 else None for p in value.values]
        return ([p[0] for p in parts if p],) if all(parts) else None
    return None


def _of_ref(m: Machine, function: Ref, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
    name = m.effects.canonical(function.name)
    special = _SPECIAL.get(name)
    if special is not None:
        done = special(m, args, kwargs, node)
        if done is not None:
            return done
    effect = m.effects.of(name)
    if effect is not None:
        m.act(effect.key, name, node)
    if name.startswith("."):
        m.elsewhere(name, node)
    if name not in _ASKS:
        hand_on(m, args, kwargs, node)
    plain = [_plain(_single(a)) for a in args]
    named = {k: _plain(_single(v)) for k, v in kwargs.items()}
    marks = frozenset(x for a in args for x in marks_of(a))
    if (name in DECODERS or name in ("builtins.reversed", "builtins.sorted")) or name.startswith("builtins."):
        if all(plain) and all(named.values()):
            folded = fold_call(name, [p[0] for p in plain if p], {k: v[0] for k, v in named.items() if v})
            if folded is not None:
                return {Const(folded.value, folded.marks | marks)}
        if name in DECODERS:
            return {Unknown(marks | {DECODED})}
    if effect is not None and effect.key == "network":
        marks |= {FETCHED}
    return {Ref(f"{name}()") if not marks else Unknown(marks)} if name.count("()") < 3 else {UNKNOWN}


def hand_on(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> None:
    """Functions that are handed to something which may call them."""
    for values in (*args, *kwargs.values()):
        for value in list(values):
            if isinstance(value, Items):
                values = values | {v for part in value.values[:16] for v in part}
        for value in values:
            if isinstance(value, Func):
                m.call_function(value, [], {}, node)
            elif isinstance(value, Ref):
                effect = m.effects.of(value.name)
                if effect is not None and effect.handed_on and not value.name.endswith("()"):
                    m.act(effect.key, value.name, node)
            elif isinstance(value, Instance):
                m.call_operators(value, node)


# builtins that lead somewhere else


def _getattr(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) < 2:
        return None
    out: Values = set(args[2]) if len(args) > 2 else set()
    for base in args[0]:
        for name in args[1]:
            if isinstance(name, Const) and isinstance(name.value, str):
                out |= member(m, base, name.value, node)
            elif isinstance(base, Ref) and _holds_harm(m, base.name, marks_of({name})):
                m.act("hidden", f"getattr({base.name}, …)", node)
                out.add(UNKNOWN)
            else:
                out.add(Unknown(marks_of({base})))
    return out


def _holds_harm(m: Machine, name: str, marks: frozenset[str]) -> bool:
    if name in ("sys", "platform"):
        return DECODED in marks
    return name in m.effects.guarded_modules


def _import(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    out: Values = set()
    for name in args[0] if args else kwargs.get("name", set()):
        if isinstance(name, Const) and isinstance(name.value, str):
            top = name.value.partition(".")[0]
            whole = name.value if len(args) > 3 or "fromlist" in kwargs or not m.is_dunder_import(node) else top
            out.add(Ref(m.effects.canonical(whole)))
            if DECODED in name.marks and name.value in m.effects.guarded_modules:
                m.act("hidden", f"import of {name.value!r}", node)
        elif marks_of({name}) & {DECODED, FETCHED}:
            m.act("hidden", "import of a decoded name", node)
            out.add(Ref("?"))
        else:
            out.add(Ref("?"))
    return out or {UNKNOWN}


def _open(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    for path in constants(args[0] if args else kwargs.get("file", set()), (str, bytes)):
        m.path(path if isinstance(path, str) else path.decode("utf-8", "replace"), node)
    modes = args[1] if len(args) > 1 else kwargs.get("mode", set())
    if any(_WRITING & set(mode) for mode in constants(modes, str)):
        m.act("write", "open", node)
    return {Ref("open()")}


def _place(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """Paths that are put together: what they name may be a secret."""
    for path in (c for a in args for c in constants(a, str)):
        m.path(path, node)
    return None


def _environ(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    for word in constants(args[0] if args else set(), str):
        m.looked_up(word, node)
    return {UNKNOWN}


def _namespace(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if args:
        return set(args[0])  # vars(os): its attributes by name
    return {Ref("<globals>")}


def _partial(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """functools.partial: what it makes is as good as the function itself."""
    hand_on(m, args[:1], {}, node)
    return set(args[0]) if args else None


def _attrgetter(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """`attrgetter("system")(os)`: by its name, wherever it is applied."""
    for word in constants(args[0] if args else set(), str):
        for module in ("os", "subprocess", "builtins"):
            if m.effects.of(f"{module}.{word.rpartition('.')[2]}"):
                m.act("hidden", f"attrgetter({word[:40]!r})", node)
    return {UNKNOWN}


def _type(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) == 1:
        return {v.of if isinstance(v, Instance) else UNKNOWN for v in args[0]}
    if len(args) > 2:
        for table in args[2]:
            for value in table.all() if isinstance(table, Table) else ():
                if isinstance(value, Func):
                    m.call_function(value, [], {}, node)
    return {UNKNOWN}


def _modules_get(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return item(m, Ref("sys.modules"), args[0], node) if args else None


def _torch_load(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if any(v is False for v in constants(kwargs.get("weights_only", set()), bool)):
        m.act("unpickle", "torch.load(weights_only=False)", node)
    return {UNKNOWN}


def _numpy_load(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if any(constants(kwargs.get("allow_pickle", args[2] if len(args) > 2 else set()), bool)):
        m.act("unpickle", "numpy.load(allow_pickle=True)", node)
    return {UNKNOWN}


def _yaml_load(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    loaders = kwargs.get("Loader", args[1] if len(args) > 1 else set())
    names = {v.name.rpartition(".")[2] for v in loaders if isinstance(v, Ref)}
    if names & {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader"} or not loaders:
        m.act("code", "yaml.load", node)
    return {UNKNOWN}


def _subscripted(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {v for base in args[0] for v in item(m, base, args[1], node)} if len(args) > 1 else None


def _applied(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """`map(f, xs)`, `filter`, `operator.call(f, x)`: the function is called."""
    rest = [{v for value in a for e in elements(value) for v in e} for a in args[1:]]
    out: Values = set()
    if len(args) == 2 and len(args[1]) == 1:
        parts = [_each(m, args[0], set(e), node) for e in elements(next(iter(args[1])))[:512]]
        return {Items(tuple(frozenset(p) for p in parts))}
    for function in args[0] if args else ():
        out |= invoke(m, function, rest, {}, node, set())
    return {Items((frozenset(out),))}


def _each(m: Machine, functions: Values, element: Values, node: ast.AST) -> Values:
    return {v for f in functions for v in invoke(m, f, [element], {}, node, set())}


def _called(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {v for f in args[0] for v in invoke(m, f, args[1:], kwargs, node, set())} if args else None


def _listed(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {Items(tuple(elements(v))) for v in args[0]} if args else {Items(())}


def _reversed(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if not args:
        return None
    hidden = frozenset({DECODED})
    return {
        Items(
            tuple(
                frozenset(Const(x.value, x.marks | hidden) if isinstance(x, Const) else x for x in e)
                for e in reversed(elements(v))
            )
        )
        for v in args[0]
    }


def _set_attribute(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) > 2:
        for base in args[0]:
            for word in constants(args[1], str):
                m.store(base, word, args[2], node)
    return {Const(None)}


_SPECIAL: dict[str, Callable[[Any, list[Values], dict[str, Values], ast.AST], Values | None]] = {
    "builtins.getattr": _getattr, "inspect.getattr_static": _getattr, "operator.attrgetter": _attrgetter,
    "operator.methodcaller": _attrgetter, "builtins.__import__": _import, "importlib.import_module": _import,
    "builtins.open": _open, "pathlib.Path": _place, "os.path.expanduser": _place, "os.path.join": _place,
    "pathlib.PosixPath": _place, "pathlib.PurePath": _place, "os.environ.get": _environ, "os.getenv": _environ,
    "os.environ.pop": _environ, "os.environ.__getitem__": _environ, "builtins.vars": _namespace,
    "builtins.globals": _namespace, "builtins.locals": _namespace, "functools.partial": _partial,
    "functools.partialmethod": _partial, "builtins.type": _type, "sys.modules.get": _modules_get,
    "sys.modules.__getitem__": _modules_get, "sys.modules.pop": _modules_get, "torch.load": _torch_load,
    "numpy.load": _numpy_load, "yaml.load": _yaml_load, "yaml.load_all": _yaml_load, "operator.getitem": _subscripted,
    "builtins.map": _applied, "builtins.filter": _applied, "itertools.starmap": _applied, "functools.reduce": _applied,
    "operator.call": _called, "asyncio.run": _partial, "contextvars.copy_context().run": _called,
    "asyncio.to_thread": _called,
    "builtins.list": _listed, "builtins.tuple": _listed, "builtins.set": _listed, "builtins.iter": _listed,
    "builtins.reversed": _reversed, "builtins.setattr": _set_attribute, "object.__getattribute__": _getattr,
    "builtins.object.__getattribute__": _getattr, "types.ModuleType.__getattribute__": _getattr,
}  # fmt: skip

register_call(call)
