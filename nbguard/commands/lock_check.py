"""`nbguard lock --check`: what is there, compared with `nbguard.lock`. Nothing is written, and nothing asked.

    run("nbguard.lock", [], "text")          # 0: all as locked; 1: not; 2: some could not be compared

A repository is compared at the locked commit, without downloading it: large files by the digest that the Hub lists,
those that lie in its cache by their bytes.
"""

from __future__ import annotations

import contextlib
import json
import os

from nbguard.commands import actions
from nbguard.commands.lock import SCHEMA, shown, target_of, there, whole_digest
from nbguard.errors import NbguardError
from nbguard.provenance import lock_changes
from nbguard.provenance.lock_changes import Change
from nbguard.provenance.lockfile import Entry, Lock, LockError
from nbguard.report.escape import terminal


def run(path: str, targets: list[str], form: str) -> int:
    """Compare what is there with the lock. 0: all as locked; 1: not; 2: some could not be compared."""
    lock = there(path)
    folder = os.path.dirname(os.path.abspath(path))
    results: list[tuple[Entry, list[Change], str]] = []
    for entry in chosen(lock, targets, path):
        try:
            results.append((entry, differences(entry, folder), ""))
        except NbguardError as error:
            results.append((entry, [], str(error)))
    code = 1 if any(changes for _, changes, _ in results) else 2 if any(why for *_, why in results) else 0
    if form == "json":
        entries = [
            {"source": e.source, "revision": e.revision, "commit": e.commit, "as_locked": not changes and not why,
             "changes": [c.to_json() for c in changes], **({"error": why} if why else {})}
            for e, changes, why in results
        ]  # fmt: skip
        print(json.dumps({"schema": SCHEMA, "lock": shown(path), "as_locked": not code, "entries": entries}, indent=2))
        return code
    for entry, changes, why in results:
        name = terminal(entry.source, 200) + (f" at {entry.commit[:12]}" if entry.commit else "")
        if why:
            print(f"{name}: could not be compared: {terminal(why, 600)}")
        print(*(f"{name}: {terminal(str(change), 400)}" for change in changes), sep="\n", end="\n" if changes else "")
        if not why and not changes:
            print(f"{name}: as locked")
    return code


def chosen(lock: Lock, targets: list[str], path: str) -> list[Entry]:
    """The entries that are meant; all without a target. Raises LockError: one is not in the lock."""
    found = [] if targets else list(lock.entries)
    for target in targets:
        name, _, revision = target.removeprefix("hf://").partition("@")
        place = os.path.relpath(os.path.abspath(target), os.path.dirname(os.path.abspath(path))).replace(os.sep, "/")
        mine = [e for e in lock.entries if e.source in (f"hf://{name}", place, target)
                and (not revision or revision in (e.revision, e.commit))]  # fmt: skip
        if not mine:
            raise LockError(f"{target[:200]!r} is not in {path}.")
        found += [e for e in mine if e not in found]
    return found


def differences(entry: Entry, folder: str) -> list[Change]:
    """What is not as it was locked, at the locked commit of a repository. Raises NbguardError: it cannot be told."""
    with contextlib.ExitStack() as handles:
        opened = handles.enter_context(
            actions.open_target(target_of(entry, folder), entry.commit or None, remote=entry.hub)
        )
        report = actions.scan_opened(opened, entry.source)
        known = {file.path: file for file in entry.files}
        changes = lock_changes.file_changes(report, known.get, lambda f: whole_digest(opened, f))
        return [*changes, *lock_changes.gone(entry, report), *lock_changes.contract_changes(report, [entry])]
