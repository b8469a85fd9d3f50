"""`dill.load` and `dill.loads`; the real namespace of `__main__` is never handed to a program.

    dill.load(open("model.dill", "rb"))     # one question, then the scanned bytes

dill's machine resolves some names itself: the pair `__builtin__ __main__` to the real dictionary, and no audit event
tells of it. What dill does to the result afterwards, pointing objects to their class in the notebook, is done here as
well, outside of the walls.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

from nbguard.hooks import caller, walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.streams import Stream
from nbguard.hooks.unpickling import Options, unpickle


def guard(hooks: Installed, dill: ModuleType) -> None:
    """Guard the module `dill._dill`."""

    def find_class(original: Callable[..., Any], self: Any, module: str, name: str) -> Any:
        if (module, name) == ("__builtin__", "__main__"):
            walk.stop("it asks for the whole namespace of the notebook", "dill.load", "<stream>")
        return original(self, module, name)

    def load(original: Callable[..., Any], file: Any, ignore: Any = None, **kwds: Any) -> Any:
        who = caller.find(2)
        if who.kind == "machinery":
            return original(file, ignore, **kwds)
        return _run(dill, Stream.of_file(file), "dill.load", who, ignore, kwds)

    def loads(original: Callable[..., Any], str: Any, ignore: Any = None, **kwds: Any) -> Any:
        who = caller.find(2)
        if who.kind == "machinery":
            return original(str, ignore, **kwds)
        return _run(dill, Stream.of_bytes(str), "dill.loads", who, ignore, kwds)

    hooks.swap(dill.Unpickler.find_class, find_class)
    hooks.swap(dill.load, load)
    hooks.swap(dill.loads, loads)


def _run(dill: ModuleType, stream: Stream, loader: str, who: caller.Caller, ignore: Any, kwds: dict[str, Any]) -> Any:
    how = {name: kwds[name] for name in ("fix_imports", "encoding", "errors") if name in kwds}
    buffers = kwds.get("buffers")
    options = Options(**how, buffers=None if buffers is None or buffers == () else list(buffers), plain=False)

    def run(program: bytes) -> Any:
        return dill.Unpickler(io.BytesIO(program), ignore=True, **kwds).load()

    loaded = unpickle(stream, loader, who, options, run)
    main = dill._main_module
    wanted = dill.Unpickler.settings["ignore"] if ignore is None else ignore
    if not wanted and type(loaded).__module__ == getattr(main, "__name__", "__main__"):
        with contextlib.suppress(AttributeError, TypeError):  # as dill does: defined in a file
            loaded.__class__ = getattr(main, type(loaded).__name__)
    return loaded
