"""`numpy.load(allow_pickle=True)`; without it numpy unpickles nothing, and the call passes untouched.

arrays = numpy.load("data.npz", allow_pickle=True)
arrays["x"]         # read later, still under what was accepted
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.walls import scope


def guard(hooks: Installed, module: ModuleType) -> None:
    """Guard `numpy.load`."""
    hooks.swap(module.load, _load)


def guard_old(hooks: Installed, module: ModuleType) -> None:
    """The same where numpy 1 has it; in numpy 2 this module has none of its own."""
    if inspect.isfunction(getattr(module, "load", None)):
        hooks.swap(module.load, _load)


def _load(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    named = bound(original, args, kwargs)
    if not named.get("allow_pickle"):
        return original(*args, **kwargs)
    who = caller.find(2)
    if who.kind == "machinery":
        return original(*args, **kwargs)
    if (outer := grants.current()) is not None:
        outer.still_allowed()
    from nbguard.artifact.sources import open_bytes, open_path
    from nbguard.hooks.streams import Stream

    source = named["file"]
    with ExitStack() as stack:
        start: int | None = None
        with scope.outside():
            if hasattr(source, "read"):
                stream = Stream.of_file(source)
                start = source.tell()
                label = stream.name or "<stream>"
                opened = stack.enter_context(open_bytes(stream.rest(), name=os.path.basename(label) or "<stream>"))
            else:
                label = os.fspath(source)
                opened = stack.enter_context(open_path(label))
        request = LoadRequest("numpy.load", str(label), opened.kind, {"allow_pickle": True},
                              in_person_code=who.kind == "person")  # fmt: skip
        grant = walk.admit(request, opened)
        file = opened.files[0]
        with grant:
            if not grant.enforced:
                return original(*args, **kwargs)
            if start is not None:
                copy = io.BytesIO(file.read())
                result = original(**{**named, "file": copy})
                if not _is_archive(result):
                    source.seek(start + copy.tell())
            elif named.get("mmap_mode") and file.read(0, 6) == b"\x93NUMPY":
                result = original(*args, **kwargs)  # an array in the file itself: numpy maps no objects
            else:
                result = original(**{**named, "file": file.load_path()})
                _name(result, label)
            if not file.unchanged():
                raise walk.violation(grant, "the file was changed while it was being loaded.")
        if _is_archive(result):
            grant.keep(result)
        return result


def _is_archive(result: Any) -> bool:
    """Whether it is numpy's own lazy archive; what was unpickled is not asked about itself."""
    return type(result).__name__ == "NpzFile" and type(result).__module__.partition(".")[0] == "numpy"


def _name(result: Any, label: Any) -> None:
    """Let an archive be called what the person called it, not the handle that it was read through."""
    raw = getattr(getattr(result, "fid", None), "raw", None) if _is_archive(result) else None
    if isinstance(raw, io.FileIO):
        with contextlib.suppress(AttributeError, TypeError):
            raw.name = str(label)
