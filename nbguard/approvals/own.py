"""What this user's own guarded kernels wrote, by digest, each record under the user's own key.

    OwnWork().add([Written(sha256, size, "file", "torch", "torch.save", "ckpt.pt", time.time())])
    OwnWork().find(sha256, size)        # what was written with exactly these bytes, newest first

A record says that bytes with this digest came out of a saver in a kernel of this user. It says nothing of what they do:
they are scanned, audited and held to their contract all the same. It holds for the bytes wherever they lie. Records
carry an HMAC-SHA256; one that somebody without the key wrote, or moved from another user, counts for nothing. Losing
them costs a question and no more, so they are bounded in number and in age.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbguard.approvals.model import RecordError
from nbguard.approvals.private_db import made_privately, migrate, ours_alone
from nbguard.approvals.user_key import user_key

FILE_NAME = "own.sqlite3"
KEY_NAME = "own.key"
LOCK_SECONDS = 10.0
"""How long another process may hold the records before one is given up."""
MOST = 50_000
"""Records kept; the oldest go first."""
DAYS = 365
"""After so many days what was written is asked about like anything else."""
MAX_TEXT = 1_000
"""Characters kept of a path."""

_using = threading.RLock()
"""Held while SQLite is at work: records are written by a thread of their own, and a fork in the middle of that would
leave SQLite's own locks taken in the child for good."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_using.acquire, after_in_parent=_using.release, after_in_child=_using.release)

Piece = Literal["file", "program"]
"""`file`: all bytes of a file. `program`: one pickle program, from its first opcode to its STOP."""

_SCHEMA = """
CREATE TABLE own (
  sha256 TEXT NOT NULL, size INTEGER NOT NULL, piece TEXT NOT NULL, family TEXT NOT NULL, saver TEXT NOT NULL,
  path TEXT NOT NULL, written REAL NOT NULL, identity TEXT NOT NULL, mac TEXT NOT NULL,
  PRIMARY KEY (sha256, size, piece, family, path)) STRICT;
CREATE INDEX own_by_identity ON own (identity);
CREATE INDEX own_by_size ON own (size);
CREATE INDEX own_by_age ON own (written);
"""


@dataclass(frozen=True)
class Written:
    """One thing that a saver wrote."""

    sha256: str
    """Of all bytes of the piece, 64 hex digits."""
    size: int
    """Bytes."""
    piece: Piece
    family: str
    """Kind of saver; see `nbguard.hooks.savers.entry.FAMILIES`."""
    saver: str
    """As a person types it: `torch.save`."""
    path: str
    """Where it was written, for people; never where something is looked for."""
    written: float
    """Seconds since the epoch."""
    identity: str = ""
    """What the file system said it was once all of it was hashed (`FileIdentity.key()`); empty where that proves
    nothing: small files, and those whose times are too coarse to tell a later change."""

    def _message(self) -> bytes:
        fields = ["nbguard.own/1", self.sha256, self.size, self.piece, self.family, self.saver, self.path,
                  repr(self.written), self.identity]  # fmt: skip
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode("ascii")


class OwnWork:
    """The records of one user."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: of the records and the key; by default the user's data directory. Made with the first record."""
        if folder is None:
            from nbguard import settings

            folder = settings.data_dir()
        self.path = folder / FILE_NAME
        self.key_path = folder / KEY_NAME

    def add(self, written: Iterable[Written]) -> None:
        """Record what was written. Raises RecordError."""
        rows = [_storable(w) for w in written]
        if not rows:
            return
        key = user_key(self.key_path)
        assert key is not None
        with self._connection() as db, db:
            db.executemany(
                "INSERT OR REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (w.sha256, w.size, w.piece, w.family, w.saver, w.path, w.written, w.identity, _mac(key, w))
                    for w in rows
                ],
            )
            db.execute("DELETE FROM own WHERE written < ?", (time.time() - DAYS * 86_400,))
            (count,) = db.execute("SELECT count(*) FROM own").fetchone()
            if count > MOST:
                db.execute(
                    "DELETE FROM own WHERE rowid IN (SELECT rowid FROM own ORDER BY written LIMIT ?)",
                    (count - MOST + MOST // 20,),
                )

    def find(self, sha256: str, size: int) -> tuple[Written, ...]:
        """What was written with exactly these bytes, the newest first. Raises RecordError."""
        return self._where("sha256 = ? AND size = ?", (sha256, size))

    def at(self, identity: str, size: int) -> tuple[Written, ...]:
        """What was written into the file that the file system still calls the same. Raises RecordError."""
        return self._where("identity = ? AND size = ?", (identity, size)) if identity else ()

    def any_of_size(self, size: int) -> bool:
        """Whether a file of this size was ever written: else its digest need not be computed. Raises RecordError."""
        if not self.there():
            return False
        with self._connection() as db:
            return db.execute("SELECT 1 FROM own WHERE size = ? LIMIT 1", (size,)).fetchone() is not None

    def all(self) -> tuple[Written, ...]:
        """Every record in force, the newest first. Raises RecordError."""
        return self._where("1 = 1", ())

    def there(self) -> bool:
        """Whether anything was ever recorded."""
        return self.path.exists()

    def _where(self, condition: str, values: tuple[object, ...]) -> tuple[Written, ...]:
        if not self.there():
            return ()
        key = user_key(self.key_path, make=False)
        if key is None:
            return ()
        oldest = time.time() - DAYS * 86_400
        with self._connection() as db:
            rows = db.execute(f"SELECT * FROM own WHERE {condition} ORDER BY written DESC", values).fetchall()
        out = []
        for *fields, mac in rows:
            written = Written(*fields)
            if written.written >= oldest and hmac.compare_digest(mac, _mac(key, written)):
                out.append(written)
        return tuple(out)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open, check, close. A rollback journal and no write-ahead log, so that it works on network homes."""
        db: sqlite3.Connection | None = None
        _using.acquire()
        try:
            self._prepare()
            db = sqlite3.connect(self.path, timeout=LOCK_SECONDS)
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = OFF")  # a record that is lost costs a question, and a save must not wait
            db.execute("PRAGMA trusted_schema = OFF")
            migrate(db, (_SCHEMA,))
            yield db
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise RecordError(f"The records of your own work in {str(self.path)!r} cannot be used: {error}.") from None
        except OSError as error:
            why = error.strerror or "input/output error"
            raise RecordError(f"The records of your own work cannot be used: {why} ({str(self.path)!r}).") from None
        finally:
            if db is not None:
                db.close()
            _using.release()

    def _prepare(self) -> None:
        """Make the file with the right mode; refuse one that somebody else could have written."""
        if not ours_alone(made_privately(self.path)):
            raise RecordError(
                f"The records of your own work in {str(self.path)!r} can be written by others, so they count for "
                "nothing; delete the file, and a new one is made."
            )


def _mac(key: bytes, written: Written) -> str:
    return hmac.digest(key, written._message(), "sha256").hex()


def _storable(written: Written) -> Written:
    """With a path short enough to keep, its bytes that are no UTF-8 as visible escapes."""
    path = written.path[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")
    return Written(
        written.sha256, written.size, written.piece, written.family, written.saver, path, written.written,
        written.identity,
    )  # fmt: skip


__all__ = ["OwnWork", "Written"]
