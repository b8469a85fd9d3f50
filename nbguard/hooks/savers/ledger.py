"""From a file that was just written to its record: opened once, hashed, and written down beside the person's work.

    note("torch.save", "torch", "ckpt.pt")      # returns at once; a gigabyte is hashed in the background
    settle()                                    # before a load looks records up

The file is opened right after its saver returned, and hashed through that handle; it counts only if it is this user's,
nobody else could have written to it meanwhile, and the file system says that it did not change while it was read.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import os
import queue
import stat
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nbguard.approvals.own import Piece, Written

log = logging.getLogger("nbguard")

AT_ONCE = 1 << 20
"""Bytes up to which a file is hashed before its saver returns: a millisecond."""
MOST_WAITING = 64
"""Files that may wait for their digest, each with an open handle; further ones are hashed at once."""
MOST_AT_ONCE = 500
"""Records written in one transaction: those that came while the last one was written."""
IDLE_SECONDS = 1.0
"""After so long without anything to do, the thread ends."""
SETTLE_SECONDS = 300.0
"""The longest that a load waits for digests; about as many gigabytes. What takes longer is asked about."""
COARSE = 0.02
"""Seconds after which the clock of a local file system has surely moved on (a jiffy is at most 10 ms): only times older
than this tell a later change."""
CHUNK = 4 << 20


@dataclass(frozen=True)
class _Job:
    saver: str
    family: str
    path: str
    written: float
    fd: int
    identity: str
    size: int


def identity(seen: os.stat_result) -> str:
    """As `FileIdentity.key()`."""
    return f"{seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"


def private(seen: os.stat_result) -> bool:
    """Whether a regular file is this user's, and nobody else could have written to it."""
    if not stat.S_ISREG(seen.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    if seen.st_uid != os.geteuid() or seen.st_mode & stat.S_IWOTH:
        return False
    return not seen.st_mode & stat.S_IWGRP or _alone_in(seen.st_gid)


def _alone_in(gid: int) -> bool:
    """Whether a group is this user's private one, as many systems make it (umask 002)."""
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return user.pw_gid == gid and set(group.gr_mem) <= {user.pw_name} and group.gr_name == user.pw_name


class _Ledger:
    """The queue, and the one thread that empties it and then ends."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.waiting: queue.SimpleQueue[_Job | Written] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.idle = threading.Condition(self.lock)
        self.open = 0
        self.files = 0
        self.running = False
        self.pid = os.getpid()

    def put(self, item: _Job | Written) -> None:
        with self.lock:
            self.open += 1
            self.files += isinstance(item, _Job)
            self.waiting.put(item)
            if not self.running:
                self.running = True
                threading.Thread(target=self._work, name="nbguard-own-work", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                batch = [self.waiting.get(timeout=IDLE_SECONDS)]
            except queue.Empty:
                with self.lock:
                    if self.open == 0:
                        self.running = False
                        return
                continue
            with contextlib.suppress(queue.Empty):
                while len(batch) < MOST_AT_ONCE and not isinstance(batch[-1], _Job):
                    batch.append(self.waiting.get_nowait())
            try:
                _store([w for item in batch if (w := _hashed(item) if isinstance(item, _Job) else item) is not None])
            except MemoryError:
                log.warning("nbguard had no memory left to record what was saved; it is asked about when it is loaded")
            finally:
                with self.lock:
                    self.open -= len(batch)
                    self.files -= sum(isinstance(item, _Job) for item in batch)
                    if self.open == 0:
                        self.idle.notify_all()

    def settle(self, seconds: float) -> None:
        with self.lock:
            self.idle.wait_for(lambda: self.open == 0, seconds)


_ledger = _Ledger()
_recent: dict[str, str] = {}
"""Identity → digest of the last large files, for one that several savers report."""
_problems: set[str] = set()
"""What keeps records from being made or read; each is in the audit log of this process once."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ledger._reset)


def note(saver: str, family: str, path: str, before: str = "", begun: float = 0.0) -> None:
    """Record the file that `saver` just wrote. Raises nothing: a file that cannot be vouched for is asked about when it
    is loaded.

    Args:
        before: its `identity` before, where there was one: a saver that wrote nothing vouches for nothing. A file of
            the same size, written twice before the file system's clock moved on, has the same one;
        begun: so where it was changed since the saver began (seconds since the epoch), it counts as written.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0))
    except (OSError, ValueError):
        return
    try:
        seen = os.fstat(fd)
        if not private(seen) or (identity(seen) == before and seen.st_ctime < begun - COARSE):
            os.close(fd)
            return
    except OSError:
        os.close(fd)
        return
    job = _Job(saver, family, os.path.abspath(path), time.time(), fd, identity(seen), seen.st_size)
    forked = os.getpid() != _BORN
    if seen.st_size <= AT_ONCE or forked or _ledger.files >= MOST_WAITING:
        written = _hashed(job)
        if written is not None:
            _put(written)
    else:
        _ledger.put(job)


def note_program(saver: str, family: str, path: str, sha256: str, size: int, piece: Piece = "program") -> None:
    """Record a pickle program of which the digest is known because it was seen on its way."""
    from nbguard.approvals.own import Written

    _put(Written(sha256, size, piece, family, saver, path, time.time()))


def settle(seconds: float = SETTLE_SECONDS) -> None:
    """Wait until everything that was noted is recorded."""
    if _ledger.open:
        _ledger.settle(seconds)


def problem(why: str) -> None:
    """Say once, in the audit log, why own work cannot be told."""
    if why in _problems:
        return
    _problems.add(why)
    from nbguard.hooks import walk

    walk.note("own.unusable", why=why)


def _put(written: Written) -> None:
    """A forked worker may end at any moment without another word, so it writes its own records at once."""
    if os.getpid() != _BORN:
        _store([written])
    else:
        _ledger.put(written)


def _store(written: list[Written]) -> None:
    from nbguard.approvals.model import RecordError
    from nbguard.approvals.own import OwnWork

    try:
        OwnWork().add(written)
    except RecordError as error:
        try:
            problem(str(error))
        except RecordError:
            return  # not even the log can be written: the next load says so


def _hashed(job: _Job) -> Written | None:
    """The record of a file, or None where it was changed while it was read."""
    from nbguard.approvals.own import Written

    try:
        large = job.size > AT_ONCE
        seen = os.fstat(job.fd)
        if large and (wait := seen.st_ctime + COARSE - time.time()) > 0:
            time.sleep(min(wait, COARSE))
        digest = _recent.get(job.identity)  # a saver within a saver wrote it: a shard of a model that is saved
        if digest is None:
            digest = _digest(job)
        seen = os.fstat(job.fd)
        if digest is None or identity(seen) != job.identity:
            return None
        told = job.identity if large and _tells(seen) else ""
        if told:
            _recent[told] = digest
            while len(_recent) > MOST_WAITING:
                _recent.pop(next(iter(_recent)), None)
        return Written(digest, job.size, "file", job.family, job.saver, job.path, job.written, told)
    except OSError:
        return None
    finally:
        os.close(job.fd)


def _digest(job: _Job) -> str | None:
    """SHA-256 of all bytes, None where they are not as many as there were."""
    digest, at = hashlib.sha256(), 0
    while part := os.pread(job.fd, CHUNK, at):
        digest.update(part)
        at += len(part)
    return digest.hexdigest() if at == job.size else None


def _tells(seen: os.stat_result) -> bool:
    """Whether a change from now on shows in the file's times: they are fine enough, and not of this very moment."""
    fine: Literal[True, False] = bool(seen.st_ctime_ns % 1_000_000_000)
    return fine and time.time() - seen.st_ctime > COARSE


_BORN = os.getpid()
atexit.register(settle)
