"""What code may do that a library makes from text in a file while it loads: define and compute. Nothing else.

    with held(grant):
        torch.export.load(path)         # prints names into source and runs it; a name that acts: ContractViolation

An event counts where a frame of such code is on the stack between it and the load: code that came from no file, or
from one that no package installed. What the library itself does is its own affair. Events are those of the third wall,
and the start of a thread. A second line behind the scan: what such code leaves behind for later is not seen here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbguard.hooks import trust
from nbguard.hooks.swap import FILENAME
from nbguard.hooks.walls import code_effects, effects

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant

_OWN = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_ENGINE = os.path.join(_OWN, "hooks", "loaders", "declared.py")
_DEEPEST = 2_000
"""Frames looked at; the recursion limit of Python is half of that."""


def _make() -> Callable[[Grant], AbstractContextManager[None]]:
    """The context variable and the hook live in a closure: no importable name leads to them."""
    running: ContextVar[list[tuple[Grant, int]] | None] = ContextVar("nbguard.made", default=None)
    added: list[bool] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        token = running.get()
        if token:
            grant, edge = token[0]
            what = effects._effect(event, args)
            if what is not None and _made(sys._getframe(1), edge):
                before = running.set(None)
                try:
                    from nbguard.hooks import walk

                    problem = walk.violation(grant, f"code made from text in it tried {what}.")
                finally:
                    running.reset(before)
                raise problem

    @contextlib.contextmanager
    def held(grant: Grant) -> Iterator[None]:
        if not added:
            added.append(True)
            sys.addaudithook(hook)
        token = [(grant, _edge(sys._getframe(1)))]
        before = running.set(token)
        quiet_threads = code_effects.announce_threads()
        try:
            yield
        finally:
            quiet_threads()
            token.clear()  # a copy of this context is held to nothing afterwards
            running.reset(before)

    return held


held = _make()


def _edge(frame: FrameType | None) -> int:
    """Identity of the frame that makes the guarded call; it stays on the stack for as long as the wall stands."""
    while frame is not None and (frame.f_code.co_filename, frame.f_code.co_name) != (_ENGINE, "_around"):
        frame = frame.f_back
    return id(frame)


def _made(frame: FrameType | None, edge: int) -> bool:
    """Whether code from no installed file is on the stack between `frame` and the guarded call."""
    for _ in range(_DEEPEST):
        if frame is None or id(frame) == edge:
            return False
        file = frame.f_code.co_filename
        if file != FILENAME and not file.startswith(_OWN) and not trust.is_installed(file):
            return True
        frame = frame.f_back
    return True


__all__ = ["held"]
