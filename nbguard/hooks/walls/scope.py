"""Which grant the unpickling that runs right now belongs to.

    with machine(grant):            # inside: names and effects are held to this grant's contract
        original(data)
    with outside():                 # our own work in the middle of it: scanning, asking, logging
        ...

The context variable and its tokens live in a closure: no importable name leads to them. A copied context carries a
token that is dead once its `with` block has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant


class FreeOnly:
    """In the place of a grant: only globals that are free and need no check may be named."""

    __slots__ = ()


class OwnOnly(FreeOnly):
    """In the place of a grant: what the person's own code dumped into memory a moment ago. Anything may be named but
    what is known to be harmful."""

    __slots__ = ()


FREE_ONLY = FreeOnly()
OWN_ONLY = OwnOnly()


class _Token:
    __slots__ = ("grant", "live")

    def __init__(self, grant: Grant | FreeOnly) -> None:
        self.grant = grant
        self.live = True


def _make() -> tuple[
    Callable[[], Grant | FreeOnly | None],
    Callable[[Grant | FreeOnly], AbstractContextManager[None]],
    Callable[[], AbstractContextManager[None]],
]:
    running: ContextVar[_Token | None] = ContextVar("nbguard.running", default=None)
    get = running.get

    def held() -> Grant | FreeOnly | None:
        """What the unpickling in this context is held to; None outside of every guarded machine."""
        token = get()
        return token.grant if token is not None and token.live else None

    @contextlib.contextmanager
    def machine(grant: Grant | FreeOnly) -> Iterator[None]:
        """Hold names and effects to the contract of `grant` until the block ends, in every copy of this context."""
        token = _Token(grant)
        before = running.set(token)
        try:
            yield
        finally:
            token.live = False
            running.reset(before)

    @contextlib.contextmanager
    def outside() -> Iterator[None]:
        """Step out of the machine for nbguard's own work."""
        before = running.set(None)
        try:
            yield
        finally:
            running.reset(before)

    return held, machine, outside


held, machine, outside = _make()


def current() -> Grant | None:
    """The grant whose program runs in this context; None outside of every guarded machine."""
    found = held()
    return None if isinstance(found, FreeOnly) else found
