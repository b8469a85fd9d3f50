"""`pickle.load`, `pickle.loads`, `pickle.Unpickler` and their Python twins.

    pickle.load(open("model.pkl", "rb"))        # scanned, asked about, rehearsed, then run on the scanned bytes

The C functions have no code to exchange, so the names in `pickle` are replaced; a name bound earlier (`from pickle
import loads`) reaches the C function, where the names wall denies by default. The Python machine's `load` is exchanged,
which reaches every subclass, those of joblib and pandas too.
"""

from __future__ import annotations

import functools
import inspect
import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from nbguard.hooks import caller
from nbguard.hooks.installed import Installed
from nbguard.hooks.short_traces import shorten
from nbguard.hooks.streams import Stream
from nbguard.hooks.unpickling import Options, unpickle
from nbguard.hooks.walls import scope
from nbguard.hooks.walls.feed import Feed
from nbguard.hooks.walls.rehearsal import Carried


def guard(hooks: Installed, pickle: ModuleType) -> None:
    """Guard the module `pickle`."""
    c_loads, c_load = pickle.loads, pickle.load
    machine: type[Any] = pickle.Unpickler
    active = [True]
    hooks.on_undo(active.clear)
    load, loads = _functions(c_load, c_loads, "pickle", active)
    hooks.replace(pickle, "load", load)
    hooks.replace(pickle, "loads", loads)
    hooks.replace(pickle, "Unpickler", _guarded(machine, active))
    hooks.swap(pickle._Unpickler.load, _python_machine)


def guard_cloudpickle(hooks: Installed, cloudpickle: ModuleType) -> None:
    """Guard the names by which `cloudpickle.cloudpickle` and its package know the functions of `pickle`.

    Where cloudpickle was imported first, they are still the C functions themselves.
    """
    import _pickle

    active = [True]
    hooks.on_undo(active.clear)
    load, loads = _functions(_pickle.load, _pickle.loads, "cloudpickle", active)
    for module in (cloudpickle, sys.modules.get("cloudpickle")):
        if isinstance(module, ModuleType) and hasattr(module, "loads"):
            hooks.replace(module, "load", load)
            hooks.replace(module, "loads", loads)


def _functions(c_load: Any, c_loads: Any, library: str, active: list[bool]) -> tuple[_Guarded, _Guarded]:
    """`load` and `loads` of a library that hands out those of `pickle`, under its own name."""

    def load(
        file: Any, *, fix_imports: bool = True, encoding: str = "ASCII", errors: str = "strict", buffers: Any = ()
    ) -> Any:
        """Read one pickle from an open file, guarded by nbguard. See `pickle.load`."""
        how = {"fix_imports": fix_imports, "encoding": encoding, "errors": errors}
        who = caller.find(2)
        if who.kind == "machinery":
            return c_load(file, **how, buffers=buffers)
        return _run(c_loads, Stream.of_file(file), f"{library}.load", who, how, buffers)

    def loads(
        data: Any, /, *, fix_imports: bool = True, encoding: str = "ASCII", errors: str = "strict", buffers: Any = ()
    ) -> Any:
        """Read one pickle from bytes, guarded by nbguard. See `pickle.loads`."""
        how = {"fix_imports": fix_imports, "encoding": encoding, "errors": errors}
        who = caller.find(2)
        if who.kind == "machinery":
            return c_loads(data, **how, buffers=buffers)
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        return _run(c_loads, Stream.of_bytes(data), f"{library}.loads", who, how, buffers)

    return _Guarded(load, c_load, active, library), _Guarded(loads, c_loads, active, library)


class _Guarded:
    """In place of a C function: like one, it does not become a method where a class holds it, and pickles by name.

    Where it was kept and the guard is gone, it is the function that it stands for.
    """

    def __init__(
        self, guarded: Callable[..., Any], original: Callable[..., Any], active: list[bool], library: str = "pickle"
    ) -> None:
        functools.update_wrapper(self, guarded)
        self.__module__, self.__qualname__ = library, guarded.__name__
        self.__signature__ = inspect.signature(guarded)
        self._guarded, self._original, self._active = guarded, original, active
        self.__dict__.pop("__wrapped__")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return (self._guarded if self._active else self._original)(*args, **kwargs)
        except BaseException as error:
            shorten(error)
            raise

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<function {self.__module__}.{self.__qualname__}, guarded by nbguard>"


def _run(
    c_loads: Callable[..., Any], stream: Stream, loader: str, who: caller.Caller, how: dict[str, Any], buffers: Any
) -> Any:
    kept = None if buffers is None or buffers == () else list(buffers)
    options = Options(**how, buffers=kept)
    return unpickle(stream, loader, who, options, lambda program: c_loads(program, **how, buffers=kept))


def _guarded(machine: type[Any], active: list[bool]) -> type[Any]:
    """A drop-in for `pickle.Unpickler`: the C machine, given one program at a time and only after it passed."""

    class Unpickler(machine):  # type: ignore[misc]  # a base class known only at run time
        """This reads pickles from a binary file, guarded by nbguard. See the standard library's documentation."""

        def __init__(
            self,
            file: Any,
            *,
            fix_imports: bool = True,
            encoding: str = "ASCII",
            errors: str = "strict",
            buffers: Any = (),
        ) -> None:
            kept = None if buffers is None or buffers == () else list(buffers)
            self.__feed = Feed()
            self.__how = Options(fix_imports, encoding, errors, kept)
            self.__carried = Carried(fix_imports=fix_imports, encoding=encoding, errors=errors)
            self.__file = file
            if not callable(getattr(file, "read", None)) or not callable(getattr(file, "readline", None)):
                raise TypeError("file must have 'read' and 'readline' attributes")
            machine.__init__(
                self, self.__feed.reader, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=kept
            )

        def load(self) -> Any:
            """Read one pickle. The memo is kept, as always, for the next one."""
            if not hasattr(self, "_Unpickler__feed"):
                return machine.load(self)
            who = caller.find(2)
            stream = Stream.of_file(self.__file)
            how = self.__how

            def run(program: bytes) -> Any:
                self.__feed.put(program)
                return machine.load(self)

            if not active or who.kind == "machinery":
                return run(_next_program(stream))
            plain = type(self).find_class is machine.find_class
            options = Options(how.fix_imports, how.encoding, how.errors, how.buffers, plain, self.__carried)
            try:
                return unpickle(stream, "pickle.Unpickler", who, options, run)
            except BaseException as error:
                shorten(error)
                raise

    Unpickler.__module__, Unpickler.__qualname__ = "pickle", "Unpickler"
    return Unpickler


def _next_program(stream: Stream) -> bytes:
    """Exactly the next program, where it is not guarded."""
    from nbguard.hooks.streams import one_pickle

    data = stream.rest()
    return stream.take(len(one_pickle(io.BytesIO(data))))


def _python_machine(original: Callable[..., Any], self: Any) -> Any:
    """`pickle._Unpickler.load`, in every subclass."""
    running = scope.current()
    file = getattr(getattr(self, "_file_read", None), "__self__", None)
    if running is not None and getattr(self, "nbguard_composite", False):
        return original(self)
    who = caller.find(2)
    if who.kind == "machinery" or file is None:
        return original(self)
    stream = Stream.of_file(file)
    options = Options(
        getattr(self, "fix_imports", True), getattr(self, "encoding", "ASCII"), getattr(self, "errors", "strict"), None,
        plain=False,
    )  # fmt: skip

    def run(program: bytes) -> Any:
        self.memo.clear()  # each program is scanned and rehearsed by itself
        before = self._file_read, self._file_readline
        source = io.BytesIO(program)
        self._file_read, self._file_readline = source.read, source.readline
        try:
            return original(self)
        finally:
            self._file_read, self._file_readline = before

    return unpickle(stream, "pickle._Unpickler", who, options, run)
