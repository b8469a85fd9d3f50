"""A report's advice, put into parts that each face draws in its own way.

    lead(report)         # what comes first: the name that was meant, the safetensors alternative
    since(report)        # what changed since something was accepted under this name
    lines(report)        # the line with the pinned revision

    html(lead(report)); text(lead(report))

Strings in the parts are not escaped; both renderers here pass each of them through `report.escape`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nbguard.report import escape
from nbguard.report.advice import CodeChange, Since
from nbguard.report.model import Report

MOST_NAMES = 8
"""Files or globals named in one sentence; the JSON report holds them all."""
MOST_DIFF = 30
"""Lines of one file's difference in a terminal; a page, which scrolls, shows all that was kept."""
LONGEST_LINE = 1_000
"""Characters of a line to paste; a longer one would be cut, and could not be pasted."""


@dataclass(frozen=True)
class Row:
    """One thing that is said."""

    kind: Literal["say", "loud", "name", "item", "code", "diff"]
    """`name`: loud, in letters that tell I, l and 1 from each other."""
    text: str
    title: str = ""
    """Of a difference: the file."""


@dataclass(frozen=True)
class Part:
    """A title and what stands under it."""

    title: str
    rows: tuple[Row, ...]


def lead(report: Report) -> tuple[Part, ...]:
    """What a person should read before everything else."""
    out: list[Part] = []
    meant, way = report.advice.meant, report.advice.way("safetensors") or report.advice.way("convert")
    if meant is not None:
        whose = f" ({meant.organisation})" if meant.organisation else ""
        how = "It is" if meant.how == "moved" else f"In the name that was given ({meant.how}):"
        out.append(
            Part("The name", (Row("name", f"Did you mean {meant.name}{whose}?"), Row("say", f"{how} {meant.detail}.")))
        )
    if way is not None:
        if way.line:
            out.append(Part("A safer way", (Row("loud", way.why), *_code(way.line))))
        else:
            out.append(Part("No safer way", (Row("say", way.why),)))
    return tuple(out)


def safer(report: Report) -> tuple[Part, ...]:
    """That there is a way that runs no code, without its line."""
    way = report.advice.way("safetensors") or report.advice.way("convert")
    return () if way is None or not way.line else (Part("A safer way", (Row("loud", way.why),)),)


def lines(report: Report) -> tuple[Part, ...]:
    """The call with the commit that was looked at."""
    way = report.advice.way("pinned")
    return () if way is None else (Part("To load exactly this from now on", (Row("say", way.why), *_code(way.line))),)


def _code(line: str) -> tuple[Row, ...]:
    return (Row("code", line),) if 0 < len(line) <= LONGEST_LINE else ()


def since(report: Report, *, short: bool = False) -> tuple[Part, ...]:
    """Who accepted something under this name before, and what is different from it; `short`: without the code."""
    found = report.advice.since
    if found is None:
        return ()
    rows = [Row("say", _accepted(found))]
    if found.approved is not None:
        rows.append(Row("say", _accepted(found.approved)))
    if found.same:
        rows.append(Row("say", "It is exactly that content."))
    elif found.verdict != found.now:
        rows.append(Row("loud", f"It was judged {found.verdict} then, and is judged {found.now} now."))
    for label, names in (
        ("Changed", found.changed),
        ("New", found.added),
        ("Gone", found.removed),
        ("There before, opened now", found.opened),
        ("Python names that are new", found.globals_added),
        ("Python names that it uses no longer", found.globals_removed),
    ):
        if names:
            rows.append(Row("item", f"{label}: {_some(names)}"))
    rows += [] if short else [_change(change) for change in found.code]
    title = "Accepted before" if found.same else "What changed since it was accepted"
    return (Part(title, tuple(rows)),)


def _accepted(found: Since) -> str:
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(found.when, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if found.how == "always":
        standing = f", which is {found.standing}" if found.standing else ""
        how = f"approved what had this name on {when} (approval {found.approval}{standing})"
    elif found.how == "locked":
        how = f"locked what had this name on {when}"
    else:
        how = f"accepted what had this name for one load, on {when}"
    at = f", commit {found.commit[:12]}" if found.commit else ""
    because = f" Reason given: {found.reason}" if found.reason else ""
    return f"{found.who} {how}{at}.{because}"


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _change(change: CodeChange) -> Row:
    return Row("diff", change.diff, f"{change.path}: {change.note}" if change.note else change.path)


# the two faces


def html(parts: Iterable[Part]) -> str:
    """The parts as HTML, every string escaped."""
    return "".join(
        f'<div class="nbg-part nbg-advice"><div class="nbg-title">{escape.html(part.title)}</div>{_rows(part)}</div>'
        for part in parts
    )


def _rows(part: Part) -> str:
    out = []
    for row in part.rows:
        if row.kind == "code":
            out.append(f'<pre class="nbg-paste">{escape.html(row.text, LONGEST_LINE, block=True)}</pre>')
        elif row.kind == "diff":
            shown = f"<pre>{_diff(row.text)}</pre>" if row.text else ""
            out.append(
                f'<details class="nbg-fold nbg-diff"{" open" if row.text else ""}>'
                f"<summary>{escape.html(row.title, 200)}</summary><div>{shown}</div></details>"
            )
        elif row.kind == "item":
            out.append(f"<div>• {escape.html(row.text, 1_000)}</div>")
        else:
            shown = escape.html(row.text, 700)
            styles = {"loud": "<div><b>{}</b></div>", "name": '<div><b class="nbg-name">{}</b></div>'}
            out.append(styles.get(row.kind, "<div>{}</div>").format(shown))
    return "".join(out)


def _diff(diff: str) -> str:
    marks = {"+": "ins", "-": "del"}
    rows = []
    for line in diff.split("\n"):
        tag = marks.get(line[:1])
        shown = escape.html(line, 400)
        rows.append(f"<{tag}>{shown}</{tag}>" if tag else shown)
    return "\n".join(rows)


def text(parts: Iterable[Part]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, [(kind, line)]) for a terminal, every string escaped: `say` and `loud` are wrapped, `code` is not."""
    return [(escape.terminal(part.title), [line for row in part.rows for line in _lines(row)]) for part in parts]


def _lines(row: Row) -> list[tuple[str, str]]:
    if row.kind == "code":
        return [("code", line) for line in escape.terminal(row.text, LONGEST_LINE, block=True).split("\n")]
    if row.kind == "diff":
        rows = row.text.split("\n") if row.text else []
        shown = [("diff", escape.terminal(line, 200)) for line in rows[:MOST_DIFF]]
        more = [("diff", f"… and {len(rows) - MOST_DIFF} more lines")] if len(rows) > MOST_DIFF else []
        return [("item", escape.terminal(row.title, 200)), *shown, *more]
    return [("loud" if row.kind == "name" else row.kind, escape.terminal(row.text, 1_000))]
