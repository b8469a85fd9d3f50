"""Approvals as one signed file, for machines that no network reaches.

    data = sealed(Bundle(...), key)                 # bytes to write to a file
    bundle = opened(data, trusted())                # Bundle; BundleError says why not

The file is a DSSE envelope (Dead Simple Signing Envelope 1.0, as in-toto uses it): the payload in base64, its type, and
Ed25519 signatures over both. Nothing of the payload is parsed before a trusted key is found to have signed exactly its
bytes. The payload is canonical JSON: sorted keys, no spaces, ASCII.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbguard.approvals import keys
from nbguard.approvals.database import MAX_TEXT, bounded
from nbguard.approvals.model import RecordError
from nbguard.approvals.signing import PrivateKey, PublicKey
from nbguard.artifact.model import canonical_digest
from nbguard.report.model import Severity, Verdict

SCHEMA = "nbguard.approvals-bundle/1"
PAYLOAD_TYPE = "application/vnd.nbguard.approvals-bundle+json;version=1"
MAX_BYTES = 64 << 20
"""Of a bundle file; ten thousand approvals of large repositories are a tenth of it."""
MAX_ENTRIES = 20_000
MAX_FILES = 50_000
"""Of one approval."""
LATEST = 253_402_300_800.0
"""Seconds since the epoch: the end of the year 9999, beyond which no date can be written."""
_HEX64 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8,32}")


class BundleError(RecordError):
    """A bundle that is not taken. The message is one plain sentence."""


@dataclass(frozen=True)
class Entry:
    """One approval as it travels: everything that it is found again by, and nothing that only holds on one machine."""

    id: str
    target: str
    artifact: str
    contract: str
    files: keys.Files
    permissions: keys.Permissions
    bulk: tuple[tuple[str, int, str], ...]
    """(path, size, SHA-256) of the files that the artifact's digest pins by layout only."""
    created: float
    expires: float | None
    who: str
    reason: str
    verdict: Verdict
    severity: Severity
    rules_version: str

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "target": self.target,
            "artifact": self.artifact,
            "contract": self.contract,
            "files": self.files,
            "permissions": self.permissions,
            "bulk": [list(b) for b in self.bulk],
            "created": self.created,
            "expires": self.expires,
            "who": self.who,
            "reason": self.reason,
            "verdict": self.verdict.word,
            "severity": self.severity.word,
            "rules_version": self.rules_version,
        }


@dataclass(frozen=True)
class Revocation:
    """An approval that was taken back where the bundle comes from: what it covers loads nowhere by it any more."""

    id: str
    target: str
    artifact: str
    contract_key: str
    revoked: float
    """Seconds since the epoch; approvals of the same content that were given later stand."""
    who: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Bundle:
    """What one file holds."""

    id: str
    """32 hex digits."""
    signer: str
    """Id of the key."""
    serial: int
    """Grows with every bundle of one key; an older bundle is not taken after a newer one."""
    created: float
    expires: float
    """Seconds since the epoch; it is not taken afterwards."""
    issuer: str
    entries: tuple[Entry, ...]
    revocations: tuple[Revocation, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "id": self.id,
            "signer": self.signer,
            "serial": self.serial,
            "created": self.created,
            "expires": self.expires,
            "issuer": self.issuer,
            "approvals": [e.to_json() for e in self.entries],
            "revocations": [r.to_json() for r in self.revocations],
        }


def sealed(bundle: Bundle, key: PrivateKey) -> bytes:
    """The bundle as a signed file. Raises SigningError, or BundleError where it would be too large."""
    payload = json.dumps(bundle.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": key.public.id, "sig": base64.b64encode(key.sign(_encoded(payload))).decode("ascii")}],
    }
    data = json.dumps(envelope, indent=1).encode("ascii") + b"\n"
    if len(data) > MAX_BYTES:
        raise BundleError(f"The bundle would be larger than {MAX_BYTES >> 20} MiB; export fewer approvals at once.")
    return data


def opened(data: bytes, trusted: Mapping[str, PublicKey], now: float) -> Bundle:
    """What a signed file holds, after everything about it was checked.

    Args:
        trusted: key id → public key.
        now: seconds since the epoch.

    Raises:
        BundleError: too large, no bundle, of an unknown version, signed by no trusted key, changed, expired, from the
            future, or not what a bundle may hold.
    """
    payload, key = _verified(data, trusted)
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        raise BundleError("The signed content of the bundle is not JSON.") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise BundleError("The bundle is of a version that this nbguard does not know.")
    try:
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError):
        canonical = b""
    if canonical != payload:
        raise BundleError("The signed content of the bundle is not in the one form that it may have.")
    bundle = _bundle(_Fields("bundle", content))
    if bundle.signer != key.id:
        raise BundleError("The bundle names another key than the one that signed it.")
    if bundle.expires <= now:
        raise BundleError("The bundle has expired; ask for a new one.")
    if bundle.created > now + 86_400:
        raise BundleError("The bundle was made in the future, by this machine's clock.")
    return bundle


def _verified(data: bytes, trusted: Mapping[str, PublicKey]) -> tuple[bytes, PublicKey]:
    """The payload's exact bytes, and the trusted key that signed them."""
    if len(data) > MAX_BYTES:
        raise BundleError(f"The bundle is larger than {MAX_BYTES >> 20} MiB, so it is none.")
    try:
        envelope = json.loads(data)
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [(str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in envelope["signatures"]]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise BundleError("This is not a signed bundle of approvals.") from None
    if kind != PAYLOAD_TYPE:
        raise BundleError("The bundle is of a version that this nbguard does not know.")
    if not 1 <= len(signatures) <= 16:
        raise BundleError("The bundle is not signed, or by more keys than make sense.")
    message = _encoded(payload)
    known = [(trusted[name], signature) for name, signature in signatures if name in trusted]
    if not known:
        shown = signatures[0][0][:16] if _HEX64.fullmatch(signatures[0][0]) else "?"
        raise BundleError(
            f"The bundle is signed by the key {shown}…, which is not trusted here; after comparing it with its owner,"
            " 'nbguard approvals keys trust' adds it."
        )
    for key, signature in known:
        if key.holds(signature, message):
            return payload, key
    raise BundleError("The bundle was changed after it was signed: its signature does not hold.")


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the type is signed with the payload."""
    kind = PAYLOAD_TYPE.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _bundle(fields: _Fields) -> Bundle:
    approvals, revocations = fields.several("approvals", MAX_ENTRIES), fields.several("revocations", MAX_ENTRIES)
    found = Bundle(
        id=fields.matching("id", _ID),
        signer=fields.matching("signer", _HEX64),
        serial=fields.whole("serial"),
        created=fields.moment("created"),
        expires=fields.moment("expires"),
        issuer=fields.text("issuer"),
        entries=tuple(_entry(_Fields(f"approval {n}", a)) for n, a in enumerate(approvals, 1)),
        revocations=tuple(_revocation(_Fields(f"revocation {n}", r)) for n, r in enumerate(revocations, 1)),
    )
    fields.all_read("schema")
    ids = [e.id for e in found.entries]
    if len(set(ids)) != len(ids):
        raise BundleError("The bundle holds two approvals of one id.")
    return found


def _entry(fields: _Fields) -> Entry:
    never = fields.value("expires") is None
    entry = Entry(
        id=fields.matching("id", _ID),
        target=fields.text("target"),
        artifact=fields.matching("artifact", _HEX64),
        contract=fields.matching("contract", _HEX64),
        files=[fields.row(f, (str, int, str)) for f in fields.several("files", MAX_FILES)],
        permissions=_permissions(fields),
        bulk=tuple(tuple(fields.row(b, (str, int, str))) for b in fields.several("bulk", MAX_FILES)),
        created=fields.moment("created"),
        expires=None if never else fields.moment("expires"),
        who=fields.text("who"),
        reason=fields.text("reason"),
        verdict=_word(fields, "verdict", Verdict),
        severity=_word(fields, "severity", Severity),
        rules_version=fields.text("rules_version"),
    )
    fields.all_read()
    if entry.verdict is Verdict.UNVERIFIABLE:
        raise fields.wrong("approves what could not be read to the end")
    nameless = sorted(["", size, pin] for _, size, pin in entry.files)  # several files that go by one path
    if entry.artifact not in {canonical_digest(["nbguard.artifact/1", f]) for f in (entry.files, nameless)}:
        raise fields.wrong("names files that its digest does not stand for")
    pinned = {(bounded(path), size) for path, size, pin in entry.files if not pin.startswith("sha256:")}
    if {(bounded(path), size) for path, size, _ in entry.bulk} != pinned or any(
        not _HEX64.fullmatch(b[2]) for b in entry.bulk
    ):
        raise fields.wrong("lacks the checksum of a large file")
    return entry


def _revocation(fields: _Fields) -> Revocation:
    found = Revocation(
        id=fields.matching("id", _ID),
        target=fields.text("target"),
        artifact=fields.matching("artifact", _HEX64),
        contract_key=fields.matching("contract_key", _HEX64),
        revoked=fields.moment("revoked"),
        who=fields.text("who"),
        reason=fields.text("reason"),
    )
    fields.all_read()
    return found


_LISTS = ("programs", "globals", "calls", "code", "native", "companions", "effects")
_TABLES = ("containers", "layout", "local_modules")


def _permissions(fields: _Fields) -> keys.Permissions:
    """What the load may do, in the shape in which it is compared."""
    found = fields.value("permissions")
    if not isinstance(found, dict) or set(found) != {*_LISTS, *_TABLES}:
        raise fields.wrong("has permissions of an unknown shape")
    for name in _TABLES:
        if not isinstance(found[name], dict) or not all(isinstance(v, str) for v in found[name].values()):
            raise fields.wrong("has permissions of an unknown shape")
    for name in _LISTS:
        kind = str if name in ("companions", "effects") else dict
        if not isinstance(found[name], list) or not all(isinstance(v, kind) for v in found[name]):
            raise fields.wrong("has permissions of an unknown shape")
    for use in found["globals"]:
        if set(use) != {"module", "qualname", "raw", "verbs"} or not (
            all(isinstance(use[key], str) for key in ("module", "qualname"))
            and _words(use["verbs"])
            and isinstance(use["raw"], list)
            and all(_words(pair) for pair in use["raw"])
        ):
            raise fields.wrong("has permissions of an unknown shape")
    return found


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _word(fields: _Fields, name: str, kind: Any) -> Any:
    found = fields.value(name)
    for member in kind:
        if member.word == found:
            return member
    raise fields.wrong(f"has a {name} that cannot be")


class _Fields:
    """One object of the payload while it is checked: every field is read once, typed and bounded, and none is left."""

    def __init__(self, what: str, data: object) -> None:
        self._what = what
        if not isinstance(data, dict):
            raise self.wrong("is not an object")
        self._data = data
        self._read: set[str] = set()

    def wrong(self, how: str) -> BundleError:
        return BundleError(f"The bundle is not taken: {self._what} {how}.")

    def value(self, name: str) -> Any:
        if name not in self._data:
            raise self.wrong(f"lacks {name!r}")
        self._read.add(name)
        return self._data[name]

    def text(self, name: str) -> str:
        found = self.value(name)
        if not isinstance(found, str) or len(found) > MAX_TEXT * 10:
            raise self.wrong(f"has a {name} that is no short text")
        return bounded(found)

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        found = self.value(name)
        if not isinstance(found, str) or not pattern.fullmatch(found):
            raise self.wrong(f"has a {name} that cannot be one")
        return found

    def whole(self, name: str) -> int:
        found = self.value(name)
        if type(found) is not int or not 0 <= found < 1 << 62:
            raise self.wrong(f"has a {name} that cannot be one")
        return found

    def moment(self, name: str) -> float:
        found = self.value(name)
        if type(found) not in (int, float) or not 0 <= found < LATEST:
            raise self.wrong(f"has a {name} that is no moment")
        return float(found)

    def several(self, name: str, most: int) -> list[Any]:
        found = self.value(name)
        if not isinstance(found, list) or len(found) > most:
            raise self.wrong(f"has {name} that are no list of at most {most}")
        return found

    def row(self, value: object, kinds: tuple[type, ...]) -> list[Any]:
        if not isinstance(value, list) or [type(v) for v in value] != list(kinds):
            raise self.wrong("has a file that cannot be one")
        return value

    def all_read(self, *others: str) -> None:
        if unknown := set(self._data) - self._read - set(others):
            raise self.wrong(f"has a field that is not known: {sorted(unknown)[0][:80]!r}")
