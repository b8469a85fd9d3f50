"""A loop that loads explained data, at one line of one run of a cell, is one question and not a hundred.

    for path in checkpoints:
        torch.load(path)            # asked at the first; the others are scanned, held to their contracts and logged

Only what is *safe* is covered, and only what the person's own line loads again while the same cell runs. Anything that
is not safe is asked about each time.
"""

from __future__ import annotations

import sys

from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller
from nbguard.report.model import Report, Verdict

Place = tuple[str, str, int, int]
"""Loader, file, line, and the number of the cell's run."""

_accepted: set[Place] = set()


def covered(request: LoadRequest, report: Report) -> bool:
    """Whether a person accepted explained data at this very line during this run."""
    return _eligible(request, report) and _place(request) in _accepted


def remember(request: LoadRequest, report: Report) -> None:
    """A person has just accepted `report`, for the line that asked for it."""
    if not _eligible(request, report) or (place := _place(request)) is None:
        return
    for old in [p for p in _accepted if p[3] != place[3]]:
        _accepted.discard(old)
    _accepted.add(place)


def forget() -> None:
    """What was accepted holds no longer: the guard was taken away."""
    _accepted.clear()


def _eligible(request: LoadRequest, report: Report) -> bool:
    return request.in_person_code and report.verdict is Verdict.SAFE


def _place(request: LoadRequest) -> Place | None:
    line = caller.person_line()
    return (request.loader, *line, _run()) if line is not None else None


def _run() -> int:
    """The number of the cell that runs; a script or a plain interpreter is one run from start to end."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return int(shell.execution_count) if shell is not None else 0
