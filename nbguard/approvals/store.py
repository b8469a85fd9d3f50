"""Approvals in SQLite, under the user's data directory.

store = Store()
approval = store.remember(report, opened, who="ada", reason="our own trainer", expires=time.time() + 30 * 86_400)
store.find(report, opened)          # the approval, or None
store.revoke(approval.id, who="ada", reason="superseded")
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nbguard.approvals import bulk, keys
from nbguard.approvals.database import FILE_NAME, Database, bounded
from nbguard.approvals.model import Approval, Origin, RecordError
from nbguard.report.model import Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


class Store:
    """The approvals of one user."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: of the database; by default in the user's data directory. It is made with the first approval."""
        if path is None:
            from nbguard import settings

            path = settings.data_dir() / FILE_NAME
        self.path = path
        self.database = Database(path)

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
        if report.verdict is Verdict.UNVERIFIABLE or not self.database.exists():
            return None
        with self.database.connection() as db:
            for row in self._candidates(db, report):
                approval = approval_of(db, row)
                if not approval.active(time.time()):
                    continue
                if approval.verdict < report.verdict or approval.severity < report.top_severity:
                    continue
                if bulk.same(db, approval.id, report, opened):
                    return approval
        return None

    def add(
        self, report: Report, who: str, reason: str, expires: float | None = None, opened: Opened | None = None
    ) -> Approval:
        """Record that this content may be loaded; `expires` in seconds since the epoch, None for never.

        Where an approval of exactly this content is in force, that one is renewed: it keeps its id, and who, why, until
        when and as what are those of now. One that came in a bundle is this user's own then.

        Raises:
            RecordError: the report is unverifiable, a large file was not given with `opened` or changed while it was
                hashed, or the database cannot be written.
        """
        if report.verdict is Verdict.UNVERIFIABLE:
            raise RecordError("What could not be read to the end cannot be approved.", report)
        hashes = bulk.hash_all(report, opened)
        approval = Approval(
            id=secrets.token_hex(4),
            artifact=report.artifact.digest,
            contract=report.contract.digest,
            created=time.time(),
            expires=expires,
            who=bounded(who),
            reason=bounded(reason),
            verdict=report.verdict,
            severity=report.top_severity,
            target=bounded(report.target),
            rules_version=bounded(report.rules_version),
            bulk=tuple(sorted(bounded(h.path) for h in hashes)),
        )
        files, permissions = keys.files_of(report.artifact), keys.permissions_of(report)
        with self.database.connection() as db, db:
            db.execute("BEGIN IMMEDIATE")  # two approvals of one content at once: the second one finds the first
            same = in_force(db, approval.artifact, keys.contract_key(report), [h[:3] for h in hashes])
            approval = replace(approval, id=same or approval.id)
            write(db, approval, files, permissions, hashes)
        return approval

    def remember(
        self, report: Report, opened: Opened | None, who: str, reason: str, expires: float | None = None
    ) -> Approval:
        """`add`, with the large files hashed whole through the handles that were scanned."""
        return self.add(report, who, reason, expires, opened)

    def revoke(self, what: str, who: str = "", reason: str = "") -> tuple[Approval, ...]:
        """Revoke what goes by this id, target, or artifact digest (at least eight digits of it); returns what was
        in force until now. Raises RecordError."""
        if not self.database.exists() or not what:
            return ()
        now = time.time()
        with self.database.connection() as db, db:
            found = [a for a in _all(db) if a.active(now) and goes_by(a, what)]
            for approval in found:
                db.execute(
                    "UPDATE approvals SET revoked = ?, revoked_by = ?, revoked_why = ? WHERE id = ?",
                    (now, bounded(who), bounded(reason), approval.id),
                )
        return tuple(found)

    def expire(self, what: str, when: float) -> tuple[Approval, ...]:
        """Let what goes by this id, target or digest end at `when` (seconds since the epoch), where it would not have
        ended sooner; returns the approvals as they are now.

        An approval is never made longer by this: for that, the content is looked at and approved again.
        Raises RecordError.
        """
        if not self.database.exists() or not what:
            return ()
        now = time.time()
        with self.database.connection() as db, db:
            found = [a for a in _all(db) if a.active(now) and goes_by(a, what)]
            sooner = [replace(a, expires=when) for a in found if a.expires is None or when < a.expires]
            for approval in sooner:
                db.execute("UPDATE approvals SET expires = ? WHERE id = ?", (when, approval.id))
        return tuple(sooner)

    def prune(self, ended_before: float, *, dry_run: bool = False) -> tuple[Approval, ...]:
        """Delete approvals that were revoked, or expired, before this moment (seconds since the epoch); returns them.
        Raises RecordError."""
        if not self.database.exists():
            return ()
        with self.database.connection() as db, db:
            ended = [a for a in _all(db) if (end := _end(a)) is not None and end <= ended_before]
            for approval in () if dry_run else ended:
                for table in ("identities", "bulk"):
                    db.execute(f"DELETE FROM {table} WHERE approval = ?", (approval.id,))
                db.execute("DELETE FROM approvals WHERE id = ?", (approval.id,))
        return tuple(ended)

    def list(self, *, all_of_them: bool = False) -> tuple[Approval, ...]:
        """Approvals in force, oldest first; `all_of_them`: those expired and revoked too. Raises RecordError."""
        if not self.database.exists():
            return ()
        now = time.time()
        with self.database.connection() as db:
            return tuple(a for a in _all(db) if all_of_them or a.active(now))

    @staticmethod
    def _candidates(db: sqlite3.Connection, report: Report) -> Iterator[sqlite3.Row]:
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


def write(
    db: sqlite3.Connection,
    approval: Approval,
    files: keys.Files,
    permissions: keys.Permissions,
    hashes: Sequence[bulk.Bulk],
) -> None:
    """Put one approval, and what it is compared by, into the database, in place of one of the same id."""
    bulk.replace(db, approval.id, [])
    db.execute("DELETE FROM approvals WHERE id = ?", (approval.id,))
    row = {
        "id": approval.id,
        "artifact": approval.artifact,
        "contract": approval.contract,
        "contract_key": keys.permissions_key(permissions),
        "created": approval.created,
        "expires": approval.expires,
        "who": approval.who,
        "reason": approval.reason,
        "verdict": int(approval.verdict),
        "severity": int(approval.severity),
        "target": approval.target,
        "rules_version": approval.rules_version,
        "files": json.dumps(files),
        "permissions": json.dumps(permissions),
        "origin": None if approval.origin is None else json.dumps(asdict(approval.origin)),
    }
    places = ", ".join(f":{name}" for name in row)
    db.execute(f"INSERT INTO approvals ({', '.join(row)}) VALUES ({places})", row)
    bulk.replace(db, approval.id, list(hashes))


def in_force(
    db: sqlite3.Connection, artifact: str, contract_key: str, hashes: Iterable[tuple[str, int, str]]
) -> str | None:
    """The id of the approval in force of exactly this content, large files included."""
    now = time.time()
    wanted = sorted((bounded(path), size, sha256) for path, size, sha256 in hashes)
    for row in db.execute(
        "SELECT * FROM approvals WHERE artifact = ? AND contract_key = ? AND revoked IS NULL ORDER BY created DESC",
        (artifact, contract_key),
    ).fetchall():
        if approval_of(db, row).active(now) and bulk.of(db, row["id"]) == wanted:
            return str(row["id"])
    return None


def approval_of(db: sqlite3.Connection, row: sqlite3.Row) -> Approval:
    """The approval of one row of the table."""
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
        revoked_by=row["revoked_by"],
        revoked_why=row["revoked_why"],
        origin=None if row["origin"] is None else Origin(**json.loads(row["origin"])),
        bulk=tuple(path for path, *_ in bulk.of(db, row["id"])),
    )


def goes_by(approval: Approval, what: str) -> bool:
    """Whether a person means this approval by `what`: its id, target, or eight or more digits of a digest."""
    digest = what.lower().removeprefix("sha256:")
    by_digest = len(digest) >= 8 and (approval.artifact.startswith(digest) or approval.contract.startswith(digest))
    return what == approval.id or bounded(what) == approval.target or by_digest


def _all(db: sqlite3.Connection) -> Iterator[Approval]:
    for row in db.execute("SELECT * FROM approvals ORDER BY created").fetchall():
        yield approval_of(db, row)


def _end(approval: Approval) -> float | None:
    """When it ended, or will end; None where it does not."""
    ends = [moment for moment in (approval.revoked, approval.expires) if moment is not None]
    return min(ends, default=None)
