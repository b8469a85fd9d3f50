"""Python source: what it does the moment it is imported, and which files beside it it imports.

    facts = SCANNER.scan(job)

Importing a model's module runs everything that stands outside functions; loading the model then runs the constructors
of its classes. Names are followed through the module's own imports, so that `from os import system as f; f(…)` is seen.
A call that only stands in some other function is listed for reading. Words are never evidence, only resolved calls.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator

from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.facts import Facts

MAX_SOURCE = 8 << 20
"""Bytes; no model's module comes near."""
_HTTP = "requests|httpx|aiohttp|urllib3|ftplib|smtplib|telnetlib|paramiko"
_CHANGES = "remove|unlink|rmdir|removedirs|rename|replace|chmod|chown|symlink|link|truncate|putenv"
_DOES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (what, re.compile("|".join(patterns)))
    for what, *patterns in (
        (
            "runs a command",
            r"(^|\.)(os|posix|nt)\.(system|popen|startfile|exec\w*|spawn\w*|posix_spawn\w*|fork\w*)$",
            r"(^|\.)(subprocess|pty|commands)\.[a-z_]\w*$",
            r"(^|\.)subprocess\.Popen$",
        ),
        (
            "runs code made at run time",
            r"^(exec|eval|compile|__import__)$",
            r"(^|\.)(builtins|__builtins__)\.(exec|eval|compile|__import__)$",
            r"^runpy\.\w+$",
            r"^code\.(interact|Interactive\w+)$",
            r"^types\.(FunctionType|CodeType)$",
        ),
        ("opens network connections", rf"^(socket|{_HTTP})\.\w+", r"^urllib\.request\.\w+", r"^http\.client\.\w+"),
        (
            "unpickles",
            r"^(pickle|_pickle|cPickle|dill|cloudpickle|joblib|marshal|shelve)\.(load|loads|open|Unpickler)$",
        ),
        ("reaches into native code", r"^(ctypes|cffi|_ctypes)\.\w+"),
        ("changes or removes files", r"^shutil\.(rmtree|move|copy\w*)$", rf"(^|\.)os\.({_CHANGES})$"),
        (
            "loads code from elsewhere",
            r"^torch\.(hub|utils\.cpp_extension)\.\w+",
            r"^torch\.ops\.load_library$",
            r"^importlib\.(util\.)?(spec_from_file_location|module_from_spec)$",
            r"^imp\.load_\w+",
            r"^zipimport\.\w+",
        ),
    )
)
"""What a call does, and the names that do it, as far as imports tell them."""
_HANDED_ON = ("runs a command", "runs code made at run time")
"""Functions that are as bad when they are handed to something that calls them later."""
_CONSTRUCTORS = frozenset(
    {
        "__init__",
        "__new__",
        "__init_subclass__",
        "__set_name__",
        "__post_init__",
        "__setstate__",
        "from_pretrained",
        "_from_config",
        "_init_weights",
        "__class_getitem__",
        "__prepare__",
        "__del__",
        "register_for_auto_class",
    }
)
"""Functions of a class that loading a model calls."""


class CodeScanner:
    name = "python"

    def recognise(self, job: Job) -> bool:
        return job.suffix in (".py", ".pyw", ".pyi") and b"\0" not in job.head

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_SOURCE:
            return unverifiable(job, "python", "code.size", "The source file is larger than any that people write.")
        source = job.view.read(0, job.size)
        facts = plain(job, "python", "code")
        name = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(name, hashlib.sha256(source).hexdigest(), "python"))
        if not source.strip():
            return facts
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            facts.unverifiable(
                "code.syntax", job.path, job.location, f"Python cannot read this source: {str(error)[:150]}."
            )
            return facts
        _judge(job, tree, source, facts)
        return facts


SCANNER = CodeScanner()


def _judge(job: Job, tree: ast.Module, source: bytes, facts: Facts) -> None:
    names = _Names(tree)
    lines = source.splitlines()
    facts.references += [f"py:{_beside(job.path, r)}" for r in names.relative]
    if not any(True for _ in _acting(tree)):
        return
    facts.add(
        Finding(
            "code.remote",
            Severity.MEDIUM,
            job.path,
            job.location,
            "This is Python code that comes with the model.",
            meaning="A load that trusts remote code imports it: it then runs with all your rights.",
            remedy="Read it, or load the model with trust_remote_code=False.",
        ),
        Verdict.REVIEW,
    )
    for call, where in _calls(tree, names):
        what = next((what for what, pattern in _DOES if pattern.search(call.name)), None)
        if what is None:
            continue
        line = call.line
        evidence = lines[line - 1].strip()[:500].decode("utf-8", "backslashreplace") if 0 < line <= len(lines) else ""
        at_load = where in ("import", "construction")
        facts.add(
            Finding(
                "code.acts-at-import" if where == "import" else "code.acts-at-load" if at_load else "code.can-act",
                Severity.CRITICAL if at_load else Severity.MEDIUM,
                job.path,
                f"line {line}",
                f"The code {what} ({call.name[:80]}) {_WHEN[where]}.",
                evidence=evidence,
                meaning="Of 1,695 honest model files that were looked at, none does that."
                if at_load
                else "It does not run while the model is loading, but when that function is called.",
                remedy="Do not load it." if at_load else "Read this function before you accept.",
            ),
            Verdict.DANGER if at_load else Verdict.REVIEW,
        )


_WHEN = {
    "import": "as soon as it is imported",
    "construction": "when the model is built",
    "function": "in one of its functions",
}


def _acting(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that are more than text: a module of nothing but strings and comments does nothing."""
    return (s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)))


class _Call:
    def __init__(self, name: str, line: int) -> None:
        self.name, self.line = name, line


class _Names:
    """What the module's names stand for, as far as its imports and plain assignments tell."""

    def __init__(self, tree: ast.Module) -> None:
        self.known: dict[str, str] = {}
        self.relative: list[str] = []
        self.stars: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.known[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                self._from(node)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (target := self.dotted(node.value)):
                for name in node.targets:
                    if isinstance(name, ast.Name) and name.id not in self.known and _harmful(target):
                        self.known[name.id] = target

    def _from(self, node: ast.ImportFrom) -> None:
        if node.level:
            up = "../" * (node.level - 1)
            base = up + (node.module.replace(".", "/") if node.module else "")
            self.relative += [f"{base}.py"] if node.module else [f"{up}{a.name}.py" for a in node.names]
            return
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(str(node.module))
            else:
                self.known[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def dotted(self, node: ast.expr) -> str | None:
        """`os.system` for whatever spelling of it `node` is; None for what is computed."""
        parts: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Name):
                parts.append(self.known.get(node.id) or self._starred(node.id))
                return _joined(parts)
            elif isinstance(node, ast.Call):
                inner = self._reached(node)
                if inner is None:
                    return None
                parts.append(inner)
                return _joined(parts)
            elif (
                isinstance(node, ast.Subscript)
                and isinstance(node.slice, ast.Constant)
                and isinstance(node.slice.value, str)
            ):
                parts.append(node.slice.value)
                node = node.value
            else:
                return None

    def _starred(self, name: str) -> str:
        """`name` as something that `from os import *` brought in, where it could be."""
        return next((f"{m}.{name}" for m in self.stars if _harmful(f"{m}.{name}")), name)

    def _reached(self, call: ast.Call) -> str | None:
        """`__import__("os")`, `importlib.import_module("os")` and `getattr(os, "system")` as what they give."""
        name = self.dotted(call.func)
        words = [a.value if isinstance(a, ast.Constant) and isinstance(a.value, str) else None for a in call.args]
        if name in ("__import__", "builtins.__import__", "importlib.import_module") and words and words[0]:
            return words[0]
        if name in ("globals", "locals", "builtins.globals"):
            return ""
        if name in ("vars", "builtins.vars") and len(call.args) == 1:
            return self.dotted(call.args[0])
        if name in ("getattr", "builtins.getattr") and len(words) > 1 and words[1]:
            base = self.dotted(call.args[0])
            return f"{base}.{words[1]}" if base else None
        return None


def _joined(parts: list[str]) -> str:
    """The dotted name; a detour over a module's `__dict__` leads to the same thing."""
    return ".".join(p for p in reversed(parts) if p and p != "__dict__")


def _harmful(name: str) -> bool:
    return any(pattern.search(name) for _, pattern in _DOES)


def _calls(tree: ast.Module, names: _Names) -> Iterator[tuple[_Call, str]]:
    """Every call with a known name and when it runs: at `import`, at `construction` of a model, or in a `function`.

    A decorator is a call, and so is a function that runs commands or code when it is handed to another call.
    """
    functions = _functions(tree)
    at_import = _closure(_runs(tree.body), functions)
    constructors = [
        node
        for name in _CONSTRUCTORS
        for function in functions.get(f"self.{name}", [])
        for node in _runs(function.body)
    ]
    at_construction = _closure(iter(constructors), functions)
    for node in ast.walk(tree):
        used: list[ast.expr] = []
        if isinstance(node, ast.Call):
            used = [node.func]
            handed = (*node.args, *(k.value for k in node.keywords))
            used += [a for a in handed if isinstance(a, ast.Name | ast.Attribute) and _hands_on(names.dotted(a))]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            used = [d for d in node.decorator_list if not isinstance(d, ast.Call)]
        where = "import" if id(node) in at_import else "construction" if id(node) in at_construction else "function"
        for expression in used:
            if name := names.dotted(expression):
                yield _Call(name, expression.lineno), where


def _hands_on(name: str | None) -> bool:
    return name is not None and any(what in _HANDED_ON and pattern.search(name) for what, pattern in _DOES)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.Module) -> dict[str, list[_Function]]:
    """The module's own functions by name, and its methods as `self.name`."""
    out: dict[str, list[_Function]] = {}
    for node in ast.walk(tree):
        body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        for statement in body:
            if isinstance(statement, _Function):
                prefix = "self." if isinstance(node, ast.ClassDef) else ""
                out.setdefault(prefix + statement.name, []).append(statement)
    return out


def _closure(start: Iterator[ast.AST], functions: dict[str, list[_Function]]) -> set[int]:
    """The nodes of `start`, and of the module's own functions and methods that are called from there, however deep."""
    pending = list(start)
    out: set[int] = set()
    entered: set[str] = set()
    while pending:
        node = pending.pop()
        out.add(id(node))
        used = node.func if isinstance(node, ast.Call) else None
        name = ""
        if isinstance(used, ast.Name):
            name = used.id
        elif isinstance(used, ast.Attribute) and isinstance(used.value, ast.Name) and used.value.id in ("self", "cls"):
            name = f"self.{used.attr}"
        if name in functions and name not in entered:
            entered.add(name)
            pending += [inner for function in functions[name] for inner in _runs(function.body)]
    return out


def _runs(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes that run when `body` does: not what lies in functions, but their decorators and defaults.

    The body of a lambda counts: nobody hides a command in one that is not meant to be called.
    """
    pending: list[ast.AST] = [s for s in body if not _main_only(s)]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        else:
            pending += ast.iter_child_nodes(node)


def _main_only(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":` without an else does not run at import."""
    if not (isinstance(statement, ast.If) and isinstance(statement.test, ast.Compare) and not statement.orelse):
        return False
    test = statement.test
    sides = [test.left, *test.comparators]
    return (
        len(sides) == 2
        and isinstance(test.ops[0], ast.Eq)
        and any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides)
        and any(isinstance(s, ast.Constant) and s.value == "__main__" for s in sides)
    )


def _beside(path: str, relative: str) -> str:
    """`relative` from the folder of `path`; steps above the root stay as they are, and then name nothing."""
    parts = path.split("/")[:-1]
    for piece in relative.split("/"):
        if piece == ".." and parts:
            parts.pop()
        else:
            parts.append(piece)
    return "/".join(parts)
