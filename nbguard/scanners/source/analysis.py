"""Follow modules through import, through building their models, and through the rest of their functions.

found = analyse(source)                                             # one file
found = follow({"modeling_x.py": source, "helper.py": other})       # files that import each other
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbguard.scanners.source import calls as _calls
from nbguard.scanners.source import definitions, special, statements, storing
from nbguard.scanners.source.acts import ORDER, Act, When, effects
from nbguard.scanners.source.expressions import evaluate
from nbguard.scanners.source.modules import Files
from nbguard.scanners.source.spelling import documentation
from nbguard.scanners.source.values import (
    UNKNOWN,
    Class,
    Func,
    Instance,
    Ref,
    Scope,
    TooMuchError,
    Value,
    Values,
)

STEPS = 150_000
"""Expressions and statements that are looked at in one file; the largest of 4,800 honest ones takes a sixth."""
MOST_STEPS = 2_000_000
"""In all files together."""
DEEPEST = 24
"""Calls within calls that are followed."""
MOST_RUNS = 3
"""How often one function is followed with other arguments, in each phase."""
CONSTRUCTORS = frozenset(
    {
        "from_pretrained", "_from_config", "_init_weights", "register_for_auto_class", "mro", "post_init",
        "tie_weights", "setup", "build", "from_config", "_load_from_state_dict", "load_state_dict", "_missing_",
        "init_weights", "configure_optimizers", "load", "from_dict", "get_config_dict", "from_json_file",
    }
)  # fmt: skip
"""Methods besides those with two underscores that loading a model calls."""
IN_USE = (
    ".forward()", ".__call__()", ".call()", ".generate()", ".encode()", ".decode()", ".tokenize()", "._tokenize()",
    ".preprocess()", "._preprocess()", ".apply()", ".predict()",
)  # fmt: skip
"""Methods that run whenever a model, tokenizer or processor is used."""
NOT_AT_LOAD = frozenset(
    ["__call__", "__len__", "__iter__", "__next__", "__getitem__", "__enter__", "__exit__", "__repr__", "__str__"]
)


@dataclass
class Analysis:
    """What was found."""

    acts: list[Act] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)
    """Files beside a single one that it imports, relative to its own folder (`../shared.py`)."""
    absolute: list[str] = field(default_factory=list)
    """Modules that it imports by their whole name, which may be files beside it where the folder is on `sys.path`."""
    only_text: bool = False
    """Whether it is nothing but documentation."""


class Machine:
    """The state while modules are followed."""

    def __init__(self, files: Files, steps: int = STEPS) -> None:
        self.effects = effects()
        self.special = special.table()
        self.files = files
        self.phase: When = "import"
        self.functions: dict[int, Func] = {}
        self.classes: dict[int, Class] = {}
        self.here = ""
        """The file that is followed right now."""
        self._returned: list[Values] = []
        """What each function that is running has returned so far, the innermost last."""
        self._generators: set[int] = set()
        """Results that came by `yield`, by identity, while their functions run."""
        self._acts: dict[tuple[str, str, str, int], Act] = {}
        self._steps = steps
        self._chain: list[tuple[str, str, int]] = []
        """(what is entered, from which file, from which line) for each module and function that is running."""
        self._runs: dict[tuple[int, str], list[tuple[Any, Values]]] = {}
        self._running: set[int] = set()

    def step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise TooMuchError("the code is larger or more tangled than what is followed")

    # acts

    def act(self, key: str, name: str, node: ast.AST) -> None:
        """Note that this happens here, the earliest phase counts."""
        line = getattr(node, "lineno", 0)
        known = self._acts.get((key, name, self.here, line))
        if known is not None and ORDER[known.when] <= ORDER[self.phase]:
            return
        chain = tuple(label for label, _, _ in self._chain) or ("import",)
        entry = self._chain[0][1:] if self._chain else (self.here, line)
        effect = self.effects.by_key[key]
        in_use = chain[0].partition(" ")[0].endswith(IN_USE)
        self._acts[key, name, self.here, line] = Act(effect, name, line, self.phase, chain, self.here, in_use, entry)

    def path(self, text: str, node: ast.AST) -> None:
        """A path is put together, opened or handed on."""
        normal = text.replace("\\", "/")
        if any(secret in normal for secret in self.effects.secrets):
            self.act("secret", "open", node)
        if any(place in normal for place in self.effects.startup):
            self.act("startup", "open", node)

    def fixed(self, text: str, node: ast.AST) -> None:
        """A file is changed whose place the code names outright, away from the model's own folder."""
        if text.startswith(("/", "~", "\\\\", "C:", "c:")):
            self.act("outside", text[:60], node)

    # calls

    def call_function(self, function: Func, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
        """Follow a function of these files with these arguments, and give what it returns."""
        self.step()
        signature = (
            tuple(frozenset(a) for a in args),
            tuple(sorted((k, frozenset(v)) for k, v in kwargs.items())),
            function,
        )
        runs = self._runs.setdefault((id(function.node), self.phase), [])
        for known, earlier in runs:
            if known == signature:
                return set(earlier)
        if len(runs) >= MOST_RUNS or id(function.node) in self._running or len(self._chain) >= DEEPEST:
            calls = definitions.calls_what_it_is_given(function.node)
            _calls.hand_on(self, args, kwargs, node, functions=calls)  # what is not followed may do anything with it
            return {v for _, earlier in runs for v in earlier} or {UNKNOWN}
        result: Values = set()
        runs.append((signature, result))
        scope = Scope("function", function.label, function.scope)
        file = function.scope.module.file
        beside = f" in {file}, from" if file != self.here else ""
        self._running.add(id(function.node))
        self.enter(f"{function.label}{beside} line {getattr(node, 'lineno', 0)}", file, node)
        self._returned.append(result)
        try:
            definitions.bind(self, function, args, kwargs, scope)
            if isinstance(function.node, ast.Lambda):
                result |= evaluate(self, function.node.body, scope)
            else:
                statements.run(self, function.node.body, scope)
        finally:
            self._returned.pop()
            self.leave()
            self._running.discard(id(function.node))
        if id(result) in self._generators:
            self._generators.discard(id(result))
            result |= definitions.generated(result)
        return set(result) or {UNKNOWN}

    def enter(self, label: str, file: str, node: ast.AST) -> None:
        """A function or another file begins to run, set off by `node`."""
        self._chain.append((label, self.here, getattr(node, "lineno", 0)))
        self.here = file

    def leave(self) -> None:
        self.here = self._chain.pop()[1]

    def give_back(self, values: Values, *, one_by_one: bool = False) -> None:
        """The function that is followed returns or yields this."""
        if self._returned and len(self._returned[-1]) < 64:
            self._returned[-1].update(values)
            if one_by_one:
                self._generators.add(id(self._returned[-1]))

    def instantiate(self, cls: Class, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
        """An object of a class of these files is made."""
        for holder in definitions.line(cls):
            for base in holder.bases:
                if isinstance(base, Ref) and (effect := self.effects.of(base.name)) is not None:
                    self.act(effect.key, base.name, node)
        made = Instance(cls)
        followed = [self.call_method(made, n, node, args, kwargs) for n in ("__new__", "__init__", "__post_init__")]
        if all(f == {UNKNOWN} for f in followed):
            _calls.hand_on(self, args, kwargs, node)
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
        for holder in definitions.line(cls):
            for value in list(holder.scope.names.get(name, ())):
                if isinstance(value, Func):
                    bound = Func(value.node, value.scope, value.label, cls)
                    out |= self.call_function(bound, args or [], kwargs or {}, node)
                elif isinstance(value, Ref):
                    out |= self.invoke(value, args or [], kwargs or {}, node)
        return out or {UNKNOWN}

    def call_operators(self, owner: Instance, node: ast.AST) -> None:
        """Something is done with an object: any of its methods with two underscores may run."""
        for holder in definitions.line(owner.of):
            for name in list(holder.scope.names):
                if name.startswith("__") and name.endswith("__") and name not in ("__init__", "__new__"):
                    self.call_method(owner, name, node)

    # the other parts

    def run(self, body: list[ast.stmt], scope: Scope) -> None:
        statements.run(self, body, scope)

    def assign(self, target: ast.expr, values: Values, scope: Scope) -> None:
        storing.assign(self, target, values, scope)

    def anonymous(self, node: ast.Lambda, scope: Scope) -> Values:
        return definitions.anonymous(self, node, scope)

    def invoke(self, function: Value, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values:
        return _calls.invoke(self, function, args, kwargs, node, set())

    # phases

    def follow(self) -> list[Act]:
        """Import, construction, then every function that was not reached."""
        trees = [(path, tree) for path in list(self.files.sources) if (tree := self.files.tree(path)) is not None]
        for path, _ in trees:
            self.files.load(self, path, None)
        for scope in list(self.files.scopes.values()):
            for name in ("__getattr__", "__dir__"):
                self._run_all(scope.names.get(name, set()))
        self.phase = "construction"
        for cls in list(self.classes.values()):
            self._construct(cls)
        self.phase = "function"
        done: set[int] = {node for node, _ in self._runs}
        while pending := [f for f in self.functions.values() if id(f.node) not in done]:
            for function in sorted(pending, key=_entry_first):
                done.add(id(function.node))
                self._run_all({function})
        for path, tree in trees:
            scope = self.files.scopes[path]
            self.here = scope.file
            for statement in tree.body:
                if isinstance(statement, ast.If):
                    statements.run(self, [statement], scope)  # `__main__` only
        return _without_holds(sorted(self._acts.values(), key=lambda a: (ORDER[a.when], a.file, a.line)))

    def _run_all(self, values: set[Value]) -> None:
        for value in list(values):
            if isinstance(value, Func):
                self.here = value.scope.module.file
                self.call_function(value, [], {}, value.node)

    def _construct(self, cls: Class) -> None:
        self.here = cls.scope.module.file
        for name in list(cls.scope.names):
            dunder = name.startswith("__") and name.endswith("__") and name not in NOT_AT_LOAD
            if dunder or name in CONSTRUCTORS:
                given = self.call_method(Instance(cls), name, cls.node)
                if name in ("__reduce__", "__reduce_ex__"):
                    _calls.hand_on(self, [given], {}, cls.node)  # a pickle of it would call that


def _entry_first(function: Func) -> tuple[bool, bool]:
    """What users of a model call comes first, so that the way from there is what is told."""
    return (not function.label.endswith(IN_USE), function.bound is None)


def _without_holds(acts: list[Act]) -> list[Act]:
    """Where a function is called as well, that it was taken hold of says nothing more."""
    called = {(a.name, ORDER[a.when]) for a in acts if a.effect.key != "holds"}
    return [
        a for a in acts if a.effect.key != "holds" or not any((a.name, n) in called for n in range(ORDER[a.when] + 1))
    ]


def analyse(source: bytes | str) -> Analysis:
    """Follow the source of one module.

    Raises:
        SyntaxError, ValueError: Python cannot read it either.
        TooMuchError, RecursionError: it is more than is followed.
    """
    files = Files({"": source})
    tree = files.read("")
    return Analysis(Machine(files).follow(), files.relative, files.absolute, documentation(tree))


def follow(sources: Mapping[str, bytes]) -> list[Act]:
    """Follow modules that import each other, by their paths; a file that Python cannot read is left out.

    Raises:
        TooMuchError, RecursionError: they are more than is followed.
    """
    return Machine(Files(dict(sources)), min(MOST_STEPS, STEPS + len(sources) * STEPS // 4)).follow()


__all__ = ["Analysis", "Machine", "TooMuchError", "analyse", "follow"]
