"""Keys that sign bundles of approvals, and the public keys whose bundles are taken (Ed25519, RFC 8032).

    key = PrivateKey.make("ml-platform")          # <data>/keys/ml-platform.key, mode 600
    print(key.public.line())                      # what the other side trusts
    trust(PublicKey.read("nbguard-ed25519 MCow… ml-platform"))
    trusted()[key.public.id]

A site's keys stand in `/etc/nbguard/trusted_keys`, one line each, and hold for everybody; a user's own list lies beside
the approvals, and counts unless the site's configuration says `[approvals] user_keys = false`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nbguard.approvals.model import RecordError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SITE_KEYS = Path("/etc/nbguard/trusted_keys")
"""Not movable by the environment: what a user can move says nothing about the site."""
USER_KEYS = "trusted_keys"
KEY_DIR = "keys"
KIND = "nbguard-ed25519"
"""The first word of a public key's line."""
MAX_KEYS_FILE = 1 << 20
MAX_KEY_FILE = 1 << 14
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class SigningError(RecordError):
    """A key cannot be made, read or trusted. The message is one plain sentence."""


@dataclass(frozen=True)
class PublicKey:
    """One key that can be trusted."""

    raw: bytes
    """32 bytes."""
    name: str
    where: Literal["site", "user", ""] = ""
    """Whose list of trusted keys it stands in."""

    @property
    def id(self) -> str:
        """SHA-256 of the 32 bytes, 64 hex digits."""
        return hashlib.sha256(self.raw).hexdigest()

    def line(self) -> str:
        return f"{KIND} {base64.b64encode(self.raw).decode('ascii')} {self.name}"

    @classmethod
    def read(cls, line: str) -> PublicKey:
        """Of one line. Raises SigningError."""
        words = line.split()
        if len(words) != 3 or words[0] != KIND:
            raise SigningError(f"A public key is one line of three words: {KIND}, the key, its name.")
        try:
            raw = base64.b64decode(words[1], validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:
            raise SigningError("The key in that line is not 32 bytes in base64.")
        return cls(raw, _named(words[2]))

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made the signature of exactly this message."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """One key that signs; it lies in the user's data directory and nowhere else."""

    path: Path
    public: PublicKey

    @classmethod
    def make(cls, name: str, folder: Path | None = None) -> PrivateKey:
        """Make a new key of that name. Raises SigningError where there is one already, or it cannot be written."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from nbguard import settings

        path = _key_path(name, folder)
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            settings.private_dir(path.parent)
            _write_new(path, text)
        except FileExistsError:
            raise SigningError(f"There is a key {name!r} already; nothing was changed.") from None
        except OSError as error:
            raise SigningError(f"The key cannot be written: {error.strerror or 'input/output error'}.") from None
        return cls(path, PublicKey(_public_bytes(key), name))

    @classmethod
    def read(cls, name: str, folder: Path | None = None) -> PrivateKey:
        """The key of that name. Raises SigningError: there is none, or others can read it."""
        path = _key_path(name, folder)
        return cls(path, PublicKey(_public_bytes(_load(path)), name))

    @classmethod
    def all(cls, folder: Path | None = None) -> tuple[PrivateKey, ...]:
        """Every key of this user, by name."""
        try:
            names = sorted(p.stem for p in _folder(folder).iterdir() if p.suffix == ".key" and _NAME.fullmatch(p.stem))
        except OSError:
            return ()
        return tuple(cls.read(name, folder) for name in names)

    def sign(self, message: bytes) -> bytes:
        """64 bytes. Raises SigningError."""
        return bytes(_load(self.path).sign(message))


def trusted() -> dict[str, PublicKey]:
    """Key id → key: everything that bundles are taken from. Raises SigningError where a list cannot be understood."""
    from nbguard import settings

    found = {key.id: key for key in listed("user")} if settings.load().approvals_user_keys else {}
    return found | {key.id: key for key in listed("site")}  # the site's name of a key wins


def listed(where: Literal["site", "user"]) -> tuple[PublicKey, ...]:
    """The keys of one list. Raises SigningError."""
    path = SITE_KEYS if where == "site" else _user_keys()
    return tuple(replace(key, where=where) for key in _read_list(path, where))


def trust(key: PublicKey) -> bool:
    """Add the key to the user's list; False where it stood there. Raises SigningError."""
    known = listed("user")
    if any(other.id == key.id for other in known):
        return False
    _write_list([*known, key])
    return True


def forget(which: str) -> PublicKey:
    """Take a key off the user's list, by its name or eight or more digits of its id. Raises SigningError."""
    known = listed("user")
    meant = [k for k in known if k.name == which or (len(which) >= 8 and k.id.startswith(which.lower()))]
    if len(meant) != 1:
        raise SigningError(f"{'No key' if not meant else 'More than one key'} of your own list goes by {which[:80]!r}.")
    _write_list([k for k in known if k is not meant[0]])
    return meant[0]


def _read_list(path: Path, where: str) -> Iterator[PublicKey]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SigningError(
            f"The list of trusted keys {str(path)!r} cannot be read: {error.strerror or 'input/output error'}."
        ) from None
    with os.fdopen(fd, "rb") as file:
        _only_ours(file.fileno(), path, 0o022, root_too=where == "site")
        raw = file.read(MAX_KEYS_FILE + 1)
    if len(raw) > MAX_KEYS_FILE:
        raise SigningError(f"The list of trusted keys {str(path)!r} is too large to be one.")
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield PublicKey.read(line)
        except SigningError as error:
            raise SigningError(f"Line {number} of {str(path)!r} cannot be understood: {error}") from None


def _write_list(keys: list[PublicKey]) -> None:
    from nbguard import settings

    path = _user_keys()
    text = "".join(f"{key.line()}\n" for key in keys).encode("utf-8")
    try:
        settings.private_dir(path.parent)
        temporary = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        _write_new(temporary, text)
        os.replace(temporary, path)
    except OSError as error:
        raise SigningError(
            f"The list of trusted keys cannot be written: {error.strerror or 'input/output error'}."
        ) from None


def _write_new(path: Path, text: bytes) -> None:
    """A file that was not there, for this user's eyes only, on the disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _load(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        raise SigningError(
            f"There is no key {path.stem!r}; 'nbguard approvals keys new {path.stem}' makes one."
        ) from None
    except OSError as error:
        raise SigningError(f"The key cannot be read: {error.strerror or 'input/output error'}.") from None
    with os.fdopen(fd, "rb") as file:
        _only_ours(file.fileno(), path, 0o077)
        raw = file.read(MAX_KEY_FILE)
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningError(f"{str(path)!r} is not a private key that nbguard wrote.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{str(path)!r} is not an Ed25519 key.")
    return key


def _only_ours(fd: int, path: Path, mode: int, *, root_too: bool = False) -> None:
    """Refuse a file that somebody else could have written, or, of a private key, read."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise SigningError(f"{str(path)!r} is not a regular file.")
    if not hasattr(os, "geteuid"):
        return
    owners = {os.geteuid(), 0} if root_too else {os.geteuid()}
    if found.st_uid not in owners or stat.S_IMODE(found.st_mode) & mode:
        raise SigningError(
            f"{str(path)!r} can be {'read' if mode == 0o077 else 'written'} by others, so it counts for nothing;"
            f" look at it, then make it your own with mode {'600' if mode == 0o077 else '644'}."
        )


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _key_path(name: str, folder: Path | None) -> Path:
    return _folder(folder) / f"{_named(name)}.key"


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SigningError("The name of a key is made of letters, digits and . _ @ -, and at most 64 of them.")
    return name


def _folder(folder: Path | None) -> Path:
    from nbguard import settings

    return settings.data_dir() / KEY_DIR if folder is None else folder


def _user_keys() -> Path:
    from nbguard import settings

    return settings.data_dir() / USER_KEYS
