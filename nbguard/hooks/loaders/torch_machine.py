"""The `pickle_module` that torch is given: it runs only programs that were scanned.

    run(original_load, path, grant, {"map_location": "cpu"}, {}, restricted=False)

torch makes a subclass of `pickle_module.Unpickler` and calls `pickle_module.load`. Both end here.
"""

from __future__ import annotations

import _pickle
import io
import pickle
import types
from collections.abc import Callable
from typing import Any

from nbguard.hooks import grants, walk
from nbguard.hooks.grants import Grant
from nbguard.hooks.streams import Stream
from nbguard.hooks.unpickling import Options, behind_walls, clear_extension_cache, perform
from nbguard.hooks.walls.feed import Feed

_Machine: type[Any] = _pickle.Unpickler
"""The C class itself: the name in `pickle` may be a guarded one."""


class _NotForRestricted(Exception):  # noqa: N818 - a signal within this module
    """torch's restricted machine cannot read this program."""


def run(
    original: Callable[..., Any],
    source: Any,
    grant: Grant,
    named: dict[str, Any],
    extra: dict[str, Any],
    restricted: bool,
) -> Any:
    """`torch.load` on `source`, with every pickle program held to `grant`.

    `restricted` means that the caller wants `weights_only=True`: what the restricted machine cannot read then raises
    pickle.UnpicklingError, as it does without a guard. Otherwise that machine is tried first where the scan said it
    would do, and the full one takes over behind the walls.
    """
    named = {k: v for k, v in named.items() if k not in ("weights_only", "pickle_module")}
    if restricted or grant.report.weights_only:
        try:
            return original(source, **named, **extra, weights_only=False, pickle_module=_restricted(grant))
        except _NotForRestricted as problem:
            if restricted:
                raise pickle.UnpicklingError(
                    f"Weights only load failed: {problem.__cause__} Write weights_only=False to load it as far as its "
                    "contract allows, after you have been asked."
                ) from None
            if hasattr(source, "seek"):
                source.seek(0)
    return original(source, **named, **extra, weights_only=False, pickle_module=_full(grant))


def _program(grant: Grant, file: Any) -> bytes:
    """The program that comes next in `file`, which has to be one of the contract's, or of another load that is on."""
    stream = Stream.of_file(file)
    known = stream.recognise([grant, *grants.live()])
    if known is None:
        raise walk.violation(grant, "a pickle program in it is not one that was scanned.")
    return stream.take(known[1].length)


def _module(unpickler: type[Any]) -> types.SimpleNamespace:
    def load(file: Any, **how: Any) -> Any:
        return unpickler(file, **how).load()

    def loads(data: bytes, **how: Any) -> Any:
        return load(io.BytesIO(data), **how)

    return types.SimpleNamespace(
        __name__="pickle",
        Unpickler=unpickler,
        load=load,
        loads=loads,
        UnpicklingError=pickle.UnpicklingError,
        PickleError=pickle.PickleError,
        HIGHEST_PROTOCOL=pickle.HIGHEST_PROTOCOL,
    )


def _full(grant: Grant) -> types.SimpleNamespace:
    class Unpickler(_Machine):  # type: ignore[misc]  # a base class known only at run time
        def __init__(self, file: Any, **how: Any) -> None:
            self.__feed, self.__file, self.__used = Feed(), file, False
            self.__options = Options(**{k: v for k, v in how.items() if k in ("fix_imports", "encoding", "errors")})
            super().__init__(self.__feed.reader, **how)

        def load(self) -> Any:
            load = super().load
            if self.__used:  # torch makes one for each program: with a memo already there, bytes mean something else
                raise walk.violation(grant, "a machine would be used twice.")
            self.__used = True

            def run(program: bytes) -> Any:
                self.__feed.put(program)
                return load()

            return perform(grant, _program(grant, self.__file), self.__options, run)

    return _module(Unpickler)


def _restricted(grant: Grant) -> types.SimpleNamespace:
    from torch import _weights_only_unpickler

    class Unpickler(_weights_only_unpickler.Unpickler):  # type: ignore[misc]  # torch is not typed here
        def __init__(self, file: Any, *, encoding: str = "bytes", **_: Any) -> None:
            self.__feed, self.__file = Feed(), file
            super().__init__(self.__feed.reader, encoding=encoding)

        def load(self) -> Any:
            clear_extension_cache()
            self.__feed.put(_program(grant, self.__file))
            load = super().load
            try:
                return behind_walls(grant, load)
            except pickle.UnpicklingError as problem:
                raise _NotForRestricted from problem

    return _module(Unpickler)
