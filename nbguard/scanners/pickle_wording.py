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


def library_objects(file: str, location: str, library: str, listed: str) -> Finding:
    """Objects of listed classes of one library."""
    return Finding(
        "pickle.library-objects",
        Severity.LOW,
        file,
        location,
        f"Builds objects of {library}: {listed}.",
        meaning="Each class is listed and only gets state; its own code runs on the file's data.",
        remedy="Check that the file comes from where you think it does.",
    )


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
