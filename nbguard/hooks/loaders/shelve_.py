"""`shelve`: one question about all values of a database when it is opened, then each is held to what was scanned.

    with shelve.open("features") as shelf:      # one question
        shelf["train"]                          # run only if these bytes were scanned, or written by this kernel

Values are pickles laid in a database that others can write to meanwhile. So each value is recognised by its bytes when
it is read: those that were scanned run under what was accepted, all others go the way of any pickle in memory, where
what the person's own kernels wrote is known.
"""

from __future__ import annotations

import collections.abc
import hashlib
import os
import sys
import weakref
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller, grants, swap, walk
from nbguard.hooks.grants import Grant
from nbguard.hooks.installed import Installed
from nbguard.hooks.short_traces import FILENAME
from nbguard.hooks.streams import Stream
from nbguard.hooks.unpickling import Options, perform, unpickle
from nbguard.hooks.walls import scope

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

_BETWEEN = (__file__, swap.__file__, FILENAME)
"""What stands between a call of an exchanged function and its guard."""
MAX_BYTES = 1 << 30
"""Of all values of one database."""


def guard(hooks: Installed, shelve: ModuleType) -> None:
    """Guard the module `shelve`."""
    import pickle

    accepted: dict[int, Grant] = {}
    files = frozenset({str(shelve.__file__), collections.abc.Mapping.get.__code__.co_filename})

    def opened(original: Callable[..., Any], self: Any, filename: Any, flag: str = "c", *args: Any, **kw: Any) -> None:
        who = _caller(files)
        grant = _admitted(filename, who) if who.kind == "person" and flag != "n" else None
        original(self, filename, flag, *args, **kw)
        if grant is not None and grant.enforced:
            accepted[id(self)] = grant
            grant.keep(self)
            weakref.finalize(self, accepted.pop, id(self), None).atexit = False

    def getitem(original: Callable[..., Any], self: Any, key: str) -> Any:
        who = _caller(files)
        if who.kind == "machinery" or key in self.cache:
            return original(self, key)
        data = bytes(self.dict[key.encode(self.keyencoding)])
        value = _read(data, accepted.get(id(self)), who)
        if self.writeback:
            self.cache[key] = value
        return value

    hooks.swap(shelve.DbfilenameShelf.__init__, opened)
    hooks.swap(shelve.Shelf.__getitem__, getitem)
    hooks.replace(shelve, "Unpickler", pickle.Unpickler)  # bound before the guard came; BsdDbShelf reads with it
    hooks.on_undo(accepted.clear)


def _caller(files: frozenset[str]) -> caller.Caller:
    """Who reads the shelf. `shelve.open`, and what in a mapping ends in `shelf[key]`, is looked through."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (frame.f_code.co_filename in files or frame.f_code.co_filename in _BETWEEN):
        frame = frame.f_back
    module = frame.f_globals.get("__name__", "?") if frame is not None else "?"
    return caller.Caller(caller.kind_of(frame), str(module))


def _read(data: bytes, grant: Grant | None, who: caller.Caller) -> Any:
    import _pickle

    outer = grants.current()
    if outer is not None:
        outer.still_allowed()
    if grant is not None:
        program = grant.by_length.get(len(data), {}).get(hashlib.sha256(data).hexdigest())
        if program is not None:
            return perform(grant, data, Options(), _pickle.loads)
    return unpickle(Stream.of_bytes(data), "shelve.Shelf", who, Options(), _pickle.loads)


def _admitted(filename: Any, who: caller.Caller) -> Grant | None:
    """The grant for all values that the database holds now; None where it holds none, or is made just now."""
    with scope.outside():
        opened = _values(os.fsdecode(filename))
        if opened is None:
            return None
        with opened:
            request = LoadRequest("shelve.open", os.fsdecode(filename), "path", {}, in_person_code=who.kind == "person")
            return walk.admit(request, opened)


def _values(name: str) -> Opened | None:
    """All values, each once, laid end to end as one stream of pickles, which is what is scanned."""
    import dbm

    from nbguard.artifact.names import shown
    from nbguard.artifact.sources import open_bytes

    if not dbm.whichdb(name):  # not there, or nothing that dbm opens
        return None
    values: dict[bytes, None] = {}
    size = 0
    with dbm.open(name, "r") as database:
        for key in database.keys():  # noqa: SIM118 - a database is no mapping
            value = bytes(database[key])
            size += 0 if value in values else len(value)
            if size > MAX_BYTES:
                raise walk.blocked("it holds more than is looked at at once", "shelve.open", name)
            values[value] = None
    if not values:
        return None
    opened = open_bytes(b"".join(values), name=shown(os.path.basename(name)))
    opened.target = shown(name)
    opened.provenance.update({"source": "file", "path": shown(os.path.realpath(name))})
    return opened
