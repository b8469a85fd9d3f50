"""`nbguard approvals`: what is approved, and everything that is done with it but giving and revoking.

nbguard approvals --target 'org/*' --verdict review --format json
nbguard approvals show 1f2e3d4c
nbguard approvals expire 1f2e3d4c --at 7d
nbguard approvals prune --older-than 90d --dry-run
nbguard approvals export site.nbguard --key ml-platform
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

from nbguard.approvals import Approval, Store
from nbguard.approvals.filters import Filter
from nbguard.commands import actions, exchange, records
from nbguard.commands.exchange import filter_of
from nbguard.report.escape import terminal

SCHEMA = "nbguard.approvals/1"


def run(options: argparse.Namespace) -> int:
    """0: done; 2, with a sentence: not done."""
    acts = {
        "list": listed,
        "show": show,
        "expire": expire,
        "revoke": records.revoke,
        "prune": prune,
        "export": exchange.export,
        "import": exchange.take,
        "keys": exchange.keys,
    }
    return acts[options.act](options)


def listed(options: argparse.Namespace) -> int:
    """The approvals that are meant; without any filter those in force."""
    found = chosen(options)
    if options.format == "json":
        print(json.dumps({"schema": SCHEMA, "approvals": [a.to_json() for a in found]}, indent=2))
    elif not found:
        plain = options.state == "active" and filter_of(options) == Filter()
        print("Nothing is approved." if plain else "No approval is like that.")
    else:
        print("\n".join(records.approval_lines(found)))
    return 0


def show(options: argparse.Namespace) -> int:
    found = _going_by(options.what, all_of_them=True)
    if options.format == "json":
        print(json.dumps({"schema": SCHEMA, "approvals": [a.to_json() for a in found]}, indent=2))
        return 0
    for approval in found:
        fields = approval.to_json()
        origin = fields.pop("origin")
        for name, value in (fields | ({"from": _origin_line(approval)} if origin else {})).items():
            if value not in (None, "", []):
                shown = ", ".join(value) if isinstance(value, list) else str(value)
                print(f"{name.replace('_', ' '):<14} {terminal(shown, 2_000)}")
        print(f"{'state':<14} {records.state(approval, time.time())}\n")
    return 0


def expire(options: argparse.Namespace) -> int:
    when = time.time() if options.at.strip().lower() == "now" else actions.expiry(options.at)
    if when is None:
        raise actions.ActionError("'never' is no end; for longer, look at the content and approve it again.")
    for approval in actions.expire(options.what, when):
        print(f"{approval.id} holds {records.until(approval)}: {terminal(approval.target)}")
    return 0


def prune(options: argparse.Namespace) -> int:
    found = actions.prune(time.time() - actions.age(options.older_than), dry_run=options.dry_run)
    if found:
        print("\n".join(records.approval_lines(found)))
    what = f"{len(found)} approval{'' if len(found) == 1 else 's'} that ended"
    print(f"Would delete {what}." if options.dry_run else f"Deleted {what}.")
    return 0


def chosen(options: argparse.Namespace) -> tuple[Approval, ...]:
    """The approvals that the options mean, oldest first."""
    wanted, now = filter_of(options), time.time()
    return tuple(a for a in Store().list(all_of_them=True) if wanted.keeps(a, now))


def _going_by(what: str, *, all_of_them: bool) -> Sequence[Approval]:
    from nbguard.approvals.store import goes_by

    found = [a for a in Store().list(all_of_them=all_of_them) if goes_by(a, what)]
    if not found:
        raise actions.ActionError("No approval goes by that id, target or digest; see 'nbguard approvals --all'.")
    return found


def _origin_line(approval: Approval) -> str:
    origin = approval.origin
    return "" if origin is None else f"a bundle signed by {origin.name} ({origin.key[:16]}…), as {origin.approval}"
