"""Run a program on the real machine with an inert cast: nothing is resolved, nothing is called.

tape = Tape(watch=lambda seen: RECORD)
error = run(data, tape)             # None: it ran to its STOP
"""

from __future__ import annotations

import copyreg
import gc
import itertools
import os
import pickle
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nbguard.formats.pickle_machine import Tape
from nbguard.formats.pickle_source import Source

ROOM = 128 << 20
"""Bytes of address space that any program may take."""
ROOM_EACH = 64
"""The same for each byte of it: an empty list, of one byte, takes 56 and its places on the stack and in the memo."""
_PAGE = resource.getpagesize()


class Machine(pickle.Unpickler):
    """The C machine, inert. Out-of-band buffers, which are bytes and come from the caller, are empty here."""

    def __init__(self, file: Any, tape: Tape, encoding: str = "latin1") -> None:
        super().__init__(file, encoding=encoding, buffers=itertools.repeat(b""))
        self._tape = tape

    def find_class(self, module: Any, name: Any) -> Any:
        return self._tape.find(module, name)

    def persistent_load(self, identity: Any) -> Any:
        return self._tape.persist(identity)


_PythonUnpickler: Any = pickle._Unpickler  # type: ignore[attr-defined,unused-ignore]


class PythonMachine(_PythonUnpickler):  # type: ignore[misc]
    """The Python machine, inert; joblib and dill derive their readers from it."""

    def __init__(self, file: Any, tape: Tape, encoding: str = "latin1") -> None:
        super().__init__(file, encoding=encoding)
        self._tape = tape

    def find_class(self, module: Any, name: Any) -> Any:
        return self._tape.find(module, name)

    def persistent_load(self, identity: Any) -> Any:
        return self._tape.persist(identity)

    def get_extension(self, code: int) -> None:
        self._tape.extensions = True
        raise pickle.UnpicklingError(f"extension code {code}")


@contextmanager
def quiet() -> Iterator[None]:
    """No cyclic collector (a third of the time on an object-heavy pickle) and no extension registry while running."""
    collecting = gc.isenabled()
    gc.disable()
    registries: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
    for name in ("_extension_cache", "_inverted_registry"):
        registry: dict[Any, Any] = getattr(copyreg, name)
        registries.append((registry, dict(registry)))
        registry.clear()
    try:
        yield
    finally:
        for registry, content in registries:
            registry.clear()
            registry.update(content)
        if collecting:
            gc.enable()


@contextmanager
def roomy(length: int) -> Iterator[None]:
    """No more memory than a program of `length` bytes can need, where the process has a limit already (the worker).

    The C machine keeps its memo as an array up to the largest index that is written, and writes all of it: six bytes
    make gigabytes, and seconds. Nothing but memory tells such an index from the same bytes in a text without walking
    every opcode. A process without a limit is somebody else's, with other threads in it, and is left alone.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = address_space() if soft != resource.RLIM_INFINITY else 0
    wanted = now + ROOM + length * ROOM_EACH
    if not now or wanted >= soft:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def address_space() -> int:
    """Bytes that are mapped now; 0 where the system does not say so."""
    try:
        handle = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(handle, 64).split()[0]) * _PAGE
    finally:
        os.close(handle)


def run(data: Source | bytes, tape: Tape) -> Exception | None:
    """Run one program from where `data` stands. None when it ran to its STOP, else the error that ended it.

    Nothing but KeyboardInterrupt and the like comes out of it: MemoryError and RecursionError are answers too.
    """
    source = data if isinstance(data, Source) else Source(data)
    with roomy(source.size - source.tell()):
        return guarded(lambda: Machine(source, tape), tape)


def guarded(machine: Callable[[], Any], tape: Tape) -> Exception | None:
    """Run `machine().load()`, settle the tape, and hand back the error that ended it, if any."""
    error: Exception | None = None
    with quiet():
        try:
            machine().load()
        except Exception as caught:  # noqa: BLE001 - whatever it is, the program is unverifiable: the caller says so
            error = caught
            if isinstance(caught, ValueError) and str(caught).startswith("unregistered extension code"):
                tape.extensions = True
        try:
            tape.settle()
        except Exception as caught:  # noqa: BLE001 - a check that cannot be made leaves the program unverifiable
            error = error or caught
    if error is not None:
        error.__traceback__ = None  # it would keep the whole stack of the machine alive
    return error
