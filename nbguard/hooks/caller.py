"""Whose load is it: the person's, a library's, or machinery that unpickles for its own ends?

    who = find()
    who.kind        # "person", "library" or "machinery"

The nearest frame that is neither nbguard's nor part of unpickling itself answers. Only a person's load raises a
question; listed machinery (worker processes, copying, logging) passes; every other library is looked at in silence.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from nbguard.hooks import trust
from nbguard.hooks.swap import FILENAME

Kind = Literal["person", "library", "machinery"]

MACHINERY = (
    "multiprocessing",
    "concurrent.futures",
    "asyncio",
    "logging",
    "copy",
    "joblib.externals.loky",
    "joblib.externals.cloudpickle",
    "joblib.pool",
    "joblib._memmapping_reducer",
    "torch.multiprocessing",
    "distributed.protocol",
    "ray._private.serialization",
    "ray._private.function_manager",
)
"""Modules that unpickle what their own processes sent them: those of a pool, or of a cluster that the person's own code
started or joined. Recognised by the file their code lies in."""

_OWN = os.path.realpath(os.path.dirname(os.path.dirname(__file__))) + os.sep
_TRANSPARENT = frozenset(
    {pickle.__file__, os.path.realpath(pickle.__file__), FILENAME, "<__array_function__ internals>"}
)


@dataclass(frozen=True)
class Caller:
    kind: Kind
    module: str
    """`__name__` of the code that asked; `?` where it has none. Only for messages and the audit log."""


@functools.lru_cache(maxsize=8192)
def _classify(filename: str) -> Kind | None:
    """None for frames that are looked through."""
    if filename in _TRANSPARENT:
        return None
    real = filename if filename.startswith("<") else os.path.realpath(filename)
    if real.startswith(_OWN) or real in _TRANSPARENT:
        return None
    if not trust.is_installed(filename):
        return "person"
    for root in trust.roots():
        if real.startswith(root):
            dotted = os.path.splitext(real[len(root) :])[0].replace(os.sep, ".")
            if any(dotted == m or dotted.startswith(m + ".") for m in MACHINERY):
                return "machinery"
    return "library"


def find(depth: int = 1) -> Caller:
    """The caller of the function `depth` frames up. With no frame left, a library: nobody there to ask."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        kind = _classify(frame.f_code.co_filename)
        if kind is not None:
            return Caller(kind, str(frame.f_globals.get("__name__", "?")))
        frame = frame.f_back
    return Caller("library", "?")


def transparent(filename: str) -> bool:
    """Whether frames of this file are looked through, so that what called them counts."""
    return _classify(filename) is None


def kind_of(frame: FrameType | None) -> Kind:
    """`find().kind` from this frame on, as cheaply as it goes: for what is called by the thousand."""
    while frame is not None:
        kind = _classify(frame.f_code.co_filename)
        if kind is not None:
            return kind
        frame = frame.f_back
    return "library"


def person_line() -> tuple[str, int] | None:
    """(file, line) of the nearest of the person's own frames; None where nothing of theirs is on the stack."""
    frame = person_frame()
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None


def person_frame() -> FrameType | None:
    """The nearest of the person's own frames; None where nothing of theirs is on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _classify(frame.f_code.co_filename) != "person":
        frame = frame.f_back
    return frame
