"""`pickle.dump`, `pickle.dumps` and `pickle.Pickler`, which are written in C.

    pickle.dumps(value)         # its digest is kept in memory: loading it again is no question

A library's own calls reach the C functions at once, at the price of one look at who calls. `pickle.dumps` is recorded
where the person wrote the call; what is dumped into a file also where a library does it for them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from nbguard.hooks import caller, grants
from nbguard.hooks.installed import Installed
from nbguard.hooks.savers import memory
from nbguard.hooks.savers.engine import persons_own
from nbguard.hooks.savers.entry import Saver
from nbguard.hooks.savers.tee import Tee
from nbguard.hooks.walls import scope

_STACK_GLOBAL = b"\x93"
"""From protocol 4 on the one opcode with which Python's pickler names anything (`Lib/pickle.py`, `save_global`)."""
MOST_FILES = 4_096
"""Callers' files that are kept in mind; every cell of a notebook is one."""


def watch(hooks: Installed, pickle: ModuleType) -> None:
    """Watch the module `pickle`."""
    c_dumps, c_dump = pickle.dumps, pickle.dump
    remember, held, current = memory.remember, scope.held, grants.current
    frame_of = sys._getframe
    persons: dict[str, bool] = {}  # by the caller's file, for calls that come by the thousand

    def dumps(obj: Any, protocol: Any = None, *, fix_imports: bool = True, buffer_callback: Any = None) -> bytes:
        """Return the pickled representation of the object as bytes. See `pickle.dumps`."""
        data: bytes
        if protocol is None and fix_imports and buffer_callback is None:
            data = c_dumps(obj)
        else:
            data = c_dumps(obj, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)
        if _STACK_GLOBAL not in data and data[0] == 0x80 and data[1] > 3:
            return data  # it names nothing, and such data is no question anyway
        frame = frame_of(1)
        name = frame.f_code.co_filename
        person = persons.get(name)
        if person is None:
            person = caller.kind_of(frame) == "person"
            if len(persons) < MOST_FILES and not caller.transparent(name):
                persons[name] = person
        if person and held() is None and current() is None:
            remember("pickle", data)
        return data

    def dump(
        obj: Any, file: Any, protocol: Any = None, *, fix_imports: bool = True, buffer_callback: Any = None
    ) -> None:
        """Write a pickled representation of obj to the open file object file. See `pickle.dump`."""
        if not callable(getattr(file, "write", None)) or not persons_own():
            c_dump(obj, file, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)
            return
        tee = Tee(file)
        c_dump(obj, tee, protocol, fix_imports=fix_imports, buffer_callback=buffer_callback)
        tee.note("pickle.dump", "pickle")

    hooks.replace(pickle, "dumps", _Native.of(dumps))
    hooks.replace(pickle, "dump", _Native.of(dump))
    hooks.replace(pickle, "Pickler", _watched(pickle.Pickler))


class _Native(functools.partial):  # type: ignore[type-arg]
    """In place of a C function: like one, it does not become a method where a class holds it, and pickles by name. A
    partial, because that adds no frame of Python's and hardly any time."""

    __name__: str
    __qualname__: str

    @classmethod
    def of(cls, function: Callable[..., Any]) -> _Native:
        made = cls(function)
        made.__module__, made.__doc__ = "pickle", function.__doc__
        made.__name__ = made.__qualname__ = function.__name__
        return made

    def __get__(self, instance: Any, owner: type | None = None) -> _Native:
        return self

    def __reduce__(self) -> Any:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<function pickle.{self.__qualname__}, watched by nbguard>"


def watch_shelf(hooks: Installed, shelve: ModuleType) -> None:
    """Watch what shelves put into their database."""
    entry = Saver(name="shelve", module="shelve", function="", target=(), family="pickle")

    def setitem(original: Callable[..., Any], self: Any, key: str, value: Any) -> None:
        original(self, key, value)
        if persons_own():
            _note_value(entry, self, key)

    hooks.swap(shelve.Shelf.__setitem__, setitem)


def _note_value(entry: Saver, shelf: Any, key: str) -> None:
    import hashlib

    from nbguard.hooks.savers import ledger

    try:
        data = bytes(shelf.dict[key.encode(shelf.keyencoding)])
    except (KeyError, TypeError, ValueError, OSError):
        return
    ledger.note_program(entry.name, entry.family, "", hashlib.sha256(data).hexdigest(), len(data))


def _watched(machine: type[Any]) -> type[Any]:
    """A drop-in for `pickle.Pickler`: the C machine, with what passes into the file followed for the person."""

    class Pickler(machine):  # type: ignore[misc]  # a base class known only at run time
        """This takes a binary file for writing a pickle data stream. See the standard library's documentation."""

        def __init__(self, file: Any, *args: Any, **kwargs: Any) -> None:
            self.__tee: Tee | None = None
            if type(self) is Pickler and callable(getattr(file, "write", None)) and persons_own():
                file = self.__tee = Tee(file)
            machine.__init__(self, file, *args, **kwargs)

        def dump(self, obj: Any) -> None:
            """Write a pickled representation of the given object to the open file."""
            machine.dump(self, obj)
            if self.__tee is not None and persons_own():
                self.__tee.note("pickle.Pickler", "pickle")

    Pickler.__module__, Pickler.__qualname__ = "pickle", "Pickler"
    made: type[Any] = Pickler
    return made
