"""A report as text for a terminal, and the short form that a stopped load carries.

print(text.render(report, width=100, color=True))
print(text.brief(report))
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nbguard.report import advised, words
from nbguard.report.escape import terminal
from nbguard.report.model import Report, Severity, Verdict
from nbguard.report.words import Outcome

if TYPE_CHECKING:
    from nbguard.policy import Decision

MOST_FINDINGS = 20
MOST_IN_BRIEF = 5
MOST_ROWS = 12
NARROWEST = 26
"""Columns that a line gets even where there are fewer."""

_SGR = {
    Verdict.SAFE: "1;97;42",
    Verdict.REVIEW: "1;30;43",
    Verdict.UNVERIFIABLE: "1;97;45",
    Verdict.DANGER: "1;97;41",
}
_SEVERITY_SGR = {
    Severity.CRITICAL: "1;31",
    Severity.HIGH: "31",
    Severity.MEDIUM: "33",
    Severity.LOW: "36",
    Severity.INFO: "2",
}


class _Page:
    """Lines of one width, with or without colour."""

    def __init__(self, width: int, color: bool) -> None:
        self.width = max(NARROWEST, width)
        self.color = color
        self.lines: list[str] = []

    def paint(self, text: str, sgr: str) -> str:
        return f"\x1b[{sgr}m{text}\x1b[0m" if self.color else text

    def add(self, text: str = "", *, first: str = "", rest: str | None = None, sgr: str = "") -> None:
        """One paragraph, wrapped: `first` before its first line and `rest` (blanks by default) before the others."""
        rest = " " * len(first) if rest is None else rest
        wrapped = textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
        ) or [first]
        for number, line in enumerate(wrapped):
            lead = rest if number else first
            part = line[len(lead) :]
            self.lines.append(lead + (self.paint(part, sgr) if sgr and part else part))

    def block(self, text: str, indent: str) -> None:
        """Literal lines, cut where they are too long, with a rule at their left."""
        for row in text.split("\n")[:MOST_ROWS]:
            for part in textwrap.wrap(
                row.expandtabs(4), max(10, self.width - len(indent) - 2), break_on_hyphens=False, drop_whitespace=False
            ) or [""]:
                self.lines.append(f"{indent}│ {part}")

    def title(self, text: str) -> None:
        self.lines.append("")
        self.lines.append(self.paint(text, "1"))


def verdict_line(report: Report) -> str:
    """`[✕ DANGER] model.bin`."""
    verdict = words.VERDICTS[report.verdict]
    return f"[{verdict.symbol} {verdict.name.upper()}] {terminal(report.target, 160)}"


def outcome_line(report: Report, outcome: Outcome) -> str:
    """The one line for a load that was decided."""
    return f"nbguard {verdict_line(report)}: {terminal(outcome.text, 600)}"


def render(
    report: Report,
    decision: Decision | None = None,
    *,
    outcome: Outcome | None = None,
    width: int = 100,
    color: bool = False,
    short: bool = False,
) -> str:
    """The report. Colour is added to words and symbols, never used in their place.

    Args:
        width: columns to wrap at; long words (digests, paths) are cut over several lines.
        color: whether the text goes to a terminal that understands SGR sequences.
        short: only what it is and what loading it would do.
    """
    page = _Page(width, color)
    verdict = words.VERDICTS[report.verdict]
    badge = page.paint(f" {verdict.symbol} {verdict.name.upper()} ", _SGR[report.verdict])
    page.lines.append(badge)
    page.add(terminal(report.target, 160), sgr="1")
    page.add(verdict.headline)
    if outcome:
        page.add(terminal(outcome.text, 600), sgr="1")
    _advice(page, advised.lead(report))
    page.title("What loading it would do")
    for sentence in words.summary(report)[:20]:
        page.add(terminal(sentence), first="  • ")
    if decision is not None and decision.reason:
        page.add("Policy: " + terminal(decision.reason, 600), first="  ")
    if short:
        return "\n".join(page.lines)
    _findings(page, report)
    _advice(page, advised.since(report))
    _bytes(page, report)
    _not_scanned(page, report)
    if report.verdict is not Verdict.UNVERIFIABLE:
        page.title("What it may do if it is accepted, and nothing else")
        for sentence in words.contract_sentences(report):
            page.add(terminal(sentence, 600), first="  • ")
    _advice(page, advised.lines(report))
    page.title("Files")
    ordered = sorted(report.files, key=lambda f: (f.inert, -int(f.verdict), f.path))
    for file in ordered[:MOST_ROWS]:
        judged = "not opened" if file.inert else words.VERDICTS[file.verdict].name.lower()
        page.add(
            f"{terminal(file.path, 120)} ({words.size(file.size)}, {terminal(file.format, 40)}): {judged}", first="  "
        )
    if len(ordered) > MOST_ROWS:
        page.add(f"and {len(ordered) - MOST_ROWS} more", first="  ")
    who, where = words.origin(report)
    if who:
        page.title("Who published it, as the Hub says")
    for key, value in who:
        page.add(terminal(value), first=f"  {terminal(key, 40)}: ")
    page.title("Where it came from")
    for key, value in [*where, ("content digest", report.artifact.digest)]:
        page.add(terminal(words.fact(key, value)), first=f"  {terminal(key, 40)}: ")
    return "\n".join(page.lines)


def _findings(page: _Page, report: Report) -> None:
    groups = words.grouped(report.findings)
    if not groups:
        return
    page.title("What was found")
    for group in groups[:MOST_FINDINGS]:
        finding = group.first
        tag = words.SEVERITIES[finding.severity].upper()
        page.lines.append(f"  {page.paint(tag, _SEVERITY_SGR[finding.severity])}")
        page.add(terminal(finding.message, 400), first="    ", sgr="1")
        where = terminal(words.place(*group.places[0]), 160)
        more = f" and {words.plural(len(group.places) - 1, 'more place')}" if len(group.places) > 1 else ""
        page.add(f"{where}{more}  [{terminal(finding.rule, 80)}]", first="    in ")
        if finding.evidence:
            page.block(terminal(finding.evidence, 1_000, block=True), "    ")
        if finding.meaning:
            page.add(terminal(finding.meaning, 1_000), first="    Why it matters: ", rest="      ")
        if finding.remedy:
            page.add(terminal(finding.remedy, 1_000), first="    What to do: ", rest="      ")
    if len(groups) > MOST_FINDINGS:
        page.add(f"and {words.plural(len(groups) - MOST_FINDINGS, 'more finding')}, none worse", first="  ")


def _advice(page: _Page, parts: Iterable[advised.Part]) -> None:
    for title, rows in advised.text(parts):
        page.title(title)
        for kind, line in rows:
            if kind == "code":
                page.lines.append(f"  {line}")  # never wrapped, so that it can be copied
            elif kind == "diff":
                page.block(line, "    ")
            else:
                page.add(line, first="  • " if kind == "item" else "  ", sgr="1" if kind == "loud" else "")


def _bytes(page: _Page, report: Report) -> None:
    amounts = words.regions(report)
    total = sum(amounts.values())
    if not total:
        return
    page.title("What the bytes are")
    cells, pattern = min(60, page.width - 4), {"data": "░", "code": "█", "unknown": "?"}
    bar = ""
    for key, _, _ in words.REGIONS:
        share = amounts[key] / total
        bar += pattern[key] * max(1, round(share * cells)) if amounts[key] else ""
    page.lines.append("  " + bar)
    told = [f"{pattern[k]} {label.lower()} {words.size(amounts[k])}" for k, label, _ in words.REGIONS if amounts[k]]
    page.add(", ".join(told), first="  ")


def _not_scanned(page: _Page, report: Report) -> None:
    if not report.not_scanned:
        return
    page.title("Not looked at")
    for item in report.not_scanned[:MOST_ROWS]:
        page.add(f"{terminal(item.path, 120)}: {terminal(item.why)}", first="  • ")
    if len(report.not_scanned) > MOST_ROWS:
        page.add(f"and {len(report.not_scanned) - MOST_ROWS} more", first="  ")


def brief(report: Report, *, width: int = 100, reason: bool = False, steps: list[str] | None = None) -> str:
    """The report in short, as the message of `LoadBlocked`: verdict, the worst findings, what to do next.

    Args:
        reason: whether the policy asks for one where this is approved.
        steps: what to do next, where it is not to approve it.
    """
    page = _Page(width, color=False)
    page.add(verdict_line(report))
    _advice(page, advised.lead(report))
    for sentence in words.summary(report)[:3]:
        page.add(terminal(sentence), first="  ")
    _advice(page, advised.since(report, short=True))
    groups = words.grouped(report.findings)
    for group in groups[:MOST_IN_BRIEF]:
        finding = group.first
        page.add(
            f"{words.SEVERITIES[finding.severity].upper()} {terminal(finding.message, 240)} "
            f"({terminal(words.place(*group.places[0]), 120)})",
            first="  • ",
        )
    if len(groups) > MOST_IN_BRIEF:
        page.add(f"and {words.plural(len(groups) - MOST_IN_BRIEF, 'more finding')}", first="    ")
    if not groups:
        for item in report.not_scanned[:2]:
            page.add(f"not looked at: {terminal(item.path, 80)}: {terminal(item.why, 160)}", first="  • ")
    page.lines.extend(next_steps(report, reason=reason) if steps is None else steps)
    return "\n".join(page.lines)


def next_steps(report: Report, *, reason: bool = False) -> list[str]:
    """What a person can do about it: the exact command that would approve it, and where to read the rest.

    Commands stand on a line of their own, never wrapped, so that they can be copied.
    """
    command = words.approve_command(report, reason=reason)
    out: list[str] = []
    if report.verdict is Verdict.UNVERIFIABLE:
        out.append(
            "What could not be read to the end cannot be approved. Ask for it in a format that can, safetensors first."
        )
    elif command is None:
        out.append("It has no name to approve it by: answer the question in a notebook, or load it from a file.")
    elif report.verdict is Verdict.DANGER:
        out.append("Do not load it. If you know what it does and your policy lets it be approved:")
        out.append(f"  {command}")
    else:
        out.append("To approve exactly this content, for you and from now on:")
        out.append(f"  {command}")
    return out + _whole(report)


def lock_steps(report: Report, lock: str = "") -> list[str]:
    """The same where a lock says what loads: an approval does not count there.

    Args:
        lock: where it is, if `nbguard lock` would not take it by itself.
    """
    command = words.lock_command(report, lock)
    if report.verdict is Verdict.UNVERIFIABLE:
        out = ["What could not be read to the end cannot be locked. Ask for it in a format that can: safetensors."]
    elif command is None:
        out = ["It has no name to lock it by: load it from a file."]
    elif report.verdict is Verdict.DANGER:
        out = ["Do not load it. If you know what it does and your policy lets it be locked:", f"  {command}"]
    else:
        out = ["To lock exactly this content:", f"  {command}"]
    return out + _whole(report)


def _whole(report: Report) -> list[str]:
    """Where to read the rest."""
    if report.artifact.kind != "stream" and len(report.target) <= words.LONGEST:
        return [f"The whole report:  nbguard scan {words.quote(report.target)}"]
    return []
