"""Every pickle program goes through here before a machine runs it: recognised, or admitted; rehearsed; then run.

    unpickle(Stream.of_bytes(data), "pickle.loads", caller.find(2), options, run)

`run(program)` is the real machine on exactly these bytes. It runs with the names and effects walls up.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from nbguard.artifact.model import LoadRequest
from nbguard.errors import ContractViolation
from nbguard.hooks import grants, own, walk
from nbguard.hooks.caller import Caller
from nbguard.hooks.grants import Grant
from nbguard.hooks.streams import Stream
from nbguard.hooks.walls import scope
from nbguard.hooks.walls.permissions import NotFree
from nbguard.hooks.walls.rehearsal import Carried, first_program, rehearse

Run = Callable[[bytes], Any]

SMALL = 1 << 16
"""Bytes up to which a digest costs less than to begin with a program that may name more than free globals."""


@dataclass(frozen=True)
class Options:
    """How the program is to be read; the rehearsal reads it the same way."""

    fix_imports: bool = True
    encoding: str = "ASCII"
    errors: str = "strict"
    buffers: Any = None
    plain: bool = True
    """The machine resolves names itself, so that the second wall sees them all. A subclass with its own `find_class`
    may not: such a program is always scanned."""
    carried: Carried | None = None
    """What the machine remembers of earlier programs, where it is one that goes on."""


def unpickle(stream: Stream, loader: str, who: Caller, options: Options, run: Run) -> Any:
    """Load the pickle that comes next in `stream`. Raises LoadBlocked, and what the real machine raises."""
    running = scope.current()
    if running is None:
        small = stream.file is None and len(stream.rest()) <= SMALL
        for way in (_own, _with_free_globals) if small else (_with_free_globals, _own):
            try:
                return way(stream, loader, who, options, run)
            except NotFree:
                continue
    known = stream.recognise(_candidates(stream, who))
    if known is not None and known[0].enforced:
        return perform(known[0], stream.take(known[1].length), options, run)
    outer = grants.current()
    if outer is not None:
        outer.still_allowed()
    if stream.file is None and who.kind == "library" and options.plain:
        try:
            return _explained(stream.rest(), loader, who, options, run)
        except walk.NotExplained:
            pass
    if running is None and options.plain and _may_be_plain(stream, who):
        length = _free_length(stream)
        if length is not None:
            return _remembered(options, run, stream.take(length))
    return _admitted(stream, loader, who, options, run)


def perform(grant: Grant, program: bytes, options: Options, run: Run) -> Any:
    """Rehearse a program of `grant`, then run it behind the walls."""
    clear_extension_cache()
    kept = list(options.buffers) if options.buffers is not None else None
    with scope.outside():
        rehearse(
            program,
            grant,
            fix_imports=options.fix_imports,
            encoding=options.encoding,
            errors=options.errors,
            buffers=kept,
            carried=options.carried,
        )
    return behind_walls(grant, lambda: _remembered(options, run, program))


def _own(stream: Stream, loader: str, who: Caller, options: Options, run: Run) -> Any:
    """Run one pickle in memory that the person's own code dumped in this process or one of its forks: what it brings
    back was here before. It runs as machinery's own pickles do. Logged once for each caller: such round trips are made
    by the thousand.

    Raises NotFree where it is something else, and before anything known to be harmful is named: that is asked about.
    """
    if stream.file is not None and not isinstance(stream.file, io.BytesIO):
        raise NotFree
    from nbguard.hooks.savers import memory

    program = stream.rest()
    if not (memory.holds("pickle", program) or memory.holds("by-value", program)) or not own.wanted():
        raise NotFree
    if (loader, who.module) not in _told_own:
        walk.note("load.own", loader=loader, caller=who.module, why="dumped in this session, and still in memory")
        _told_own.add((loader, who.module))
    clear_extension_cache()
    with scope.machine(scope.OWN_ONLY):
        result = run(program)
    if options.carried is not None:
        options.carried.ran(program)
    stream.take(len(program))
    return result


_told_own: set[tuple[str, str]] = set()
"""Callers whose round trips through memory are in the log of this process."""


def _with_free_globals(stream: Stream, loader: str, who: Caller, options: Options, run: Run) -> Any:
    """Run a program from memory that may name nothing but free globals. Raises NotFree where it does.

    What ran until then was harmless, so that nothing has to be looked at first: plain data costs what it always did.
    """
    if stream.file is not None or not options.plain:
        raise NotFree
    clear_extension_cache()
    with scope.machine(scope.FREE_ONLY):
        return run(stream.rest())


def _explained(program: bytes, loader: str, who: Caller, options: Options, run: Run) -> Any:
    """Run a program from memory, for a library, if the rules explain all of it as data. Raises NotExplained if not.

    Libraries unpickle by the thousand. What the scan would call safe is seen by the rehearsal alone; which library
    does so is logged once.
    """
    grant = _explained_grant(loader)
    with scope.outside():
        kept = list(options.buffers) if options.buffers is not None else None
        rehearse(
            program,
            grant,
            fix_imports=options.fix_imports,
            encoding=options.encoding,
            errors=options.errors,
            buffers=kept,
        )
        if who.module not in _told:
            walk.note("load.explained", loader=loader, caller=who.module)
            _told.add(who.module)
    grant.explained = False
    return behind_walls(grant, lambda: run(program))


_told: set[str] = set()
"""Libraries whose loads of explained data are in the log of this process."""


def _explained_grant(loader: str) -> Grant:
    from nbguard.artifact.model import Artifact
    from nbguard.artifact.sources import Opened
    from nbguard.report.model import Report

    report = Report("<stream>", Artifact("<stream>", "stream", ()), ())
    request = LoadRequest(loader, "<stream>", "stream", in_person_code=False)
    return Grant(report, Opened("<stream>", "stream", ()), request, explained=True)


def _remembered(options: Options, run: Run, program: bytes) -> Any:
    if options.carried is not None:
        options.carried.ran(program)
    return run(program)


def behind_walls(grant: Grant, run: Callable[[], Any]) -> Any:
    """Run a machine with names and effects held to the contract of `grant`. The walls take this frame as their edge."""
    with _entered(grant), scope.machine(grant):
        return run()


def clear_extension_cache() -> None:
    """Forget what EXT opcodes resolved to before: a cached one raises no event."""
    import copyreg

    copyreg._extension_cache.clear()  # type: ignore[attr-defined]  # the machine's own cache, private by name only


def _entered(grant: Grant) -> AbstractContextManager[Any]:
    return grant if grants.current() is None or not grant._entered else grants.outer()


def _candidates(stream: Stream, who: Caller) -> list[Grant]:
    """Grants whose programs may be run without asking anew: those of this request, of this very file, and, for a
    library in whatever thread, those of every load that is on."""
    request = grants.current()
    inside = set(map(id, request.grants)) if request is not None else set()
    return [
        grant
        for grant in grants.live()
        if id(grant) in inside or who.kind == "library" or (stream.file is not None and grant.belongs_to(stream.file))
    ]


def _may_be_plain(stream: Stream, who: Caller) -> bool:
    """Bytes in memory, and what libraries read for themselves, need no question while every global in them is free.

    A file that the person names is always scanned and shown.
    """
    return stream.file is None or who.kind == "library" or isinstance(stream.file, io.BytesIO)


def _free_length(stream: Stream) -> int | None:
    """Length of the program that comes next if all it names is free; None for everything else, broken bytes too."""
    size = 1 << 16
    while True:
        data = stream.peek(size)
        try:
            length, free = first_program(data)
        except NotFree:
            return None
        except (
            EOFError,
            ValueError,
            ArithmeticError,
            LookupError,
            TypeError,
            AttributeError,
            MemoryError,
            _Unpickling,
        ):
            if len(data) < size:
                return None
            size *= 8
            continue
        return length if free else None


def _admitted(stream: Stream, loader: str, who: Caller, options: Options, run: Run) -> Any:
    from nbguard.artifact.sources import open_bytes

    data = stream.rest()
    if len(data) == 0:
        raise EOFError("Ran out of input")
    name = stream.name
    with scope.outside():
        opened = stream.as_file() or open_bytes(data, name=os.path.basename(name or "") or "<stream>")
        with opened:
            person = who.kind == "person"
            grant = walk.admit(LoadRequest(loader, name or "<stream>", opened.kind, {}, in_person_code=person), opened)
    known = stream.recognise([grant])
    if not grant.enforced:
        length = known[1].length if known is not None else _length(data)
        return behind_walls(grant, lambda: run(stream.take(length)))
    if known is None:
        raise walk.violation(grant, "what comes first in it is not a pickle program that was scanned.")
    if stream.file is not None:
        grant.keep_with(stream.file, stream.position)
    with grant:
        return perform(grant, stream.take(known[1].length), options, run)


def _length(data: bytes) -> int:
    """Of the pickle that `data` begins with; all of it where that cannot be told."""
    from nbguard.hooks.streams import one_pickle

    try:
        return len(one_pickle(io.BytesIO(data)))
    except (_Unpickling, EOFError):
        return len(data)


def _unpickling_error() -> type[Exception]:
    import pickle

    return pickle.UnpicklingError


_Unpickling = _unpickling_error()

__all__ = ["ContractViolation", "Options", "behind_walls", "clear_extension_cache", "perform", "unpickle"]
