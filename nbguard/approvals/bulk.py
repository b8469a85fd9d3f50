"""Large files of an approval: hashed whole when it is given, recognised by what the file system says afterwards.

    hashes = hash_all(report, opened)              # [Bulk(path, size, sha256, identity), …]
    same(db, approval_id, report, opened)          # whether those of this load are those that were approved

An artifact's digest pins the bulk data of large files by layout only; what they hold is pinned here.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from nbguard.approvals import keys
from nbguard.approvals.database import bounded
from nbguard.approvals.model import RecordError
from nbguard.report.model import Report

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile


class Bulk(NamedTuple):
    """One large file as it was when it was approved."""

    path: str
    """Relative, as in the report; '' for a single file."""
    size: int
    sha256: str
    """Of all its bytes."""
    identity: str
    """`FileIdentity.key()`, or empty."""


def hash_all(report: Report, opened: Opened | None) -> list[Bulk]:
    """Every large file of the report, hashed whole. Raises RecordError where one has no handle, or changes."""
    out: list[Bulk] = []
    for path, size in files(report):
        file = _handle(opened, path)
        if file is None:
            raise RecordError("A large file cannot be approved without the handle that it was scanned through.", report)
        digest = file.sha256()
        if file.size != size or not file.unchanged():
            raise RecordError(
                f"{path or report.target!r} changed while it was looked at; nothing was approved.", report
            )
        out.append(Bulk(path, size, digest, file.identity.key() if file.identity is not None else ""))
    return out


def same(db: sqlite3.Connection, approval: str, report: Report, opened: Opened | None) -> bool:
    """Whether the large files of this load are those of the approval; what was hashed once is known by its identity
    from then on."""
    for path, size in files(report):
        stored = bounded(path)
        row = db.execute(
            "SELECT sha256 FROM bulk WHERE approval = ? AND path = ? AND size = ?", (approval, stored, size)
        ).fetchone()
        file = _handle(opened, path)
        if row is None or file is None:
            return False
        identity = file.identity.key() if file.identity is not None else ""
        known = db.execute(
            "SELECT 1 FROM identities WHERE approval = ? AND path = ? AND identity = ?", (approval, stored, identity)
        ).fetchone()
        if known is not None and file.unchanged():
            continue
        if file.sha256() != row["sha256"]:
            return False
        if identity:
            with db:
                db.execute("INSERT OR IGNORE INTO identities VALUES (?, ?, ?)", (approval, stored, identity))
    return True


def replace(db: sqlite3.Connection, approval: str, hashes: list[Bulk]) -> None:
    """Keep these large files for the approval, and no others."""
    db.execute("DELETE FROM identities WHERE approval = ?", (approval,))
    db.execute("DELETE FROM bulk WHERE approval = ?", (approval,))
    for path, size, sha256, identity in hashes:
        db.execute("INSERT INTO bulk VALUES (?, ?, ?, ?)", (approval, bounded(path), size, sha256))
        if identity:
            db.execute("INSERT INTO identities VALUES (?, ?, ?)", (approval, bounded(path), identity))


def of(db: sqlite3.Connection, approval: str) -> list[tuple[str, int, str]]:
    """(path, size, sha256) of an approval's large files, sorted by path."""
    found = db.execute("SELECT path, size, sha256 FROM bulk WHERE approval = ? ORDER BY path", (approval,)).fetchall()
    return [(row["path"], row["size"], row["sha256"]) for row in found]


def files(report: Report) -> list[tuple[str, int]]:
    """(path, size) of every file to be opened whose bulk data the artifact's digest does not hold; a single file goes
    by the name ''."""
    single = keys.single_file(report.artifact)
    return [
        ("" if f.path == single else f.path, f.size)
        for f in report.artifact.files
        if not f.inert and not f.pin.startswith("sha256:")
    ]


def _handle(opened: Opened | None, path: str) -> OpenedFile | None:
    if opened is None:
        return None
    if path == "":
        return opened.files[0] if opened.files else None
    return next((f for f in opened.files if f.path == path), None)
