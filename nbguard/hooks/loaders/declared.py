"""Guard the loaders that an entry describes: open, scan, ask, and hand over what was scanned.

    guard_module(hooks, module, loaders)        # right after the library was imported

Python functions and methods keep their identity and exchange their code, so that names bound before the guard came are
caught; C functions are replaced where their module holds them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import shutil
import tempfile
import types
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.entry import Call, Loader
from nbguard.hooks.loaders.opening import file_or_bytes
from nbguard.hooks.short_traces import shorten
from nbguard.hooks.walls import scope

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile
    from nbguard.hooks.grants import Grant

MAX_SHOWN = 300
"""Characters of an argument's value in a report."""


def guard_module(hooks: Installed, module: ModuleType, loaders: Iterable[Loader]) -> None:
    """Guard what these entries name in `module`. A library that lacks one of them, in another version, lacks it."""
    for loader in loaders:
        owner: Any = module
        *path, last = loader.function.split(".")
        for part in path:
            owner = getattr(owner, part, None)
        found = inspect.getattr_static(owner, last, None)
        if owner is None or found is None:
            continue
        function = getattr(found, "__func__", found)  # of a classmethod or staticmethod
        around = functools.partial(_around, loader)
        if isinstance(function, types.FunctionType):
            hooks.swap(function, _named(around))
        elif isinstance(owner, ModuleType):
            hooks.replace_everywhere(owner, last, _stand_for(found, around))
        else:
            hooks.replace(owner, last, _stand_for(found, around))


def _named(around: Callable[..., Any]) -> Callable[..., Any]:
    return lambda original, *args, **kwargs: around(original, *args, **kwargs)


def _stand_for(original: Any, around: Callable[..., Any]) -> Callable[..., Any]:
    """A function in the place of one that is written in C; for a class, one that `isinstance` takes for it."""
    if isinstance(original, type):
        return _class_for(original, _stand_for(functools.partial(original), around))

    @functools.wraps(original, updated=())
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return around(original, *args, **kwargs)
        except BaseException as error:
            shorten(error)
            raise

    return guarded


def _class_for(original: type, make: Callable[..., Any]) -> type:
    class Guarding(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return make(*args, **kwargs)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, original)

        def __getattr__(cls, name: str) -> Any:
            return getattr(original, name)

    return Guarding(original.__name__, (), {"__doc__": original.__doc__, "__module__": original.__module__})


def guarded_call(loader: Loader, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """One call of `original`, guarded as `loader` says; for guards that decide by themselves which calls are."""
    return _around(loader, original, *args, **kwargs)


def _around(loader: Loader, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    who = caller.find(2)
    outer = grants.current()
    if who.kind == "machinery":
        return original(*args, **kwargs)
    if outer is not None:
        outer.still_allowed()
    passes = loader.passes_library and who.kind == "library"
    if passes and outer is None:
        return original(*args, **kwargs)
    call = _call(loader, original, args, kwargs, who)
    if call is None:
        return original(*args, **kwargs)
    with call.stack:
        if (held := _held_already(outer, call.source)) is not None:
            return _go_on(original, call, *held)
        if passes:
            return original(*args, **kwargs)
        with scope.outside():
            opened = (loader.opens or file_or_bytes)(call)
            if opened is None:
                return original(*args, **kwargs)
            call.stack.callback(opened.close)
            if loader.hand == "sealed":
                opened = _sealed(opened, call)
        grant = walk.admit(_request(call, opened), opened)
        with grant:
            if not grant.enforced:
                return original(*args, **kwargs)
            if loader.prepare is not None:
                loader.prepare(call, grant)
            stream = _hand_over(call, opened)
            result = original(*call.bound.args, **call.bound.kwargs)
            if not all(file.unchanged() for file in opened.files):
                raise walk.violation(grant, "a file was changed while it was being loaded.")
            if stream is not None and call.start is not None:
                call.given.seek(call.start + stream.tell())
            return result if loader.finish is None else loader.finish(call, grant, result)


def _call(
    loader: Loader, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], who: caller.Caller
) -> Call | None:
    """The call with its arguments by name; None where it names nothing to load, or would raise by itself.

    A C function's parameters are those that its entry tells. A call that does not fit them may be right in another
    version of the library, and what it would load is not known: it is stopped.
    """
    with scope.outside():
        signature = _signature(loader, original)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            if loader.signature:
                walk.stop(f"its arguments are not those that are known of it ({error})", loader.name, "?")
            return None
        call = Call(loader=loader, bound=bound, name="", who=who)
        for name in loader.source:
            if call.get(name) is not None:
                call.name = name
                call.given = call.source
                return call
    return None


def _signature(loader: Loader, original: Callable[..., Any]) -> inspect.Signature:
    if not loader.signature:
        return inspect.signature(original)
    by_name = loader.signature.index("*") if "*" in loader.signature else len(loader.signature)
    return inspect.Signature(
        [
            inspect.Parameter(
                name.rstrip("="),
                inspect.Parameter.KEYWORD_ONLY if at > by_name else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=None if name.endswith("=") else inspect.Parameter.empty,
            )
            for at, name in enumerate(loader.signature)
            if name != "*"
        ]
    )


def _request(call: Call, opened: Opened) -> LoadRequest:
    shown = {n: _plain(v) for n in call.loader.arguments if (v := call.get(n)) is not None}
    return LoadRequest(call.loader.name, opened.target, opened.kind, shown, in_person_code=call.who.kind == "person")


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else str(value)[:MAX_SHOWN]


# what the loader is given


def _sealed(opened: Opened, call: Call) -> Opened:
    """The same files as copies that nobody can write to; they are what is scanned, and what is loaded."""
    from nbguard.artifact.sources import seal

    copies = tuple(seal(file) for file in opened.files)
    for copy in copies:
        call.stack.callback(copy.close)
    return replace(opened, files=copies)


def _hand_over(call: Call, opened: Opened) -> io.BytesIO | None:
    """Put what was scanned in the place of the source. Returns the stream that was put there, if it is one."""
    hand = call.loader.hand
    if hand == "same":
        return None
    if call.form == "stream":
        stream = io.BytesIO(opened.files[0].read())
        call.set(call.name, stream)
        return stream
    if call.form == "bytes" or hand == "bytes":
        data = opened.files[0].read()
        if isinstance(call.source, str):
            call.set(call.name, data.decode("utf-8", "surrogatepass"))
        else:
            call.set(call.name, bytearray(data) if isinstance(call.source, bytearray) else data)
    elif hand == "handle" and opened.kind == "path":
        call.set(call.name, _like(call.source, opened.files[0].load_path()))
    else:
        call.set(call.name, _like(call.source, stage(call, opened)))
    return None


def stage(call: Call, opened: Opened) -> str:
    """A private folder with a link to every handle, named as the files are; the path that stands for the source."""
    call.staged = folder = tempfile.mkdtemp(prefix="nbguard-")
    call.stack.callback(shutil.rmtree, folder, ignore_errors=True)
    for file in opened.files:
        place = os.path.join(folder, *file.path.split("/"))
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        os.symlink(file.load_path(), place)
    return os.path.join(folder, opened.files[0].path) if opened.kind in ("path", "stream") else folder


def _like(source: Any, path: str) -> Any:
    """`path` as the kind of thing that the source was."""
    if isinstance(source, bytes):
        return os.fsencode(path)
    if isinstance(source, os.PathLike) and not isinstance(source, str):
        with contextlib.suppress(TypeError):
            return type(source)(path)  # type: ignore[call-arg]
    return path


def scanned(call: Call, grant: Grant) -> OpenedFile:
    """The scanned file that stands for the source: in a load within another one, the one that this has opened too."""
    files = grant.opened.files
    if call.form != "other":
        return files[0]
    there = os.stat(call.given)
    return next((f for f in files if os.path.samestat(os.fstat(f.fd), there)), files[0])


def keep(call: Call, grant: Grant, owner: object) -> None:
    """Leave open what was handed over, and the grant in force, for as long as `owner` lives: it reads lazily."""
    grant.keep(owner)
    weakref.finalize(owner, call.stack.pop_all().close).atexit = False


# loads within loads


def _held_already(outer: grants.OuterRequest | None, source: Any) -> tuple[Grant, OpenedFile] | None:
    """The scanned handle of the file that `source` names, where the load that this one is part of holds it."""
    if outer is None or not isinstance(source, str | bytes | os.PathLike):
        return None
    try:
        there = os.stat(source)
    except (OSError, ValueError):
        return None
    for grant in reversed(outer.grants):
        for file in grant.opened.files if grant.enforced else ():
            held = os.fstat(file.fd)
            if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino) and file.unchanged():
                return grant, file
            if file.real_path is not None and file.real_path == os.path.realpath(os.fsdecode(source)):
                raise walk.violation(grant, f"{file.path} was changed after it was scanned.")
    return None


def _go_on(original: Callable[..., Any], call: Call, grant: Grant, file: OpenedFile) -> Any:
    """A load of a file that was scanned and accepted with the load around it: through that very handle."""
    if call.loader.prepare is not None:
        call.loader.prepare(call, grant)
    if call.loader.hand == "bytes":
        call.set(call.name, file.read())
    elif call.loader.hand == "handle":
        call.set(call.name, _like(call.source, file.load_path()))
    elif call.loader.hand != "same":
        beside = tuple(f for f in grant.opened.files if f is not file)
        files = replace(grant.opened, files=(file, *beside), kind="path")
        call.set(call.name, _like(call.source, stage(call, files)))
    result = original(*call.bound.args, **call.bound.kwargs)
    if not file.unchanged():
        raise walk.violation(grant, "a file was changed while it was being loaded.")
    return result if call.loader.finish is None else call.loader.finish(call, grant, result)


__all__ = ["guard_module", "keep", "scanned", "stage"]
