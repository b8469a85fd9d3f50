"""What a load was granted, for how long, and which outer request it belongs to.

    with grant:                         # live: nested loads of the same content are recognised
        original(...)
    by_program(sha256)                  # the live grants whose contract holds this pickle program
    by_code(sha256)                     # … or this source file

Libraries load in nested calls, thread pools and lazily, after the call has returned. A nested load is therefore
recognised by the content it opens, not by the thread it runs in, and a grant may be kept while an object lives.
A refusal is final for the whole outer request: a library that swallows the exception and tries another way is refused
again, and the person's call ends in the refusal whatever the library made of it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from nbguard.artifact.model import LoadRequest
from nbguard.errors import LoadBlocked
from nbguard.report.model import Contract, Program, Report

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


@dataclass(eq=False)
class OuterRequest:
    """One load as its caller sees it, with everything that it loads inside."""

    live: bool = True
    refused: LoadBlocked | None = None
    grants: list[Grant] = field(default_factory=list)

    def refuse(self, why: LoadBlocked) -> None:
        """Make the first refusal stick."""
        if self.refused is None:
            self.refused = why

    def still_allowed(self) -> None:
        """Raise the refusal again, if there was one."""
        if self.refused is not None:
            raise self.refused


_request: ContextVar[OuterRequest | None] = ContextVar("nbguard.request", default=None)
_live_requests: list[OuterRequest] = []
_live_grants: list[Grant] = []
_lock = threading.RLock()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def current() -> OuterRequest | None:
    """The outer request that this context is in; a copied context does not outlive it."""
    request = _request.get()
    return request if request is not None and request.live else None


@contextlib.contextmanager
def outer() -> Iterator[OuterRequest]:
    """The outer request: the one that is on, or a new one until the block ends.

    Raises the refusal at its end if anything inside was refused, even where a library swallowed that.
    """
    there = current()
    if there is not None:
        yield there
        return
    request = OuterRequest()
    before = _request.set(request)
    with _lock:
        _live_requests.append(request)
    try:
        yield request
    except Exception as error:
        if request.refused is not None and not isinstance(error, LoadBlocked):
            raise request.refused from error  # a library has made its own error of the refusal
        raise
    finally:
        request.live = False
        with _lock:
            _live_requests.remove(request)
        _request.reset(before)
    if request.refused is not None:
        raise request.refused


def refuse(why: LoadBlocked, *, alone: bool = False) -> LoadBlocked:
    """Make `why` final for the request of this context or, in a thread that belongs to none, for all that are on.

    `alone`: the person's own code made this call outside of any other load, so that it is nobody else's refusal.
    """
    there = current()
    if there is None and alone:
        return why
    with _lock:
        for request in [there] if there is not None else list(_live_requests):
            request.refuse(why)
    return why


@dataclass(eq=False)
class Grant:
    """What one accepted load may do. A context manager: live within its block, and longer where it was kept."""

    report: Report
    opened: Opened
    request: LoadRequest
    accepted_by_person: bool = False
    """A person saw the report and accepted, now or by an approval given before."""
    enforced: bool = True
    """False where the site only observes: the load then goes on as if it were not guarded."""
    own_work: bool = False
    """This user's own guarded kernels wrote it, byte for byte, and the policy loads that without a question."""
    live: bool = False
    explained: bool = False
    """While a program is rehearsed without a scan, to see whether the rules explain all of it as data."""
    writable: str | None = None
    """Real path of the one file that the caller asked to have mapped for writing."""
    _entered: int = 0
    _kept: int = 0
    requests: list[OuterRequest] = field(default_factory=list)
    """The outer requests that it is in force for; a violation in whatever thread ends them all."""
    _files: list[tuple[weakref.ref[object], int]] = field(default_factory=list)
    _stacks: dict[int, list[tuple[contextlib.ExitStack, OuterRequest]]] = field(default_factory=dict)
    """By thread: several may load under one grant at the same time."""
    permitted: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Names that passed the second wall; kept here so that each is judged once for a grant."""

    @property
    def contract(self) -> Contract:
        return self.report.contract

    @property
    def accepted_danger(self) -> bool:
        """A person accepted a report whose verdict was danger."""
        from nbguard.report.model import Verdict

        return self.accepted_by_person and self.report.verdict is Verdict.DANGER

    def __enter__(self) -> Grant:
        stack = contextlib.ExitStack()
        request = stack.enter_context(outer())
        request.grants.append(self)
        with _lock:
            self._stacks.setdefault(threading.get_ident(), []).append((stack, request))
            self.requests.append(request)
            self._entered += 1
        self._register()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with _lock:
            stack, request = self._stacks[threading.get_ident()].pop()
            self.requests.remove(request)
            self._entered -= 1
        request.grants.remove(self)
        self._register()
        return stack.__exit__(kind, error, trace)

    def keep(self, owner: object) -> None:
        """Stay live for as long as `owner` does: what was loaded lazily belongs to the same load."""
        self._kept += 1
        self._register()
        weakref.finalize(owner, self._release).atexit = False

    def keep_with(self, file: object, start: int) -> None:
        """Stay live for as long as a file object does, so that its next pickle is recognised; not every object can.

        `start` is the position in the file that the programs' offsets count from.
        """
        try:
            self._files.append((weakref.ref(file), start))
            self.keep(file)
        except TypeError:
            return

    def belongs_to(self, file: object) -> bool:
        """Whether it was kept with this very file object."""
        return any(ref() is file for ref, _ in self._files)

    def expected(self, file: object, position: int) -> Program | None:
        """The program that the scan found at this position of this very file."""
        for ref, start in self._files:
            if ref() is file:
                return self._by_offset.get(position - start)
        return None

    @functools.cached_property
    def _by_offset(self) -> dict[int, Program]:
        return {p.offset: p for p in self.contract.programs if not p.ranges and not p.member and not p.compression}

    @functools.cached_property
    def by_length(self) -> dict[int, dict[str, Program]]:
        """Length → digest → program, of those that lie in one piece."""
        found: dict[int, dict[str, Program]] = {}
        for program in self.contract.programs:
            if not program.ranges and program.length > 0:
                found.setdefault(program.length, {})[program.sha256] = program
        return found

    def keep_forever(self) -> None:
        """Stay live until the process ends: modules of a repository may be imported at any later time."""
        self._kept += 1
        self._register()

    def _release(self) -> None:
        self._kept -= 1
        self._register()

    def _register(self) -> None:
        with _lock:
            self.live = self._entered > 0 or self._kept > 0
            if self.live and self not in _live_grants:
                _live_grants.append(self)
            elif not self.live and self in _live_grants:
                _live_grants.remove(self)


def innermost() -> Grant | None:
    """The grant in force for this context's request; None outside of every request."""
    request = current()
    return request.grants[-1] if request is not None and request.grants else None


def live() -> tuple[Grant, ...]:
    """Every grant that is in force, the newest first."""
    with _lock:
        return tuple(reversed(_live_grants))


def by_program(sha256: str) -> tuple[Grant, ...]:
    """Live grants whose contract holds the pickle program with this digest."""
    return tuple(g for g in live() if any(p.sha256 == sha256 for p in g.contract.programs))


def by_code(sha256: str) -> tuple[Grant, ...]:
    """Live grants whose contract holds source with this digest."""
    return tuple(g for g in live() if any(c.sha256 == sha256 for c in g.contract.code))


def close_all() -> None:
    """Let no grant outlive the guard: what was kept for later is in force no more."""
    with _lock:
        for grant in list(_live_grants):
            grant._kept = 0
            if grant._entered == 0:
                grant.live = False
                _live_grants.remove(grant)
