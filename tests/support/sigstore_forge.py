"""A Sigstore of one's own: an authority, a certificate log, a transparency log, and bundles that they vouch for.

    forge = Sigstore()
    forge.write_trust(path)                      # what --trust-config takes
    bundle = forge.bundle(payload, "me@example.org", "https://id.example.org")

Everything is made in memory with keys of the moment; nothing is asked of any network. A bundle is as Fulcio and Rekor
(version 1) make it: a certificate of ten minutes with an embedded timestamp of the certificate log (RFC 6962), the
entry of kind `dsse` in a log of one leaf, its signed checkpoint and its promise.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

TYPE = "application/vnd.in-toto+json"
_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
MINUTE = datetime.timedelta(minutes=1)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def authority(name: str, key: ec.EllipticCurvePrivateKey, start: datetime.datetime, days: int = 3650) -> Any:
    """A root certificate."""
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip


class Sigstore:
    """One instance, with keys of its own."""

    def __init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        self.root_key, self.log_key, self.certificate_log_key = (
            ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
        )
        self.root = authority("Authority of a test", self.root_key, self.now - datetime.timedelta(days=30))

    def trust(self) -> dict[str, Any]:
        """The trusted root, as JSON."""
        since = {"start": f"{self.now - datetime.timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"}
        log, certificate_log = (
            {
                "baseUrl": url, "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(der(key.public_key())), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since,
                },
                "logId": {"keyId": b64(hashlib.sha256(der(key.public_key())).digest())},
            }
            for url, key in (
                ("http://127.0.0.1:9/log", self.log_key), ("http://127.0.0.1:9/ct", self.certificate_log_key)
            )
        )  # fmt: skip
        raw = b64(self.root.public_bytes(serialization.Encoding.DER))
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log], "ctlogs": [certificate_log], "timestampAuthorities": [],
            "certificateAuthorities": [{
                "subject": {"organization": "test", "commonName": "Authority of a test"}, "uri": "http://127.0.0.1:9/ca",
                "certChain": {"certificates": [{"rawBytes": raw}]}, "validFor": since,
            }],
        }  # fmt: skip

    def write_trust(self, path: Path, *, whole: bool = False) -> Path:
        """Write the trusted root; with `whole`, as a client's trust configuration."""
        value = self.trust()
        if whole:
            value = {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": value,
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"},
                },
            }  # fmt: skip
        path.write_text(json.dumps(value))
        return path

    def certificate(self, key: ec.EllipticCurvePrivateKey, identity: str, provider: str) -> x509.Certificate:
        """A certificate of ten minutes, with the timestamp of the certificate log in it."""
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.root.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(self.now - MINUTE).not_valid_after(self.now + 9 * MINUTE)
            .add_extension(usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, provider.encode()), critical=False)
        )  # fmt: skip
        tbs = builder.sign(self.root_key, hashes.SHA256()).tbs_certificate_bytes
        moment = int(self.now.timestamp() * 1000)
        issuer = hashlib.sha256(der(self.root_key.public_key())).digest()
        entry = struct.pack("!BBQH", 0, 0, moment, 1) + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = _signed(self.certificate_log_key, entry)
        log = hashlib.sha256(der(self.certificate_log_key.public_key())).digest()
        sct = b"\0" + log + struct.pack("!QH", moment, 0) + b"\4\3" + struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        value = b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])) + listed
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, value), critical=False).sign(
            self.root_key, hashes.SHA256()
        )

    def bundle(self, payload: bytes, identity: str, provider: str) -> dict[str, Any]:
        """A bundle of a statement that `identity` signed, as `provider` vouches."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certificate(key, identity, provider)
        signature = _signed(key, b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload))
        envelope = {"payload": b64(payload), "payloadType": TYPE, "signatures": [{"sig": b64(signature)}]}
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = json.dumps({
            "apiVersion": "0.0.1", "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(b"").hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [{"signature": b64(signature), "verifier": b64(pem)}],
            },
        }, sort_keys=True, separators=(",", ":")).encode()  # fmt: skip
        log = hashlib.sha256(der(self.log_key.public_key())).digest()
        top = hashlib.sha256(b"\0" + body).digest()
        note = f"127.0.0.1/log\n1\n{b64(top)}\n"
        checkpoint = f"{note}\n— 127.0.0.1/log {b64(log[:4] + _signed(self.log_key, note.encode()))}\n"
        moment = int(self.now.timestamp())
        promised = json.dumps(
            {"body": b64(body), "integratedTime": moment, "logID": log.hex(), "logIndex": 0},
            sort_keys=True, separators=(",", ":"),
        ).encode()  # fmt: skip
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(serialization.Encoding.DER))},
                "tlogEntries": [{
                    "logIndex": "0", "logId": {"keyId": b64(log)}, "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": str(moment),
                    "inclusionPromise": {"signedEntryTimestamp": b64(_signed(self.log_key, promised))},
                    "inclusionProof": {
                        "logIndex": "0", "rootHash": b64(top), "treeSize": "1", "hashes": [],
                        "checkpoint": {"envelope": checkpoint},
                    },
                    "canonicalizedBody": b64(body),
                }],
            },
            "dsseEnvelope": envelope,
        }  # fmt: skip
