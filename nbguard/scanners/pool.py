"""Warm worker processes: started when first needed, used again, killed when they take too long.

    facts = scan_file(fd, path="model.pt", limits=Limits())
    several = scan_files([Wanted(fd, "a.pkl"), Wanted(other, "b.pkl")], Limits())

A crash, a time-out, an answer that is too large or malformed: all of that is *unverifiable*, with the reason. A fork of
this process starts workers of its own and never touches those of its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nbguard.scanners.process import Worker, WorkerFailed

if TYPE_CHECKING:
    from nbguard.artifact.remote import Reading
    from nbguard.scanners.base import Limits
    from nbguard.scanners.facts import Facts

MAX_WORKERS = 2
"""Scans that run at the same time; further ones wait."""
_GRACE = 5.0
"""Seconds that a file may take beyond the processor time that the worker allows itself."""


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


@dataclass(frozen=True)
class Wanted:
    """A file that is to be judged."""

    fd: int
    path: str
    loader: str | None = None
    companions: str = ""
    """Key of the list of names, among those that go with the request, that it may name."""
    remote: Reading | None = None
    """What it is read by, where it was not downloaded; `fd` is an empty file then."""


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
    told = None if progress is None else lambda _, share: progress(share)
    return scan_files([Wanted(fd, path, loader)], limits, {"": sorted(companions)}, told)[0]


def scan_files(
    files: Sequence[Wanted],
    limits: Limits,
    companions: dict[str, list[str]] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[Facts]:
    """The facts of each open file, from one worker and by as few messages as there can be.

    The file at which a worker fails is unverifiable, with the reason; those behind it are given to another one.

    Args:
        files: at most `worker.MAX_FILES`.
        companions: by key, the names beside a file; its own may be among them.
        progress: told the number of the file in hand, and the share of it that is done.
    """
    from nbguard.scanners.facts import Facts

    found: list[Facts] = []

    def told(share: float) -> None:
        if progress is not None:
            progress(len(found), share)

    while len(found) < len(files):
        done, left = len(found), files[len(found) :]
        message = {
            "files": [_described(f) for f in left],
            "companions": {key: (companions or {}).get(key, []) for key in {f.companions for f in left}},
            "limits": asdict(limits),
        }
        try:
            with POOL.worker() as worker:
                for received in worker.ask(
                    message,
                    [f.fd for f in left],
                    seconds=limits.seconds,
                    grace=_GRACE,
                    answer=limits.answer,
                    progress=told,
                    sources=[f.remote for f in left],
                ):
                    told(1.0)
                    try:
                        facts = Facts.from_json(received["facts"])
                        found.append(_as_read(left[len(found) - done], facts))
                    except (KeyError, TypeError, ValueError) as error:
                        raise WorkerFailed("worker.answer", "The scanner's answer is malformed.") from error
        except WorkerFailed as failed:
            found.append(_failed(files[len(found)], failed))
    return found


def _described(file: Wanted) -> dict[str, Any]:
    described: dict[str, Any] = {"path": file.path, "loader": file.loader, "companions": file.companions}
    return described if file.remote is None else {**described, "remote": file.remote.size}


def _as_read(file: Wanted, facts: Facts) -> Facts:
    """The facts, or that there are none: what a scanner made of bytes that it could not get is not the file's fault."""
    from nbguard.report.model import Verdict

    if file.remote is None:
        return facts
    if facts.format != "safetensors" or file.remote.requests > 2:  # of shards there are many, and nothing in them runs
        file.remote.confirm()
    if facts.verdict is not Verdict.DANGER:
        file.remote.forget()  # else the evidence is read from what is kept
    return unread(file.path, file.remote, facts) if file.remote.failed else facts


def unread(path: str, remote: Reading, facts: Facts | None = None) -> Facts:
    """Facts of a file that could not be read where it lies; harm that was seen before counts all the same."""
    from nbguard.report.model import Verdict
    from nbguard.scanners.facts import Facts

    if facts is None or facts.verdict is not Verdict.DANGER:
        facts = Facts(format="unknown", regions={"unknown": remote.size})
    facts.unverifiable(
        "remote.later" if remote.beyond else "remote.unread",
        path,
        "",
        remote.failed,
        meaning="What could not be read may hold anything, so that nobody can say what loading it would do.",
        remedy="Download it, and scan what was downloaded."
        if remote.beyond
        else "Try again. If it stays so, do not load anything from this server.",
    )
    return facts


def _failed(file: Wanted, failed: WorkerFailed) -> Facts:
    from nbguard.report.model import Finding, Severity, Verdict
    from nbguard.scanners.facts import Facts

    facts = Facts(format="unknown")
    facts.add(
        Finding(
            failed.rule,
            Severity.HIGH,
            file.path,
            "",
            str(failed),
            meaning="Nobody can say what loading it would do.",
            remedy="Ask for the model as safetensors, or raise the scanner's limits if you know the file.",
        ),
        Verdict.UNVERIFIABLE,
    )
    facts.regions["unknown"] = os.fstat(file.fd).st_size if file.remote is None else file.remote.size
    return facts


def digest_file(fd: int, *, limits: Limits | None = None, progress: Callable[[float], None] | None = None) -> str:
    """SHA-256, in hex, of all bytes of the open file, computed in a worker. Raises WorkerFailed."""
    from nbguard.scanners.base import Limits

    limits = limits or Limits(seconds=3600.0)
    message: dict[str, Any] = {"task": "digest", "files": [{"path": ""}], "limits": asdict(limits)}
    with POOL.worker() as worker:
        (received,) = worker.ask(message, [fd], seconds=limits.seconds, answer=1 << 16, progress=progress)
    return str(received["digest"])


def follow_files(fd: int, index: list[tuple[str, int, int]], limits: Limits) -> Any:
    """What source files do together (`scanners.source.across.together`), followed in a worker. Raises WorkerFailed.

    Args:
        fd: all of them, one behind the other.
        index: path, offset and length of each.
    """
    message = {"task": "follow", "files": [{"path": ""}], "index": index, "limits": asdict(limits)}
    with POOL.worker() as worker:
        (received,) = worker.ask(message, [fd], seconds=limits.seconds, grace=_GRACE, answer=limits.answer)
    return received.get("entries")
