"""What TorchScript code could do besides computing.

    judge(job, "archive/code/__torch__/net.py", source, facts)
    judge_bytecode(job, "archive/bytecode.pkl", data, facts)

TorchScript is a small language of its own without imports, but its operators reach files: `torch.save` writes any file,
`torch.from_file(shared=True)` maps, and so writes, any file it can open, and `__setstate__` runs while the archive is
loading. The operators are found under `torch` and `ops`, which can be spelled in many ways (`getattr(torch, "save")`,
`t = torch`): PyTorch's own writer has one, `torch.relu(x)` and `ops.prim.name(x)`, and every other one is refused.
Source: `torch/csrc/jit/serialization/import_source.cpp`, `torch/csrc/jit/frontend/ir_emitter.cpp` and `lexer.h`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

_TOKEN = re.compile(
    rb"#[^\n]*|\\\r?\n|[ \t\r\n]+"
    rb"|(?P<text>\"\"\"(?:\\.|[^\\])*?(?:\"\"\"|\\?\Z)|'''(?:\\.|[^\\])*?(?:'''|\\?\Z)"
    rb"|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?)"
    rb"|(?P<name>[A-Za-z_]\w*)|(?P<other>\.?\d[\w.]*|.)",
    re.DOTALL,
)
"""Comments, line ends that a backslash takes away, texts (with their ends or without, so that none is looked for
twice), names, everything else."""
_ONE_LINE = re.compile(r'"(?:\\.|[^"\\\n])*"\Z')
_SETSTATE = re.compile(rb"def\s+__setstate__\b")
_CLASSES = "__torch__.torch.classes."
_OPERATOR = re.compile(rb"\b([A-Za-z_]\w*)::([A-Za-z_]\w*)")
MOBILE = "bytecode.pkl"
"""Instructions for PyTorch Mobile, which stand beside the code."""
MOST = 25
"""Findings of one rule in one member."""


@dataclass(frozen=True)
class _Token:
    text: str
    at: int
    kind: str
    """`name`, `text` or `other`."""


@dataclass(frozen=True)
class _Seen:
    rule: str
    at: int
    what: str


def judge(job: Job, member: str, source: bytes, facts: Facts) -> None:
    """Add what the code of one member could do."""
    told: dict[tuple[str, str], int] = {}
    for seen in _look(list(_tokens(source))):
        told[seen.rule, seen.what] = told.get((seen.rule, seen.what), 0) + 1
        if told[seen.rule, seen.what] == 1 and len(told) <= MOST:
            line = f"{member[:200]} line {_line_number(source, seen.at)}"
            _tell(job, line, seen.rule, seen.what, _line(source, seen.at), facts)
        elif seen.rule in ("files", "hidden"):
            facts.verdict = max(facts.verdict, Verdict.DANGER)
    if state := _SETSTATE.search(source):
        facts.add(
            Finding(
                "torchscript.setstate",
                Severity.MEDIUM,
                job.path,
                f"{member[:200]} line {_line_number(source, state.start())}",
                "The code has a __setstate__, which runs while the archive is loading.",
                evidence=_line(source, state.start()),
                meaning="Quantised models have one for good reasons; others rarely do.",
                remedy="Read it before accepting.",
            ),
            Verdict.REVIEW,
        )


def judge_bytecode(job: Job, member: str, data: bytes, facts: Facts) -> None:
    """The same for the instructions of PyTorch Mobile, which name their operators in full: `aten::add`."""
    told: set[str] = set()
    for match in _OPERATOR.finditer(data):
        namespace, name = match[1].decode(), match[2].decode()
        # The byte behind a text may look like one more letter of it: any beginning counts.
        begins = [n for n in table("torchscript")["files"]["operators"] if f"{namespace}.{name}".startswith(n)]
        seen = _operator(namespace, begins[0].partition(".")[2] if begins else name, match.start())
        if seen is not None and seen.what not in told and len(told) < MOST:
            told.add(seen.what)
            _tell(job, member[:200], seen.rule, seen.what, f"{namespace}::{name}", facts)


def _tokens(source: bytes) -> Iterator[_Token]:
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup
        if kind is not None:
            yield _Token(match[0].decode("utf-8", "backslashreplace"), match.start(), kind)


def _look(tokens: list[_Token]) -> Iterator[_Seen]:
    """What is spelled in a way that counts. A name behind a dot belongs to what is before it."""
    network = table("torchscript")["network"]["functions"]
    for number, token in enumerate(tokens):
        if token.kind == "text" and not _ONE_LINE.match(token.text):
            yield _Seen("hidden", token.at, "a text over several lines, without an end, or in other quotes")
        if token.kind != "name" or (number and tokens[number - 1].text == "."):
            continue
        path = _path(tokens, number)
        called = number + 2 * len(path) - 1
        follows = tokens[called].text if called < len(tokens) else ""
        if token.text in ("torch", "ops"):
            wanted = 2 if token.text == "torch" else 3
            if len(path) < wanted or (follows != "(" and not _declares(tokens, number)):
                yield _Seen("hidden", token.at, ".".join(path)[:80])
            if len(path) >= wanted:
                namespace = "aten" if token.text == "torch" else path[1]
                seen = _operator(namespace, path[wanted - 1], token.at)
                if seen is not None:
                    yield seen
        elif token.text == "getattr":
            yield from _getattr(tokens, number)
        elif token.text in network and follows == "(":
            yield _Seen("network", token.at, token.text)
        elif token.text == "__torch__" and path[1:3] == ["torch", "classes"]:
            seen = _class(path, token.at)
            if seen is not None:
                yield seen


def _path(tokens: list[_Token], number: int) -> list[str]:
    """The dotted name that begins there: names with single dots between them."""
    path = [tokens[number].text]
    at = number + 1
    while at + 1 < len(tokens) and tokens[at].text == "." and tokens[at + 1].kind == "name" and len(path) < 50:
        path.append(tokens[at + 1].text)
        at += 2
    return path


def _declares(tokens: list[_Token], number: int) -> bool:
    """Whether it is the name of a parameter, a variable's declaration, or what is assigned to: no value is taken."""
    after = tokens[number + 1].text if number + 1 < len(tokens) else ""
    return after in (":", "=") and not (after == "=" and number + 2 < len(tokens) and tokens[number + 2].text == "=")


def _operator(namespace: str, name: str, at: int) -> _Seen | None:
    rules = table("torchscript")
    full = f"{namespace}.{name}"
    if full in rules["files"]["operators"]:
        return _Seen("files", at, full)
    if namespace in rules["network"]["operators"]:
        return _Seen("network", at, full)
    if namespace not in rules["namespaces"]:
        return _Seen("operator", at, namespace)
    return None


def _class(path: list[str], at: int) -> _Seen | None:
    rules = table("torchscript")
    full = ".".join(path[3:5])
    if full in rules["files"]["classes"]:
        return _Seen("files", at, full)
    return None if full in rules["classes"]["known"] else _Seen("class", at, full or "no name")


def _getattr(tokens: list[_Token], number: int) -> Iterator[_Seen]:
    """PyTorch writes it for parts whose names are no identifiers: `getattr(self, "0")`."""
    texts = [t.text for t in tokens[number + 1 : number + 60]]
    end = texts.index(")") if ")" in texts else len(texts)
    inside = [t for t in tokens[number + 1 : number + 1 + end] if t.kind == "text"]
    joined = "".join(t.text.strip("'\"") for t in inside)
    operators = {name.partition(".")[2] for name in table("torchscript")["files"]["operators"]}
    if "\\" in joined or joined in operators or len(inside) > 1:
        yield _Seen("hidden", tokens[number].at, f"getattr {joined}"[:80])


_SAYS = {
    "files": (
        Severity.CRITICAL,
        Verdict.DANGER,
        "The code calls {what}, which reads or writes files.",
        "No model needs that to compute: it can overwrite your files.",
        "Do not load it.",
    ),
    "hidden": (
        Severity.CRITICAL,
        Verdict.DANGER,
        "The code reaches PyTorch's operators in a way that PyTorch never writes ({what}).",
        "Somebody wrote it by hand, so that it is not seen which operator is called.",
        "Do not load it.",
    ),
    "network": (
        Severity.HIGH,
        Verdict.REVIEW,
        "The code uses {what}, which acts over the network.",
        "It needs other machines, and hands them data.",
        "Make sure that you know which machines these are.",
    ),
    "operator": (
        Severity.MEDIUM,
        Verdict.REVIEW,
        "The code uses operators of the library {what}, which nbguard does not know.",
        "What they do depends on what is installed here.",
        "Make sure that you know this library.",
    ),
    "class": (
        Severity.MEDIUM,
        Verdict.REVIEW,
        "The code uses the C++ class {what}, which nbguard does not know.",
        "Objects of it are made while loading; what that does depends on what is installed here.",
        "Make sure that you know this library.",
    ),
}


def _tell(job: Job, location: str, rule: str, what: str, evidence: str, facts: Facts) -> None:
    severity, verdict, sentence, meaning, remedy = _SAYS[rule]
    facts.add(
        Finding(
            f"torchscript.{rule}",
            severity,
            job.path,
            location,
            sentence.format(what=ascii(what)[1:-1][:80]),
            evidence=evidence[:500],
            meaning=meaning,
            remedy=remedy,
        ),
        verdict,
    )


def _line(source: bytes, at: int) -> str:
    start = source.rfind(b"\n", 0, at) + 1
    end = source.find(b"\n", at)
    return source[start : end if end >= 0 else len(source)][:500].decode("utf-8", "backslashreplace").strip()


def _line_number(source: bytes, at: int) -> int:
    return source.count(b"\n", 0, at) + 1


FORMATS = (
    Format(
        "torchscript",
        "TorchScript",
        (".pt", ".pth", ".ptl"),
        "a zip with `constants.pkl` in its folder",
        "its pickles; its code, token by token: operators that reach files or the network, C++ classes, operators of "
        "unknown libraries, spellings that PyTorch never writes, `__setstate__`; the operators of PyTorch Mobile's "
        "instructions",
        "what the code computes; libraries of operators that are installed here; the numbers of its tensors",
        "*review*: it brings code of its own; *danger* for operators that reach files, or are reached in hidden ways",
    ),
    Format(
        "torch-package",
        "torch.package",
        (".pt", ".zip"),
        "a zip with `.data/extern_modules` in its folder",
        "every source file and pickle in it, and every library",
        "nothing needs more: loading one runs its Python code by design",
        "*danger*",
    ),
)
