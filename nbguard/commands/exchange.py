"""`nbguard approvals export`, `import` and `keys`: approvals on machines that no network reaches.

nbguard approvals keys new ml-platform            # where approvals are given
nbguard approvals export site.nbguard --key ml-platform --expires 30d
nbguard approvals keys trust ml-platform.pub      # where they are taken
nbguard approvals import site.nbguard --dry-run
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from nbguard.approvals import AuditLog, Store
from nbguard.approvals import exchange as transfer
from nbguard.approvals.bundle import MAX_BYTES, Entry, opened
from nbguard.approvals.exchange import Allowed, Taken
from nbguard.approvals.filters import Filter
from nbguard.approvals.model import moment
from nbguard.approvals.signing import MAX_KEY_FILE, PrivateKey, PublicKey, forget, listed, trust, trusted
from nbguard.commands import actions, files, records
from nbguard.policy import Policy, PolicyError, current, lifetime, needs_reason
from nbguard.report.escape import terminal
from nbguard.report.model import Verdict

SCHEMA = "nbguard.approvals-import/1"
AT_ONCE = 100
"""Approvals that one entry of the audit log names."""


def export(options: argparse.Namespace) -> int:
    """0 when the bundle is written."""
    expires = actions.expiry(options.expires)
    if expires is None:
        raise actions.ActionError("A bundle always expires; what it approves may not.")
    made = transfer.export(
        Store(), _own_key(options.key), filter_of(options), issuer=actions.getpass_user(), expires=expires
    )
    bundle = made.bundle
    AuditLog().record(
        "bundle.exported",
        bundle=bundle.id,
        key=bundle.signer,
        expires=moment(bundle.expires),
        approvals=[entry.id for entry in bundle.entries],
        revocations=[r.id for r in bundle.revocations],
    )
    files.write_new(Path(options.file), made.data)
    print(
        f"{len(bundle.entries)} approvals and {len(bundle.revocations)} revocations, signed with {bundle.signer[:16]}…,"
        f" to be taken until {moment(bundle.expires)}: {terminal(options.file, 300)}"
    )
    return 0


def take(options: argparse.Namespace) -> int:
    """0 when it was imported, or with `--dry-run` could be."""
    known = trusted()
    bundle = opened(_read(Path(options.file), MAX_BYTES), known, time.time())
    signer = known[bundle.signer]
    taken = transfer.take(
        Store(), bundle, signer, _allowed(current(), options.i_accept_danger), _record, dry_run=options.dry_run
    )
    if options.format == "json":
        print(json.dumps(_document(taken, options.dry_run), indent=2))
        return 0
    print(f"Bundle {bundle.id[:12]} of {terminal(bundle.issuer, 60)}, {moment(bundle.created)},")
    print(f"signed by {terminal(signer.name, 64)} ({signer.id[:16]}…, trusted by {_whose(signer)}).")
    for item in taken.items:
        entry = item.entry
        end = "" if item.approval is None else f"  ({records.until(item.approval)})"
        print(f"{item.outcome:<9} {entry.verdict.word:<7} {terminal(entry.target, 160)}{end}")
        said = f": {terminal(entry.reason, 200)}" if entry.reason else ""
        print(f"          by {terminal(entry.who, 60)}, {moment(entry.created)}{said}")
        if item.why:
            print(f"          {item.why}")
    for approval in taken.revoked:
        why = f": {terminal(approval.revoked_why, 200)}" if approval.revoked_why else ""
        print(f"revoked   {approval.verdict.word:<7} {terminal(approval.target, 160)}{why}")
    count = sum(item.outcome != "left out" for item in taken.items)
    did = "Would import" if options.dry_run else "Imported"
    print(f"{did} {count} of {len(taken.items)} approvals; {len(taken.revoked)} revoked.")
    return 0


def keys(options: argparse.Namespace) -> int:
    """Own keys and trusted ones."""
    match options.key_act:
        case "new":
            key = PrivateKey.make(options.what)
            AuditLog().record("key.made", key=key.public.id, name=key.public.name)
            print(f"Made {terminal(str(key.path), 300)}, which nobody else should ever see. Others trust this line:")
            print(key.public.line())
            print(f"Compare its fingerprint with them: {key.public.id}")
        case "show":
            public = PrivateKey.read(options.what).public
            _show([("own", public)], options.format) if options.format == "json" else print(public.line())
        case "trust":
            public = PublicKey.read(_line(options.what))
            AuditLog().record("key.trusted", key=public.id, name=public.name)
            new = trust(public)
            print(f"{'Bundles' if new else 'Already trusted: bundles'} of {terminal(public.name, 64)} are taken.")
            print(f"Compare the fingerprint with its owner: {public.id}")
        case "forget":
            gone = forget(options.what)
            AuditLog().record("key.forgotten", key=gone.id, name=gone.name)
            print(f"Bundles of {terminal(gone.name, 64)} ({gone.id[:16]}…) are taken no longer.")
            print("What was imported stays approved; 'nbguard approvals --origin' lists it.")
        case _:
            every = [("own", key.public) for key in PrivateKey.all()]
            _show(
                [*every, *(("site", k) for k in listed("site")), *(("user", k) for k in listed("user"))], options.format
            )
    return 0


def filter_of(options: argparse.Namespace) -> Filter:
    """What the options mean. Raises ActionError for an age that is none."""
    return Filter(
        target=options.target,
        who=options.who,
        verdict=options.verdict,
        state=getattr(options, "state", "active"),
        older=None if options.older is None else actions.age(options.older),
        newer=None if options.newer is None else actions.age(options.newer),
        text=options.text,
        origin=options.origin,
    )


def _show(found: list[tuple[str, PublicKey]], form: str) -> None:
    if form == "json":
        rows = [{"kind": kind, "name": k.name, "id": k.id, "line": k.line()} for kind, k in found]
        print(json.dumps({"schema": "nbguard.keys/1", "keys": rows}, indent=2))
    elif not found:
        print("There is no key of your own, and none is trusted.")
    else:
        words = {"own": "yours", "site": "trusted by the site", "user": "trusted by you"}
        print("\n".join(f"{key.id[:16]}…  {terminal(key.name, 64)}  ({words[kind]})" for kind, key in found))


def _allowed(policy: Policy, accept_danger: bool) -> Allowed:
    """What this machine's policy says to an approval that was given elsewhere."""

    def judge(entry: Entry) -> tuple[str, float | None]:
        why = ""
        if entry.verdict is Verdict.DANGER and not policy.danger_stored:
            why = f"The policy {policy.name!r} counts no approval of what is dangerous."
        elif entry.verdict is Verdict.DANGER and not accept_danger:
            why = "It is dangerous; with --i-accept-danger such approvals are taken too."
        elif entry.verdict is Verdict.REVIEW and not policy.review_stored:
            why = f"The policy {policy.name!r} counts no approval of it."
        elif needs_reason(policy, entry.verdict) and not entry.reason.strip():
            why = f"The policy {policy.name!r} asks for a reason, and it gives none."
        try:
            return why, lifetime(policy, entry.verdict, entry.expires)
        except PolicyError:  # shorter here than where it was given
            return why, time.time() + policy.approval_most_days * 86_400.0

    return judge


def _record(taken: Taken) -> None:
    """What an import did, before it counts: a log that cannot be written stops it."""
    bundle, log = taken.bundle, AuditLog()
    given = [item.approval for item in taken.items if item.approval is not None]
    log.record(
        "bundle.imported",
        bundle=bundle.id,
        key=bundle.signer,
        name=taken.signer.name,
        issuer=bundle.issuer,
        imported=len(given),
        left_out=len(taken.items) - len(given),
        revoked=len(taken.revoked),
    )
    for event, approvals in (("approval.imported", given), ("approval.revoked", list(taken.revoked))):
        for start in range(0, len(approvals), AT_ONCE):
            some = approvals[start : start + AT_ONCE]
            log.record(
                event,
                bundle=bundle.id,
                approvals=[a.id for a in some],
                targets=[a.target for a in some],
                artifacts=[a.artifact for a in some],
            )


def _document(taken: Taken, dry_run: bool) -> dict[str, Any]:
    bundle = taken.bundle
    return {
        "schema": SCHEMA,
        "dry_run": dry_run,
        "bundle": {
            "id": bundle.id,
            "serial": bundle.serial,
            "issuer": bundle.issuer,
            "created": moment(bundle.created),
            "expires": moment(bundle.expires),
        },
        "signer": {"id": taken.signer.id, "name": taken.signer.name, "trusted_by": taken.signer.where},
        "approvals": [
            {
                "outcome": item.outcome,
                "why": item.why,
                "target": item.entry.target,
                "verdict": item.entry.verdict.word,
                "given": item.entry.id,
                "approval": None if item.approval is None else item.approval.to_json(),
            }
            for item in taken.items
        ],
        "revoked": [a.to_json() for a in taken.revoked],
    }


def _own_key(name: str) -> PrivateKey:
    if name:
        return PrivateKey.read(name)
    found = PrivateKey.all()
    if len(found) != 1:
        many = "You have several keys; say with --key which one signs."
        raise actions.ActionError(
            many if found else "You have no key yet; 'nbguard approvals keys new NAME' makes one."
        )
    return found[0]


def _line(given: str) -> str:
    """The public key's line, or what the file of that name holds."""
    if given.split()[:1] == ["-"]:
        return sys.stdin.readline(MAX_KEY_FILE)
    if len(given.split()) > 1:
        return given
    return _read(Path(given), MAX_KEY_FILE).decode("utf-8", "replace").strip()


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        why = error.strerror or "input/output error"
        raise actions.ActionError(f"{str(path)!r} cannot be read: {why}.") from None


def _whose(key: PublicKey) -> str:
    return "the site" if key.where == "site" else "you"
