"""What every SQLite file of records shares: a file of this user's alone, and tables that are brought up to date once.

found = made_privately(path)            # 0600; a link in its place is not followed
if not ours_alone(found): ...           # somebody else could have written it
migrate(db, (FIRST, SECOND))            # each step: statements with `;` between them
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path


def made_privately(path: Path, *, make: bool = True) -> os.stat_result:
    """What the file system says of `path`, which is made (with its folder) where it is missing and `make` is True.

    Raises OSError: it cannot be opened for writing, is a link, or is missing.
    """
    from nbguard import settings

    if make:
        settings.private_dir(path.parent)
    flags = os.O_RDWR | (os.O_CREAT if make else 0) | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags, 0o600)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def ours_alone(found: os.stat_result) -> bool:
    """Whether it is a regular file that nobody but this user can have written."""
    mine = not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o022)
    return stat.S_ISREG(found.st_mode) and mine


def migrate(db: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Run the steps that this database lacks, all or none; two processes at once take turns.

    Raises ValueError: it was written by a version of nbguard that is not known here.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == len(steps):
        return
    if not 0 <= version < len(steps):
        raise ValueError(f"another version of nbguard wrote it (schema {version})")
    db.execute("BEGIN EXCLUSIVE")  # two first records at once: the second one waits and finds the tables
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for step in steps[version:]:
            for statement in step.split(";"):
                if statement.strip():
                    db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(steps)}")
    except BaseException:
        db.rollback()
        raise
    db.commit()
