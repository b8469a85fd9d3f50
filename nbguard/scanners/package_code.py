"""The Python code of packages: what it does when the package is built, imported, or found at Python's start.

    modules = Modules("wheel")
    facts = modules.judge(job, "demo/__init__.py", source)

A model's own code that starts a program is danger, for no honest model does that. Libraries do: they ask for versions,
load native code, make classes of text. So that of a package counts by what it does together, and by when; the names are
data (`rules/tables/packages.toml`).
"""

from __future__ import annotations

import ast
import hashlib

from nbguard.report.model import CodeFile, Severity, Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.package_record import Say
from nbguard.scanners.source.acts import Act
from nbguard.scanners.source.analysis import TooMuchError, analyse
from nbguard.scanners.streams import as_pickle_too
from nbguard.scanners.tables import table

MAX_SOURCE = 8 << 20
"""Bytes; larger ones are judged as any other member."""


class Modules:
    """The modules of one package; single harmful ones are told as they come, the rest is summed up."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._told: list[tuple[str, Severity, str, str, str, Verdict]] = []
        self._unread: list[str] = []
        self._starts: list[tuple[str, Act]] = []

    def judge(self, job: Job, name: str, source: bytes, *, setup: bool = False) -> Facts:
        """What one module does; its own picture of bytes is left out, as with any member."""
        inner = job.inside(source, member=name, container="package-member")
        if b"\0" in source:
            from nbguard.scanners.members import examine_member

            return examine_member(job, source, name, "package-member")
        facts = as_pickle_too(inner)
        facts.regions, facts.containers = {}, {}
        facts.code.append(CodeFile(f"{job.path}!{inner.member}"[:500], hashlib.sha256(source).hexdigest(), "package"))
        try:
            tree = ast.parse(source)
            acts = list(analyse(source if setup else _without_main(tree, source)).acts)
        except (TooMuchError, RecursionError, MemoryError):
            facts.unverifiable("package.code-size", job.path, inner.member[:200], "Nobody can say what this code does.")
            return facts
        except (SyntaxError, ValueError):
            # Templates, and tests for other versions: what this Python cannot read it cannot import either.
            self._unread.append(inner.member)
            return facts
        if setup:
            self._setup(inner.member, acts, tree, source)
        else:
            self._module(inner.member, acts, tree, source)
        return facts

    def _setup(self, name: str, acts: list[Act], tree: ast.Module, source: bytes) -> None:
        rules, lines = table("packages")["setup"], source.splitlines()
        self._hidden(name, tree, source)
        for act in acts:
            if any(act.name == e or act.name.startswith(f"{e}(") for e in rules["expected"]):
                continue
            grave = act.effect.key in rules["danger"]
            if act.when == "import" and grave:
                text = f"Building the package {act.effect.what} ({act.name[:80]})."
                self._tell("package.setup", Severity.CRITICAL, name, text, _line(lines, act), Verdict.DANGER)
            elif grave or (act.when == "import" and act.severity >= Severity.HIGH):
                text = f"Building the package may do this: its setup.py {act.effect.what} ({act.name[:80]})."
                self._tell("package.setup", Severity.HIGH, name, text, _line(lines, act), Verdict.REVIEW)

    def _module(self, name: str, acts: list[Act], tree: ast.Module, source: bytes) -> None:
        rules, lines = table("packages")["at_import"], source.splitlines()
        now = [a for a in acts if a.when == "import"]
        harm = _harm(now, rules)
        if harm:
            act, what = harm
            text = f"Importing it {what} ({act.name[:80]})."
            self._tell("package.acts-at-import", Severity.CRITICAL, name, text, _line(lines, act), Verdict.DANGER)
        else:
            self._hidden(name, tree, source)
        self._starts += [(name, a) for a in now if a.name in rules["runs"] or a.name in rules["fetches"]][:5]

    def _hidden(self, name: str, tree: ast.Module, source: bytes) -> None:
        line = _hidden_code(tree, table("packages")["at_import"]["decodes"])
        if line:
            text = "It runs code that it first has to decode, so that nobody can read it."
            lines = source.splitlines()
            evidence = lines[line - 1].strip()[:300].decode("utf-8", "backslashreplace") if line <= len(lines) else ""
            self._tell("package.hidden-code", Severity.CRITICAL, name, text, evidence, Verdict.DANGER)

    def _tell(self, rule: str, severity: Severity, name: str, text: str, evidence: str, verdict: Verdict) -> None:
        self._told.append((rule, severity, name, text, evidence, verdict))

    def finish(self, say: Say) -> None:
        """Tell what was found, the worst first."""
        for rule, severity, name, text, evidence, verdict in sorted(self._told, key=lambda t: -t[5]):
            say(rule, severity, name, text, evidence=evidence, meaning=_MEANING[self._kind], verdict=verdict)
        if self._starts:
            name, act = self._starts[0]
            say(
                "package.starts-at-import",
                Severity.MEDIUM,
                name,
                f"Importing it {act.effect.what} ({act.name[:80]})"
                + (f", and so in {len(self._starts) - 1} more places." if len(self._starts) > 1 else "."),
                meaning="Libraries do that to find out where they run; it is worth a look.",
            )
        if self._unread:
            say(
                "package.unreadable-code",
                Severity.LOW,
                self._unread[0],
                f"{len(self._unread)} of its modules cannot be read by this Python.",
                meaning="What this Python cannot read it cannot import; another version may.",
            )


_MEANING = {
    "wheel": "It runs as soon as somebody imports the package.",
    "egg": "It runs as soon as somebody imports the package.",
    "sdist": "pip builds a package from its source by running this, before anything is installed.",
}


def _harm(now: list[Act], rules: dict[str, frozenset[str]]) -> tuple[Act, str] | None:
    """A shell at import, or fetching together with running: (the act, what it does)."""
    by_kind = {kind: [a for a in now if a.name in rules[kind]] for kind in ("shell", "runs", "fetches", "executes")}
    if by_kind["shell"]:
        return by_kind["shell"][0], "starts a shell or another program"
    if by_kind["fetches"] and (by_kind["runs"] or by_kind["executes"]):
        return by_kind["fetches"][0], "fetches something and runs something"
    return None


def _hidden_code(tree: ast.Module, decodes: frozenset[str]) -> int:
    """The line of an `exec` or `eval` whose text is decoded on the spot; 0 where there is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval"):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute | ast.Name):
                    called = inner.attr if isinstance(inner, ast.Attribute) else inner.id
                    if called in decodes:
                        return node.lineno
    return 0


_IS_MAIN = ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)


def _without_main(tree: ast.Module, source: bytes) -> bytes:
    """The source without what stands under `if __name__ == "__main__":`, which no import runs; its lines stay."""
    lines = source.splitlines(keepends=True)
    for node in tree.body:
        parts: list[ast.expr] = []
        if isinstance(node, ast.If):
            both = isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And)
            parts = node.test.values if both else [node.test]  # type: ignore[attr-defined]
        if isinstance(node, ast.If) and any(ast.dump(part) == _IS_MAIN for part in parts):
            first, last = node.body[0], node.body[-1]
            start, end = first.lineno - 1, (last.end_lineno or last.lineno)
            if end > len(lines):  # form feeds and the like count for one reader and not for the other
                continue
            lines[start] = lines[start][: first.col_offset] + b"pass\n"
            lines[start + 1 : end] = [b"\n"] * (end - start - 1)
    return b"".join(lines)


def harm_in(line: str) -> str:
    """What a line of a `.pth` file does that no honest one does, as part of a sentence; empty for nothing."""
    try:
        acts = analyse(line.strip()).acts
    except (TooMuchError, SyntaxError, ValueError, RecursionError, MemoryError):
        return "cannot be read"
    grave = ("command", "network", "unpickle", "secret", "hidden", "code")
    return next((a.effect.what for a in acts if a.effect.key in grave), "")


def _line(lines: list[bytes], act: Act) -> str:
    return lines[act.line - 1].strip()[:300].decode("utf-8", "backslashreplace") if act.line <= len(lines) else ""
