"""Acts that lie in one file of a repository and are set off by another.

    facts.references += flows("modeling_x.py", found)       # in the worker, for each file
    join(facts)                                             # when all files are known

`from .helper import setup; setup()` runs at import what looks, in `helper.py` alone, like a function that nobody calls.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.facts import Facts
from nbguard.scanners.source.analysis import Analysis

PREFIX = "flow:"
MOST = 2_000
"""Calls and acts of one file that are kept for this."""
DEEPEST = 12
"""Files through which a call is followed."""


def flows(path: str, found: Analysis) -> list[str]:
    """What joining needs of one file: its calls into others, and its serious acts by the function they lie in."""
    folder = posixpath.dirname(path)
    out: list[list[object]] = []
    for call in found.elsewhere:
        dots = len(call.name) - len(call.name.lstrip("."))
        *modules, function = call.name.lstrip(".").replace("()", "").split(".")
        base = posixpath.normpath(posixpath.join(folder, *([".."] * (dots - 1)), *modules))
        out.append(["call", call.when, call.root, call.line, base, function])
    for act in found.acts:
        if act.severity >= Severity.HIGH and act.when == "function":
            out.append(["act", _root(act.chain[0]), act.line, f"{act.effect.what} ({act.name[:80]})"])
    return [PREFIX + json.dumps(entry) for entry in out[:MOST]]


def _root(label: str) -> str:
    """`setup` of `setup() line 4`, `A` of `A.forward() line 9`."""
    return label.partition("(")[0].partition(".")[0]


def join(facts: Mapping[str, Facts]) -> None:
    """Add a finding to every file that sets off, while it is imported or built from, an act in another one."""
    acts: dict[tuple[str, str], list[tuple[int, str]]] = {}
    calls: dict[tuple[str, str], list[tuple[str, str]]] = {}
    starts: list[tuple[str, int, str, str, str]] = []
    for path, found in facts.items():
        for entry in _entries(found):
            if entry[0] == "act":
                acts.setdefault((path, entry[1]), []).append((entry[2], entry[3]))
                continue
            _, when, root, line, base, function = entry
            target = next((p for p in (f"{base}.py", f"{base}/__init__.py") if p in facts), None)
            if target is None:
                continue
            calls.setdefault((path, root), []).append((target, function))
            if when != "function":
                starts.append((path, line, when, target, function))
    for path, call_line, when, target, function in starts:
        for way, act_line, what in _reached(target, function, acts, calls):
            _tell(facts[path], path, call_line, when, way, act_line, what)


def _entries(found: Facts) -> list[list[Any]]:
    out = []
    for reference in found.references:
        if reference.startswith(PREFIX):
            out.append(json.loads(reference.removeprefix(PREFIX)))
    return out


def _reached(
    target: str,
    function: str,
    acts: Mapping[tuple[str, str], list[tuple[int, str]]],
    calls: Mapping[tuple[str, str], list[tuple[str, str]]],
) -> list[tuple[list[str], int, str]]:
    out: list[tuple[list[str], int, str]] = []
    pending: list[tuple[str, str, list[str]]] = [(target, function, [])]
    seen: set[tuple[str, str]] = set()
    while pending:
        path, name, way = pending.pop()
        if (path, name) in seen or len(way) > DEEPEST:
            continue
        seen.add((path, name))
        here = [*way, f"{name}() in {path}"]
        out += [(here, line, what) for line, what in acts.get((path, name), ())]
        pending += [(*further, here) for further in calls.get((path, name), ())]
    return out


def _tell(found: Facts, path: str, line: int, when: str, way: list[str], act_line: int, what: str) -> None:
    moment = "as soon as it is imported" if when == "import" else "when the model is built"
    found.add(
        Finding(
            "code.acts-at-import" if when == "import" else "code.acts-at-load",
            Severity.CRITICAL,
            path,
            f"line {line}",
            f"Through another file the code {what} {moment}.",
            evidence=" → ".join((*way, f"line {act_line}"))[:1000],
            meaning="Of 1,695 honest model files that were looked at, none does that.",
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )
