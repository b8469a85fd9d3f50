"""What the audit log does not hold in plain text, because a site wants it so.

    hide = Hiding(leave_out=("user",), hash=("target",), salt=b"…32 bytes…")
    hide({"user": "ada", "target": "model.pt"})
    # {"target": "hmac:5f2a…", "left_out": ["user"]}

A hashed field still tells that two entries name the same thing, and whoever holds the salt can look for a name. That
something was left out is in the entry itself: nothing is hidden about what is hidden. Which decision was taken, on
which content, and the chain cannot be left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbguard.approvals.model import RecordError

SALT_FILE = "audit.salt"
SALT_BYTES = 32
LEAST_SALT = 16
DIGITS = 32
"""Hexadecimal digits kept of a hash: 128 bits."""


@dataclass(frozen=True)
class Hiding:
    """Which fields are left out or hashed."""

    leave_out: tuple[str, ...]
    hash: tuple[str, ...]
    salt: bytes

    def __call__(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields as they may be written down."""
        gone = sorted(name for name in self.leave_out if name in fields)
        kept = {name: value for name, value in fields.items() if name not in gone}
        for name in self.hash:
            if kept.get(name) not in (None, "", []):
                value = kept[name]
                kept[name] = [self._hashed(v) for v in value] if isinstance(value, list) else self._hashed(value)
        return kept | ({"left_out": gone} if gone else {})

    def _hashed(self, value: Any) -> str:
        """Of the value alone, whatever the field is called: who asked and who answered are found to be the same."""
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        digest = hmac.new(self.salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"hmac:{digest[:DIGITS]}"


def hiding(leave_out: tuple[str, ...], hashed: tuple[str, ...], salt_file: Path | None, folder: Path) -> Hiding | None:
    """What the settings ask for; None where that is nothing. Raises RecordError where the salt cannot be had.

    Args:
        salt_file: of the site; None: one of this user's own beside the log, made when it is first needed.
    """
    if not leave_out and not hashed:
        return None
    return Hiding(leave_out, hashed, _salt(salt_file, folder) if hashed else b"")


def _salt(named: Path | None, folder: Path) -> bytes:
    path = folder / SALT_FILE if named is None else named
    try:
        if named is None:
            _make(path)
        salt = path.read_bytes()[:4096]
    except OSError as error:
        raise RecordError(
            f"The audit log's salt {str(path)!r} cannot be read: {error.strerror or 'input/output error'}."
        ) from None
    if len(salt) < LEAST_SALT:
        raise RecordError(f"The audit log's salt {str(path)!r} is shorter than {LEAST_SALT} bytes.")
    return salt


def _make(path: Path) -> None:
    """Whole or not at all, and once: of two that make it together, both use the first."""
    from nbguard import settings

    if path.exists():
        return
    settings.private_dir(path.parent)
    temporary = path.with_name(f"{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
