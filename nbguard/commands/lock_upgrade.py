"""`nbguard lock --upgrade`: what is different between the locked commit and the one that the branch has now.

    nbguard lock --upgrade                      # every repository in the lock
    nbguard lock --upgrade hf://org/name --yes  # what is safe is locked without a question

The new commit is judged where it lies; nothing of it is downloaded. What is accepted is looked at again, and locked; it
is refused then if it is not what was shown.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbguard.artifact.hub import list_repo
from nbguard.commands import actions, lock_check
from nbguard.commands import lock as locking
from nbguard.errors import TargetError
from nbguard.policy import current
from nbguard.provenance.lockfile import Entry, Lock, LockError
from nbguard.report.advice import CodeChange, Since
from nbguard.report.escape import terminal
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

CODE = (".py", ".pyi", ".jinja", ".j2")
TEXT = (*CODE, ".json", ".yaml", ".yml", ".toml", ".cfg")
MOST_TEXT = 256 << 10


def run(path: str, options: argparse.Namespace) -> int:
    """Show, ask, write. 0: nothing is left to decide; 1: a difference was not accepted; 2: not to be done."""
    before = after = locking.there(path)
    told: list[dict[str, Any]] = []
    written: list[Entry] = []
    code = 0
    for entry in lock_check.chosen(before, options.targets, path):
        if not entry.hub:
            if options.targets:
                raise LockError(f"{entry.source!r} is no repository; lock it again: nbguard lock {entry.source}")
            continue
        row: dict[str, Any] = {"source": entry.source, "revision": entry.revision, "locked": entry.commit}
        told.append(row)
        try:
            commit = _now(entry)
            row |= {"now": commit, "written": False}
            if commit == entry.commit:
                _say(options, f"{terminal(entry.source, 200)}: up to date at {commit[:12]}")
                continue
            report = compared(entry, commit)
            row["report"] = report.to_json()
            taken = _accepted(entry, commit, report, options)
        except (TargetError, LockError, actions.ActionError) as error:
            row["error"] = locking.told(error)
            code = 2 if isinstance(error, TargetError) else max(code, 1)
            _say(options, f"{terminal(entry.source, 200)}: {terminal(locking.told(error), 600)}")
            continue
        row["written"] = True
        written.append(taken)
        after = Lock(tuple(e for e in after.entries if e.key != entry.key)).with_entry(taken)
        _say(options, f"{terminal(entry.source, 200)}: locked at {commit[:12]}")
    if written:
        locking.save(path, after, written)
    if options.format == "json":
        print(json.dumps({"schema": locking.SCHEMA, "lock": locking.shown(path), "upgrades": told}, indent=2))
    elif not told:
        print("There is no repository in the lock.")
    return code


def _say(options: argparse.Namespace, line: str) -> None:
    if options.format == "text":
        print(line)


def _now(entry: Entry) -> str:
    """The commit that the branch has now. Raises TargetError."""
    return list_repo(entry.source.removeprefix("hf://"), revision=entry.revision or None).commit


def compared(entry: Entry, commit: str) -> Report:
    """The report on the new commit, with what is different from the locked one. Raises TargetError."""
    with actions.looked_at(entry.source, commit) as (opened, report):
        since = difference(entry, report, opened)
    where = {**report.provenance, "revision": entry.revision or "main"}  # what was asked for, and not the commit again
    return replace(report, provenance=where, advice=replace(report.advice, since=since))


def difference(entry: Entry, report: Report, opened: Opened) -> Since:
    """What of the report is not as it was locked, with the text of code as far as it is small."""
    then = {file.path: file for file in entry.files}
    now = {file.path: file for file in report.artifact.files if not file.inert}
    changed = [p for p in sorted(now) if p in then and not _same(then[p].whole, then[p].size, now[p], opened)]
    added = [p for p in sorted(now) if p not in then]
    globals_now, globals_then = {g.dotted for g in report.contract.globals}, set(entry.globals)
    return Since(
        target=entry.source,
        when=entry.when.timestamp(),
        who=entry.who,
        reason=entry.reason,
        how="locked",
        verdict=entry.verdict.word,
        now=report.verdict.word,
        commit=entry.commit,
        added=tuple(added),
        removed=tuple(sorted(p for p in then if p not in now)),
        changed=tuple(changed),
        globals_added=tuple(sorted(globals_now - globals_then)),
        globals_removed=tuple(sorted(globals_then - globals_now)),
        code=_texts(entry, changed, added, opened),
    )


def _same(whole: str, size: int, file: Any, opened: Opened) -> bool:
    if file.size != size:
        return False
    if file.pin.startswith("sha256:"):
        return bool(file.pin == f"sha256:{whole}")
    return whole == (file.sha256 or locking.whole_digest(opened, file))


def _texts(entry: Entry, changed: list[str], added: list[str], opened: Opened) -> tuple[CodeChange, ...]:
    from nbguard.approvals import differences

    wanted = [p for p in changed if p.lower().endswith(TEXT)] + [p for p in added if p.lower().endswith(CODE)]
    out: list[CodeChange] = []
    before = _before(entry, [p for p in changed if p in wanted])
    for path in wanted[: differences.MOST_FILES]:
        new = _small(opened, path)
        old = before.get(path) if path in changed else b""
        if new is None:
            out.append(CodeChange(path, "", "too large to be compared here"))
        elif old is None:
            out.append(CodeChange(path, "", "changed; the text at the locked commit cannot be had"))
        else:
            out.append(differences.between(path, old, new))
    return tuple(out)


def _before(entry: Entry, paths: list[str]) -> dict[str, bytes]:
    """Path → text at the locked commit, where the Hub or its cache still has just what was locked."""
    import hashlib

    if not paths:
        return {}
    whole = {file.path: file.whole for file in entry.files}
    out: dict[str, bytes] = {}
    try:
        with actions.open_target(entry.source, entry.commit, remote=True) as opened:
            for path in paths:
                data = _small(opened, path)
                if data is not None and hashlib.sha256(data).hexdigest() == whole[path]:
                    out[path] = data
    except TargetError:  # the differences are named all the same, without the text
        return out
    return out


def _small(opened: Opened, path: str) -> bytes | None:
    handle = opened.file(path)
    if handle is None or handle.size > MOST_TEXT:
        return None
    return bytes(handle.read(0, handle.size))


def _accepted(entry: Entry, commit: str, shown: Report, options: argparse.Namespace) -> Entry:
    """The new entry. Raises ActionError: it is not accepted, or not what was shown."""
    from nbguard.report import text

    policy = current()
    if options.format == "text":
        print(text.render(shown) + "\n")
    actions.may_be_approved(shown, policy, options.i_accept_danger)
    ask = locking.asker(options)
    reason = options.reason
    yes = bool(options.yes and shown.verdict is Verdict.SAFE) or bool(reason.strip())
    if not yes and ask is not None:
        yes, said = ask(shown, None)
        reason = said or reason
    if not yes:
        way = "--yes" if shown.verdict is Verdict.SAFE else "--reason"
        raise actions.ActionError(f"The difference was not accepted, and nothing was written; accept it with {way}.")
    actions.reason_given(shown, policy, reason, "Nothing was written.")
    with actions.looked_at(entry.source, commit) as (opened, report):
        if not _as_shown(report, shown):
            raise actions.ActionError("What lies there now is not what was shown; nothing was written.")
        return locking.made(report, opened, entry.source, entry.revision, reason, entry.publisher)


def _as_shown(report: Report, shown: Report) -> bool:
    """Whether the files are those that were shown: the same bytes where all of them were read,
    the same size where parts were, and nothing in them that is worse than was shown."""
    there = {f.path: f for f in shown.artifact.files}
    for file in report.artifact.files:
        seen = there.get(file.path)
        if seen is None or seen.size != file.size or (seen.pin.startswith("sha256:") and seen.pin != file.pin):
            return False
    named = {g.dotted for g in report.contract.globals} - {g.dotted for g in shown.contract.globals}
    return report.verdict <= shown.verdict and not named
