"""Follow a module through import, through building its models, and through the rest of its functions.

found = analyse(source)
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from nbguard.scanners.source import calls as _calls
from nbguard.scanners.source import statements
from nbguard.scanners.source.acts import ORDER, Act, Outside, When, effects
from nbguard.scanners.source.expressions import Values, evaluate
from nbguard.scanners.source.values import (
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Items,
    Ref,
    Scope,
    Unknown,
    Value,
    marks_of,
)

STEPS = 150_000
"""Expressions that are looked at; the largest file of 4,800 honest ones takes a sixth."""
DEEPEST = 24
"""Calls within calls that are followed."""
MOST_RUNS = 3
"""How often one function is followed with other arguments, in each phase."""
CONSTRUCTORS = frozenset(
    {
        "from_pretrained", "_from_config", "_init_weights", "register_for_auto_class", "mro", "post_init",
        "tie_weights",
        "setup", "build", "from_config", "_load_from_state_dict", "load_state_dict",
    }
)  # fmt: skip
"""Methods besides those with two underscores that loading a model calls."""
NOT_AT_LOAD = frozenset(
    ["__call__", "__len__", "__iter__", "__next__", "__getitem__", "__enter__", "__exit__", "__repr__", "__str__"]
)


class TooMuchError(ValueError):
    """More than is followed; the code is then unverifiable."""


@dataclass
class Analysis:
    """What was found."""

    acts: list[Act] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)
    """Files beside this one that it imports, relative to its own folder (`../shared.py`)."""
    elsewhere: list[Outside] = field(default_factory=list)
    """What it calls of those files."""


class Machine:
    """The state while one module is followed."""

    def __init__(self, tree: ast.Module, module_name: str = "__name__") -> None:
        self.effects = effects()
        self.module_name = module_name
        self.module = Scope("module", "import")
        self.stars: list[str] = []
        self.relative: list[str] = []
        self.phase: When = "import"
        self.functions: dict[int, Func] = {}
        self.classes: dict[int, Class] = {}
        self._acts: dict[tuple[str, str, int], Act] = {}
        self._outside: dict[tuple[str, int, str], When] = {}
        self._steps = STEPS
        self._stack: list[tuple[str, set[Value]]] = []
        self._runs: dict[tuple[int, str], list[tuple[Any, Values]]] = {}
        self._running: set[int] = set()
        self.deferred_annotations = any(
            isinstance(s, ast.ImportFrom) and s.module == "__future__" and any(a.name == "annotations" for a in s.names)
            for s in tree.body
        )

    def step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise TooMuchError("the code is larger or more tangled than what is followed")

    # acts

    def act(self, key: str, name: str, node: ast.AST) -> None:
        """Note that this happens here, the earliest phase counts."""
        line = getattr(node, "lineno", 0)
        known = self._acts.get((key, name, line))
        if known is not None and ORDER[known.when] <= ORDER[self.phase]:
            return
        chain = tuple(label for label, _ in self._stack) or ("import",)
        self._acts[key, name, line] = Act(self.effects.by_key[key], name, line, self.phase, chain)

    def elsewhere(self, name: str, node: ast.AST) -> None:
        """A function of a file beside this one is called."""
        root = self._stack[0][0].partition("(")[0].partition(".")[0] if self._stack else ""
        place = (name, getattr(node, "lineno", 0), root)
        if place not in self._outside or ORDER[self._outside[place]] > ORDER[self.phase]:
            self._outside[place] = self.phase

    def path(self, text: str, node: ast.AST) -> None:
        """A path is put together or opened."""
        normal = text.replace("\\", "/")
        if any(secret in normal for secret in self.effects.secrets):
            self.act("secret", "open", node)

    def looked_up(self, word: Any, node: ast.AST) -> None:
        """A variable of the environment is read."""
        if isinstance(word, str) and word in self.effects.secret_variables:
            self.act("secret", f"os.environ[{word!r}]", node)

    # calls

    def call_function(self, function: Func, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
        """Follow a function of this module with these arguments, and give what it returns."""
        key = (id(function.node), self.phase)
        signature = (
            tuple(frozenset(a) for a in args),
            tuple(sorted((k, frozenset(v)) for k, v in kwargs.items())),
            function.bound,
        )
        runs = self._runs.setdefault(key, [])
        for known, earlier in runs:
            if known == signature:
                return set(earlier)
        if len(runs) >= MOST_RUNS or id(function.node) in self._running or len(self._stack) >= DEEPEST:
            return {v for _, earlier in runs for v in earlier} or {UNKNOWN}
        result: Values = set()
        runs.append((signature, result))
        scope = Scope("function", function.label, function.scope)
        statements.bind(self, function, args, kwargs, scope)
        self._running.add(id(function.node))
        self._stack.append((f"{function.label} line {getattr(node, 'lineno', 0)}", result))
        try:
            if isinstance(function.node, ast.Lambda):
                result |= evaluate(self, function.node.body, scope)
            else:
                statements.run(self, function.node.body, scope)
        finally:
            self._stack.pop()
            self._running.discard(id(function.node))
        return set(result) or {UNKNOWN}

    def give_back(self, values: Values) -> None:
        """The function that is followed returns or yields this."""
        if self._stack and len(self._stack[-1][1]) < 12:
            self._stack[-1][1].update(values)

    def instantiate(self, cls: Class, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
        """An object of a class of this module is made."""
        for base in cls.bases:
            if isinstance(base, Ref) and (effect := self.effects.of(base.name)) is not None:
                self.act(effect.key, base.name, node)
        made = Instance(cls)
        for name in ("__new__", "__init__", "__post_init__"):
            self.call_method(made, name, node, args, kwargs)
        return {made}

    def call_method(
        self,
        owner: Class | Instance,
        name: str,
        node: ast.AST,
        args: list[Values] | None = None,
        kwargs: dict[str, Values] | None = None,
    ) -> Values:
        """Call a method where the class has it."""
        cls = owner.of if isinstance(owner, Instance) else owner
        out: Values = set()
        for holder in _line(cls):
            for value in list(holder.scope.names.get(name, ())):
                if isinstance(value, Func):
                    bound = Func(value.node, value.scope, value.label, cls)
                    out |= self.call_function(bound, args or [], kwargs or {}, node)
                elif isinstance(value, Ref):
                    out |= _calls.invoke(self, value, args or [], kwargs or {}, node, set())
        return out or {UNKNOWN}

    def call_operators(self, owner: Instance, node: ast.AST) -> None:
        """Something is done with an object: any of its methods with two underscores may run."""
        for holder in _line(owner.of):
            for name in list(holder.scope.names):
                if name.startswith("__") and name.endswith("__") and name not in ("__init__", "__new__"):
                    self.call_method(owner, name, node)

    # assignments

    def assign(self, target: ast.expr, values: Values, scope: Scope) -> None:
        """Give these values to a name, an attribute, or the parts of a pattern."""
        if isinstance(target, ast.Name):
            scope.put(target.id, values)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, {UNKNOWN}, scope)
        elif isinstance(target, ast.Tuple | ast.List):
            self._assign_parts(target, values, scope)
        elif isinstance(target, ast.Attribute):
            for base in evaluate(self, target.value, scope):
                self.store(base, target.attr, values, target)
        elif isinstance(target, ast.Subscript):
            keys = evaluate(self, target.slice, scope)
            for base in evaluate(self, target.value, scope):
                self._store_item(base, keys, values, target)

    def _assign_parts(self, target: ast.Tuple | ast.List, values: Values, scope: Scope) -> None:
        for number, part in enumerate(target.elts):
            got: Values = set()
            for value in values:
                known = isinstance(value, Items) and number < len(value.values)
                got |= value.values[number] if isinstance(value, Items) and known else {Unknown(_marks(value))}
            self.assign(part, got or {UNKNOWN}, scope)

    def store(self, base: Value, attr: str, values: Values, node: ast.AST) -> None:
        """`base.attr = …`; changing what Python itself or another module holds is an act."""
        if isinstance(base, Instance):
            base.of.scope.put(attr, values)
        elif isinstance(base, Class):
            base.scope.put(attr, values)
        elif isinstance(base, Ref) and base.name.partition(".")[0] in ("builtins", "os", "subprocess", "importlib"):
            if base.name != "os.environ":
                self.act("hook", f"{base.name}.{attr} = …", node)
        elif isinstance(base, Func) and attr in ("__code__", "__globals__"):
            self.act("hook", f"{attr} = …", node)

    def _store_item(self, base: Value, keys: Values, values: Values, node: ast.AST) -> None:
        if isinstance(base, Ref) and base.name == "<globals>":
            for key in keys:
                if isinstance(key, Const) and isinstance(key.value, str):
                    self.module.put(key.value, values)
        elif isinstance(base, Ref) and base.name == "builtins":
            self.act("hook", "builtins[…] = …", node)
        elif isinstance(base, Instance):
            self.call_method(base, "__setitem__", node)

    def is_dunder_import(self, node: ast.AST) -> bool:
        """Whether a call is one of `__import__` itself, which gives the topmost package."""
        function = getattr(node, "func", None)
        return isinstance(function, ast.Name) and function.id == "__import__"

    # phases

    def follow(self, tree: ast.Module) -> Analysis:
        """Import, construction, then every function that was not reached."""
        statements.run(self, tree.body, self.module)
        for name in ("__getattr__", "__dir__"):
            for value in list(self.module.names.get(name, ())):
                if isinstance(value, Func):
                    self.call_function(value, [], {}, value.node)
        self.phase = "construction"
        for cls in list(self.classes.values()):
            for name in list(cls.scope.names):
                dunder = name.startswith("__") and name.endswith("__") and name not in NOT_AT_LOAD
                if dunder or name in CONSTRUCTORS:
                    given = self.call_method(Instance(cls), name, cls.node)
                    if name in ("__reduce__", "__reduce_ex__"):
                        _calls.hand_on(self, [given], {}, cls.node)  # a pickle of it would call that
        self.phase = "function"
        done: set[int] = {node for node, _ in self._runs}
        while pending := [f for f in self.functions.values() if id(f.node) not in done]:
            for function in pending:
                done.add(id(function.node))
                if (id(function.node), "import") not in self._runs:
                    self.call_function(function, [], {}, function.node)
        for statement in tree.body:
            if isinstance(statement, ast.If):
                statements.run(self, [statement], self.module)  # `__main__` only
        acts = sorted(self._acts.values(), key=lambda a: (ORDER[a.when], a.line))
        return Analysis(
            acts, self.relative, [Outside(n, line, when, root) for (n, line, root), when in self._outside.items()]
        )


def _line(cls: Class, depth: int = 0) -> list[Class]:
    """The class and those of this module that it derives from."""
    out = [cls]
    if depth < 8:
        for base in cls.bases:
            if isinstance(base, Class):
                out += _line(base, depth + 1)
    return out


def _marks(value: Value) -> frozenset[str]:
    return marks_of({value})


def analyse(source: bytes | str) -> Analysis:
    """Follow the source of one module.

    Raises:
        SyntaxError, ValueError: Python cannot read it either.
        TooMuchError, RecursionError: it is more than is followed.
    """
    tree = ast.parse(source)
    return Machine(tree).follow(tree)


__all__ = ["Analysis", "Machine", "TooMuchError", "analyse"]
