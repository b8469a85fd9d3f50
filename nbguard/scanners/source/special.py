"""Functions that lead somewhere else: what they give, or do, depends on what they are given.

SPECIAL["builtins.getattr"](machine, args, kwargs, node)        # the values; None where the usual rules do
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbguard.scanners.source.calls import SPECIAL, Special, hand_on, invoke
from nbguard.scanners.source.definitions import parse_expression
from nbguard.scanners.source.expressions import resolve
from nbguard.scanners.source.lookups import ANY_MODULE, elements, harmful, item, member
from nbguard.scanners.source.modules import named
from nbguard.scanners.source.storing import exchange, search_path, store
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
    Table,
    Unknown,
    Value,
    Values,
    constants,
    marks_of,
)

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine


def special(*names: str) -> Callable[[Special], Special]:
    """Put a function into the table under these names."""

    def put(function: Special) -> Special:
        SPECIAL.update(dict.fromkeys(names, function))
        return function

    return put


def table() -> dict[str, Special]:
    """All of them, by the usual name."""
    from nbguard.scanners.source import special_files  # noqa: F401 - puts its functions into the table

    return SPECIAL


# attributes by name


@special("builtins.getattr")
def _getattr(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) < 2:
        return None
    out: Values = set(args[2]) if len(args) > 2 else set()
    for base in args[0]:
        for name in args[1]:
            out |= _by_name(m, base, name, node)
    return out


def _by_name(m: Machine, base: Value, name: Value, node: ast.AST) -> Values:
    module = m.effects.module(base.name) if isinstance(base, Ref) else None
    if isinstance(name, Const) and isinstance(name.value, str):
        if module is not None and DECODED in name.marks:
            m.act("hidden", f"getattr({module}, …)", node)
        return member(m, base, name.value, node)
    if module is not None and (module not in ("sys", "platform") or DECODED in marks_of({name})):
        m.act("hidden", f"getattr({module}, …)", node)
        return {UNKNOWN}
    if isinstance(base, Namespace):
        return harmful(m, base) or {UNKNOWN}
    if isinstance(base, Ref) and (base.name == ANY_MODULE or base.name.startswith("sys.modules.")):
        return {Ref(f"{ANY_MODULE}.{ANY_MODULE}")}
    return {Unknown(marks_of({base}))}


@special("builtins.setattr")
def _setattr(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) > 2:
        for base in args[0]:
            words = constants(args[1], str)
            for word in words:
                store(m, base, word, args[2], node)
            if not words and isinstance(base, Ref) and m.effects.module(base.name):
                m.act("hook", f"setattr({base.name}, …)", node)
        if not any(isinstance(b, Instance | Class | Namespace) for b in args[0]):
            hand_on(m, args[2:], {}, node)
    return {Const(None)}


@special("operator.attrgetter", "operator.methodcaller", "operator.itemgetter")
def _getter(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """`attrgetter("system")(os)`: by its name, wherever it is applied."""
    for word in constants(args[0] if args else set(), str):
        last = word.rpartition(".")[2]
        if any(m.effects.held(f"{module}.{last}") for module in ("os", "builtins")) or last in m.effects.methods:
            m.act("hidden", f"attrgetter({word[:40]!r})", node)
    return {UNKNOWN}


@special("builtins.vars", "builtins.globals", "builtins.locals")
def _namespace(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if args:
        return {Namespace(v.scope, as_dictionary=True) if isinstance(v, Namespace) else v for v in args[0]}
    return {Namespace(m.files.scopes[m.here], as_dictionary=True)}


@special("inspect.getmembers", "inspect.getmembers_static")
def _members(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    for value in args[0] if args else ():
        if isinstance(value, Ref) and m.effects.module(value.name):
            m.act("hidden", f"inspect.getmembers({value.name})", node)
    return None


# modules by name


@special("builtins.__import__", "importlib.import_module")
def _import(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    out: Values = set()
    for name in args[0] if args else kwargs.get("name", set()):
        if isinstance(name, Const) and isinstance(name.value, str):
            own = named(m, name.value, node)
            top = name.value.partition(".")[0]
            whole = name.value if len(args) > 3 or "fromlist" in kwargs or not _is_dunder(node) else top
            out |= own or {Ref(m.effects.canonical(whole))}
            if DECODED in name.marks and name.value in m.effects.guarded_modules:
                m.act("hidden", f"import of {name.value!r}", node)
        elif _within_a_package(node, [*args[1:2], kwargs.get("package", set())]):
            out.add(UNKNOWN)
        else:
            if marks_of({name}) & {DECODED, FETCHED}:
                m.act("hidden", "import of a decoded name", node)
            out.add(Ref(ANY_MODULE))
    return out or {UNKNOWN}


def _within_a_package(node: ast.AST, packages: list[Values]) -> bool:
    """`import_module(f".{name}", "transformers.models")`: any module, but only of one package."""
    if any(not _is_dunder(node) and constants(package, str) for package in packages):
        return True
    given = getattr(node, "args", [])
    first = given[0] if given else None
    start = first.values[0] if isinstance(first, ast.JoinedStr) and first.values else None
    if isinstance(first, ast.BinOp):
        start = first.left
    return isinstance(start, ast.Constant) and "." in str(start.value)


def _is_dunder(node: ast.AST) -> bool:
    """Whether a call is one of `__import__` itself, which gives the topmost package."""
    function = getattr(node, "func", None)
    return not (isinstance(function, ast.Attribute) and function.attr == "import_module")


@special("sys.modules.get", "sys.modules.__getitem__", "sys.modules.pop", "sys.modules.setdefault")
def _modules(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return item(m, Ref("sys.modules"), args[0], node) if args else None


@special("sys.path.append", "sys.path.insert", "sys.path.extend")
def _search(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    for values in args:
        search_path(m, values, node)
    return None


@special("sys.modules.update")
def _modules_update(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    words: list[str | bytes] = [*kwargs]
    words += [k for a in args for v in a if isinstance(v, Table) for k, _ in v.by_key if isinstance(k, str)]
    exchange(m, words, node)
    return {UNKNOWN}


@special("unittest.mock.patch", "mock.patch", "wrapt.wrap_function_wrapper", "wrapt.patch_function_wrapper")
def _patched(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """A function of another module is exchanged by its name, in one text or two."""
    name = ".".join(str(c) for a in args[:2] for c in constants(a, str)[:1])
    m.act("hook" if m.effects.replacing(m.effects.canonical(name)) else "replaces", f"{name[:60]} = …", node)
    hand_on(m, args, kwargs, node)
    return None


@special("numpy.load")
def _numpy_load(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) > 2 and any(constants(args[2], (bool, int))):
        m.act("unpickle", "numpy.load(allow_pickle=True)", node)
    return None


# functions that call functions


@special("functools.partial", "functools.partialmethod", "asyncio.run", "builtins.staticmethod", "builtins.classmethod")
def _partial(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """What it makes is as good as the function itself."""
    hand_on(m, args, {}, node)
    return set(args[0]) if args else None


@special("builtins.map", "builtins.filter", "itertools.starmap", "functools.reduce", "itertools.accumulate")
def _applied(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """`map(f, xs)`, `reduce(f, xs)`: the function is called."""
    rest = [{v for value in a for e in elements(value) for v in e} for a in args[1:]]
    if len(args) == 2 and len(args[1]) == 1:
        parts = []
        for element in elements(next(iter(args[1])))[:512]:
            parts.append({v for f in args[0] for v in invoke(m, f, [set(element)], {}, node, set())})
        return {Items(tuple(frozenset(p) for p in parts))}
    out: Values = set()
    for function in args[0] if args else ():
        out |= invoke(m, function, rest, {}, node, set())
    for function in (f for a in args for f in a if isinstance(f, Func)):
        m.call_function(function, [], {}, node)
    pieced = {DECODED} if any(constants(a, str) for a in args) else set[str]()
    return {Unknown(marks_of(out) | pieced), Items((frozenset(out),))}


@special("operator.call", "contextvars.copy_context().run", "asyncio.to_thread")
def _called(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {v for f in args[0] for v in invoke(m, f, args[1:], kwargs, node, set())} if args else None


@special("builtins.type", "types.new_class")
def _type(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if len(args) == 1:
        return {t for v in args[0] for t in _kinds(v)}
    for table in args[2] if len(args) > 2 else ():
        for value in table.all() if isinstance(table, Table) else ():
            if isinstance(value, Func):
                m.call_function(value, [], {}, node)
    hand_on(m, args[2:], kwargs, node)
    return {UNKNOWN}


def _kinds(value: Value) -> Values:
    if isinstance(value, Instance):
        return {value.of}
    if isinstance(value, Func):
        return {Ref("types.FunctionType")}
    if isinstance(value, Ref) and value.name.endswith("()"):
        return {Ref(value.name[:-2])}
    return {UNKNOWN}


@special("typing.ForwardRef")
def _forward(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    for text in constants(args[0] if args else set(), str):
        parsed = parse_expression(text, node)
        if parsed is not None:
            resolve(m, parsed, m.files.scopes[m.here])
    return None


# lists


@special("builtins.list", "builtins.tuple", "builtins.set", "builtins.iter", "builtins.frozenset", "collections.deque")
def _listed(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    for value in (v for a in args for v in a):
        if isinstance(value, Instance):
            m.call_operators(value, node)
        elif isinstance(value, Func):
            m.call_function(value, [], {}, node)
    if any(isinstance(v, Ref) for v in args[0]) if args else False:
        hand_on(m, args, {}, node, kept=True)
    return {Items(tuple(elements(v))) for v in args[0]} if args else {Items(())}


@special("builtins.dict", "collections.OrderedDict", "types.MappingProxyType", "types.SimpleNamespace")
def _dictionary(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    hand_on(m, args, kwargs, node, kept=True)
    rows = [row for a in args for v in a if isinstance(v, Table) for row in v.by_key]
    rows += [(k, frozenset(v)) for k, v in kwargs.items() if k != "**"]
    return {Table(tuple(rows))} if rows else None


@special("builtins.zip")
def _zipped(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    columns = [elements(next(iter(a))) for a in args if len(a) == 1]
    if len(columns) != len(args) or not columns:
        return None
    return {Items(tuple(frozenset({Items(row)}) for row in zip(*columns, strict=False)))}


@special("builtins.enumerate")
def _enumerated(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    parts = [e for v in (args[0] if args else ()) for e in elements(v)]
    return {Items(tuple(frozenset({Items((frozenset({Const(n)}), e))}) for n, e in enumerate(parts)))}


@special("builtins.reversed")
def _reversed(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if not args:
        return None
    return {Items(tuple(_hidden(e) for e in reversed(elements(v)))) for v in args[0]}


@special("builtins.sorted")
def _sorted(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    hand_on(m, args[1:], kwargs, node)
    if not args:
        return None
    everything = [e for v in args[0] for e in elements(v)]
    if any(isinstance(v, Const) and isinstance(v.value, str) for e in everything for v in e):
        return {Unknown(frozenset({DECODED}))}
    return {Items(tuple(everything))}


def _hidden(part: frozenset[Value]) -> frozenset[Value]:
    return frozenset(Const(v.value, v.marks | {DECODED}) if isinstance(v, Const) else v for v in part)


@special("builtins.next", "builtins.max", "builtins.min")
def _one_of(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    hand_on(m, args, kwargs, node)
    return {v for a in args for value in a for e in elements(value) for v in e} or None


@special("builtins.super")
def _super(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {UNKNOWN}


@special("operator.getitem")
def _subscripted(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {v for base in args[0] for v in item(m, base, args[1], node)} if len(args) > 1 else None
