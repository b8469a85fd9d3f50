"""Questions take turns, and end with the cell that they belong to.

    with turn(kernel), listening(lambda: machine.cancel("the cell was interrupted")):
        ...                     # ask

The stop button and Ctrl-C reach the main thread alone. A question that another thread asks has to hear of it in another
way, or it would wait for ever, and the cell with it where that waits for the thread (`with ThreadPoolExecutor()`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from nbguard.gate import faces

TICK = 0.05
"""Seconds between two looks at whether it is our turn."""

INTERRUPTED = "the cell was interrupted"
"""The reason that a question in another thread is refused for, then."""

_one_at_a_time = threading.Lock()
_listeners: dict[int, Callable[[], None]] = {}
_stopped = False
"""Whether the running cell was interrupted: its other threads ask nothing more, until the next one starts."""


class CellEnded(Exception):  # noqa: N818 - what happened, never shown
    """The cell was interrupted before this question got its turn."""


@contextlib.contextmanager
def turn(running: Any | None) -> Iterator[None]:
    """One question at a time; a second one waits until the first is answered.

    Raises:
        KeyboardInterrupt: interrupted while waiting, in the main thread.
        CellEnded: the same in any other.
    """
    on_main = threading.current_thread() is threading.main_thread()
    ended = threading.Event()
    if _stopped and not on_main:
        raise CellEnded  # what a pool still had to do when its cell was stopped
    own_thread = getattr(running, "shell_channel_thread", None) is not None
    with contextlib.nullcontext() if interrupts_here() else listening(ended.set):
        while not _one_at_a_time.acquire(timeout=TICK):
            if ended.is_set():
                raise CellEnded
            if running is not None and not own_thread and on_main:
                from zmq.constants import PollEvent

                # Before ipykernel 7 the first question may depend on this thread to read its messages.
                running.shell_stream.flush(PollEvent.POLLIN | PollEvent.POLLOUT)
    try:
        if ended.is_set():
            raise CellEnded
        yield
    finally:
        _one_at_a_time.release()


@contextlib.contextmanager
def listening(told: Callable[[], None]) -> Iterator[None]:
    """Have `told` called in the main thread when the person interrupts what runs; it may not wait for anything."""
    _watch_here()
    _listeners[id(told)] = told
    try:
        yield
    finally:
        _listeners.pop(id(told), None)


class Noting:
    """A handler of SIGINT that tells those who listen, and then does what the one before it does."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        _tell()
        return self.before(number, frame)


def _tell() -> None:
    global _stopped
    _stopped = faces.shell() is not None
    for told in tuple(_listeners.values()):
        told()


def watch(shell: Any) -> None:
    """From now on, hear of it when a cell of this shell is interrupted. Calling it again does nothing."""
    shell.events.register("pre_run_cell", _begin)
    shell.events.register("post_run_cell", _end)


def _watch_here() -> None:
    """A shell that was guarded without `%load_ext` is watched from its first question on."""
    shell = faces.shell()
    if shell is not None:
        watch(shell)


def unwatch(shell: Any) -> None:
    """No more; a shell that was never watched stays as it is."""
    for event, callback in (("pre_run_cell", _begin), ("post_run_cell", _end)):
        with contextlib.suppress(ValueError):
            shell.events.unregister(event, callback)


def _begin(info: Any = None) -> None:
    """A cell starts: stand before the handler that its kernel has just set for it.

    Not at a terminal: there Ctrl-C ends what reads it, and `asyncio.run` looks for the handler that Python sets.
    """
    global _stopped
    _stopped = False
    if threading.current_thread() is not threading.main_thread() or faces.kernel() is None:
        return
    before = signal.getsignal(signal.SIGINT)
    if callable(before) and not isinstance(before, Noting):
        signal.signal(signal.SIGINT, Noting(before))


def _end(result: Any = None) -> None:
    """A cell has ended: the handler is as it was. One that was interrupted in a way of its own is told here."""
    if threading.current_thread() is threading.main_thread():
        now = signal.getsignal(signal.SIGINT)
        if isinstance(now, Noting):
            signal.signal(signal.SIGINT, now.before)
    if isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt | asyncio.CancelledError):
        _tell()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let the stop button reach the question: as KeyboardInterrupt in the main thread of a running cell.

    Asynchronous cells exchange the handler for one that needs the very loop that is blocked by waiting. A task in the
    background of an idle kernel, which ignores the signal, would take the kernel down with that exception: it only
    gets to hear of it. Signals do not reach other threads at all; in those this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch_here()
    before = signal.getsignal(signal.SIGINT)
    quiet = before is signal.SIG_IGN
    signal.signal(signal.SIGINT, Noting(_pass if quiet else signal.default_int_handler))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


def _pass(number: int, frame: FrameType | None) -> None:
    """What an ignored signal does."""


def interrupts_here() -> bool:
    """Whether interrupting raises KeyboardInterrupt in this thread; where not, one has to be `listening`."""
    now = signal.getsignal(signal.SIGINT)
    on_main = threading.current_thread() is threading.main_thread()
    return on_main and not (isinstance(now, Noting) and now.before is _pass)


@contextlib.contextmanager
def raising_here() -> Iterator[None]:
    """While typed text is read in a kernel: raise KeyboardInterrupt where interrupting does not do so by itself.

    The kernel looks for the text many times a second, in Python, so that it arrives.
    """
    if interrupts_here():
        yield
        return
    import ctypes

    mine = ctypes.c_ulong(threading.get_ident())
    interrupt = ctypes.py_object(KeyboardInterrupt)

    def told() -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(mine, interrupt)

    with listening(told):
        yield
