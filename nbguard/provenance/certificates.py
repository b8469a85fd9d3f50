"""What `model_signing` leaves open about certificates: whether they hold today, and what they are for.

certificate_today(bundle, chain)      # {"subject": "CN=Models", "fingerprint": "…", "valid_until": "…"}

A signature made with a certificate says nothing that can be trusted about *when* it was made. `model_signing` therefore
takes the first day of the certificate for the day of signing, and would accept one that expired long ago, or one whose
key was thrown away for a reason; here it has to hold today as well.
"""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Iterable
from typing import Any

from nbguard.artifact.names import shown
from nbguard.errors import NbguardError
from nbguard.provenance.checksums import VerificationError, read_bounded

_MOST = 16
"""Certificates in one bundle."""


class CertificateProblem(NbguardError):  # noqa: N818 - reads as what happened
    """A certificate does not hold: one plain sentence."""


def chain_of(paths: Iterable[str | os.PathLike[str]]) -> bytes:
    """The PEM files together. Raises VerificationError where one holds no certificate."""
    from cryptography import x509

    parts = []
    for path in paths:
        data = read_bounded(path)
        try:
            x509.load_pem_x509_certificates(data)
        except ValueError:
            raise VerificationError(f"{shown(os.fsdecode(path))} holds no certificate in PEM form.") from None
        parts.append(data)
    return b"\n".join(parts)


def certificate_today(bundle: dict[str, Any], chain: bytes) -> dict[str, str]:
    """Whose certificate signed, where it and all it leads to hold now and it is for signing code.

    Args:
        bundle: the signature, whose chain `model_signing` has already followed.
        chain: PEM of the certificates that are trusted.

    Raises:
        CertificateProblem: it has expired, is not valid yet, or is for something else.
    """
    from cryptography import x509
    from OpenSSL import crypto

    try:
        listed = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][:_MOST]
        own, *between = [x509.load_der_x509_certificate(base64.b64decode(c["rawBytes"])) for c in listed]
    except (KeyError, TypeError, ValueError):
        raise CertificateProblem("its certificate cannot be read.") from None
    now = datetime.datetime.now(datetime.UTC)
    if now > own.not_valid_after_utc:
        raise CertificateProblem(f"its certificate expired on {own.not_valid_after_utc:%Y-%m-%d}; sign again.")
    if now < own.not_valid_before_utc:
        raise CertificateProblem(f"its certificate is valid from {own.not_valid_before_utc:%Y-%m-%d} on.")
    store = crypto.X509Store()
    for certificate in x509.load_pem_x509_certificates(chain):
        store.add_cert(crypto.X509.from_cryptography(certificate))
    try:
        crypto.X509StoreContext(
            store, crypto.X509.from_cryptography(own), [crypto.X509.from_cryptography(c) for c in between]
        ).verify_certificate()
    except crypto.X509StoreContextError as error:
        raise CertificateProblem(f"its certificate does not lead to a trusted one today: {error}.") from None
    if not _for_code(own):
        raise CertificateProblem("its certificate is for something else than signing (extended key usage).")
    return _described(own)


def _for_code(certificate: Any) -> bool:
    """Whether its extended key usage, where it has one, lets it sign code; a web server's does not."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Use

    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return Use.CODE_SIGNING in uses or Use.ANY_EXTENDED_KEY_USAGE in uses


def keyless_certificate(bundle: dict[str, Any]) -> dict[str, str]:
    """The fingerprint of the short-lived certificate of a Sigstore bundle that has been verified."""
    from cryptography import x509

    material = bundle["verificationMaterial"]
    try:
        first = material.get("certificate") or material["x509CertificateChain"]["certificates"][0]
        certificate = x509.load_der_x509_certificate(base64.b64decode(first["rawBytes"]))
    except (KeyError, IndexError, TypeError, ValueError):
        return {}
    return {"fingerprint": _described(certificate)["fingerprint"]}


def _described(certificate: Any) -> dict[str, str]:
    from cryptography.hazmat.primitives import hashes

    return {
        "subject": certificate.subject.rfc4514_string()[:300],
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
        "valid_until": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
    }
