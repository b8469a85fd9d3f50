"""Approvals on their way between machines: out of the store into a bundle, out of a bundle into the store.

    data = export(Store(), key, Filter(target="org/*"), issuer="ada", expires=now + 30 * 86_400)
    taken = take(Store(), opened(data, trusted(), now), signer, allowed, record, dry_run=True)
    [(item.entry.target, item.outcome, item.why) for item in taken.items]

An import is one transaction: all of what it says is in force, and in the audit log, or nothing of it.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from nbguard.approvals import bulk, keys
from nbguard.approvals.bundle import Bundle, BundleError, Entry, Revocation, sealed
from nbguard.approvals.database import bounded
from nbguard.approvals.filters import Filter
from nbguard.approvals.model import Approval, Origin
from nbguard.approvals.signing import PrivateKey, PublicKey
from nbguard.approvals.store import Store, approval_of, in_force, write
from nbguard.report.model import Verdict

Allowed = Callable[[Entry], "tuple[str, float | None]"]
"""Why an approval is left out, or an empty string, and when it ends here: what the policy has to say."""

_OWN = "own:"
"""Before a key's id in the table of serials: what this store exported with that key."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was made."""

    data: bytes
    bundle: Bundle


@dataclass(frozen=True)
class Item:
    """What becomes of one approval of a bundle."""

    entry: Entry
    outcome: Literal["new", "renewed", "left out"]
    why: str = ""
    """Of what is left out, in one plain sentence."""
    approval: Approval | None = None
    """As it is in force here from now on."""


@dataclass(frozen=True)
class Taken:
    """What an import does, or with `dry_run` would do."""

    bundle: Bundle
    signer: PublicKey
    items: tuple[Item, ...]
    revoked: tuple[Approval, ...]
    """Approvals that were in force here and are not any more, because the bundle revokes them."""


def export(
    store: Store, key: PrivateKey, wanted: Filter, *, issuer: str, expires: float, now: float | None = None
) -> Exported:
    """What is in force and wanted, signed; with it every revocation of what is wanted.

    Args:
        expires: of the bundle, in seconds since the epoch. The approvals in it keep their own.

    Raises:
        RecordError: the store cannot be read, the key cannot sign, or there is nothing to export.
    """
    start = time.time() if now is None else now
    with store.database.connection() as db, db:
        db.execute("BEGIN IMMEDIATE")
        entries: list[Entry] = []
        revocations: list[Revocation] = []
        for row in db.execute("SELECT * FROM approvals ORDER BY created").fetchall():
            approval = approval_of(db, row)
            if replace(wanted, state="active").keeps(approval, start):
                entries.append(_entry(db, approval, row))
            elif replace(wanted, state="revoked").keeps(approval, start):
                revocations.append(_revocation(approval, row))
        if not entries and not revocations:
            raise BundleError("No approval in force, and no revocation, is like that; nothing was exported.")
        serial = max(_last(db, _OWN + key.public.id) + 1, int(start * 1000))
        _note(db, _OWN + key.public.id, serial, start)
        bundle = Bundle(
            id=secrets.token_hex(16),
            signer=key.public.id,
            serial=serial,
            created=start,
            expires=expires,
            issuer=bounded(issuer),
            entries=tuple(entries),
            revocations=tuple(revocations),
        )
        return Exported(sealed(bundle, key), bundle)


def take(
    store: Store,
    bundle: Bundle,
    signer: PublicKey,
    allowed: Allowed,
    record: Callable[[Taken], None],
    *,
    dry_run: bool = False,
    now: float | None = None,
) -> Taken:
    """Put a bundle's approvals and revocations in force.

    Args:
        signer: the trusted key that signed it.
        allowed: judges each approval.
        record: writes down what was done; where it raises, nothing was.

    Raises:
        BundleError: the bundle was taken before, or a newer one of its signer was.
        RecordError: the store cannot be read or written.
    """
    start = time.time() if now is None else now
    with store.database.connection() as db, db:
        db.execute("BEGIN IMMEDIATE")
        last = _last(db, signer.id)
        if bundle.serial == last:
            raise BundleError("This bundle was imported already.")
        if bundle.serial < last:
            raise BundleError(
                "A newer bundle of this signer was imported before, and what it changed or revoked must not come back;"
                " ask for a new one."
            )
        revoked = [a for r in bundle.revocations for a in _withdraw(db, r, signer, start)]
        items = tuple(_take_one(db, entry, bundle, signer, allowed, start) for entry in bundle.entries)
        _note(db, signer.id, bundle.serial, start)
        taken = Taken(bundle, signer, items, tuple(revoked))
        if dry_run:
            db.rollback()
        else:
            record(taken)
    return taken


def _take_one(
    db: sqlite3.Connection, entry: Entry, bundle: Bundle, signer: PublicKey, allowed: Allowed, now: float
) -> Item:
    why, expires = allowed(entry)
    contract_key = keys.permissions_key(entry.permissions)
    why = why or _why_not(db, entry, contract_key, now)
    if not why and expires is not None and expires <= now:
        why = "It has expired."
    known = in_force(db, entry.artifact, contract_key, entry.bulk)
    if not why and known is not None:
        origin = approval_of(db, _row(db, known)).origin
        if origin is None:
            why = "It is approved here already."
        elif origin.key != signer.id:
            why = f"It is approved already, by a bundle that {origin.name!r} signed."
    if why:
        return Item(entry, "left out", why)
    approval = Approval(
        id=known or (entry.id if not _row_exists(db, entry.id) else secrets.token_hex(4)),
        artifact=entry.artifact,
        contract=entry.contract,
        created=entry.created,
        expires=expires,
        who=entry.who,
        reason=entry.reason,
        verdict=entry.verdict,
        severity=entry.severity,
        target=entry.target,
        rules_version=entry.rules_version,
        origin=Origin(signer.id, signer.name, bundle.id, entry.id, now),
        bulk=tuple(sorted(bounded(path) for path, *_ in entry.bulk)),
    )
    hashes = [bulk.Bulk(path, size, sha256, "") for path, size, sha256 in entry.bulk]
    write(db, approval, entry.files, entry.permissions, hashes)
    return Item(entry, "renewed" if known else "new", "", approval)


def _why_not(db: sqlite3.Connection, entry: Entry, contract_key: str, now: float) -> str:
    """What was taken back stays so, whether here or by another signer."""
    if entry.verdict is Verdict.UNVERIFIABLE:
        return "It could not be read to the end."
    if entry.created > now + 86_400:
        return "It was given in the future, by this machine's clock."
    content = (entry.artifact, contract_key, entry.created)
    sql = "SELECT 1 FROM approvals WHERE artifact = ? AND contract_key = ? AND revoked >= ?"
    if db.execute(sql, content).fetchone():
        return "An approval of it was revoked here since it was given."
    if db.execute(sql.replace("FROM approvals", "FROM withdrawn"), content).fetchone():
        return "It was revoked by another bundle since it was given."
    return ""


def _withdraw(db: sqlite3.Connection, revocation: Revocation, signer: PublicKey, now: float) -> list[Approval]:
    """Revoke here what the bundle revokes, and remember it; returns what was in force.

    By content and by the signer's own id: an approval of the same content that was given before the revocation ends
    too, whoever gave it; one that is given afterwards stands.
    """
    db.execute(
        "INSERT INTO withdrawn VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET revoked = max(revoked, excluded.revoked)",
        (signer.id, revocation.artifact, revocation.contract_key, revocation.revoked),
    )
    found: list[Approval] = []
    for row in db.execute("SELECT * FROM approvals WHERE revoked IS NULL").fetchall():
        approval = approval_of(db, row)
        content = (row["artifact"], row["contract_key"]) == (revocation.artifact, revocation.contract_key)
        origin = approval.origin
        named = origin is not None and (origin.key, origin.approval) == (signer.id, revocation.id)
        if (content or named) and approval.created <= revocation.revoked and approval.active(now):
            by = bounded(f"{revocation.who} (in a bundle that {signer.name} signed)")
            db.execute(
                "UPDATE approvals SET revoked = ?, revoked_by = ?, revoked_why = ? WHERE id = ?",
                (revocation.revoked, by, revocation.reason, approval.id),
            )
            found.append(replace(approval, revoked=revocation.revoked, revoked_by=by, revoked_why=revocation.reason))
    return found


def _entry(db: sqlite3.Connection, approval: Approval, row: sqlite3.Row) -> Entry:
    return Entry(
        id=approval.id,
        target=approval.target,
        artifact=approval.artifact,
        contract=approval.contract,
        files=json.loads(row["files"]),
        permissions=json.loads(row["permissions"]),
        bulk=tuple(bulk.of(db, approval.id)),
        created=approval.created,
        expires=approval.expires,
        who=approval.who,
        reason=approval.reason,
        verdict=approval.verdict,
        severity=approval.severity,
        rules_version=approval.rules_version,
    )


def _revocation(approval: Approval, row: sqlite3.Row) -> Revocation:
    return Revocation(
        id=approval.id,
        target=approval.target,
        artifact=approval.artifact,
        contract_key=row["contract_key"],
        revoked=float(row["revoked"]),
        who=approval.revoked_by,
        reason=approval.revoked_why,
    )


def _row(db: sqlite3.Connection, approval: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT * FROM approvals WHERE id = ?", (approval,)).fetchone()
    return row


def _row_exists(db: sqlite3.Connection, approval: str) -> bool:
    return _row(db, approval) is not None


def _last(db: sqlite3.Connection, key: str) -> int:
    row = db.execute("SELECT serial FROM bundles WHERE key = ?", (key,)).fetchone()
    return 0 if row is None else int(row["serial"])


def _note(db: sqlite3.Connection, key: str, serial: int, now: float) -> None:
    db.execute("INSERT OR REPLACE INTO bundles VALUES (?, ?, ?)", (key, serial, now))
