"""The audit log: what was decided and why, automatic decisions too.

    AuditLog().record("load.allowed", target="model.pt", artifact=report.artifact.digest, reason=decision.reason)
    AuditLog().verify()           # AuditCheck(ok=True, entries=17, line=None, problem="")

Append-only JSON lines. Each holds the hash of the one before and its own, so that a changed, removed or inserted line
shows; a head file beside the log holds the number of entries and the last hash, so that a cut-off tail shows. When a
segment is large enough a new one begins, and the chain goes on; finished segments are deleted only as the settings or a
person say, and an entry says so. A load whose decision cannot be written down does not happen.

What this does not prove: whoever may write the files can write a whole new chain. It tells of accidents and of careless
tampering, not of an owner who forges it all.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nbguard.approvals.audit_chain import MAX_ITEMS, MAX_LINE, decoded, encoded, entry_after, link, problem
from nbguard.approvals.audit_check import PRUNED, AuditCheck, check, check_part
from nbguard.approvals.audit_files import BEGINNING, Files, Head, lines, lines_of
from nbguard.approvals.audit_privacy import Hiding, hiding
from nbguard.approvals.model import RecordError

FILE_NAME = "audit.jsonl"
DAY = 86_400.0


@dataclass(frozen=True)
class Keeping:
    """How the log is kept; by default as the settings say."""

    segment_bytes: int = 16 << 20
    """A new segment begins when one is this large."""
    days: int = 0
    """Finished segments whose last entry is older are deleted; 0: none."""
    segments: int = 0
    """More finished segments than this are deleted, the oldest first; 0: none."""
    leave_out: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    salt_file: Path | None = None

    @classmethod
    def from_settings(cls) -> Keeping:
        from nbguard import settings

        found = settings.load()
        return cls(
            segment_bytes=found.audit_segment_mb << 20,
            days=found.audit_keep_days,
            segments=found.audit_keep_segments,
            leave_out=found.audit_leave_out,
            hash=found.audit_hash,
            salt_file=Path(found.audit_salt_file) if found.audit_salt_file else None,
        )


@dataclass(frozen=True)
class Segment:
    """A finished segment."""

    number: int
    path: Path
    first: int
    """Number of its first entry."""
    last: int
    hash: str
    """Of its last entry."""
    since: str
    """Time of its first entry, ISO 8601."""
    until: str
    sha256: str
    """Of the file."""
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """As the entry about its deletion says it."""
        out = {k: v for k, v in vars(self).items() if k not in ("path", "number")}
        return {"segment": self.number, "file": self.path.name, **out}


class AuditLog:
    """The audit log of one user."""

    def __init__(self, path: Path | None = None, keeping: Keeping | None = None) -> None:
        """`path`: of the log; by default in the user's data directory. It is made with the first entry."""
        if path is None:
            from nbguard import settings

            path = settings.data_dir() / FILE_NAME
        self.path = path
        self.files = Files(path)
        self.head_path = self.files.head_path
        self._keeping = keeping

    def record(self, event: str, **fields: Any) -> dict[str, Any]:
        """Append one entry and wait until it is on the disk; returns it.

        Raises:
            RecordError: it cannot be written, or what is there already was altered.
        """
        keeping = self._keeping or Keeping.from_settings()
        try:
            hide = hiding(keeping.leave_out, keeping.hash, keeping.salt_file, self.path.parent)
            with self.files.locked():
                head = self._end()
                if head.size >= keeping.segment_bytes:
                    head = self.files.finish(head)
                    head = self._prune(head, keeping, time.time(), hide)
                return self._write(head, event, fields, hide)[1]
        except OSError as error:
            raise self._cannot("written", error) from None

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every entry, oldest first, as it stands in the files; stops before a line that is none. Raises
        RecordError."""
        try:
            with self.files.readable() as segments:
                for segment in segments:
                    for entry in _entries(segment):
                        if entry is None:
                            return
                        yield entry
        except OSError as error:
            raise self._cannot("read", error) from None

    def tail(self, count: int) -> list[dict[str, Any]]:
        """The last `count` entries, oldest first; finished segments are read only as far back as that takes. Raises
        RecordError."""
        found: list[dict[str, Any]] = []
        try:
            with self.files.readable() as segments:
                for segment in reversed(segments):
                    if len(found) >= count:
                        break
                    found = [entry for entry in _entries(segment) if entry is not None] + found
        except OSError as error:
            raise self._cannot("read", error) from None
        return found[max(len(found) - count, 0) :] if count > 0 else []

    def verify(self) -> AuditCheck:
        """Go along the whole chain, over all segments, and compare its end with the head file. RecordError: it cannot
        be read."""
        try:
            if not self.files.exist():
                return AuditCheck(True, 0)
            with self.files.locked():
                return check(self.files)
        except OSError as error:
            raise self._cannot("read", error) from None

    def prune(
        self, *, days: int = 0, segments: int | None = None, now: float | None = None, dry_run: bool = False
    ) -> tuple[Segment, ...]:
        """Delete finished segments: those whose last entry is older than `days`, and all but the last `segments`;
        returns them. An entry with the number and hash of each one's last entry is written first, so that `verify`
        holds.

        Raises:
            RecordError: the log was altered, so that nothing of it may go; or it cannot be written.
        """
        start = time.time() if now is None else now
        try:
            if not self.files.exist():
                return ()
            with self.files.locked():
                found = check(self.files)
                if not found.ok:
                    raise self.files.altered(found.problem.rstrip("."))
                old = self._old(days, segments, start)
                if old and not dry_run:
                    keeping = self._keeping or Keeping.from_settings()
                    hide = hiding(keeping.leave_out, keeping.hash, keeping.salt_file, self.path.parent)
                    self._delete(self._end(), old, hide)
                return tuple(old)
        except OSError as error:
            raise self._cannot("written", error) from None

    # Under the lock

    def _end(self) -> Head:
        """Where to write on. A writer that died between the log and its head is made up for; anything else that does
        not fit is not written to."""
        with self.files.growing() as fd:
            size = os.fstat(fd).st_size
            head = self.files.read_head()
            if head is None:
                if size or self.files.segments():
                    raise self.files.altered("its head file is missing")
                return BEGINNING
            if size == head.size:
                return head
            if size < head.size:
                finished = self.files.segment(head.segment)
                if not size and finished.exists() and finished.stat().st_size == head.size:
                    return self.files.begun(head)  # it died after the segment was finished
                raise self.files.altered("entries are missing at its end")
            extra = os.pread(fd, MAX_LINE + 1, head.size)
            if b"\n" not in extra and len(extra) <= MAX_LINE:
                os.ftruncate(fd, head.size)  # a write that never ended: its load did not happen
                return head
        line, _, rest = extra.partition(b"\n")
        if rest or problem(line, head.link):
            raise self.files.altered("something else has written to it")
        return Head(head.entries + 1, link(line).hash, size, head.segment)

    def _write(
        self, head: Head, event: str, fields: dict[str, Any], hide: Hiding | None
    ) -> tuple[Head, dict[str, Any]]:
        entry = entry_after(head.link, event, fields, hide)
        line = encoded(entry)
        with self.files.growing() as fd:
            self.files.append(fd, head.size, line)
        following = Head(head.entries + 1, entry["hash"], head.size + len(line), head.segment)
        self.files.write_head(following)
        return following, entry

    def _prune(self, head: Head, keeping: Keeping, now: float, hide: Hiding | None) -> Head:
        """What the settings let go when a segment is finished. Where it was altered it stays, and an entry says why;
        that stops no load."""
        if not keeping.days and not keeping.segments:
            return head
        try:
            old = self._old(keeping.days, keeping.segments or None, now)
            why = check_part([segment.path for segment in old])
        except RecordError as error:
            old, why = [], str(error)
        if why:
            return self._write(head, "audit.kept", {"why": why}, hide)[0]
        return self._delete(head, old, hide)

    def _old(self, days: int, segments: int | None, now: float) -> list[Segment]:
        finished = self.files.segments()
        beyond = len(finished) - segments if segments is not None else 0
        old: list[Segment] = []
        for place, (number, path) in enumerate(finished):
            try:
                found = _segment(number, path)
                if not (place < beyond or (days and _seconds(found.until) < now - days * DAY)):
                    break  # the chain that is left must have one beginning
            except (ValueError, KeyError, TypeError):
                raise self.files.altered(f"the segment {path.name!r} is damaged") from None
            old.append(found)
        return old

    def _delete(self, head: Head, old: Sequence[Segment], hide: Hiding | None) -> Head:
        for start in range(0, len(old), MAX_ITEMS):
            some = old[start : start + MAX_ITEMS]
            fields = {"segments": [s.to_json() for s in some], "removed": sum(s.last - s.first + 1 for s in some)}
            head, _ = self._write(head, PRUNED, fields, hide)
        self.files.remove([segment.path for segment in old])
        return head

    def _cannot(self, what: str, error: OSError) -> RecordError:
        return RecordError(
            f"The audit log {str(self.path)!r} cannot be {what}: {error.strerror or 'input/output error'}."
        )


def _entries(segment: Path | BinaryIO) -> Iterator[dict[str, Any] | None]:
    for _, line in lines(segment) if isinstance(segment, Path) else lines_of(segment):
        yield decoded(line)


def _segment(number: int, path: Path) -> Segment:
    """Raises ValueError, KeyError, TypeError where it is not as it was written."""
    digest = hashlib.sha256()
    first = last = b""
    size = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 1):
            digest.update(line)
            size += len(line)
            first, last = first or line, line
    one, other = json.loads(first), json.loads(last)
    return Segment(
        number=number, path=path, first=int(one["n"]), last=int(other["n"]), hash=str(other["hash"]),
        since=str(one["time"]), until=str(other["time"]), sha256=digest.hexdigest(), bytes=size,
    )  # fmt: skip


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()
