"""The SQLite file that approvals live in: opened, checked, brought to this version, and never shared.

    database = Database(path)
    if database.exists():
        with database.connection() as db, db:
            db.execute("SELECT * FROM approvals")

Safe on network homes: the rollback journal is a plain file (no shared-memory WAL), and waiting for a lock is bounded.
Every operation opens its own connection, so that threads and forked children never share one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbguard.approvals.model import RecordError
from nbguard.approvals.private_db import made_privately, migrate, ours_alone

FILE_NAME = "approvals.sqlite3"
LOCK_SECONDS = 10.0
"""How long another process may hold the database before a load is refused."""
MAX_TEXT = 2_000
"""Characters kept of a reason, a name, a target."""

_SCHEMA = """
CREATE TABLE approvals (
  id TEXT PRIMARY KEY, artifact TEXT NOT NULL, contract TEXT NOT NULL, contract_key TEXT NOT NULL,
  created REAL NOT NULL, expires REAL, who TEXT NOT NULL, reason TEXT NOT NULL, verdict INTEGER NOT NULL,
  severity INTEGER NOT NULL, target TEXT NOT NULL, rules_version TEXT NOT NULL, revoked REAL,
  files TEXT NOT NULL, permissions TEXT NOT NULL) STRICT;
CREATE INDEX approvals_by_content ON approvals (artifact, contract_key);
CREATE TABLE bulk (
  approval TEXT NOT NULL REFERENCES approvals (id), path TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
  PRIMARY KEY (approval, path)) STRICT;
CREATE TABLE identities (
  approval TEXT NOT NULL REFERENCES approvals (id), path TEXT NOT NULL, identity TEXT NOT NULL,
  PRIMARY KEY (approval, path, identity)) STRICT;
"""

_SECOND = """
ALTER TABLE approvals ADD COLUMN revoked_by TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN revoked_why TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN origin TEXT;
CREATE TABLE bundles (key TEXT PRIMARY KEY, serial INTEGER NOT NULL, imported REAL NOT NULL) STRICT;
CREATE TABLE withdrawn (
  key TEXT NOT NULL, artifact TEXT NOT NULL, contract_key TEXT NOT NULL, revoked REAL NOT NULL,
  PRIMARY KEY (key, artifact, contract_key)) STRICT;
"""

_STEPS = (_SCHEMA, _SECOND)
SCHEMA_VERSION = len(_STEPS)
"""What leads from each version to the next; version 0 is an empty file."""


class Database:
    """One file of approvals."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether the file is there; looking makes none. Raises RecordError."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RecordError(f"The approvals cannot be read: {_why(error)} ({str(self.path)!r}).") from None
        return True

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open, check, close; every way in which SQLite fails becomes one sentence."""
        db: sqlite3.Connection | None = None
        try:
            self._prepare()
            db = sqlite3.connect(self.path, timeout=LOCK_SECONDS)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA trusted_schema = OFF")
            self._migrate(db)
            yield db
        except sqlite3.OperationalError as error:
            raise RecordError(f"The approvals cannot be used: {error} ({str(self.path)!r}).") from None
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"The approvals in {str(self.path)!r} are damaged ({error}); nothing counts as approved until the file"
                " is moved away or put back from a copy."
            ) from None
        except OSError as error:
            raise RecordError(f"The approvals cannot be used: {_why(error)} ({str(self.path)!r}).") from None
        finally:
            if db is not None:
                db.close()

    def _prepare(self) -> None:
        """Make the file with the right mode; refuse one that somebody else could have written."""
        found = made_privately(self.path)
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"The approvals cannot be used: {str(self.path)!r} is not a regular file.")
        if not ours_alone(found):
            raise RecordError(
                f"The approvals in {str(self.path)!r} can be written by others, so they count for nothing;"
                " look at them, then make the file your own with mode 600."
            )

    def _migrate(self, db: sqlite3.Connection) -> None:
        try:
            migrate(db, _STEPS)
        except ValueError as error:
            raise RecordError(f"The approvals in {str(self.path)!r} cannot be used: {error}.") from None


def bounded(text: Any) -> str:
    """Short enough to keep, and storable: names that are not UTF-8 keep their bytes as visible escapes."""
    return str(text)[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")


def _why(error: OSError) -> str:
    return error.strerror or "input/output error"
