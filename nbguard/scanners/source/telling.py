"""One act as a finding: what, when, and the way that leads there.

finding, verdict = finding_of(act, "modeling_x.py", source.splitlines())
"""

from __future__ import annotations

from collections.abc import Sequence

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.source.acts import Act

RULES = {"import": "code.acts-at-import", "construction": "code.acts-at-load", "function": "code.can-act"}
_WHEN = {
    "import": "as soon as it is imported",
    "construction": "when the model is built",
    "function": "in one of its functions",
}


def dangerous(act: Act) -> bool:
    """Whether it happens while a model loads, and no honest model does it."""
    return act.when != "function" and act.severity >= Severity.HIGH


def finding_of(
    act: Act, path: str, lines: Sequence[bytes], *, from_line: int = 0, way: str = ""
) -> tuple[Finding, Verdict]:
    """The finding, and the verdict that it means.

    Args:
        path: the file that it is told of; another one than `act.file` where that one sets it off.
        lines: of the file in which the call stands.
        from_line: in `path`, where that is another file.
        way: instead of the chain of one file's functions.
    """
    if act.when != "function" and act.severity >= Severity.HIGH:
        meaning = "It runs with all your rights before you see anything. Honest models do not need it."
    elif act.when != "function":
        meaning = "It happens while the model is loading."
    else:
        meaning = "It does not run while the model is loading, but when that function is called."
    here = act.file in ("", path)
    what = f"{act.effect.what} ({act.name[:80]}) {_WHEN[act.when]}."
    finding = Finding(
        RULES[act.when],
        act.severity,
        path,
        f"line {act.line if here else from_line}",
        f"The code {what}" if here else f"Through another file the code {what}",
        evidence="\n".join(part for part in (line(lines, act.line), way or _way(act)) if part)[:2000],
        meaning=meaning,
        remedy="Do not load it." if dangerous(act) else "Read this function before you accept.",
    )
    return finding, Verdict.DANGER if dangerous(act) else Verdict.REVIEW


def _way(act: Act) -> str:
    """The functions of one file that lead to the act; empty where it stands at the top of the file."""
    if act.chain == ("import",):
        return ""
    return " → ".join((*(label[:120] for label in act.chain[-6:]), act.name[:80]))


def way_of(act: Act) -> str:
    """The same through several files, with the place where it ends."""
    labels = [] if act.chain == ("import",) else [label[:160] for label in act.chain[-8:]]
    return " → ".join((*labels, f"{act.name[:80]} ({act.file[:160]} line {act.line})"))


def line(lines: Sequence[bytes], number: int) -> str:
    """A line of the source, bounded."""
    return lines[number - 1].strip()[:500].decode("utf-8", "backslashreplace") if 0 < number <= len(lines) else ""


__all__ = ["dangerous", "finding_of", "line", "way_of"]
