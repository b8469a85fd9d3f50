"""`nbguard audit`: what was decided, whether anybody altered it, and how long it is kept.

nbguard audit --event 'load.*' --since 7d --format json
nbguard audit verify
nbguard audit export audit-2026.jsonl --until 2027-01-01
nbguard audit prune --keep-days 365 --dry-run
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nbguard.approvals import AuditLog
from nbguard.approvals.audit_chain import encoded
from nbguard.approvals.audit_check import AuditCheck, check_file
from nbguard.approvals.audit_filters import EntryFilter
from nbguard.commands import actions, files, records
from nbguard.report.escape import terminal

SCHEMA = "nbguard.audit/1"
COLUMNS = ("n", "time", "event", "user", "target", "verdict", "who", "reason", "why", "loader", "artifact", "approval")
"""Of the CSV form; everything else of an entry is in its last column, as JSON."""
ALTERED = 1


def run(options: argparse.Namespace) -> int:
    """0: done, or in order; 1: the log was altered."""
    return {"list": listed, "tail": listed, "verify": verify, "export": export, "prune": prune}[options.act](options)


def listed(options: argparse.Namespace) -> int:
    """The last entries that are meant."""
    log, wanted = AuditLog(), _filter(options)
    if options.number < 0:
        raise actions.ActionError("A number of entries is 0 (all of them) or more.")
    if wanted == EntryFilter() and options.number:
        entries = log.tail(options.number)
    else:
        entries = list(deque(filter(wanted.keeps, log.entries()), maxlen=options.number or None))
    if options.format == "json":
        print(json.dumps({"schema": SCHEMA, "entries": entries}, indent=2))
    elif entries:
        print("\n".join(map(records.entry_line, entries)))
    else:
        print("The audit log is empty." if wanted == EntryFilter() else "No entry is like that.")
    return 0


def verify(options: argparse.Namespace) -> int:
    """0 in order, 1 altered; of the log, or of a file that was exported from it."""
    file = getattr(options, "file", None)
    if file is None:
        check = AuditLog().verify()
    else:
        try:
            check = check_file(Path(file))
        except OSError as error:
            why = error.strerror or "input/output error"
            raise actions.ActionError(f"{file!r} cannot be read: {why}.") from None
    if options.format == "json":
        print(json.dumps({"schema": "nbguard.audit-check/1", **vars(check)}, indent=2))
    elif check.ok:
        print(_in_order(check, "The audit log" if file is None else "This copy"))
    else:
        what = "The audit log" if file is None else "This copy"
        sys.stderr.write(f"nbguard: {what} was altered. {terminal(check.problem, 600)}\n")
    return 0 if check.ok else ALTERED


def export(options: argparse.Namespace) -> int:
    """Write what is meant to a file; as JSON lines and without a filter, `verify FILE` can check the copy."""
    log, wanted = AuditLog(), _filter(options)
    check = log.verify()
    if not check.ok:
        sys.stderr.write(f"nbguard: The audit log was altered. {terminal(check.problem, 600)}\n")
    entries = [entry for entry in log.entries() if wanted.keeps(entry)]
    data = _csv(entries) if options.form == "csv" else b"".join(map(encoded, entries))
    files.write_new(Path(options.file), data, mode=0o600)
    print(f"{len(entries)} entries: {terminal(options.file, 300)}")
    if wanted == EntryFilter() and options.form == "jsonl" and check.ok:
        print(f"Whoever gets it can check it:  nbguard audit verify {terminal(options.file, 300)}")
    return 0 if check.ok else ALTERED


def prune(options: argparse.Namespace) -> int:
    """Delete finished segments; an entry about it stays in the log."""
    if options.keep_days is None and options.keep_segments is None:
        raise actions.ActionError("Say what is kept: --keep-days or --keep-segments.")
    if min(options.keep_days or 1, options.keep_segments or 0) < 0:
        raise actions.ActionError("Neither can be less than 0.")
    found = AuditLog().prune(days=options.keep_days or 0, segments=options.keep_segments, dry_run=options.dry_run)
    for segment in found:
        days = f"{segment.since[:10]} to {segment.until[:10]}"
        print(f"{segment.path.name}  entries {segment.first} to {segment.last}, {days}")
    count = sum(segment.last - segment.first + 1 for segment in found)
    print(f"{'Would delete' if options.dry_run else 'Deleted'} {count} entries in {len(found)} segments.")
    return 0


def _in_order(check: AuditCheck, what: str) -> str:
    said = f"{what} is in order: {check.entries} entries"
    if not check.removed:
        return f"{said}."
    if not check.removed_until:
        return f"{said}; it begins after entry {check.removed}."
    return f"{said}; the {check.removed} before them, until {check.removed_until[:19]}, were deleted on purpose."


def _filter(options: argparse.Namespace) -> EntryFilter:
    return EntryFilter(
        event=options.event,
        target=options.target,
        who=options.who,
        verdict=options.verdict,
        since=None if options.since is None else _moment(options.since),
        until=None if options.until is None else _moment(options.until),
        text=options.text,
    )


def _moment(text: str) -> float:
    """`7d`, `12h` ago, or a date or time (`2027-01-31`, `2027-01-31T10:00`, UTC) in seconds since the epoch. Raises
    ActionError."""
    try:
        return time.time() - actions.age(text)
    except actions.ActionError:
        pass
    try:
        found = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise actions.ActionError(
            "A moment is written 7d, 12h (so long ago), 2027-01-31 or 2027-01-31T10:00."
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)).timestamp()


def _csv(entries: Iterable[Mapping[str, Any]]) -> bytes:
    """For a spreadsheet: what a model's name could make it calculate is text there."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow((*COLUMNS, "more"))
    for entry in entries:
        more = {k: v for k, v in entry.items() if k not in COLUMNS}
        writer.writerow([_cell(entry.get(column)) for column in COLUMNS] + [json.dumps(more, sort_keys=True)])
    return out.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
