"""What a dotted name in a configuration stands for, judged without importing anything.

    judge("torch.nn.Linear", called=True).verdict      # Verdict.REVIEW: an object of a known library
    judge("os.system", called=True).verdict            # Verdict.DANGER

A name is what `pydoc.locate` or Hydra would find: module and attributes in one, so every way of cutting it counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbguard import rules
from nbguard.report.model import Severity, Verdict
from nbguard.scanners.tables import of_python, table

_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_BUILTINS = ("builtins", "__builtin__")


@dataclass(frozen=True)
class Judgement:
    """What a name means for the verdict."""

    rule: str
    severity: Severity
    verdict: Verdict
    why: str
    """Goes on the sentence "It calls NAME"."""
    remedy: str = "Read what the file names before you accept."


def judge(name: str, *, called: bool) -> Judgement:
    """Args: called: it is called while the file is loaded, not only referred to."""
    if not _DOTTED.fullmatch(name):
        return Judgement(
            "name", Severity.HIGH, Verdict.UNVERIFIABLE, ", which is no name that can be judged.", "Do not load it."
        )
    if (what := _harmful(name)) is not None:
        return Judgement("gadget", Severity.CRITICAL, Verdict.DANGER, f": {what}.", "Do not load it.")
    found = table("frameworks")["libraries"]
    if _below(name, found["exceptions"]):
        return Judgement(
            "call", Severity.HIGH, Verdict.DANGER, ", which fetches, imports or runs what its arguments say."
        )
    if _package(name):
        return Judgement("library", Severity.LOW, Verdict.REVIEW, ", a part of a known library.")
    if called:
        return Judgement(
            "call", Severity.HIGH, Verdict.DANGER, ": a call that nothing here explains.", "Do not load it."
        )
    return Judgement("name", Severity.MEDIUM, Verdict.REVIEW, ", which nobody here knows.")


def _harmful(name: str) -> str | None:
    parts = name.split(".")
    if any(p.startswith("__") for p in parts):
        return "it reaches for what lies beneath an object"
    for base in _BUILTINS:
        trap = rules.gadget(base, name)
        if trap is not None:
            return trap.what.rstrip(".")
    for start in range(len(parts)):  # what a library has imported can be reached through it: `torch.nn.init.os.system`
        for cut in range(start + 1, len(parts)):
            trap = rules.gadget(".".join(parts[start:cut]), ".".join(parts[cut:]))
            if trap is not None:
                return trap.what.rstrip(".")
    behind = parts[len(_package(name).split(".")) :] if _package(name) else []
    if any(of_python(part) for part in behind[:-1]):
        return "it reaches a module of Python through another one"
    return None


def _package(name: str) -> str:
    """The known package that a name lies in, or an empty string."""
    packages = table("frameworks")["libraries"]["packages"]
    parts = name.split(".")
    return next((p for end in range(len(parts), 0, -1) if (p := ".".join(parts[:end])) in packages), "")


def _below(name: str, packages: frozenset[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:end]) in packages for end in range(1, len(parts) + 1))
