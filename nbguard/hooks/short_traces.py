"""Tracebacks without the way through nbguard.

    try:
        return admit_and_load()
    except BaseException as error:
        shorten(error)
        raise                       # a bare raise adds no frame

A person whose load is stopped, or who interrupts a question, looks for their own line. With `NBGUARD_DEBUG` set,
nothing is left out.
"""

from __future__ import annotations

import os
from types import TracebackType

from nbguard.errors import NbguardError
from nbguard.hooks.walls import scope

FILENAME = "<nbguard>"
"""`co_filename` of code that stands in for a guarded function."""
_OWN = os.path.realpath(os.path.dirname(os.path.dirname(__file__))) + os.sep


def shorten(error: BaseException) -> None:
    """Take nbguard's frames out of the traceback of what nbguard raised itself, or what interrupted it.

    Frames of the person and of libraries stay, and every other exception stays as it is.
    """
    if not isinstance(error, NbguardError | KeyboardInterrupt) or os.environ.get("NBGUARD_DEBUG"):
        return
    with scope.outside():  # reading frames is an audit event
        kept: list[TracebackType] = []
        trace = error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if name != FILENAME and not os.path.realpath(name).startswith(_OWN):
                kept.append(trace)
            trace = trace.tb_next
        short: TracebackType | None = None
        for trace in reversed(kept):
            short = TracebackType(short, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
        error.__traceback__ = short
