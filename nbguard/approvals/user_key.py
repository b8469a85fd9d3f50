"""A key of this user's own, in a file that nobody else can read or write.

    key = user_key(settings.data_dir() / "own.key")        # 32 bytes; made on first use

Whoever holds it can vouch for content in this user's name. A file that somebody else could have read, written or put
there is no key: it is refused, and never repaired in silence.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from nbguard.approvals.model import RecordError

LENGTH = 32
"""Bytes: the block that HMAC-SHA256 gains from (RFC 2104, section 3)."""


def user_key(path: Path, *, make: bool = True) -> bytes | None:
    """The key in `path`; None where there is none and `make` is False.

    Raises:
        RecordError: it belongs to somebody else, others can read or write it, or it is no key.
    """
    from nbguard import settings

    try:
        found = _read(path)
        if found is None and make:
            settings.private_dir(path.parent)
            _make(path)
            found = _read(path)
    except OSError as error:
        raise RecordError(f"The key {str(path)!r} cannot be used: {error.strerror or 'input/output error'}.") from None
    return found


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            raise RecordError(f"The key {str(path)!r} is not a regular file.")
        if hasattr(os, "geteuid") and (seen.st_uid != os.geteuid() or stat.S_IMODE(seen.st_mode) & 0o077):
            raise RecordError(
                f"The key {str(path)!r} can be read or written by others, so it vouches for nothing; delete it, and a "
                "new one is made."
            )
        data = os.read(fd, LENGTH + 1)
    finally:
        os.close(fd)
    if len(data) != LENGTH:
        raise RecordError(f"The key {str(path)!r} is damaged; delete it, and a new one is made.")
    return data


def _make(path: Path) -> None:
    """Whole or not at all: written beside its place and linked into it, so that two first uses agree on one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(fd, secrets.token_bytes(LENGTH))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.rename(beside, path)
            return
    finally:
        beside.unlink(missing_ok=True)
