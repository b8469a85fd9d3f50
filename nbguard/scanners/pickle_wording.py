"""How findings about pickles are worded, and the literal thing that was seen.

finding = library_objects("model.pkl", "", "scikit-learn", "Ridge, StandardScaler")
"""

from __future__ import annotations

from dataclasses import dataclass

from nbguard.formats.pickle_machine import Event, Seen
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.pickle_describe import arguments_text, call_text

SAFETENSORS = "Ask the publisher for safetensors."
REFUSE = "Do not load this file. Report it to where it came from."


@dataclass(frozen=True)
class Problem:
    """A check that did not pass."""

    rule: str
    why: str
    evidence: str
    verdict: Verdict
    severity: Severity


def unknown_class(file: str, location: str, seen: Seen, verbs: set[str], *, own: bool) -> Finding:
    """A class without a rule that is only made and given state."""
    return Finding(
        "pickle.unknown-class",
        Severity.MEDIUM,
        file,
        location,
        f"Makes objects of {seen.dotted[:200]}, a class that is not listed."
        if verbs - {"named"}
        else f"Names {seen.dotted[:200]}, which is not listed.",
        evidence(seen),
        "Python imports its module and runs the class's own code on the file's data."
        + (" It has to be defined in your notebook." if own else ""),
        f"Load it only if you know where that class comes from. {SAFETENSORS}",
    )


def library_objects(file: str, location: str, library: str, made: list[str], used: list[str]) -> Finding:
    """Listed classes of one library that objects are made of, and what else of it is named or called."""
    return Finding(
        "pickle.library-objects",
        Severity.LOW,
        file,
        location,
        library_text(library, made, used),
        meaning="These are classes of known libraries: their own code puts the objects together from the file's data.",
        remedy="Check that the file comes from where you think it does.",
    )


def library_text(library: str, made: list[str], used: list[str]) -> str:
    """One sentence; classes and functions are told apart by what the program does with them."""
    parts = []
    if made:
        parts.append(f"builds objects of {library} ({_listed(made)})")
    if used:
        parts.append(f"uses {_listed(used)}" + ("" if made else f" of {library}"))
    text = " and ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _listed(names: list[str]) -> str:
    names = sorted(set(names))
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")


def evidence(seen: Seen) -> str:
    """The first few things that were done to a global, the calls first; at most 2,000 characters."""
    order = {"reduce": 0, "newobj": 1, "recalled": 0}
    events = sorted(seen.events, key=lambda e: order.get(e.verb, 2))
    if not events:
        return seen.dotted[:200]
    return "\n".join(dict.fromkeys(_event_text(seen, event) for event in events[:5]))[:2000]


def _event_text(seen: Seen, event: Event) -> str:
    if event.verb == "reduce":
        return call_text(seen.dotted, event.arguments, event.keywords)
    if event.verb == "newobj":
        return call_text(f"{seen.dotted[:200]}.__new__", event.arguments, event.keywords)
    if event.verb == "recalled":
        return call_text(f"{seen.dotted[:200]}(…)", event.arguments, event.keywords)
    return f"{seen.dotted[:200]} {event.verb}: {arguments_text(event.arguments, event.keywords)}"
