"""How a click reaches a kernel that is busy running the cell which waits for it.

    with Tap(kernel, comm_ids) as tap:
        message = tap.next(0.1)

While a cell runs, messages for widgets are queued behind it. The tap stands where the kernel's shell stream hands its
messages on: those for our own comms go to the thread that waits, everything else passes untouched and in order, so
that the cells below keep theirs. ipykernel has no public way to do this; what is used of it is tested before it is
touched (`supported`), and where it is not as expected `TapUnavailable` says so and the question is put another way.
Known to hold for ipykernel 6.29, 6.31 and 7.0 to 7.4.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from nbguard.gate import faces

CONFIRM = 2.0
"""Seconds within which the loop that owns the shell stream has to confirm that the tap is in place."""

_DIVERTED = ("comm_msg", "comm_close")
_ANSWERED = ("comm_info_request", "kernel_info_request")
"""What a page asks before it shows a widget. The kernel itself would answer when the cell has ended, and that waits for
the very question: whoever reloads the page, or opens the notebook again, could only press stop."""


class TapUnavailable(RuntimeError):  # noqa: N818 - it names a state that the caller answers with another face
    """This kernel's messages cannot be reached while it is busy."""


def asks_state(kind: str, content: dict[str, Any]) -> bool:
    """Whether a page asks what a widget is like."""
    data = content.get("data")
    return kind == "comm_msg" and isinstance(data, dict) and data.get("method") == "request_state"


def supported(kernel: Any) -> bool:
    """Whether the kernel has everything that the tap uses."""
    stream, session = getattr(kernel, "shell_stream", None), getattr(kernel, "session", None)
    return (
        callable(getattr(stream, "_recv_callback", None))
        and callable(getattr(stream, "on_recv", None))
        and callable(getattr(stream, "flush", None))
        and callable(getattr(getattr(stream, "io_loop", None), "add_callback", None))
        and all(callable(getattr(session, name, None)) for name in ("feed_identities", "deserialize", "unpack"))
        and callable(getattr(kernel, "_publish_status", None))
        and isinstance(getattr(kernel, "kernel_info", None), dict)
    )


class Tap:
    """Diverts the messages of some comms from a busy kernel into the thread that waits for them."""

    def __init__(self, kernel: Any, comm_ids: Iterable[str]) -> None:
        if not supported(kernel):
            raise TapUnavailable("this kernel's shell stream is not as expected")
        self._kernel = kernel
        self._stream = kernel.shell_stream
        self._wanted = frozenset(comm_ids)
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._through: Callable[[Any], Any] = self._stream._recv_callback
        self._open = False
        self.another_page = False
        """Whether a page came in the meantime: a second tab, or the first one again."""
        self._cell = faces.parent(kernel)
        # ipykernel 7 reads the socket in a thread of its own; before, the main thread does.
        self._own_thread = getattr(kernel, "shell_channel_thread", None) is not None
        self._on_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Tap:
        self._open = True
        try:
            confirmed = self._on_loop(self._install)
        except BaseException:
            self._close()
            raise
        if not confirmed:
            self._close()
            raise TapUnavailable("the kernel's message loop did not answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next message for one of our comms, its signature checked; None after `timeout` seconds."""
        if not self._own_thread and self._on_main:
            from zmq.constants import PollEvent

            # Nobody else reads the socket, or writes to it, while this thread waits.
            self._stream.flush(PollEvent.POLLIN | PollEvent.POLLOUT)
        try:
            return self._messages.get(timeout=timeout)
        except queue.Empty:
            return None

    @contextlib.contextmanager
    def serving(self, message: dict[str, Any]) -> Iterator[None]:
        """Tell the page that its message is being worked on and then done; it holds back further changes until then.

        The kernel stays busy all the same, with the cell that waits.
        """
        self._kernel._publish_status("busy", "shell", parent=message)
        try:
            yield
        finally:
            self._kernel._publish_status("idle", "shell", parent=message)
            self._kernel._publish_status("busy", "shell", parent=self._cell)

    def send_state(self, message: dict[str, Any]) -> None:
        """Answer a page that asks what a widget is like, any widget: it has been reloaded, or is a second one."""
        from ipywidgets.widgets import widget as widgets

        comm_id = str(message["content"].get("comm_id"))
        asked = widgets._instances.get(comm_id)
        if asked is None:
            return
        try:
            state, paths, buffers = widgets._remove_buffers(asked.get_state())
        except Exception as error:  # noqa: BLE001 - a widget of the person's own, whose code may do anything
            self._kernel.log.warning("nbguard: a widget of this notebook cannot tell its state: %r", error)
            return
        self._kernel.session.send(
            self._kernel.iopub_socket,
            "comm_msg",
            {"comm_id": comm_id, "data": {"method": "update", "state": state, "buffer_paths": paths}},
            parent=message,
            ident=f"comm-{comm_id}".encode(),
            buffers=buffers,
        )

    def _install(self) -> None:
        if self._open:  # not given up in the meantime
            self._through = self._stream._recv_callback
            self._stream.on_recv(self._receive, copy=False)

    def _remove(self) -> None:
        if self._stream._recv_callback == self._receive:
            self._stream.on_recv(self._through, copy=False)

    def _close(self) -> None:
        self._open = False  # from here on everything passes, installed or not
        self._on_loop(self._remove)

    def _on_loop(self, change: Callable[[], None]) -> bool:
        """Run `change` where the stream is read; whether it was done within `CONFIRM` seconds."""
        if not self._own_thread and self._on_main:
            change()
            return True
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._stream.io_loop.add_callback(run)
        return done.wait(CONFIRM)

    def _receive(self, frames: list[Any]) -> Any:
        wanted = self._wants(frames) if self._open else None
        if wanted is None:
            return self._through(frames)
        session = self._kernel.session
        try:
            idents, parts = session.feed_identities(frames, copy=False)
            # Checks the signature, and refuses one that was seen before.
            message = session.deserialize(parts, content=True, copy=False)
        except (ValueError, TypeError) as error:
            self._kernel.log.warning("nbguard: a message for its question was not genuine: %s", error)
            return None
        if wanted == self._messages.put:
            self._messages.put(message)
        else:
            with self.serving(message):
                kind = message["header"]["msg_type"].replace("_request", "_reply")
                session.send(self._stream, kind, wanted(message), message, ident=idents)
        return None

    def _wants(self, frames: list[Any]) -> Callable[[dict[str, Any]], Any] | None:
        """What is to be done with a message that cannot wait for the cell to end; None for all others."""
        session = self._kernel.session
        try:
            _, parts = session.feed_identities(frames, copy=False)
            kind = session.unpack(parts[1].bytes).get("msg_type")
            if kind in _ANSWERED:
                return {"comm_info_request": self._comms, "kernel_info_request": self._info}[kind]
            if kind not in _DIVERTED:
                return None
            content = session.unpack(parts[4].bytes)
            ours = content.get("comm_id") in self._wanted
            return self._messages.put if ours or asks_state(kind, content) else None
        except (ValueError, TypeError, IndexError, AttributeError):
            return None  # not for us to judge: the kernel deals with what it cannot read

    def _comms(self, message: dict[str, Any]) -> dict[str, Any]:
        """Which widgets there are, for a page that has just come: without it, it could not show the question."""
        self.another_page = True
        from ipywidgets.widgets import widget as widgets

        target = message["content"].get("target_name", "jupyter.widget")
        known = widgets._instances if target == "jupyter.widget" else ()
        return {"status": "ok", "comms": {comm_id: {"target_name": "jupyter.widget"} for comm_id in tuple(known)}}

    def _info(self, message: dict[str, Any]) -> dict[str, Any]:
        """What every page asks first of all."""
        return {"status": "ok", **self._kernel.kernel_info}
