"""`nbguard.lock` at load time: what is locked loads where nobody can be asked, and nothing else does.

    lock = judged(request, report, opened, person=False)
    lock.approval          # what the lock stands for, where all that would be opened is as it was locked
    lock.refusal           # else the sentence that names the file and the change
    lock.decided(decision)

A lock counts as an approval does, under the policy that is in force: what that lets nobody approve, no lock lets load.
Where a person is there, it only spares the question about explained data; a lock may have come with the notebook.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import ArtifactFile, LoadRequest
from nbguard.errors import TargetError
from nbguard.hooks import trust
from nbguard.provenance import lock_changes
from nbguard.provenance.lockfile import NAME, Entry, Lock, LockedFile, LockError, read
from nbguard.report.escape import terminal
from nbguard.report.model import Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.approvals import Approval
    from nbguard.artifact.hub_listing import Listing
    from nbguard.artifact.sources import Opened, OpenedFile
    from nbguard.policy import Decision, Policy

VARIABLE = "NBGUARD_LOCK"
MOST_HASHES = 4_096


@dataclass(frozen=True)
class InForce:
    """The lock that holds here."""

    path: str
    lock: Lock
    broken: str = ""
    """Why it cannot be used; `lock` is empty then."""

    @property
    def folder(self) -> str:
        return os.path.dirname(os.path.abspath(self.path))


@dataclass(frozen=True)
class Judged:
    """What the lock says of one load."""

    in_force: InForce | None = None
    headless: bool = False
    """That there is a lock, and nobody who could be asked."""
    approval: Approval | None = None
    refusal: str = ""
    """Only where nobody can be asked: why it may not load."""
    said: str = ""
    """What a person should know; one or two sentences, escaped for a terminal."""
    request: LoadRequest | None = None
    report: Report | None = None

    @property
    def elsewhere(self) -> str:
        """Where the lock is, if `nbguard lock` would not write it by itself."""
        path = os.path.abspath(self.in_force.path) if self.in_force is not None else ""
        own = path == os.path.join(os.getcwd(), NAME)
        return "" if own or os.environ.get(VARIABLE) else path

    def unsettled(self, settled: Callable[[Report], tuple[str, bool] | None] | None) -> Any:
        """`settled`, where the lock has nothing against it."""
        return None if self.refusal else settled

    def decided(self, decision: Decision) -> Decision:
        """The decision, under the lock; in the audit log."""
        if self.in_force is None:
            return decision
        own = "own.load" in decision.rules
        if self.refusal and not own:
            self._record("load.drift", why=self.refusal)
            rules = (*decision.rules, "lock.drift")
            return replace(decision, action="deny", form="full", offers=(), rules=rules, reason=self.refusal)
        if self.approval is not None and decision.action == "allow":
            self._record("load.locked", who=self.approval.who)
            return replace(decision, rules=(*decision.rules, "lock.same"))
        if self.headless or own or not self.said:
            return decision
        if not self.said.startswith("Locked"):
            self._record("load.drift", why=self.said)
        return replace(decision, reason=f"{decision.reason} {self.said}")

    def but(self, why: str) -> Judged:
        """With something that is not as it was locked."""
        why = terminal(why, 1_000)  # it goes into an exception, with names that come from models
        return replace(self, said=why, refusal=why if self.headless else "")

    def _record(self, event: str, **more: Any) -> None:
        from nbguard.approvals import AuditLog

        assert self.request is not None
        assert self.report is not None
        assert self.in_force is not None
        AuditLog().record(
            event, loader=self.request.loader, target=self.request.source, lock=self.in_force.path,
            artifact=self.report.artifact.digest, contract=self.report.contract.digest, **more,
        )  # fmt: skip


# which lock


def place() -> str | None:
    """Where the lock is that holds here: as `NBGUARD_LOCK` names it, or beside the notebook that runs, or the
    script; in the working directory where neither is known. None: there is none, or it is `off`."""
    named = os.environ.get(VARIABLE, "")
    if named.strip().lower() == "off":
        return None
    if named:
        return os.path.expanduser(named)
    return next((p for p in (os.path.join(f, NAME) for f in folders()) if os.path.lexists(p)), None)


def folders() -> Iterator[str]:
    """Where a lock is looked for, in this order."""
    from nbguard.notebooks import NotebookError, running

    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    with contextlib.suppress(NotebookError, AttributeError, OSError):
        yield os.path.dirname(os.path.abspath(running(shell.user_ns if shell is not None else None)))
        return  # the working directory may be that of a model, which could bring a lock of its own
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if shell is None and isinstance(script, str) and not trust.is_installed(os.path.realpath(script)):
        yield os.path.dirname(os.path.abspath(script))
        return
    with contextlib.suppress(OSError):  # it was deleted
        yield os.getcwd()


def in_force() -> InForce | None:
    """The lock that holds here, read anew where it changed; None where there is none."""
    path = place()
    if path is None:
        return None
    try:
        _trusted(path)
        seen = os.stat(path)
        key = (path, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if _last.get("key") != key:
            _last.update(key=key, lock=read(path))
        return InForce(path, _last["lock"])
    except LockError as error:
        return InForce(path, Lock(), str(error))
    except (OSError, ValueError) as error:
        return InForce(path, Lock(), f"{path} cannot be read: {getattr(error, 'strerror', None) or 'no such name'}.")


_last: dict[str, Any] = {}


def _trusted(path: str) -> None:
    """Raises LockError where somebody could have written it who has no business in its folder."""
    seen = os.stat(path)
    if not hasattr(os, "geteuid"):
        return
    if stat.S_IMODE(seen.st_mode) & stat.S_IWOTH:
        raise LockError(f"{path} can be written by everybody; chmod o-w it, and look at what it holds.")
    beside = os.stat(os.path.dirname(os.path.abspath(path)))
    shared = bool(beside.st_mode & stat.S_IWOTH)  # such as /tmp
    if seen.st_uid not in (os.geteuid(), 0) and (shared or seen.st_uid != beside.st_uid):
        raise LockError(f"{path} is neither yours nor that of whom its folder belongs to.")


def listed(list_repo: Callable[..., Listing], source: str, *, revision: str | None, **options: Any) -> Listing:
    """The listing of a repository, at the commit that is locked for this revision. Raises TargetError."""
    found = in_force()
    entry = found.lock.entry(f"hf://{source}", revision) if found is not None else None
    if entry is None or entry.commit == revision:
        return list_repo(source, revision=revision, **options)
    try:
        listing = list_repo(source, revision=entry.commit, **options)
    except TargetError as error:
        why = f"The commit {entry.commit[:12]} of {source}, which {NAME} holds, cannot be had: {error}"
        raise TargetError(why) from None
    if "revision" in listing.provenance:
        listing.provenance["revision"] = revision or "main"
    return listing


def revision_of(source: str, revision: str | None) -> str | None:
    """The commit of a repository that code is taken from: as it is locked for this revision, else the revision."""
    found = in_force()
    if found is None:
        return revision
    entry = found.lock.entry(f"hf://{source}", revision)
    if entry is not None:
        return entry.commit
    return revision or found.lock.code_commit(source)


# what it says of a load


def judged(request: LoadRequest, report: Report, opened: Opened, *, person: bool) -> Judged:
    """What the lock that holds here says of this load.

    What a library unpickles for itself, and is explained data, is not asked about, and no concern of the lock's.
    """
    found = in_force()
    if found is None or not (request.in_person_code or request.kind == "hub" or report.verdict is not Verdict.SAFE):
        return Judged()
    base = Judged(found, not person, request=request, report=report)
    if found.broken:
        return base.but(f"The lock cannot be used: {found.broken}")
    entries, problem = _compared(found, request, report, opened)
    if problem:
        return base.but(problem)
    entry = max(entries, key=lambda e: (e.verdict, e.source))
    said = f"Locked by {terminal(entry.who, 80) or 'somebody'} on {entry.when:%Y-%m-%d}, and as it was then."
    if (why := _past(entry, report)) and not person:
        return base.but(why)
    if person and (report.verdict is not Verdict.SAFE or report.top_severity >= Severity.MEDIUM):
        return replace(base, said=said)
    return replace(base, said=said, approval=_approval(entries, entry, found))


def _compared(found: InForce, request: LoadRequest, report: Report, opened: Opened) -> tuple[list[Entry], str]:
    """The entries that hold what would be opened; or a sentence on what is not as it was locked."""
    from nbguard.approvals.model import RecordError

    look = _Look(found, request, opened)
    try:
        changes = lock_changes.file_changes(report, look.find, lambda file: sha256_of(opened, file))
    except RecordError as error:
        return [], str(error)
    if look.other:
        return [], look.other
    entries = list(look.used.values())
    name = opened.provenance.get("repo") or request.source
    if not entries:
        source = f"hf://{name}" if request.kind == "hub" else name
        return [], f"{source[:200]} is not in {NAME}; to add it: nbguard lock {source[:200]}"
    changes += lock_changes.contract_changes(report, entries)
    if changes:
        again = f"hf://{name}" if request.kind == "hub" else name
        return [], (
            f"{name[:200]} is not as it was locked: {lock_changes.told(changes)}."
            f" To look at it and accept it: nbguard lock {again[:200]}"
        )
    return entries, ""


class _Look:
    """Where in the lock the files of one load stand."""

    def __init__(self, found: InForce, request: LoadRequest, opened: Opened) -> None:
        self._found, self._request, self._opened = found, request, opened
        self.used: dict[tuple[str, str], Entry] = {}
        self.other = ""
        """That another revision was asked for than was locked."""
        self._local = _by_place(found) if request.kind != "hub" or _drawn_in(opened) else {}

    def find(self, path: str) -> LockedFile | None:
        if path.startswith(("hf://", "file://")):  # no file of a repository or folder has such a name
            return self._of_another(path)
        if self._request.kind != "hub":
            return self._of_folder(path)
        repo = self._opened.provenance.get("repo") or self._request.source
        return self._of_repository(repo, self._request.revision, self._opened.commit, path)

    def _of_another(self, path: str) -> LockedFile | None:
        """Of a base model, or what else the load draws in."""
        for key, commit in self._opened.provenance.items():
            source = key.removeprefix("also from ")
            if source != key and path.startswith(f"file://{source}/"):
                return self._of_folder(path)
            if source != key and path.startswith(f"hf://{source}/"):
                known = self._of_repository(source, None, commit, path.removeprefix(f"hf://{source}/"))
                if not any(e.source == f"hf://{source}" for e in self._found.lock.entries):
                    self.other = (
                        f"{source[:200]}, which is loaded with it, is not in {NAME};"
                        f" to add it: nbguard lock hf://{source[:200]}"
                    )
                return known
        return None

    def _of_repository(self, repo: str, revision: str | None, commit: str | None, name: str) -> LockedFile | None:
        lock, source = self._found.lock, f"hf://{repo}"
        entry = next((e for e in lock.entries if e.source == source and e.commit == commit), None)
        if entry is None:
            meant = lock.entry(source, revision) or next((e for e in lock.entries if e.source == source), None)
            if meant is not None and commit:
                asked = f"revision {revision[:100]!r} was asked for, which is" if revision else "it is"
                self.other = (
                    f"{repo[:200]} is not as it was locked: {asked} at commit {commit[:12]}, and"
                    f" {NAME} holds {meant.commit[:12]}."
                )
            return None
        return self._taken(entry, next((f for f in entry.files if f.path == name), None))

    def _of_folder(self, path: str) -> LockedFile | None:
        handle = self._opened.file(path)
        place = handle.real_path if handle is not None else None
        if place is not None and (known := self._local.get(place)) is not None:
            return self._taken(*known)
        return self._by_content(path, handle)

    def _by_content(self, path: str, handle: OpenedFile | None) -> LockedFile | None:
        """The same bytes under another name: a stream, a file in the Hub's cache, a folder that was moved."""
        if handle is None:
            return None
        for entry in self._found.lock.entries:
            for file in entry.files:
                if file.size != handle.size or (self._request.kind == "directory" and file.path != path):
                    continue
                if _hashed(handle) == file.whole:
                    return self._taken(entry, file)
        return None

    def _taken(self, entry: Entry, file: LockedFile | None) -> LockedFile | None:
        self.used[entry.key] = entry  # a new file of a source that is locked is a change of that
        return file


def _drawn_in(opened: Opened) -> bool:
    return any(file.path.startswith("file://") for file in opened.files)


def _by_place(found: InForce) -> dict[str, tuple[Entry, LockedFile]]:
    """Resolved path → what is locked there."""
    out: dict[str, tuple[Entry, LockedFile]] = {}
    for entry in found.lock.entries:
        if entry.hub:
            continue
        place = os.path.join(found.folder, *entry.source.split("/")) if entry.source[:1] != "/" else entry.source
        base = os.path.realpath(place if os.path.isdir(place) else os.path.dirname(place))
        for file in entry.files:
            out.setdefault(os.path.realpath(os.path.join(base, *file.path.split("/"))), (entry, file))
    return out


def sha256_of(opened: Opened, file: ArtifactFile) -> str:
    """Of all bytes of a file that is pinned by its layout, through the handle that was scanned; empty: none can be
    told. About a second for a gigabyte, once in a process."""
    handle = opened.file(file.path)
    return "" if handle is None else _hashed(handle)


_hashes: dict[str, str] = {}


def _hashed(handle: OpenedFile) -> str:
    key = handle.identity.key() if handle.identity is not None else ""
    if key and key in _hashes and handle.unchanged():
        return _hashes[key]
    digest = handle.sha256()  # of a file that is not here yet, as listed; it is compared once it was downloaded
    if key and handle.unchanged() and len(_hashes) < MOST_HASHES:
        _hashes[key] = digest
    return digest


def _past(entry: Entry, report: Report) -> str:
    """Why the policy in force would not count this as an approval, or empty."""
    from nbguard.hooks import walk
    from nbguard.policy import lifetime, needs_reason

    policy: Policy = walk.policy_in_force()
    when, now = entry.when.timestamp(), time.time()
    until = lifetime(policy, report.verdict, now=when)
    if when > now + 86_400:
        return f"It was locked on {entry.when:%Y-%m-%d}, which is still to come; lock it again."
    if until is not None and until < now:
        return (
            f"It was locked on {entry.when:%Y-%m-%d}, longer ago than the policy {policy.name!r} lets that count;"
            " look at it and lock it again."
        )
    if needs_reason(policy, report.verdict) and not entry.reason.strip():
        return f"It was locked without a reason, which the policy {policy.name!r} asks for; lock it with --reason."
    return ""


def _approval(entries: list[Entry], entry: Entry, found: InForce) -> Approval:
    from nbguard.approvals import Approval

    return Approval(
        id=f"lock-{entry.artifact[:8]}",
        artifact=entry.artifact,
        contract=entry.contract,
        created=entry.when.timestamp(),
        expires=None,
        who=entry.who,
        reason=f"locked by {terminal(entry.who, 80) or 'somebody'} on {entry.when:%Y-%m-%d} ({_base(found.path)})",
        verdict=max(e.verdict for e in entries),
        severity=max(e.severity for e in entries),
        target=entry.source,
        rules_version=entry.rules,
        momentary=True,
    )


def _base(path: str) -> str:
    return terminal(os.path.basename(path), 80)
