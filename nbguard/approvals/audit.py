"""The audit log: what was decided and why, automatic decisions too.

    AuditLog().record("load.allowed", target="model.pt", artifact=report.artifact.digest, reason=decision.reason)
    AuditLog().verify()           # AuditCheck(ok=True, entries=17, line=None, problem="")

Append-only JSON lines. Each holds the hash of the one before and its own, so that a changed, removed or inserted line
shows; a head file beside the log holds the number of entries and the last hash, so that a cut-off tail shows. A load
whose decision cannot be written down does not happen.

What this does not prove: whoever may write both files can write a whole new chain. It tells of accidents and of
careless tampering, not of an owner who forges it all.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbguard.approvals.model import RecordError
from nbguard.artifact.model import canonical_digest

FILE_NAME = "audit.jsonl"
GENESIS = "0" * 64
"""What the first entry names as the hash before it."""
MAX_TEXT = 2_000
"""Characters kept of one string."""
MAX_LINE = 1 << 20
"""Bytes; a longer line was not written by nbguard."""
LOCK_SECONDS = 10.0
"""How long other writers may hold the log before a load is refused."""


@dataclass(frozen=True)
class AuditCheck:
    """What `verify` found."""

    ok: bool
    entries: int
    """Good entries, counted from the first."""
    line: int | None = None
    """Number of the first bad line, from 1; None where none is bad, or where lines are missing at the end."""
    problem: str = ""
    """One plain sentence."""


@dataclass(frozen=True)
class _Head:
    """Where the log ended when it was last written."""

    entries: int
    hash: str
    size: int


class AuditLog:
    """The audit log of one user."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: of the log; by default in the user's data directory. It is made with the first entry."""
        if path is None:
            from nbguard import settings

            path = settings.data_dir() / FILE_NAME
        self.path = path
        self.head_path = path.with_suffix(".head")

    def record(self, event: str, **fields: Any) -> dict[str, Any]:
        """Append one entry and wait until it is on the disk; returns it.

        Raises:
            RecordError: it cannot be written, or what is there already was altered.
        """
        try:
            with self._locked() as fd:
                head = self._end(fd)
                entry = _entry(head, event, fields)
                line = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
                self._append(fd, head.size, line)
                self._write_head(_Head(head.entries + 1, entry["hash"], head.size + len(line)))
                return entry
        except OSError as error:
            raise RecordError(
                f"The audit log {str(self.path)!r} cannot be written: {error.strerror or 'input/output error'}."
            ) from None

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every entry, oldest first, as it stands in the file; stops before a line that is none. Raises RecordError."""
        for _, line in self._lines():
            try:
                entry = json.loads(line)
            except ValueError:
                return
            if not isinstance(entry, dict):
                return
            yield entry

    def tail(self, count: int) -> list[dict[str, Any]]:
        """The last `count` entries, oldest first. Raises RecordError."""
        return list(deque(self.entries(), maxlen=max(count, 0)))

    def verify(self) -> AuditCheck:
        """Go along the whole chain and compare its end with the head file. RecordError: it cannot be read."""
        try:
            if not self.path.exists() and not self.head_path.exists():
                return AuditCheck(True, 0)
            with self._locked():
                head = self._read_head()
                good, last = 0, GENESIS
                for number, line in self._lines():
                    problem = _bad(line, number, last)
                    if problem:
                        return AuditCheck(False, good, number, f"Line {number} {problem}.")
                    last = json.loads(line)["hash"]
                    good = number
        except OSError as error:
            raise RecordError(
                f"The audit log {str(self.path)!r} cannot be read: {error.strerror or 'input/output error'}."
            ) from None
        if head is None:
            return AuditCheck(False, good, None, "The head file is missing, so nobody can say whether entries are.")
        if good < head.entries:
            return AuditCheck(
                False, good, None, f"The log ends after {good} entries, but {head.entries} had been written."
            )
        if good == head.entries and last != head.hash:
            return AuditCheck(False, good - 1, good, f"Line {good} is not the entry that was written last.")
        return AuditCheck(True, good)

    # The files

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The log, open and locked against other threads and processes."""
        from nbguard import settings

        settings.private_dir(self.path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        fd = os.open(self.path, flags, 0o600)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise RecordError(f"The audit log {str(self.path)!r} is not a regular file.")
            if hasattr(os, "geteuid") and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
                os.fchmod(fd, 0o600)
            _lock(fd, self.path)
            yield fd
        finally:
            os.close(fd)  # closing gives the lock back

    def _end(self, fd: int) -> _Head:
        """Where to write on. A writer that died between the log and its head is made up for; anything else that does
        not fit is not written to."""
        size = os.fstat(fd).st_size
        head = self._read_head()
        if head is None:
            if size:
                raise self._altered("its head file is missing")
            return _Head(0, GENESIS, 0)
        if size == head.size:
            return head
        if size < head.size:
            raise self._altered("entries are missing at its end")
        extra = os.pread(fd, MAX_LINE + 1, head.size)
        if b"\n" not in extra and len(extra) <= MAX_LINE:
            os.ftruncate(fd, head.size)  # a write that never ended: its load did not happen
            return head
        line, _, rest = extra.partition(b"\n")
        if rest or _bad(line, head.entries + 1, head.hash):
            raise self._altered("something else has written to it")
        return _Head(head.entries + 1, json.loads(line)["hash"], size)

    def _append(self, fd: int, size: int, line: bytes) -> None:
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

    def _read_head(self) -> _Head | None:
        try:
            raw = self.head_path.read_bytes()[:4096]
        except FileNotFoundError:
            return None
        try:
            data = json.loads(raw)
            head = _Head(int(data["entries"]), str(data["hash"]), int(data["size"]))
        except (ValueError, KeyError, TypeError):
            raise self._altered("its head file is damaged") from None
        return head

    def _write_head(self, head: _Head) -> None:
        """Whole or not at all, through a second file; only ever called under the lock."""
        text = json.dumps({"entries": head.entries, "hash": head.hash, "size": head.size}).encode("ascii")
        temporary = self.head_path.with_suffix(".head-new")
        temporary.unlink(missing_ok=True)  # of a writer that died; a link put there is not followed
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, self.head_path)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(number from 1, line without its end). A line without an end, or too long a one, comes out as it is."""
        try:
            with self.path.open("rb") as file:
                number = 0
                while line := file.readline(MAX_LINE + 1):
                    number += 1
                    yield number, line[:-1] if line.endswith(b"\n") else line + b"\0"
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecordError(
                f"The audit log {str(self.path)!r} cannot be read: {error.strerror or 'input/output error'}."
            ) from None

    def _altered(self, how: str) -> RecordError:
        return RecordError(
            f"The audit log {str(self.path)!r} was altered: {how}. Look at it with 'nbguard audit verify', then move it"
            f" and {self.head_path.name!r} away to begin a new one."
        )


def _entry(head: _Head, event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    body = {str(k): _plain(v) for k, v in fields.items() if k != "hash"}
    body.update(
        n=head.entries + 1,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        event=event[:MAX_TEXT],
        user=_user(),
        pid=os.getpid(),
        prev=head.hash,
    )
    body["hash"] = canonical_digest(body)
    return body


def _bad(line: bytes, number: int, last: str) -> str:
    """What is wrong with the line, or an empty string."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return "is not an entry"
    if not isinstance(entry, dict) or not isinstance(entry.get("hash"), str):
        return "is not an entry"
    body = {key: value for key, value in entry.items() if key != "hash"}
    if canonical_digest(body) != entry["hash"]:
        return "was changed: its hash is not that of its content"
    if entry.get("prev") != last:
        return "does not follow the line before it"
    if entry.get("n") != number:
        return "has the wrong number"
    return ""


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it; strings bounded, everything unknown as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {str(k)[:MAX_TEXT]: _plain(v) for k, v in list(value.items())[:100]}
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(v) for v in list(value)[:100]]
    return str(value)[:MAX_TEXT]


def _user() -> str:
    try:
        return getpass.getuser()[:MAX_TEXT]
    except (OSError, KeyError, ImportError):  # a container's user without an entry or environment
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


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
