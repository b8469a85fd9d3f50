"""The files of the audit log: the segment that is written to, the finished ones, the head, the lock.

    files = Files(path)
    with files.locked():
        head = files.read_head()

| file | what |
|---|---|
| `audit.jsonl` | the segment that grows |
| `audit-000001.jsonl`, … | finished segments, oldest first; the chain goes on from one to the next |
| `audit.head` | where the log ended when it was last written, so that a cut-off end shows |
| `audit.lock` | held by whoever reads or writes the others |
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nbguard.approvals.audit_chain import GENESIS, MAX_LINE, Link
from nbguard.approvals.model import RecordError

LOCK_SECONDS = 10.0
"""How long other writers may hold the log before a load is refused."""


@dataclass(frozen=True)
class Head:
    """Where the log ended when it was last written."""

    entries: int
    hash: str
    size: int
    """Bytes of the segment that grows."""
    segment: int = 1
    """Number of that segment."""

    @property
    def link(self) -> Link:
        return Link(self.entries, self.hash)


BEGINNING = Head(0, GENESIS, 0)


class Files:
    """Everything that touches the disk; what it means is elsewhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_suffix(".head")
        self.lock_path = path.with_suffix(".lock")

    def exist(self) -> bool:
        return self.path.exists() or self.head_path.exists() or bool(self.segments())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the files, among all threads and processes of this user. Raises OSError, RecordError."""
        from nbguard import settings

        settings.private_dir(self.path.parent)
        fd = self._open(self.lock_path)
        try:
            _lock(fd, self.path)
            yield
        finally:
            os.close(fd)  # closing gives the lock back

    @contextlib.contextmanager
    def growing(self) -> Iterator[int]:
        """The segment that grows, open for writing."""
        fd = self._open(self.path)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def readable(self) -> Iterator[list[Path | BinaryIO]]:
        """All segments as they are now, oldest first: the finished ones, and the one that grows, open. Without the
        lock, so that the log can be read where it cannot be written: one that is finished meanwhile counts once."""
        with contextlib.ExitStack() as stack:
            try:
                growing = stack.enter_context(self.path.open("rb"))
            except FileNotFoundError:
                yield [path for _, path in self.segments()]
                return
            mine = os.fstat(growing.fileno())
            finished = [path for _, path in self.segments() if not os.path.samestat(path.stat(), mine)]
            yield [*finished, growing]

    def append(self, fd: int, size: int, line: bytes) -> None:
        """Write at the end, and to the disk; what could not be written whole is taken back."""
        try:
            done = 0
            while done < len(line):
                done += os.pwrite(fd, line[done:], size + done)
            os.fsync(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, size)
            raise

    def read_head(self) -> Head | None:
        """None where there is no head file. Raises RecordError where it is damaged."""
        try:
            raw = self.head_path.read_bytes()[:4096]
        except FileNotFoundError:
            return None
        try:
            data = json.loads(raw)
            return Head(int(data["entries"]), str(data["hash"]), int(data["size"]), int(data.get("segment", 1)))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self.altered("its head file is damaged") from None

    def write_head(self, head: Head) -> None:
        """Whole or not at all, through a second file; only ever called under the lock."""
        text = json.dumps(vars(head)).encode("ascii")
        temporary = self.head_path.with_suffix(".head-new")
        temporary.unlink(missing_ok=True)  # of a writer that died; a link put there is not followed
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, self.head_path)

    def segment(self, number: int) -> Path:
        """Where a finished segment lies."""
        return self.path.with_name(f"{self.path.stem}-{number:06d}{self.path.suffix}")

    def segments(self) -> list[tuple[int, Path]]:
        """(number, path) of every finished segment that is there, oldest first."""
        pattern = re.compile(rf"{re.escape(self.path.stem)}-([0-9]{{6,12}}){re.escape(self.path.suffix)}")
        try:
            names = os.listdir(self.path.parent)
        except OSError:
            return []
        found = [(int(m[1]), self.path.with_name(name)) for name in names if (m := pattern.fullmatch(name))]
        return sorted(pair for pair in found if pair[1] == self.segment(pair[0]))

    def finish(self, head: Head) -> Head:
        """Let the segment that grows be a finished one; returns the head of the next, written down."""
        path = self.segment(head.segment)
        if path.exists():
            raise self.altered(f"a segment {path.name!r} is there that it did not write")
        os.rename(self.path, path)
        self.sync_folder()
        return self.begun(head)

    def begun(self, head: Head) -> Head:
        """The head of an empty segment after `head`, written down."""
        following = Head(head.entries, head.hash, 0, head.segment + 1)
        self.write_head(following)
        return following

    def remove(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        self.sync_folder()

    def sync_folder(self) -> None:
        """Let a name that was given or taken be on the disk."""
        with contextlib.suppress(OSError):  # some file systems know no such thing
            fd = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def altered(self, how: str) -> RecordError:
        return RecordError(
            f"The audit log {str(self.path)!r} was altered: {how}. Look at it with 'nbguard audit verify', then move it"
            f" and {self.head_path.name!r} away to begin a new one."
        )

    def _open(self, path: Path) -> int:
        """A regular file for this user's eyes only, made where it is missing."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise RecordError(f"The audit log {str(path)!r} is not a regular file.")
            if hasattr(os, "geteuid") and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
                os.fchmod(fd, 0o600)
        except BaseException:
            os.close(fd)
            raise
        return fd


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line without its end). A line without an end, or too long a one, comes out as no entry can be.
    Raises OSError; a file that is not there has no lines."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        yield from lines_of(file)


def lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """`lines` of an open file."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        yield number, line[:-1] if line.endswith(b"\n") else line + b"\0"


def _lock(fd: int, path: Path) -> None:
    """An exclusive lock, waited for in short steps so that an interrupt gets through and the wait ends."""
    try:
        import fcntl
    except ImportError:  # Windows: one byte far behind the end, through its own call
        _lock_windows(fd, path)
        return
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RecordError(f"The audit log {str(path)!r} is held by another process.") from None
            time.sleep(0.002)


def _lock_windows(fd: int, path: Path) -> None:
    import msvcrt

    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.lseek(fd, 1 << 40, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RecordError(f"The audit log {str(path)!r} is held by another process.") from None
            time.sleep(0.002)
