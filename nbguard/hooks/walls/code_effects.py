"""What a repository's code may do while its model loads: define and compute things, import libraries. Nothing else.

    with importing(grant):
        run()                   # os.system, a socket, a file opened for writing: ContractViolation
    with constructing(grant):
        original(cls, source)   # the same, where the repository's code is what leads to it

Constructing a model runs transformers' own code most of the time, which downloads, caches and logs. There an event is
held against the contract only where a function of the repository is on the stack between it and the load.

The events are those of the third wall for pickles. One thing is different here: honest modules use `@dataclass`,
`namedtuple` and decorators of torch, which make functions from text and look into functions. Such an event passes where
the code that raises it is an installed library's own, not the repository's.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from importlib import _bootstrap, _bootstrap_external
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from nbguard.hooks import trust
from nbguard.hooks.walls import effects

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant


def _unwrapped(value: Any) -> Any:
    return getattr(value, "__func__", value)


REACHING = ("function.__new__", "object.__getattr__", "object.__setattr__", "object.__delattr__", "gc.get")
"""Events of looking into functions and making them from code that is there; they pass where an installed library raises
them."""
CLAIMING = {"compile": 1, "code.__new__": 1, "exec": 0}
"""Events that make or run code, and which argument holds the file that the code claims to come from."""
SETTINGS = frozenset({b"TOKENIZERS_PARALLELISM", b"OMP_NUM_THREADS", b"MKL_NUM_THREADS", b"KMP_DUPLICATE_LIB_OK",
                      b"PYTORCH_CUDA_ALLOC_CONF", b"CUDA_LAUNCH_BLOCKING", b"PYTORCH_ENABLE_MPS_FALLBACK"})  # fmt: skip
"""Environment variables that modules set at import and that change nothing but speed and memory."""
_HERE = os.path.dirname(os.path.abspath(__file__))
_LOADERS = os.path.join(os.path.dirname(_HERE), "loaders")
_BUILDING = ("transformers_", "building", "torch_hub_", "declared", "frameworks_")
_FLOORS = (os.path.join(_HERE, "code.py"), *(os.path.join(_LOADERS, f"{n}.py") for n in _BUILDING))
"""Files whose frames are the ground that the walls here stand on."""
_OWN = os.path.dirname(os.path.dirname(_HERE)) + os.sep
_REPOSITORY = [f"{os.sep}{name}{os.sep}" for name in ("transformers_modules", "diffusers_modules")]
"""In the path of every file of code that a repository brought along."""
_IMPORT_SYSTEM = {
    id(function.__code__): function.__code__
    for module in (_bootstrap, _bootstrap_external)
    for owner in (module, *(v for v in vars(module).values() if isinstance(v, type)))
    for function in map(_unwrapped, vars(owner).values())
    if isinstance(function, FunctionType)
}
"""Code of the import system by its identity: a name can be claimed by other code, and equal code can be made."""
_GUARDS: dict[int, CodeType] = {}
"""Code of guards that stand between the import system and the C functions that it calls; by identity, too."""
_DEEPEST = 400
"""Frames looked at for an import of a library that is on."""


Wall = Callable[["Grant"], AbstractContextManager[None]]


def _make() -> tuple[Wall, Wall, Callable[[], AbstractContextManager[None]]]:
    """The context variable and the hook live in a closure: no importable name leads to them."""
    running: ContextVar[list[tuple[Grant, bool]] | None] = ContextVar("nbguard.code", default=None)
    added: list[bool] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        token = running.get()
        if token:
            grant, everything = token[0]
            _judge(grant, event, args, everything)

    @contextlib.contextmanager
    def hold(grant: Grant, everything: bool) -> Iterator[None]:
        """Hold what runs inside to the contract of `grant`; a copy of this context is held to nothing afterwards."""
        if not added:
            added.append(True)
            sys.addaudithook(hook)
        token = [(grant, everything)]
        before = running.set(token)
        try:
            yield
        finally:
            token.clear()
            running.reset(before)

    @contextlib.contextmanager
    def outside() -> Iterator[None]:
        """Step out of the wall for nbguard's own work in the middle of it."""
        before = running.set(None)
        try:
            yield
        finally:
            running.reset(before)

    return lambda grant: hold(grant, True), lambda grant: hold(grant, False), outside


importing, constructing, outside = _make()


def repository_below(folder: str) -> Callable[[], None]:
    """Let code below this folder be code that a repository brought along, too. Returns what undoes it."""
    part = folder.rstrip(os.sep) + os.sep
    if part not in _REPOSITORY:
        _REPOSITORY.append(part)

    def forget() -> None:
        if part in _REPOSITORY:
            _REPOSITORY.remove(part)

    return forget


def look_through(guard: FunctionType) -> None:
    """Judge what this guard calls by whoever called it."""
    _GUARDS[id(guard.__code__)] = guard.__code__


def announce_threads() -> Callable[[], None]:
    """Let starting a thread be an audit event, as it is from Python 3.12 on. Returns what undoes it.

    A new thread does not inherit the context of the one that started it, so code could leave the wall that way.
    """
    if sys.version_info >= (3, 12):
        return lambda: None
    original = _thread.start_new_thread

    def start_new_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
        sys.audit("_thread.start_new_thread", function)
        return original(function, *args, **kwargs)

    places = ((_thread, "start_new_thread"), (_thread, "start_new"), (threading, "_start_new_thread"))
    before = [(module, name, getattr(module, name)) for module, name in places]
    for module, name in places:
        setattr(module, name, start_new_thread)

    def undo() -> None:
        for module, name, value in before:
            if getattr(module, name) is start_new_thread:
                setattr(module, name, value)

    return undo


def _judge(grant: Grant, event: str, args: tuple[Any, ...], everything: bool) -> None:
    what = effects._effect(event, args) or (f"to make code ({event})" if event in CLAIMING else None)
    if what is None or any(event == e or event.startswith(e) for e in grant.contract.effects if e):
        return
    if event == "os.putenv" and args and args[0] in SETTINGS:
        return
    frame = sys._getframe(2)
    if id(frame.f_code) in _GUARDS and frame.f_back is not None:
        frame = frame.f_back
    if event == "open" and id(frame.f_code) in _IMPORT_SYSTEM and effects._of_import_system(frame, event, args, grant):
        return
    if event in CLAIMING or event == "marshal.loads":
        if _may_make(event, args, frame):
            return
    elif event.startswith(REACHING) and trust.is_installed(frame.f_code.co_filename):
        return
    if _importing_a_library(frame) or not (everything or _led_to_by_the_repository(frame)):
        return
    from nbguard.hooks import walk

    when = "while it was imported" if everything else "while the model was built"
    with outside():
        problem = walk.violation(grant, f"the code that came with it tried {what} {when}.")
    raise problem


def _may_make(event: str, args: tuple[Any, ...], frame: FrameType) -> bool:
    """Whether code may be made or run here.

    The import system may, from installed files. An installed library may, from text; but nobody may make code that
    claims to come from an installed file, because every judgement here rests on what frames say of themselves.
    """
    if id(frame.f_code) in _IMPORT_SYSTEM:
        return trust.is_installed(_source_of(frame) if event == "marshal.loads" else _claimed(event, args))
    if event == "marshal.loads":
        return False
    return trust.is_installed(frame.f_code.co_filename) and not trust.is_installed(_claimed(event, args))


def _claimed(event: str, args: tuple[Any, ...]) -> str:
    value = args[CLAIMING[event]]
    value = getattr(value, "co_filename", value)
    return os.fsdecode(value) if isinstance(value, str | bytes) else "?"


def _source_of(frame: FrameType | None) -> str:
    """The file whose byte code the import system reads; `?` where that cannot be told."""
    while frame is not None and id(frame.f_code) in _IMPORT_SYSTEM:
        if frame.f_code.co_name == "get_code":
            path = frame.f_locals.get("source_path", frame.f_locals.get("path"))
            return path if isinstance(path, str) else "?"
        frame = frame.f_back
    return "?"


def _importing_a_library(frame: FrameType | None) -> bool:
    """Whether the event happens in the import of an installed module that the repository's code asked for."""
    below: FrameType | None = None
    for _ in range(_DEEPEST):
        if frame is None or frame.f_code.co_filename in _FLOORS:
            return False
        if id(frame.f_code) in _IMPORT_SYSTEM and below is not None and below.f_code.co_name == "<module>":
            return trust.is_installed(below.f_code.co_filename)
        below, frame = frame, frame.f_back
    return False


def _led_to_by_the_repository(frame: FrameType | None) -> bool:
    """Whether a function of the repository comes before nbguard's own frames on the way down the stack.

    A load that is nested in the construction is guarded by itself, so nbguard's frames end the search; that of
    `start_new_thread` here stands for whoever called it.
    """
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame is not None:
        filename = frame.f_code.co_filename
        if any(part in filename for part in _REPOSITORY):
            return True
        if filename.startswith(_OWN):
            return False
        frame = frame.f_back
    return False
