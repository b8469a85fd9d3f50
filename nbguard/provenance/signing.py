"""Sign a model's folder with a key, as OpenSSF Model Signing does.

made = sign("model", private_key="key.pem")      # writes model/model.sig
made.path, made.files
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nbguard.artifact.names import shown
from nbguard.errors import TargetError
from nbguard.provenance.certificates import chain_of
from nbguard.provenance.checksums import MANIFEST, VerificationError, read_bounded, write_manifest, write_whole
from nbguard.provenance.digests import SIGNATURE, Found, inside, whole_folder
from nbguard.provenance.signatures import CURVES, need_packages


@dataclass(frozen=True)
class Made:
    """A signature, or a file of checksums, that was written."""

    path: str
    files: tuple[str, ...]
    """What it covers, as names that can be shown."""
    left_out: tuple[str, ...] = ()
    """Folders that it does not cover (`.git/`)."""


@dataclass(frozen=True)
class _Digest:
    """As `model_signing` wants a digest."""

    algorithm: str
    digest_value: bytes

    @property
    def digest_hex(self) -> str:
        return self.digest_value.hex()


class _Taken:
    """Stands in for `model_signing`'s reading of files: hands it the digests that nbguard took."""

    def __init__(self, name: str, digests: dict[str, str], ignored: Iterable[str]) -> None:
        self.name, self.digests, self.ignored = name, digests, sorted(ignored)

    def hash(self, *_: object, **__: object) -> Any:
        from model_signing import manifest

        kind = manifest.SerializationType.from_args(
            {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": self.ignored}
        )
        items = [kind.new_item(n, _Digest("sha256", bytes.fromhex(h))) for n, h in self.digests.items()]
        return manifest.Manifest(self.name, items, kind)


def write_checksums(
    folder: str | os.PathLike[str], *, output: str | os.PathLike[str] | None = None, overwrite: bool = False
) -> Made:
    """Write the SHA-256 of every file of `folder` but itself, `model.sig` and version control's own folders.

    Args:
        output: where to; `checksums.sha256` in the folder when None. The names are relative to the folder.

    Raises:
        TargetError: the folder cannot be read, or holds what has no checksum (a link, a pipe).
        VerificationError: it cannot be written, or is there already and `overwrite` is not set.
    """
    root = _folder(folder)
    place = os.path.join(root, MANIFEST) if output is None else os.fsdecode(output)
    if not overwrite and os.path.lexists(place):
        raise VerificationError(f"{shown(place)} is there already; --overwrite replaces it.")
    digests, found = whole_folder(root, without={SIGNATURE, MANIFEST, *inside(Found(root), [place])})
    write_manifest(place, digests, overwrite=overwrite)
    return Made(place, tuple(shown(n) for n in digests), found.unwalked)


def _folder(folder: str | os.PathLike[str]) -> str:
    name = os.path.expanduser(os.fsdecode(folder))
    if "\0" in name or not os.path.isdir(name):
        raise TargetError(f"There is no folder {shown(name)[:400]}.")
    return os.path.realpath(name)


def sign(
    folder: str | os.PathLike[str],
    *,
    private_key: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    password: str | None = None,
    certificate: str | os.PathLike[str] | None = None,
    certificate_chain: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
) -> Made:
    """Sign every file of `folder` but the signature, `checksums.sha256` and version control's own folders.

    Args:
        private_key: PEM of a key on P-256, P-384 or P-521.
        signature: where the signature goes; `model.sig` in the folder when None.
        password: of the private key.
        certificate: PEM of the certificate for the key; the signature is then checked with its chain.
        certificate_chain: PEM files of what lies between it and the root, to be put into the signature.
        overwrite: replace a signature that is there.

    Raises:
        TargetError: the folder cannot be read, or holds what cannot be signed (a link, a pipe).
        VerificationError: the key cannot be used, a package is missing, or the signature is there already.
    """
    need_packages()
    from model_signing import signing

    root = _folder(folder)
    place = os.path.join(root, SIGNATURE) if signature is None else os.fsdecode(signature)
    if not overwrite and os.path.lexists(place):
        raise VerificationError(f"{shown(place)} is there already; --overwrite replaces it.")
    config = _configured(signing.Config(), private_key, password, certificate, certificate_chain)
    own = {SIGNATURE, MANIFEST, *inside(Found(root), [place])}
    with tempfile.TemporaryDirectory(prefix="nbguard-sign-") as scratch:
        digests, found = whole_folder(root, without=own)
        for name in digests:
            if not _utf8(name):
                raise TargetError(f"{shown(name)} has a name that is not UTF-8, which no signature can hold.")
        ignored = {*own, *(name.rstrip("/") for name in found.unwalked)}
        draft = os.path.join(scratch, SIGNATURE)
        try:
            config.set_hashing_config(_Taken(os.path.basename(root) or "model", digests, ignored)).sign(root, draft)
        except (ValueError, TypeError) as error:
            raise VerificationError(f"The folder could not be signed: {' '.join(str(error).split())[:200]}.") from None
        with open(draft, "rb") as file:
            write_whole(place, file.read(), overwrite=overwrite)
    return Made(place, tuple(shown(n) for n in digests), found.unwalked)


def _utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_encrypted(private_key: str | os.PathLike[str]) -> bool:
    """Whether the key needs a password. Raises VerificationError where it cannot be read."""
    return b"ENCRYPTED" in read_bounded(private_key)


def _check_key(path: str | os.PathLike[str], password: str | None) -> None:
    """Raises VerificationError where the key cannot sign models."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    data, label = read_bounded(path), shown(os.fsdecode(path))
    try:
        key = serialization.load_pem_private_key(data, password.encode() if password else None)
    except TypeError:
        if password:
            raise VerificationError(f"{label} has no password, and one was given.") from None
        raise VerificationError(
            f"{label} needs its password: put it into NBGUARD_KEY_PASSWORD, or sign where you can be asked."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        why = "the password may be wrong" if password else "it is no private key in PEM form"
        raise VerificationError(f"{label} cannot be read: {why}.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise VerificationError(f"{label} is no key on the curve P-256, P-384 or P-521, as model signatures need it.")


def _configured(
    config: Any,
    key: str | os.PathLike[str],
    password: str | None,
    certificate: str | os.PathLike[str] | None,
    chain: Iterable[str | os.PathLike[str]],
) -> Any:
    """`model_signing`'s configuration to sign with the key, or with its certificate. Raises VerificationError."""
    _check_key(key, password)
    paths = [pathlib.Path(os.fsdecode(path)) for path in chain]
    if certificate is None:
        if paths:
            raise VerificationError("A chain of certificates goes with a certificate for the key (--certificate).")
        return config.use_elliptic_key_signer(private_key=key, password=password.encode() if password else None)
    if password:
        raise VerificationError("A key with a password cannot be used with a certificate.")
    chain_of([certificate, *paths])
    own = pathlib.Path(os.fsdecode(certificate))
    try:  # it wants to see at least one certificate of the chain; one that stands there twice does no harm
        return config.use_certificate_signer(private_key=key, signing_certificate=own, certificate_chain=paths or [own])
    except ValueError as error:
        raise VerificationError(f"The certificate cannot be used: {' '.join(str(error).split())[:200]}.") from None
