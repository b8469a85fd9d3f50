"""OpenSSF model signatures: who vouches for which files. Checked and made with `model_signing`, nothing is looked up.

    signed = check_signature("model/model.sig", Trust(public_key="key.pub"))
    signed.pieces["model.safetensors"]      # (Piece("sha256", "9f86d0…"),)
    sign("model", private_key="key.pem")

A signature is a Sigstore bundle (`model.sig`) of an in-toto statement that lists files and digests. Only the bundle is
given to `model_signing`; the files are read by nbguard, which also sees what that library leaves out (`.git*`, links).
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbguard.artifact.names import shown
from nbguard.errors import NbguardError
from nbguard.provenance.certificates import CertificateProblem, certificate_today, chain_of, keyless_certificate
from nbguard.provenance.checksums import MAX_ENTRIES, VerificationError, checked_name, read_bounded

SIGNING = "pip install 'nbguard[signing]'"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Of keys that sign models."""
_MATERIAL = {"publicKey": "a key", "x509CertificateChain": "a certificate", "certificate": "an identity (Sigstore)"}
_NEEDED = {"key": "publicKey", "certificate": "x509CertificateChain"}
_OPTION = {
    "publicKey": "--public-key", "x509CertificateChain": "--certificate-chain",
    "certificate": "--identity, --identity-provider and --trust-config",
}  # fmt: skip


class SignatureInvalid(NbguardError):  # noqa: N818 - reads as what happened
    """The signature proves nothing about these files: one plain sentence says why."""


@dataclass(frozen=True)
class Trust:
    """What a signature is checked with: exactly one of the three ways."""

    public_key: str | os.PathLike[str] | None = None
    """PEM of an elliptic-curve key."""
    certificate_chain: tuple[str | os.PathLike[str], ...] = ()
    """PEM files with the root (and what lies between) that the signer's certificate has to lead to."""
    identity: str | None = None
    """Who signed through Sigstore: the e-mail address or workflow in the certificate."""
    identity_provider: str | None = None
    """Who vouched for that identity: the address of an OpenID Connect issuer."""
    trust_config: str | os.PathLike[str] | None = None
    """Sigstore's trust root as JSON (a client trust configuration or a trusted root)."""
    online: bool = False
    """Fetch Sigstore's public trust root, where none is given."""

    def __bool__(self) -> bool:
        return bool(
            self.public_key or self.certificate_chain or self.identity or self.identity_provider or self.trust_config
        )

    @property
    def method(self) -> str:
        """`key`, `certificate` or `sigstore`. Raises VerificationError unless it is exactly one of them, and whole."""
        keyless = bool(self.identity or self.identity_provider or self.trust_config)
        if bool(self.public_key) + bool(self.certificate_chain) + keyless != 1:
            raise VerificationError("A signature is checked with a key, a certificate chain or an identity: name one.")
        if not keyless:
            return "key" if self.public_key else "certificate"
        if not (self.identity and self.identity_provider):
            raise VerificationError(
                "A Sigstore signature needs both the identity that signed and the provider that vouched for it"
                " (--identity, --identity-provider): anybody can sign under their own."
            )
        if not self.trust_config and not self.online:
            raise VerificationError(
                "A Sigstore signature needs a trust root: give one with --trust-config, or let it be fetched with"
                " --online."
            )
        return "sigstore"


@dataclass(frozen=True)
class Piece:
    """A digest of one file, or of the bytes of it from `start` to before `end`."""

    algorithm: str
    hex: str
    start: int = 0
    end: int | None = None


@dataclass(frozen=True)
class Signed:
    """What a signature that held vouches for."""

    method: str
    pieces: Mapping[str, tuple[Piece, ...]]
    """Path relative to the folder → digests; `.` for a model that is a single file."""
    signer: Mapping[str, str] = field(default_factory=dict)


def check_signature(path: str | os.PathLike[str], trust: Trust) -> Signed:
    """The files that a signature vouches for.

    Raises:
        SignatureInvalid: it was made by another, was altered, or is none.
        VerificationError: it could not be checked: no file, no key, a package is missing.
    """
    method = trust.method
    need_packages()
    label = shown(os.fsdecode(path))
    raw = read_bounded(path)
    bundle = _bundle(raw, label, method)
    with tempfile.TemporaryDirectory(prefix="nbguard-verify-") as folder:
        place = _copy(folder, "model.sig", raw)
        configured = _configured(method, trust, folder)
        expected = _expected(configured, place, label, trust)
        signer = _signer(method, bundle, trust, label)
    return Signed(method, _pieces(expected, _statement(bundle), label), signer)


def need_packages() -> None:
    """Raises VerificationError where the packages for signatures are missing."""
    try:
        import model_signing.signing
        import model_signing.verifying  # noqa: F401
    except ImportError as error:
        raise VerificationError(
            f"Signatures need packages that are not installed ({str(error.name)[:80]}): {SIGNING}."
        ) from None


def _copy(folder: str, name: str, data: bytes) -> str:
    """A copy that stays what it is while two readers look at it."""
    place = os.path.join(folder, name)
    with open(place, "xb") as file:
        file.write(data)
    return place


def _bundle(raw: bytes, label: str, method: str) -> dict[str, Any]:
    """The bundle as JSON, where it has the parts that the method needs. Raises SignatureInvalid."""
    try:
        bundle = json.loads(raw)
        material, envelope = bundle["verificationMaterial"], bundle["dsseEnvelope"]
        kinds = [kind for kind in _MATERIAL if kind in material]
        whole = isinstance(envelope["payload"], str) and len(envelope["signatures"]) == 1 and len(kinds) == 1
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise SignatureInvalid(f"{label} is not a signature of a model: it is no Sigstore bundle with one signature.")
    (kind,) = kinds
    made_for = _NEEDED.get(method)
    if kind != made_for and not (method == "sigstore" and kind != "publicKey"):
        raise SignatureInvalid(f"{label} was made with {_MATERIAL[kind]}: it is checked with {_OPTION[kind]}.")
    return dict(bundle)


def _configured(method: str, trust: Trust, folder: str) -> Any:
    """`model_signing`'s configuration for this way of checking. Raises VerificationError."""
    from model_signing import verifying

    config = verifying.Config()
    if method == "key":
        assert trust.public_key is not None
        return config.use_elliptic_key_verifier(public_key=_copy(folder, "key.pub", _public_key(trust.public_key)))
    try:
        if method == "certificate":
            place = _copy(folder, "chain.pem", chain_of(trust.certificate_chain))
            return config.use_certificate_verifier(certificate_chain=[place])
        return config.use_sigstore_verifier(
            identity=trust.identity,
            oidc_issuer=trust.identity_provider,
            trust_config=_trust_config(trust.trust_config, folder) if trust.trust_config else None,
        )
    except (NbguardError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - whatever the trust root makes the library raise: nothing was checked
        what = "The chain of certificates" if method == "certificate" else "Sigstore's trust root"
        raise VerificationError(f"{what} cannot be used: {_reason(error)}.") from None


def _public_key(path: str | os.PathLike[str]) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = read_bounded(path)
    label = shown(os.fsdecode(path))
    if b"PRIVATE KEY" in data:
        raise VerificationError(
            f"{label} is a private key; the public one is needed, and the private one is kept safe."
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise VerificationError(f"{label} is not a public key in PEM form.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise VerificationError(f"{label} is no key on the curve P-256, P-384 or P-521, as model signatures need it.")
    return data


def _trust_config(path: str | os.PathLike[str], folder: str) -> Any:
    """A copy of the trust configuration; a bare trusted root is put into one."""
    import pathlib

    data = read_bounded(path)
    try:
        value = json.loads(data)
        if "trustedRoot" not in value:
            value = {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": value,
                "signingConfig": {  # for signing, which does not happen; the reader wants to see one
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"},
                },
            }  # fmt: skip
    except (ValueError, RecursionError, TypeError):
        raise VerificationError(f"{shown(os.fsdecode(path))} is no trust root of Sigstore in JSON.") from None
    return pathlib.Path(_copy(folder, "trust.json", json.dumps(value).encode("ascii")))


class _Capture:
    """Stands in for `model_signing`'s reading of files: keeps what it would compare, once the signature has held."""

    def __init__(self) -> None:
        self.expected: Any = None

    def add_ignored_paths(self, **_: object) -> None:
        """The statement's own list of what to leave out is not followed."""

    def hash(self, *_: object, **__: object) -> _Capture:
        return self

    def __ne__(self, other: object) -> bool:
        self.expected = other
        return False

    def __eq__(self, other: object) -> bool:
        self.expected = other
        return True

    __hash__ = None  # type: ignore[assignment]


def _expected(config: Any, place: str, label: str, trust: Trust) -> Any:
    """The manifest in the statement, after the signature on it has held. Raises SignatureInvalid."""
    capture = _Capture()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints warnings, which are no part of our output
            config.set_hashing_config(capture).verify(os.path.dirname(place), place)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a hostile bundle makes it raise anything; none of it is a signature
        raise SignatureInvalid(_why(error, label, trust)) from None
    if capture.expected is None:
        raise VerificationError("The installed model-signing does not say what it verified; version 1.1 does.")
    return capture.expected


def _why(error: Exception, label: str, trust: Trust) -> str:
    """One sentence for what `model_signing`, `sigstore` or `cryptography` raised."""
    kind, reason = type(error).__name__, _reason(error)
    if reason.startswith("Key mismatch") and trust.public_key is not None:
        return f"{label} was made with another key than {shown(os.fsdecode(trust.public_key))}."
    if kind == "InvalidSignature":
        return f"The signature in {label} does not fit what it signs: it was altered, or made with another key."
    if kind == "X509StoreContextError":
        return f"The certificate in {label} does not lead to the chain that is trusted: {reason}."
    if reason.startswith("Signing certificate cannot"):
        return f"The certificate in {label} is not one for signing."
    if reason.startswith(("Certificate's SANs do not match", "Certificate's OIDCIssuer does not match")):
        return f"{label} was signed by somebody else than {trust.identity} of {trust.identity_provider}: {reason}."
    if isinstance(error, KeyError | AttributeError | TypeError | IndexError) or kind == "ValidationError":
        return f"{label} does not hold: it has not the form of a model's signature."
    return f"{label} does not hold: {reason}."


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200].rstrip(". ")


def _signer(method: str, bundle: dict[str, Any], trust: Trust, label: str) -> dict[str, str]:
    """Who signed, as far as it was proven. Raises SignatureInvalid for a certificate that does not hold today."""
    if method == "key":
        return {"public_key": shown(os.fsdecode(trust.public_key or ""))}
    try:
        if method == "certificate":
            return certificate_today(bundle, chain_of(trust.certificate_chain))
        return {
            "identity": trust.identity or "", "identity_provider": trust.identity_provider or "",
            **keyless_certificate(bundle),
        }  # fmt: skip
    except CertificateProblem as problem:
        raise SignatureInvalid(f"{label}: {problem}") from None


def _statement(bundle: dict[str, Any]) -> dict[str, Any]:
    """The signed statement, whose signature has held."""
    value: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return value


def _pieces(expected: Any, statement: dict[str, Any], label: str) -> dict[str, tuple[Piece, ...]]:
    """Path → digests, where every entry names a file inside the folder, once. Raises SignatureInvalid."""
    listed = list(expected.resource_descriptors())
    predicate = statement.get("predicate")
    resources = predicate.get("resources") if isinstance(predicate, dict) else None
    count = len(statement["subject"]) if resources is None else len(resources)
    if len(listed) != count:
        raise SignatureInvalid(f"{label} names a file twice.")
    if not listed or count > MAX_ENTRIES:
        raise SignatureInvalid(f"{label} names {'no file' if not listed else f'more than {MAX_ENTRIES:,} files'}.")
    shards = expected.serialization_type.get("method") == "shards"
    found: dict[str, list[Piece]] = {}
    for item in listed:
        name, start, end = item.identifier, 0, None
        if shards:
            name, first, last = item.identifier.rsplit(":", 2)
            start, end = int(first), int(last)
            if not 0 <= start < end:
                raise SignatureInvalid(f"{label} names a piece of a file that there cannot be.")
        try:
            name = name if name == "." else checked_name(name, label)
        except VerificationError as error:
            raise SignatureInvalid(str(error)) from None
        algorithm = item.digest.algorithm.partition("-sharded-")[0]
        found.setdefault(name, []).append(Piece(algorithm, item.digest.digest_hex, start, end))
    return {name: tuple(sorted(pieces, key=lambda p: p.start)) for name, pieces in found.items()}


def paths_of(paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] | None) -> tuple[str, ...]:
    """One path or several, as a tuple."""
    if paths is None:
        return ()
    if isinstance(paths, str | os.PathLike):
        return (os.fspath(paths),)
    return tuple(os.fspath(path) for path in paths)
