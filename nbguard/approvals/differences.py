r"""The difference of two texts, within bounds that no hostile text gets out of.

between("modeling.py", b"a = 1\n", b"a = 2\n").diff      # "@@ -1 +1 @@\n-a = 1\n+a = 2"
"""

from __future__ import annotations

import difflib

from nbguard.report.advice import CodeChange

MOST_FILES = 6
MOST_LINES = 80
"""Lines of a difference that are kept."""
COMPARED = 1_500
"""Lines between the first and the last that differ; more are not compared, for that takes time by their square."""
LINE = 400
"""Characters of a line."""
CONTEXT = 2
"""Lines that are the same, shown around those that differ."""


def between(path: str, before: bytes, after: bytes) -> CodeChange:
    """The unified difference. `before` may be empty: the file is new then."""
    old, new = _lines(before), _lines(after)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    start, end = max(0, start - CONTEXT), max(0, end - CONTEXT)
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    note = "" if before else "new"
    if max(len(middle_old), len(middle_new)) > COMPARED:
        if before:
            return CodeChange(path, "", f"changed in more than {COMPARED:,} lines")
        middle_new = middle_new[:COMPARED]
    rows = [row[: LINE + 1] for row in _unified(middle_old, middle_new, start)]
    if len(rows) > MOST_LINES:
        left = len(rows) - MOST_LINES
        note = f"{note}, " if note else ""
        note += f"{left:,} more lines of the difference are not shown"
    return CodeChange(path, "\n".join(rows[:MOST_LINES]), note)


def _unified(old: list[str], new: list[str], start: int) -> list[str]:
    rows = list(difflib.unified_diff(old, new, lineterm="", n=CONTEXT))[2:]
    return [_moved(row, start) if row.startswith("@@") else row for row in rows]


def _moved(header: str, start: int) -> str:
    """`@@ -1,3 +1,4 @@` with its lines counted from the top of the file."""
    parts = header.split()
    for number in (1, 2):
        first, comma, count = parts[number][1:].partition(",")
        parts[number] = f"{parts[number][0]}{int(first) + start}{comma}{count}"
    return " ".join(parts)


def _lines(data: bytes) -> list[str]:
    return [line[:LINE] for line in data.decode("utf-8", "backslashreplace").split("\n")]
