"""`nbguard lock` and `%safemodel lock`: write `nbguard.lock`, or compare with it.

    nbguard lock hf://org/name models/ --reason "read by ada"
    nbguard lock --notebook train.ipynb
    nbguard lock --check

To lock is to accept: what is safe is locked; what a person should look at, where they say why, were asked, or approved
it before; what is dangerous, with `--i-accept-danger` besides, and only where the policy counts such an approval. What
could not be read to the end never is. A repository is looked at where it lies: nothing of it is downloaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import ArtifactFile
from nbguard.commands import actions
from nbguard.errors import TargetError
from nbguard.hooks import locked
from nbguard.policy import current, needs_reason
from nbguard.provenance.lockfile import NAME, Entry, Lock, LockError, entry_of, read, write
from nbguard.report.escape import terminal
from nbguard.report.model import Report, Verdict
from nbguard.report.words import plural

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

SCHEMA = "nbguard.lock/1"

Ask = Callable[[Report, "Opened | None"], "tuple[bool, str]"]
"""Whether a person accepts this now, and the reason that they gave."""


@dataclass(frozen=True)
class Wanted:
    """One target to be locked."""

    target: str
    revision: str | None = None
    opener: Callable[[], Opened] | None = None
    """How its loader would open it, where that is known."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target."""

    source: str
    state: str
    """`locked`, `same`, `refused` (it was not accepted), or `failed` (it is not there, or cannot be read)."""
    why: str = ""
    entry: Entry | None = None
    note: str = ""
    """Why nobody was asked."""

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"source": shown(self.source), "state": self.state}
        if self.entry is not None:
            out |= {"revision": self.entry.revision, "commit": self.entry.commit, "verdict": self.entry.verdict.word,
                    "artifact": self.entry.artifact, "files": len(self.entry.files)}  # fmt: skip
        return out | ({"why": self.why} if self.why else {}) | ({"note": self.note} if self.note else {})


def run(options: argparse.Namespace) -> int:
    """One of the three acts; the exit code is as its help says. Raises NbguardError: it could not be done."""
    path = lock_path(options.lock, options.notebook)
    if options.check:
        from nbguard.commands import lock_check

        return lock_check.run(path, options.targets, options.format)
    if options.upgrade:
        from nbguard.commands import lock_upgrade

        return lock_upgrade.run(path, options)
    wanted = [Wanted(target, options.revision) for target in options.targets]
    later: list[str] = []
    if options.notebook is not None:
        found, later = of_notebook(options.notebook, None)
        wanted += found
    elif not wanted:
        wanted = _again(path)
    outcomes = lock(path, wanted, reason=options.reason, accept_danger=options.i_accept_danger,
                    ask=asker(options), show=options.format == "text")  # fmt: skip
    return tell(path, outcomes, later, options.format)


def lock_path(named: str | None, notebook: str | None) -> str:
    """Where the lock is, or is to be. Raises LockError: `NBGUARD_LOCK` is `off`."""
    if named:
        return os.path.expanduser(named)
    if notebook:
        return os.path.join(os.path.dirname(os.path.abspath(os.path.expanduser(notebook))), NAME)
    variable = os.environ.get(locked.VARIABLE, "")
    if variable.strip().lower() == "off":
        raise LockError(f"{locked.VARIABLE} is 'off'; name the lock with --lock.")
    return os.path.expanduser(variable) if variable else os.path.join(os.getcwd(), NAME)


def load(path: str) -> Lock:
    """The lock there, an empty one where there is none. Raises LockError."""
    return read(path) if os.path.lexists(path) else Lock()


def lock(
    path: str, wanted: list[Wanted], *, reason: str, accept_danger: bool, ask: Ask | None, show: bool = True
) -> list[Outcome]:
    """Scan each target and lock what is accepted; written once, at the end. Raises LockError, TargetError."""
    if not wanted:
        raise LockError("Nothing to lock was named: name a file, a folder, a Hub repository, or a --notebook.")
    before = after = load(path)
    outcomes: list[Outcome] = []
    for one in wanted:
        source, _ = meant(one)
        try:
            entry, note = _locked(path, one, before, reason=reason, accept_danger=accept_danger, ask=ask, show=show)
        except (LockError, actions.ActionError, TargetError) as error:
            outcomes.append(Outcome(source, "failed" if isinstance(error, TargetError) else "refused", told(error)))
            continue
        same = next((e for e in before.entries if e.key == entry.key and e.same_as(entry)), None)
        after = after.with_entry(entry)
        state = "same" if same is not None else "locked"
        outcomes.append(Outcome(entry.source, state, entry=same or entry, note=note))
    if after != before:
        save(path, after, [o.entry for o in outcomes if o.state == "locked" and o.entry is not None])
    return outcomes


def told(error: Exception) -> str:
    """Its sentence, to stand after the name of the source: without the name of the entry, which is the same."""
    return re.sub(r"\Athe entry (?:'[^']*'|\"[^\"]*\"):? ", "", str(error))


def there(path: str) -> Lock:
    """The lock that is to be compared with. Raises LockError: there is none, or it cannot be read."""
    if not os.path.lexists(path):
        raise LockError(f"There is no {NAME} here ({shown(path)}); `nbguard lock` writes one.")
    return read(path)


def save(path: str, lock: Lock, entries: list[Entry]) -> None:
    """Write the lock, and say so in the audit log. Raises LockError, RecordError."""
    from nbguard.approvals import AuditLog

    who = actions.getpass_user()
    AuditLog().record(  # first: what cannot be recorded is not done
        "lock.written", lock=os.path.abspath(path), who=who, targets=[e.source for e in entries],
        commits=[e.commit for e in entries], verdicts=[e.verdict.word for e in entries],
        artifacts=[e.artifact for e in entries], contracts=[e.contract for e in entries],
    )  # fmt: skip
    try:
        write(path, lock)
    except LockError as error:
        AuditLog().record("lock.not_written", lock=os.path.abspath(path), who=who, why=str(error))
        raise


def meant(one: Wanted) -> tuple[str, str | None]:
    """The source as a lock would name it, as far as that can be told unopened; and the revision."""
    name, at, revision = one.target.partition("@")
    if one.target.startswith("hf://") or (at and not os.path.lexists(one.target)):
        return f"hf://{name.removeprefix('hf://')}", one.revision or revision or None
    return one.target, one.revision


def _locked(
    path: str, one: Wanted, before: Lock, *, reason: str, accept_danger: bool, ask: Ask | None, show: bool
) -> tuple[Entry, str]:
    """The entry, and why nobody was asked, where an earlier approval covers it."""
    source, revision = meant(one)
    known = before.entry(source, revision) or before.entry(f"hf://{source}", revision)
    with _looked_at(one, known) as (opened, report):
        name = source_of(opened, one.target, path)
        if known is not None and known.source != name:
            known = None
        asked_for = (known.revision if known is not None else revision) or ""
        whose = known.publisher if known is not None else None
        entry = made(report, opened, name, asked_for if name.startswith("hf://") else "", reason, whose)
        if known is not None and known.same_as(entry):
            return known, ""
        why, note = accepted(report, opened, reason=reason, accept_danger=accept_danger, ask=ask, show=show)
        return (entry if why == reason else made(report, opened, name, entry.revision, why, whose)), note


@contextlib.contextmanager
def _looked_at(one: Wanted, known: Entry | None) -> Iterator[tuple[Opened, Report]]:
    """What is to be locked; of a repository that is locked, the locked commit: `--upgrade` is the way to another."""
    if known is not None and known.hub:
        with actions.looked_at(known.source, known.commit) as found:
            yield found
    elif one.opener is not None:
        with one.opener() as opened:
            yield opened, actions.scan_opened(opened, one.target)
    else:
        with actions.looked_at(one.target, one.revision) as found:
            yield found


def made(
    report: Report, opened: Opened, source: str, revision: str, reason: str, publisher: Mapping[str, str] | None = None
) -> Entry:
    """The entry for what is open, with the SHA-256 of the large files: of one not downloaded as the Hub lists it,
    which is what a load compares. Raises LockError, TargetError.

    Args:
        publisher: of a repository, what `provenance.reuse` compares later: `owner_key`, `root_commit`, ….
    """
    hashes: dict[str, str] = {}
    for file in report.artifact.files:
        if not file.inert and not file.pin.startswith("sha256:"):
            hashes[file.path] = file.sha256 or whole_digest(opened, file)
            handle = opened.file(file.path)
            if handle is None or not handle.unchanged():
                raise LockError(f"{file.path[:200]} changed while it was looked at; nothing was locked.")
    return entry_of(
        report, source=source, revision=revision, who=actions.getpass_user(), when=datetime.now(UTC), reason=reason,
        sha256=hashes, publisher=publisher,
    )  # fmt: skip


def whole_digest(opened: Opened, file: ArtifactFile) -> str:
    """SHA-256 of all bytes: of a file that was read in parts, by what the Hub lists. Raises TargetError: it lists
    none."""
    from nbguard.artifact.remote_repo import RemoteFile

    handle = opened.file(file.path)
    if not isinstance(handle, RemoteFile) or not handle.ranged:
        return locked.sha256_of(opened, file)
    if len(handle.remote.digest) != 64:
        raise TargetError(f"The Hub lists no SHA-256 of {file.path[:200]}; download the repository first.")
    return handle.remote.digest


def source_of(opened: Opened, target: str, path: str) -> str:
    """As a lock names it: the repository, or the path from the lock's folder on where it is near, else absolute."""
    if opened.kind == "hub":
        return f"hf://{opened.provenance.get('repo') or target.removeprefix('hf://').partition('@')[0]}"
    place = os.path.abspath(os.path.expanduser(target))
    folder = os.path.dirname(os.path.abspath(path))
    near = os.path.relpath(place, folder)
    if near == ".":
        near = os.path.join("..", os.path.basename(folder))
    return (place if near.startswith(os.path.join("..", "..", "..")) else near).replace(os.sep, "/")


def accepted(
    report: Report, opened: Opened, *, reason: str, accept_danger: bool, ask: Ask | None, show: bool = True
) -> tuple[str, str]:
    """The reason with which it is accepted, maybe none, and by which approval. Raises ActionError: it is not."""
    from nbguard import approvals
    from nbguard.report import text

    policy = current()
    if report.verdict is Verdict.SAFE and not needs_reason(policy, report.verdict):
        return reason, ""
    actions.may_be_approved(report, policy, accept_danger)
    if show:
        print(text.render(report) + "\n")
    before = approvals.find(report, opened)
    if before is not None and not reason.strip() and not before.momentary:
        reason = before.reason
    yes = before is not None or bool(reason.strip())
    if not yes and ask is not None:
        yes, said = ask(report, opened)
        reason = said or reason
        if not yes:
            raise actions.ActionError("It was not accepted, and is not locked.")
    if not yes:
        raise actions.ActionError(f"It is {report.verdict.word}: look at the report and accept it with --reason.")
    actions.reason_given(report, policy, reason, "It is not locked.")
    if before is None:
        return reason, ""
    which = "" if before.momentary else f", approval {before.id}"
    return reason, f"approved before by {before.who or 'somebody'}{which}"


def asker(options: argparse.Namespace) -> Ask | None:
    """A question in the terminal, where there is one and the output is for people."""
    return terminal_ask if options.format == "text" and interactive() else None


def interactive() -> bool:
    """Whether somebody sits at a terminal. A seam: tests answer here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def terminal_ask(report: Report, opened: Opened | None) -> tuple[bool, str]:
    """Ask at the terminal. A seam, too."""
    try:
        answer = input("Do you accept that, and lock it? Write 'yes', or why you accept it; anything empty refuses: ")
    except EOFError:
        return False, ""
    word = answer.strip()
    if word.lower() in ("", "n", "no"):
        return False, ""
    return True, "" if word.lower() in ("y", "yes") else word


# what is named


def _again(path: str) -> list[Wanted]:
    """Everything that is in the lock, to be looked at again."""
    folder = os.path.dirname(os.path.abspath(path))
    return [Wanted(target_of(entry, folder), entry.revision or None) for entry in load(path).entries]


def target_of(entry: Entry, folder: str) -> str:
    """What to open for an entry."""
    return entry.source if entry.hub else os.path.join(folder, *entry.source.split("/")) if (
        not entry.source.startswith("/")
    ) else entry.source  # fmt: skip


def of_notebook(path: str, namespace: dict[str, Any] | None) -> tuple[list[Wanted], list[str]]:
    """What a notebook's cells name; and what cannot be named before it runs. Raises NotebookError."""
    from nbguard.commands import preflight
    from nbguard.notebooks import read as read_notebook

    flight = preflight.plan(read_notebook(os.path.expanduser(path)), namespace)
    base = os.getcwd() if namespace is not None else os.path.dirname(os.path.abspath(flight.notebook.path))
    wanted: list[Wanted] = []
    for spot in flight.places:
        load = spot.load
        place = os.path.join(base, os.path.expanduser(load.target))
        if load.hub and not os.path.exists(place):
            wanted.append(Wanted(f"hf://{load.target.removeprefix('hf://')}", load.revision))
        else:
            wanted.append(Wanted(place, None, lambda load=load: preflight.opened(load, base)))  # type: ignore[misc]
    return wanted, [str(one) for one in flight.later]


def tell(path: str, outcomes: list[Outcome], later: list[str], form: str = "text") -> int:
    """Print what became of everything; the exit code."""
    if form == "json":
        out = {"schema": SCHEMA, "lock": shown(path), "locked": [o.to_json() for o in outcomes], "later": later}
        print(json.dumps(out, indent=2))
    else:
        words = {"locked": "locked", "same": "is locked already", "refused": "not locked", "failed": "not locked"}
        for one in outcomes:
            at = f" at {one.entry.commit[:12]}" if one.entry is not None and one.entry.commit else ""
            files = (
                f", {plural(len(one.entry.files), 'file')}, {one.entry.verdict.word}" if one.entry is not None else ""
            )
            why = f": {terminal(one.why, 600)}" if one.why else ""
            why += f"; {terminal(one.note, 300)}" if one.note else ""
            print(f"{terminal(one.source, 200)}{at}: {words[one.state]}{files}{why}")
        for line in later[:40]:
            print(f"Not known before it runs, so not locked: {terminal(line, 300)}")
        if any(o.state == "locked" for o in outcomes):
            print(f"Written to {terminal(path, 500)}.")
    return max({"failed": 2, "refused": 1}.get(o.state, 0) for o in outcomes)


def shown(path: str) -> str:
    """A path as text that every reader of JSON takes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
