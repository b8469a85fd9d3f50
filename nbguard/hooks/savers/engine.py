"""Watch the savers that an entry describes: let them write as ever, and record what they wrote.

    watch(hooks, module, savers)        # right after the library was imported

Nothing is changed about the saving itself. What is recorded is only what the person's own code had written: with a
frame of theirs on the stack, and never inside of a load, so that what is being loaded cannot vouch for itself.
"""

from __future__ import annotations

import functools
import inspect
import io
import os
import sys
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from nbguard.hooks import caller, grants
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.savers import ledger, memory
from nbguard.hooks.savers.entry import Saver
from nbguard.hooks.savers.tee import Tee
from nbguard.hooks.walls import scope

MOST_FILES = 4_096
"""Files below a folder that are compared before and after; nothing in a larger one is recorded."""
MAX_DEPTH = 3
"""Levels below the folder; the deepest layout among the savers (pipelines of diffusers) has two."""
CODE = (".py", ".pyc", ".pyo", ".so", ".dylib", ".dll", ".pyd")
"""Code beside a model is copied by a saver, not written: somebody else may have written it."""


def watch(hooks: Installed, module: ModuleType, savers: Iterable[Saver]) -> None:
    """Watch what these entries name in `module`. A library that lacks one of them, in another version, lacks it."""
    for saver in savers:
        owner: Any = module
        *path, last = saver.function.split(".")
        for part in path:
            owner = getattr(owner, part, None)
        found = inspect.getattr_static(owner, last, None) if owner is not None else None
        function = getattr(found, "_implementation", found)  # numpy's dispatcher hands on to the function itself
        if isinstance(function, types.FunctionType):
            hooks.swap(function, _named(functools.partial(_around, saver)))


def persons_own() -> bool:
    """Whether what is saved now is the person's work: their code asked for it, and nothing is being loaded. What
    machinery writes for its own workers is none."""
    if scope.held() is not None or grants.current() is not None:
        return False
    return caller.kind_of(sys._getframe(1)) != "machinery" and caller.person_line() is not None


def _named(around: Callable[..., Any]) -> Callable[..., Any]:
    return lambda original, *args, **kwargs: around(original, *args, **kwargs)


def _around(saver: Saver, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    if not persons_own():
        return original(*args, **kwargs)
    if saver.returns:
        data = original(*args, **kwargs)
        if isinstance(data, bytes):
            memory.remember(saver.family, data)
        return data
    try:
        given = bound(original, args, kwargs, defaults=False)
    except TypeError:
        return original(*args, **kwargs)  # raises the same, in the saver's own words
    name = next((n for n in saver.target if given.get(n) is not None), "")
    target = given.get(name)
    if saver.stream:
        return _streamed(saver, original, given, name)
    before = _Before.of(saver, target)
    result = original(*args, **kwargs)
    if before is not None:
        before.note(saver)
    return result


def _streamed(saver: Saver, original: Callable[..., Any], given: dict[str, Any], name: str) -> Any:
    """With a pickle program followed on its way into the file."""
    if not callable(getattr(given.get(name), "write", None)):
        return _call(original, given)
    tee = Tee(given[name])
    result = _call(original, {**given, name: tee})
    tee.note(saver.name, saver.family)
    return result


def _call(original: Callable[..., Any], given: dict[str, Any]) -> Any:
    arguments = inspect.BoundArguments(inspect.signature(original), OrderedDict(given))
    return original(*arguments.args, **arguments.kwargs)


@dataclass
class _Before:
    """What was there before a saver wrote."""

    files: dict[str, str]
    """Path → identity, of the file or of everything below the folder."""
    folder: str | None = None
    buffer: io.BytesIO | None = None
    start: int = 0
    stream: Any = None
    begun: float = field(default_factory=time.time)

    @classmethod
    def of(cls, saver: Saver, target: Any) -> _Before | None:
        """None where nothing can be recorded: a target that is neither a path nor a file, or too large a folder."""
        if isinstance(target, io.BytesIO):
            return cls({}, buffer=target, start=target.tell())
        if isinstance(target, str | os.PathLike):
            path = os.path.abspath(os.fsdecode(os.fspath(target)))
            if os.path.isdir(path) or (not os.path.exists(path) and saver.family in ("data", "graph")):
                files = _below(path)
                return None if files is None else cls(files, folder=path)
            named = [path, path + saver.suffix] if saver.suffix else [path]
            return cls({name: _identity(name) for name in named})
        if callable(getattr(target, "fileno", None)) and isinstance(getattr(target, "name", None), str):
            return cls({}, stream=target)
        return None

    def note(self, saver: Saver) -> None:
        """Record what is there now and was not."""
        if self.buffer is not None:
            if not self.buffer.closed:
                with self.buffer.getbuffer() as all_of_it, all_of_it[self.start : self.buffer.tell()] as written:
                    memory.remember(saver.family, written)
            return
        if self.stream is not None:
            self._note_stream(saver)
            return
        now = self.files
        if self.folder is not None:
            single = os.path.isfile(self.folder)  # a saver of single files, after all
            now = {self.folder: ""} if single else _below(self.folder) or {}
        for path in now:
            ledger.note(saver.name, saver.family, path, self.files.get(path, ""), self.begun)

    def _note_stream(self, saver: Saver) -> None:
        """All that is in an open file by now, if its name still leads to it."""
        try:
            self.stream.flush()
            held, there = os.fstat(self.stream.fileno()), os.stat(self.stream.name)
        except (OSError, ValueError, AttributeError):
            return
        if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
            ledger.note(saver.name, saver.family, self.stream.name)


def _identity(path: str) -> str:
    try:
        return ledger.identity(os.stat(path))
    except (OSError, ValueError):
        return ""


def _below(folder: str) -> dict[str, str] | None:
    """Path → identity of the regular files below a folder, no links followed; None where they are too many."""
    out: dict[str, str] = {}
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if depth < MAX_DEPTH:
                            waiting.append((entry.path, depth + 1))
                    elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(CODE):
                        out[entry.path] = ledger.identity(entry.stat(follow_symlinks=False))
                    if len(out) + len(waiting) > MOST_FILES:
                        return None
        except (OSError, ValueError):
            continue
    return out
