"""A pickle program is rehearsed with inert actors before a real machine sees it.

    rehearse(program, grant, encoding="ASCII")      # raises ContractViolation; nothing real is resolved or called

The real C machine runs the program over classes that do nothing but check: every global, everything that is done with
it (called, instantiated, given state, changed) and the arguments that matter. The bytes are the very bytes that run
afterwards, and a pickle program has no branches, so what passes here is what happens there. It is the wall's own
machine: it takes nothing from the scanner, and does not let a blind one be fooled.
"""

from __future__ import annotations

import _pickle
import contextlib
import copyreg
import io
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from nbguard.hooks.grants import Grant
from nbguard.hooks.walls.arguments import CALLS
from nbguard.hooks.walls.feed import Feed
from nbguard.hooks.walls.inert import Inert, Kind
from nbguard.hooks.walls.permissions import NotFree, Permissions, free, mapped
from nbguard.hooks.walls.stage import Stage

_Machine: type[Any] = _pickle.Unpickler
"""The C class itself: the name in `pickle` may be a guarded one."""


def rehearse(
    program: bytes,
    grant: Grant,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = None,
    carried: Carried | None = None,
) -> None:
    """Check everything that `program` would do against the contract of `grant`.

    `fix_imports`, `encoding` and `errors` are those of the real load, so that both read the same names. Raises
    ContractViolation, and whatever the real machine raises for bytes that are no complete pickle. A load that a person
    accepted as dangerous is not rehearsed: it is held to its bytes, names and effects.
    """
    if not grant.enforced or grant.accepted_danger:
        return
    if not grant.contract.globals and not grant.explained and (carried is None or carried.fresh):
        return
    stage = Stage(Permissions(grant), grant)
    hand = _Stagehand(stage)
    with _no_extensions(stage.stop_for):
        if carried is not None and not carried.fresh:
            carried.run(program, hand)
        else:
            source = io.BufferedReader(io.BytesIO(program), 1 << 17)
            stand_ins = None if buffers is None else [b"" for _ in buffers]
            machine = _Rehearsal(source, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=stand_ins)
            machine.hand = hand
            machine.load()
    stage.finish()


def rehearse_file(opcodes: Any, grant: Grant, on_array: Callable[[bool], None]) -> None:
    """The same for a program with arrays inside, as joblib writes them.

    `opcodes` has `read` and `readline` and no `peek`; `on_array(counted)` moves it behind an array, once the array's
    wrapper has its state.
    """
    if not grant.enforced or grant.accepted_danger:
        return
    stage = Stage(Permissions(grant), grant, on_array)
    machine = _Rehearsal(opcodes)
    machine.hand = _Stagehand(stage)
    with _no_extensions(stage.stop_for):
        machine.load()
    stage.finish()


class Carried:
    """What an Unpickler object remembers from one pickle to the next, for its rehearsals.

    The real machine keeps its memo between calls of `load`: with what an earlier program left there, the same bytes do
    something else. So a later program is rehearsed by a machine that has been through the earlier ones too.
    """

    def __init__(self, **how: Any) -> None:
        self._how = how
        self._earlier: list[bytes] = []
        self._machine: Any = None
        self._feed = Feed()
        self._ahead = False
        self._lost = False

    @property
    def fresh(self) -> bool:
        """Whether nothing was loaded yet."""
        return self._machine is None and not self._earlier

    def ran(self, program: bytes) -> None:
        """The real machine has run `program`, or tried to."""
        if not self._ahead:
            self._earlier.append(program)
        self._ahead = False

    def run(self, program: bytes, hand: Any) -> None:
        """Rehearse `program` after all earlier ones. After a failure the two machines may differ: then never again."""
        if self._lost:
            raise pickle.UnpicklingError("this Unpickler has failed before, and reads no more")
        self._lost = True
        if self._machine is None:
            self._machine = _Rehearsal(self._feed.reader, **self._how)
        self._machine.hand = _Anyhow()
        while self._earlier:
            self._feed.put(self._earlier.pop(0))
            self._machine.load()
        self._machine.hand = hand
        self._feed.put(program)
        self._machine.load()
        self._ahead, self._lost = True, False


def first_program(data: bytes | memoryview) -> tuple[int, bool]:
    """(length of the pickle program that `data` starts with, whether every global it names is free).

    Raises what the machine raises where `data` holds no complete program.
    """
    stagehand = _Census()
    source = io.BufferedReader(io.BytesIO(data), 1 << 17)
    machine = _Rehearsal(source, encoding="latin1")
    machine.hand = stagehand
    with _no_extensions(_extension):
        machine.load()
    return source.tell(), stagehand.all_free


def _extension(why: str) -> None:
    raise NotFree(why)


@contextlib.contextmanager
def _no_extensions(refuse: Callable[[str], None]) -> Iterator[None]:
    """Refuse EXT opcodes. What they resolved to before is forgotten first: a cached one would be the real thing."""
    cache = copyreg._extension_cache  # type: ignore[attr-defined]  # the machine's own, private by name only
    cache.clear()
    try:
        yield
    finally:
        used = bool(cache)
        cache.clear()
    if used:
        refuse("it uses the extension registry of the process instead of a name.")


class _Rehearsal(_Machine):  # type: ignore[misc]  # a base class known only at run time
    """The C machine, which gets every global and every persistent object from its hand."""

    hand: Any

    def find_class(self, module: str, name: str) -> Any:
        return self.hand.actor(module, name)

    def persistent_load(self, pid: Any) -> Any:
        return self.hand.persistent(pid)


class _Stagehand:
    """Hands out one inert class for each global, after the name itself has passed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._actors: dict[tuple[str, str], Kind] = {}

    def actor(self, module: str, name: str) -> Any:
        found = self._actors.get((module, name))
        if found is None:
            self._stage.permissions.name(module, name)
            found = self._stage.kind(*mapped(module, name))
            self._actors[module, name] = found
        return found

    def persistent(self, pid: Any) -> Any:
        handed_back = self._stage.persistent(pid)
        return self._stage.kind("", "persistent id").bare() if handed_back is None else handed_back


class _Anything:
    """A stage on which nothing is checked."""

    def happened(self, verb: str, kind: Kind, subject: Inert | None, args: tuple[Any, ...]) -> Any:
        return None if subject is not None else kind.bare()

    def on_global(self, kind: Kind) -> None:
        return None


class _Anyhow:
    """Hands out actors that nobody watches: for programs that were rehearsed before, or needed no rehearsal."""

    def actor(self, module: str, name: str) -> Any:
        return Kind.make(mapped(module, name), _Anything())

    def persistent(self, pid: Any) -> Any:
        return Kind.make(("", "persistent id"), _Anything()).bare()


class _Free:
    """A stage for free globals: harmless whatever is done with them, once no argument makes them endless."""

    def happened(self, verb: str, kind: Kind, subject: Inert | None, args: tuple[Any, ...]) -> Any:
        from nbguard import rules

        rule = rules.lookup(*kind._names)
        if verb == "called" or rule is None:
            raise NotFree("a call on a result")
        if verb == "reduce" and rule.check:
            if rule.check not in _SIMPLE:
                raise NotFree(rule.check)
            CALLS[rule.check](cast("Stage", self), kind, args)
        return None if subject is not None else kind.bare()

    def on_global(self, kind: Kind) -> None:
        raise NotFree("something done to a global itself")

    def stop(self, kind: Kind, why: str) -> None:
        raise NotFree(why)


_SIMPLE = frozenset({"iterable", "small", "bytearray", "fraction"})
"""Checks that need nothing but the arguments."""


class _Census:
    """Finds out whether a program names anything but free globals."""

    def __init__(self) -> None:
        self.all_free = True
        self._stage: Any = _Free()
        self._actors: dict[tuple[str, str], Any] = {}
        self._free: Callable[[str, str], bool] = free

    def actor(self, module: str, name: str) -> Any:
        found = self._actors.get((module, name))
        if found is None:
            if not self._free(module, name):
                self.all_free = False
                raise NotFree(f"{module}.{name}")
            found = self._actors[module, name] = Kind.make(mapped(module, name), self._stage)
        return found

    def persistent(self, pid: Any) -> Any:
        self.all_free = False
        raise NotFree("persistent id")
