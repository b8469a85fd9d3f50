"""Approvals in SQLite, under the user's data directory.

    store = Store()
    approval = store.remember(report, opened, who="ada", reason="our own trainer", expires=time.time() + 30 * 86_400)
    store.find(report, opened)          # the approval, or None
    store.revoke(approval.id)

Safe on network homes: the rollback journal is a plain file (no shared-memory WAL), and waiting for a lock is bounded.
Every operation opens its own connection, so that threads and forked children never share one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbguard.approvals import keys
from nbguard.approvals.model import Approval, RecordError
from nbguard.report.model import Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile

FILE_NAME = "approvals.sqlite3"
SCHEMA_VERSION = 1
LOCK_SECONDS = 10.0
"""How long another process may hold the database before a load is refused."""
MAX_TEXT = 2_000
"""Characters kept of a reason, a name, a target."""
CHUNK = 8 << 20
"""Bytes read at a time while a large file is hashed."""

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


class Store:
    """The approvals of one user."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: of the database; by default in the user's data directory. It is made with the first approval."""
        if path is None:
            from nbguard import settings

            path = settings.data_dir() / FILE_NAME
        self.path = path

    def find(self, report: Report, opened: Opened | None = None) -> Approval | None:
        """The approval in force for exactly this content and contract, or None.

        An approval of a whole folder or repository also holds for a load that opens part of it. It does not hold where
        newer rules judge the content worse than it was judged then. Large files, whose bulk data the artifact's digest
        pins by layout only, must be those that were hashed when they were approved: known to the file system as the
        same file, or of the same SHA-256, which is computed then. Without `opened` such files cannot be compared, and
        nothing is found.

        Raises:
            RecordError: the database cannot be read. Never to be taken for "not approved, ask again" by a headless run
                or for "approved": the load is refused.
        """
        if report.verdict is Verdict.UNVERIFIABLE or not self._there():
            return None
        with self._connection() as db:
            for row in self._candidates(db, report):
                approval = _approval(row, self._bulk_paths(db, row["id"]))
                if not approval.active(time.time()):
                    continue
                if approval.verdict < report.verdict or approval.severity < report.top_severity:
                    continue
                if self._same_bulk(db, approval.id, report, opened):
                    return approval
        return None

    def add(
        self, report: Report, who: str, reason: str, expires: float | None = None, opened: Opened | None = None
    ) -> Approval:
        """Record that this content may be loaded; `expires` in seconds since the epoch, None for never.

        Where an approval of exactly this content is in force, that one is renewed: it keeps its id, and who, why, until
        when and as what are those of now.

        Raises:
            RecordError: the report is unverifiable, a large file was not given with `opened` or changed while it was
                hashed, or the database cannot be written.
        """
        if report.verdict is Verdict.UNVERIFIABLE:
            raise RecordError("What could not be read to the end cannot be approved.", report)
        hashes = _hash_bulk(report, opened)
        approval = Approval(
            id=secrets.token_hex(4),
            artifact=report.artifact.digest,
            contract=report.contract.digest,
            created=time.time(),
            expires=expires,
            who=_bounded(who),
            reason=_bounded(reason),
            verdict=report.verdict,
            severity=report.top_severity,
            target=_bounded(report.target),
            rules_version=_bounded(report.rules_version),
            bulk=tuple(path for path, *_ in hashes),
        )
        with self._connection() as db, db:
            db.execute("BEGIN IMMEDIATE")  # two approvals of one content at once: the second one finds the first
            approval = replace(approval, id=self._in_force(db, report, hashes) or approval.id)
            db.execute("DELETE FROM identities WHERE approval = ?", (approval.id,))
            db.execute("DELETE FROM bulk WHERE approval = ?", (approval.id,))
            db.execute(
                "INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
                (
                    approval.id, approval.artifact, approval.contract, keys.contract_key(report), approval.created,
                    approval.expires, approval.who, approval.reason, int(approval.verdict), int(approval.severity),
                    approval.target, approval.rules_version, json.dumps(keys.files_of(report.artifact)),
                    json.dumps(keys.permissions_of(report)),
                ),
            )  # fmt: skip
            for path, size, sha256, identity in hashes:
                db.execute("INSERT INTO bulk VALUES (?, ?, ?, ?)", (approval.id, _bounded(path), size, sha256))
                if identity:
                    db.execute("INSERT INTO identities VALUES (?, ?, ?)", (approval.id, _bounded(path), identity))
        return approval

    def remember(
        self, report: Report, opened: Opened | None, who: str, reason: str, expires: float | None = None
    ) -> Approval:
        """`add`, with the large files hashed whole through the handles that were scanned."""
        return self.add(report, who, reason, expires, opened)

    def revoke(self, what: str) -> tuple[Approval, ...]:
        """Revoke what goes by this id, target, or artifact digest (at least eight digits of it); returns what was
        in force until now. Raises RecordError."""
        if not self._there() or not what:
            return ()
        now = time.time()
        with self._connection() as db, db:
            found = [a for a in self._all(db) if a.active(now) and _goes_by(a, what)]
            for approval in found:
                db.execute("UPDATE approvals SET revoked = ? WHERE id = ?", (now, approval.id))
        return tuple(found)

    def list(self, *, all_of_them: bool = False) -> tuple[Approval, ...]:
        """Approvals in force, oldest first; `all_of_them`: those expired and revoked too. Raises RecordError."""
        if not self._there():
            return ()
        now = time.time()
        with self._connection() as db:
            return tuple(a for a in self._all(db) if all_of_them or a.active(now))

    # The database

    def _there(self) -> bool:
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RecordError(f"The approvals cannot be read: {_why(error)} ({str(self.path)!r}).") from None
        return True

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
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
        from nbguard import settings

        settings.private_dir(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"The approvals cannot be used: {str(self.path)!r} is not a regular file.")
        if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022):
            raise RecordError(
                f"The approvals in {str(self.path)!r} can be written by others, so they count for nothing;"
                " look at them, then make the file your own with mode 600."
            )

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        if version != 0:
            raise RecordError(
                f"The approvals in {str(self.path)!r} were written by another version of nbguard (schema {version})."
            )
        db.execute("BEGIN EXCLUSIVE")  # two first approvals at once: the second one waits and finds the tables
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    if statement.strip():
                        db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            db.rollback()
            raise
        db.commit()

    def _candidates(self, db: sqlite3.Connection, report: Report) -> Iterator[sqlite3.Row]:
        exact = db.execute(
            "SELECT * FROM approvals WHERE artifact = ? AND contract_key = ? AND revoked IS NULL ORDER BY created DESC",
            (report.artifact.digest, keys.contract_key(report)),
        ).fetchall()
        yield from exact
        if report.artifact.kind in ("path", "stream"):
            return
        seen = {row["id"] for row in exact}
        for row in db.execute("SELECT * FROM approvals WHERE revoked IS NULL ORDER BY created DESC").fetchall():
            if row["id"] in seen:
                continue
            if keys.covered(json.loads(row["files"]), json.loads(row["permissions"]), report):
                yield row

    def _in_force(
        self, db: sqlite3.Connection, report: Report, hashes: Sequence[tuple[str, int, str, str]]
    ) -> str | None:
        """The id of the approval in force of exactly this content, large files included."""
        now = time.time()
        wanted = sorted((_bounded(path), size, sha256) for path, size, sha256, _ in hashes)
        for row in db.execute(
            "SELECT * FROM approvals WHERE artifact = ? AND contract_key = ? AND revoked IS NULL ORDER BY created DESC",
            (report.artifact.digest, keys.contract_key(report)),
        ).fetchall():
            bulk = db.execute("SELECT path, size, sha256 FROM bulk WHERE approval = ?", (row["id"],)).fetchall()
            if _approval(row, ()).active(now) and sorted(tuple(b) for b in bulk) == wanted:
                return str(row["id"])
        return None

    def _all(self, db: sqlite3.Connection) -> Iterator[Approval]:
        for row in db.execute("SELECT * FROM approvals ORDER BY created").fetchall():
            yield _approval(row, self._bulk_paths(db, row["id"]))

    @staticmethod
    def _bulk_paths(db: sqlite3.Connection, approval: str) -> tuple[str, ...]:
        return tuple(
            r["path"] for r in db.execute("SELECT path FROM bulk WHERE approval = ? ORDER BY path", (approval,))
        )

    # Large files

    def _same_bulk(self, db: sqlite3.Connection, approval: str, report: Report, opened: Opened | None) -> bool:
        for path, size in _bulk_files(report):
            stored = _bounded(path)
            row = db.execute(
                "SELECT sha256 FROM bulk WHERE approval = ? AND path = ? AND size = ?", (approval, stored, size)
            ).fetchone()
            file = _handle(opened, path)
            if row is None or file is None:
                return False
            identity = file.identity.key() if file.identity is not None else ""
            known = db.execute(
                "SELECT 1 FROM identities WHERE approval = ? AND path = ? AND identity = ?",
                (approval, stored, identity),
            ).fetchone()
            if known is not None and file.unchanged():
                continue
            if _sha256(file) != row["sha256"]:
                return False
            if identity:
                with db:
                    db.execute("INSERT OR IGNORE INTO identities VALUES (?, ?, ?)", (approval, stored, identity))
        return True


def _approval(row: sqlite3.Row, bulk: tuple[str, ...]) -> Approval:
    return Approval(
        id=row["id"],
        artifact=row["artifact"],
        contract=row["contract"],
        created=row["created"],
        expires=row["expires"],
        who=row["who"],
        reason=row["reason"],
        verdict=Verdict(row["verdict"]),
        severity=Severity(row["severity"]),
        target=row["target"],
        rules_version=row["rules_version"],
        revoked=row["revoked"],
        bulk=bulk,
    )


def _goes_by(approval: Approval, what: str) -> bool:
    digest = what.lower().removeprefix("sha256:")
    by_digest = len(digest) >= 8 and (approval.artifact.startswith(digest) or approval.contract.startswith(digest))
    return what == approval.id or _bounded(what) == approval.target or by_digest


def _bulk_files(report: Report) -> list[tuple[str, int]]:
    """(path, size) of every file to be opened whose bulk data the artifact's digest does not hold; a single file goes
    by the name ''."""
    single = keys.single_file(report.artifact)
    return [
        ("" if f.path == single else f.path, f.size)
        for f in report.artifact.files
        if not f.inert and not f.pin.startswith("sha256:")
    ]


def _hash_bulk(report: Report, opened: Opened | None) -> list[tuple[str, int, str, str]]:
    """(path, size, SHA-256 of all bytes, identity key) of every large file."""
    out: list[tuple[str, int, str, str]] = []
    for path, size in _bulk_files(report):
        file = _handle(opened, path)
        if file is None:
            raise RecordError("A large file cannot be approved without the handle that it was scanned through.", report)
        digest = _sha256(file)
        if file.size != size or not file.unchanged():
            raise RecordError(
                f"{path or report.target!r} changed while it was looked at; nothing was approved.", report
            )
        out.append((path, size, digest, file.identity.key() if file.identity is not None else ""))
    return out


def _handle(opened: Opened | None, path: str) -> OpenedFile | None:
    if opened is None:
        return None
    if path == "":
        return opened.files[0] if opened.files else None
    return next((f for f in opened.files if f.path == path), None)


def _sha256(file: OpenedFile) -> str:
    """Of all bytes, through the handle; about one second for a gigabyte."""
    digest = hashlib.sha256()
    offset = 0
    while offset < file.size:
        chunk = file.read(offset, min(CHUNK, file.size - offset))
        if not chunk:
            break
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()


def _bounded(text: Any) -> str:
    """Short enough to keep, and storable: names that are not UTF-8 keep their bytes as visible escapes."""
    return str(text)[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")


def _why(error: OSError) -> str:
    return error.strerror or "input/output error"
