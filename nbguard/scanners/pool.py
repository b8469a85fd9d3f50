"""Warm worker processes: started when first needed, used again, killed when they take too long.

    facts = scan_file(fd, path="model.pt", limits=Limits())

A crash, a time-out, an answer that is too large or malformed: all of that is *unverifiable*, with the reason. A fork of
this process starts workers of its own and never touches those of its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Limits
from nbguard.scanners.facts import Facts
from nbguard.scanners.worker import HEADER

MAX_WORKERS = 2
"""Scans that run at the same time; further ones wait."""
_BOOT = "import sys; sys.path += sys.argv[1:-1]; from nbguard.scanners.worker import main; main()"
_GRACE = 5.0
"""Seconds that a request may wait beyond the processor time that the worker allows itself."""


class WorkerFailed(Exception):  # noqa: N818 - its message is the reason that the report gives
    """The worker gave no usable answer; the message is one plain sentence."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Worker:
    """One worker process and the socket to it."""

    def __init__(self) -> None:
        if not sys.executable:
            raise WorkerFailed("worker.start", "There is no Python to start the scanner with.")
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, *_search_path(), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise WorkerFailed("worker.start", f"The scanner could not be started: {error.strerror}.") from error
        finally:
            theirs.close()
        self._link = ours

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, message: dict[str, Any], fd: int, *, seconds: float, answer: int, progress: Callable[[float], None] | None
    ) -> dict[str, Any]:
        """Send one request with an open file, and wait for its answer. Raises WorkerFailed."""
        data = json.dumps(message).encode()
        deadline = time.monotonic() + seconds
        self._link.settimeout(seconds)
        try:
            socket.send_fds(self._link, [HEADER.pack(len(data))], [fd])
            self._link.sendall(data)
            while True:
                received = json.loads(self._message(deadline, answer, progress))
                if not isinstance(received, dict):
                    raise WorkerFailed("worker.answer", "The scanner's answer is malformed.")
                if "progress" not in received:
                    return received
                if progress is not None:
                    progress(float(received["progress"]))
        except TimeoutError:
            raise WorkerFailed("limits.time", f"Reading it takes longer than {seconds - _GRACE:.3g} seconds.") from None
        except (ValueError, RecursionError) as error:
            raise WorkerFailed("worker.answer", "The scanner's answer is malformed.") from error
        except OSError as error:
            raise self._gone() from error

    def _message(self, deadline: float, limit: int, progress: Callable[[float], None] | None) -> bytes:
        (length,) = HEADER.unpack(self._exactly(HEADER.size, deadline, progress))
        if length > limit:
            raise WorkerFailed("limits.answer", "There is more to say about this file than a report can hold.")
        return self._exactly(length, deadline, progress)

    def _exactly(self, length: int, deadline: float, progress: Callable[[float], None] | None) -> bytes:
        data = bytearray()
        while len(data) < length:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._link.settimeout(min(remaining, 0.2))
            try:
                part = self._link.recv(min(length - len(data), 1 << 20))
            except TimeoutError:
                if progress is not None:
                    progress(-1.0)
                continue
            if not part:
                raise self._gone()
            data += part
        return bytes(data)

    def _gone(self) -> WorkerFailed:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return WorkerFailed("worker.answer", "The scanner's answer is malformed.")
        if code == -signal.SIGXCPU:
            return WorkerFailed("limits.time", "Reading it takes more processor time than allowed.")
        if code in (-signal.SIGKILL, -signal.SIGBUS, -signal.SIGABRT):
            return WorkerFailed(
                "limits.memory", "Reading it takes more memory than there is, or the file was cut off meanwhile."
            )
        return WorkerFailed("worker.crash", "The scanner broke down on this file.")

    def kill(self) -> None:
        self._link.close()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """In a forked child: let go of the socket; the process is the parent's."""
        self._link.close()
        self._process.returncode = 0


class Pool:
    """At most `MAX_WORKERS` workers, each used by one scan at a time. Safe with threads and forks."""

    def __init__(self) -> None:
        self._new()

    def _new(self) -> None:
        self._idle: list[Worker] = []
        self._all: weakref.WeakSet[Worker] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MAX_WORKERS)

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """A worker for one request. It goes back to the pool unless anything, an interrupt included, went wrong."""
        with self._places:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is not None and not worker.alive():
                worker.kill()
                worker = None
            worker = worker or Worker()
            self._all.add(worker)
            try:
                yield worker
            except BaseException:
                worker.kill()
                raise
            with self._lock:
                self._idle.append(worker)

    def prewarm(self) -> None:
        """Start a worker where there is none, so that it gets ready while the caller still prepares its request."""
        with self._lock:
            if not self._all:
                with contextlib.suppress(WorkerFailed):  # the request itself will say so
                    worker = Worker()
                    self._all.add(worker)
                    self._idle.append(worker)

    def after_fork(self) -> None:
        for worker in self._all:
            worker.forget()
        self._new()

    def close(self) -> None:
        """End the idle workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()


POOL = Pool()
os.register_at_fork(after_in_child=POOL.after_fork)
atexit.register(POOL.close)


def scan_file(
    fd: int,
    *,
    path: str,
    limits: Limits,
    loader: str | None = None,
    companions: frozenset[str] = frozenset(),
    progress: Callable[[float], None] | None = None,
) -> Facts:
    """Have a worker judge the open file; every failure of the worker is in the facts, as unverifiable."""
    message = {
        "path": path,
        "loader": loader,
        "companions": sorted(companions),
        "limits": dataclasses.asdict(limits),
    }
    try:
        with POOL.worker() as worker:
            received = worker.ask(message, fd, seconds=limits.seconds + _GRACE, answer=limits.answer, progress=progress)
        try:
            return Facts.from_json(received["facts"])
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerFailed("worker.answer", "The scanner's answer is malformed.") from error
    except WorkerFailed as failed:
        facts = Facts(format="unknown")
        facts.add(
            Finding(
                failed.rule,
                Severity.HIGH,
                path,
                "",
                str(failed),
                meaning="Nobody can say what loading it would do.",
                remedy="Ask for the model as safetensors, or raise the scanner's limits if you know the file.",
            ),
            Verdict.UNVERIFIABLE,
        )
        facts.regions["unknown"] = os.fstat(fd).st_size
        return facts


def digest_file(fd: int, *, limits: Limits | None = None, progress: Callable[[float], None] | None = None) -> str:
    """SHA-256, in hex, of all bytes of the open file, computed in a worker. Raises WorkerFailed."""
    limits = limits or Limits(seconds=3600.0)
    message = {"path": "", "task": "digest", "limits": dataclasses.asdict(limits)}
    with POOL.worker() as worker:
        received = worker.ask(message, fd, seconds=limits.seconds, answer=1 << 16, progress=progress)
    return str(received["digest"])


def follow_files(fd: int, index: list[tuple[str, int, int]], limits: Limits) -> Any:
    """What source files do together (`scanners.source.across.together`), followed in a worker. Raises WorkerFailed.

    Args:
        fd: all of them, one behind the other.
        index: path, offset and length of each.
    """
    message = {"path": "", "task": "follow", "index": index, "limits": dataclasses.asdict(limits)}
    with POOL.worker() as worker:
        received = worker.ask(message, fd, seconds=limits.seconds + _GRACE, answer=limits.answer, progress=None)
    return received.get("entries")


def _search_path() -> list[str]:
    """The folder that holds this package, then those of installed packages that scanners use (lz4, fickling).

    The worker runs without `site`: neither the environment, nor a `.pth` file, nor what lies beside a notebook decides
    what it imports.
    """
    import site
    import sysconfig

    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        installed.append(site.getusersitepackages())
    return list(dict.fromkeys([here, *(p for p in installed if os.path.isdir(p))]))
