"""Programs in text: shell, batch and other scripts, under their own name or hidden under another one.

    found = program(source, "setup.sh")         # "a shell script", or empty
    for act in acts(source): ...                # what running it would do that honest scripts do not

No loader of models runs a script, so that one lies beside a model; people do, and installers. What a script does is
told by its commands and by what it hands to an interpreter (`rules/tables/scripts.toml`), never by single words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from nbguard.formats.shell_text import Pipeline, pipelines
from nbguard.scanners.tables import table

MAX_SCRIPT = 1 << 20
"""Characters of a script that are followed; no set-up script has more."""
MAX_LINE = 2_048
"""Characters of a line in which patterns are looked for."""
MOST_ACTS = 20
SHELLS = (".sh", ".bash", ".zsh", ".ksh", ".command")
OTHERS = (".bat", ".cmd", ".ps1", ".psm1", ".vbs", ".js", ".mjs", ".pl", ".rb", ".php", ".lua")
_CALLS = re.compile(
    r"^[^\S\n]*(?:import|from)\s+(?:os|sys|subprocess|socket|ctypes|pty|shutil|urllib|requests|base64)\b", re.M
)
_SHEBANG = re.compile(
    r"#!\s*\S*?(?:/env\s+(?:-S\s+)?)?(?:[\w.-]*/)*(?P<name>(?:ba|z|da|k|a|fi|c|tc)?sh|python[\d.]*|perl|ruby|node|nodejs"
    r"|php|pwsh|osascript|lua|Rscript|awk|expect|tclsh)\b"
)
_ADDRESS = re.compile(r"https://[^\s\"'`()<>|;&]+")
_JAVASCRIPT = re.compile(r"\brequire\s*\(\s*['\"](?:node:)?child_process['\"]\s*\)|\bnew\s+ActiveXObject\b")


@dataclass(frozen=True)
class ScriptAct:
    """Something that a script does."""

    key: str
    what: str
    """`downloads a program and runs it`, as part of a sentence."""
    line: int
    evidence: str
    known: bool = False
    """What is downloaded is one of the installers that are well known."""


def program(source: str, name: str) -> str:
    """What kind of program the text is, as a person would call it; empty where it is none.

    The first line says it (`#!`), or what only such programs begin with, or, for Python, its own grammar.
    """
    start = source[:4_096].lstrip("\ufeff \t\r\n")
    shebang = _SHEBANG.match(start)
    if shebang:
        kind = shebang["name"]
        return "a shell script" if kind.endswith("sh") and kind != "pwsh" else f"a script for {kind}"
    base = name.rsplit("/", 1)[-1].lower()
    suffix = base[base.rfind(".") :] if "." in base else ""
    if suffix in SHELLS:
        return "a shell script"
    if suffix in OTHERS:
        return "a script"
    for called, pattern in _programs():
        if pattern.match(start):
            return called
    if _JAVASCRIPT.search(start):
        return "JavaScript"
    return "Python" if _is_python(source) else ""


def _is_python(source: str) -> bool:
    """Whether it is a Python module that imports what reaches the machine: prose and lists never parse as one."""
    if len(source) > MAX_SCRIPT or not _CALLS.search(source):
        return False
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(s, ast.Import | ast.ImportFrom) for s in body)


def acts(source: str) -> Iterator[ScriptAct]:
    """What running the script would do beyond setting something up, in the order of its lines; bounded."""
    source = source[:MAX_SCRIPT]
    seen: set[tuple[str, int]] = set()
    found = [*_commands(source), *_patterns(source)]
    for act in sorted(found, key=lambda a: a.line):
        if (act.key, act.line) not in seen and len(seen) < MOST_ACTS:
            seen.add((act.key, act.line))
            yield act


def _commands(source: str) -> Iterator[ScriptAct]:
    for pipeline in pipelines(source):
        first = [_command(words) for words in pipeline.commands]
        fetched = decoded = False
        for name, words in zip(first, pipeline.commands, strict=True):
            if _runs_input(name, words) and (fetched or decoded):
                yield _act(pipeline, fetched)
                break
            fetched = fetched or name in _words()["fetchers"]
            decoded = decoded or (name in _words()["decoders"] and _decodes(name, words))
        if first[0] in _words()["interpreters"] | {"eval", "source", "."}:
            inner = [_command(c) for held in pipeline.inner for p in pipelines(held) for c in p.commands]
            if any(name in _words()["fetchers"] for name in inner):
                yield _act(pipeline, True)
            elif any(name in _words()["decoders"] for name in inner):
                yield _act(pipeline, False)


def _act(pipeline: Pipeline, fetched: bool) -> ScriptAct:
    key, what = (
        ("runs-download", "downloads a program and runs it")
        if fetched
        else ("runs-hidden", "runs what is hidden in it")
    )
    known = fetched and bool(_installers() & set(_ADDRESS.findall(pipeline.text)))
    return ScriptAct(key, what, pipeline.line, pipeline.text[:500], known)


def _command(words: tuple[str, ...]) -> str:
    """The program that is called, in lower case and without its folder; what only hands on the rest is passed over."""
    for word in words:
        name = word.rsplit("/", 1)[-1].lower()
        if name not in _words()["carriers"] and not word.startswith("-") and "=" not in word:
            return re.sub(r"(?<=python)[\d.]+\Z|\.exe\Z", "", name)
    return ""


def _runs_input(name: str, words: tuple[str, ...]) -> bool:
    """Whether an interpreter is left to run what comes in: nothing names a file, or `-` does."""
    if name not in _words()["interpreters"]:
        return False
    given = [w for w in words if _command((w,)) != name and w.rsplit("/", 1)[-1].lower() not in _words()["carriers"]]
    plain = [w for w in given if not w.startswith("-")]
    return not plain or "-" in given or "-s" in given or plain[0] in ("/dev/stdin", "/dev/fd/0")


def _decodes(name: str, words: tuple[str, ...]) -> bool:
    if name in ("base64", "base32"):
        return any(w in ("-d", "-D", "--decode", "-di", "-id") for w in words)
    if name == "xxd":
        return any(w.startswith("-") and "r" in w for w in words)
    return name != "openssl" or any(w in ("-d", "enc") for w in words)


def _patterns(source: str) -> Iterator[ScriptAct]:
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith(("#", "::", "REM ", "rem ")):
            continue
        for key, what, pattern in _acts():
            if pattern.search(line[:MAX_LINE]):
                yield ScriptAct(key, what, number, line.strip()[:500])


@lru_cache(maxsize=1)
def _acts() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    return tuple((a["key"], a["what"], re.compile(a["pattern"])) for a in table("scripts")["act"])


@lru_cache(maxsize=1)
def _programs() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((p["what"], re.compile(p["pattern"])) for p in table("scripts")["program"])


def _installers() -> frozenset[str]:
    installers: frozenset[str] = table("scripts")["installers"]["addresses"]
    return installers


def _words() -> dict[str, frozenset[str]]:
    words: dict[str, frozenset[str]] = table("scripts")["words"]
    return words
