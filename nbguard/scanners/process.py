"""One worker process and the socket to it: started without the environment, asked about open files, killed when late.

    worker = Worker()
    (answer,) = worker.ask({"files": [{"path": "m.pkl"}], "limits": {…}}, [fd], seconds=120, answer=1 << 20)

Importing this imports next to nothing, so that a worker can be on its way before the rest of nbguard is there.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from nbguard.scanners.remote_view import REFUSED
from nbguard.scanners.worker import HEADER

_BOOT = "import sys; sys.path += sys.argv[1:-1]; from nbguard.scanners.worker import main; main()"


class WorkerFailed(Exception):  # noqa: N818 - its message is the reason that the report gives
    """The worker gave no usable answer; the message is one plain sentence."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Source(Protocol):
    """What a file is read by that the worker cannot open."""

    def served(self, offset: int, length: int) -> bytes | None:
        """The bytes; None where they cannot be had, for good."""

    def at_hand(self, offset: int, length: int, worth: int) -> bool:
        """Whether these bytes are worth asking for."""


class Worker:
    """One worker process and the socket to it."""

    def __init__(self) -> None:
        if not sys.executable:
            raise WorkerFailed("worker.start", "There is no Python to start the scanner with.")
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, *search_path(), str(theirs.fileno())],
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
        self,
        message: dict[str, Any],
        fds: Sequence[int],
        *,
        seconds: float,
        grace: float = 0.0,
        answer: int,
        progress: Callable[[float], None] | None = None,
        sources: Sequence[Source | None] = (),
    ) -> Iterator[dict[str, Any]]:
        """Send one request with its open files, and give an answer for each of them as it comes.

        Args:
            seconds: for each file; `grace` more may pass before the worker counts as late.
            answer: bytes that one answer may have.
            progress: told the share that is done of the file in hand; -1 while nothing is heard.
            sources: what each file is read by, where that is not its handle. Waiting for one counts as nobody's time.

        Raises:
            WorkerFailed: for the first file that has no answer yet. The worker is of no use any more.
        """
        data = json.dumps(message).encode()
        self._link.settimeout(seconds + grace)
        try:
            socket.send_fds(self._link, [HEADER.pack(len(data))], list(fds))
            self._link.sendall(data)
            for number in range(len(fds)):
                source = sources[number] if sources else None
                yield self._answer(time.monotonic() + seconds + grace, answer, progress, source)
        except TimeoutError:
            raise WorkerFailed("limits.time", f"Reading it takes longer than {seconds:.3g} seconds.") from None
        except (ValueError, RecursionError) as error:
            raise WorkerFailed("worker.answer", "The scanner's answer is malformed.") from error
        except OSError as error:
            raise self._gone() from error

    def _answer(
        self, deadline: float, limit: int, progress: Callable[[float], None] | None, source: Source | None
    ) -> dict[str, Any]:
        while True:
            received = json.loads(self._message(deadline, limit, progress))
            if not isinstance(received, dict):
                raise WorkerFailed("worker.answer", "The scanner's answer is malformed.")
            if source is not None and ("read" in received or "at_hand" in received):
                began = time.monotonic()
                data = _from(source, received)
                deadline += time.monotonic() - began
                self._give(data, deadline)
                continue
            if "progress" not in received:
                return received
            if progress is not None:
                progress(float(received["progress"]))

    def _give(self, data: bytes | None, deadline: float) -> None:
        self._link.settimeout(max(0.001, deadline - time.monotonic()))
        self._link.sendall(HEADER.pack(REFUSED if data is None else len(data)) + (data or b""))

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


def _from(source: Source, received: dict[str, Any]) -> bytes | None:
    """What the worker asked for; None where it cannot be had. Raises ValueError where the request is malformed."""
    numbers = received.get("read", received.get("at_hand"))
    if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise ValueError("malformed request")
    if "at_hand" in received:
        offset, length, worth = numbers
        return b"\1" if source.at_hand(offset, length, worth) else b""
    offset, length = numbers
    return source.served(offset, length)


def search_path() -> list[str]:
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
