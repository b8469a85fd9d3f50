"""One entry of a lock: a source as it was accepted, by digest, and what may stand in it.

    entry = entry_of(report, source="hf://org/name", revision="main", who="ada", when=now)
    Lock((entry,)).entry("hf://org/name", None).commit       # 40 hex digits

How it is read and written is in `lockfile`. It names what was accepted; whether that counts is for the policy to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from nbguard.artifact.hub_listing import COMMIT, is_repo_id, typed
from nbguard.errors import NbguardError
from nbguard.provenance.reuse import Accepted
from nbguard.report.escape import is_hidden
from nbguard.report.model import Report, Severity, Verdict

MAX_TEXT = 2_000
"""Characters of any string."""

_PIN = re.compile(r"(?:sha256|layout):[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
VERDICTS = {verdict.word: verdict for verdict in Verdict if verdict is not Verdict.UNVERIFIABLE}
SEVERITIES = {severity.word: severity for severity in Severity}
PUBLISHER = ("repo_id", "repo_key", "owner", "owner_key", "root_commit")


class LockError(NbguardError):
    """A lock cannot be read, or something cannot be written into one. The message is one plain sentence."""


@dataclass(frozen=True)
class LockedFile:
    """One file that a loader would open."""

    path: str
    """As in the report; `org/other/code.py` for code of another repository."""
    size: int
    pin: str
    """See `ArtifactFile.pin`."""
    sha256: str = ""
    """Of all bytes, where the pin does not hold it already; empty where it is not known."""

    @property
    def whole(self) -> str:
        """SHA-256 of all bytes, or empty."""
        return self.sha256 or (self.pin.removeprefix("sha256:") if self.pin.startswith("sha256:") else "")


@dataclass(frozen=True)
class Entry:
    """One source, as it was accepted."""

    source: str
    """`hf://org/name`, or the path of a file or folder, from the lock's folder on or absolute, with `/`."""
    verdict: Verdict
    files: tuple[LockedFile, ...]
    artifact: str
    """`Artifact.digest`."""
    contract: str
    """`Contract.digest`."""
    who: str
    when: datetime
    """In UTC, to the second."""
    revision: str = ""
    """What was asked for: a branch, tag or commit; empty for the default branch."""
    commit: str = ""
    """40 hex digits, of a repository."""
    severity: Severity = Severity.INFO
    """Of the worst finding."""
    rules: str = ""
    """`Report.rules_version`."""
    reason: str = ""
    globals: tuple[str, ...] = ()
    """Python names that its programs use, dotted, sorted."""
    effects: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    """The person's own modules that its programs name → digest of their code."""
    code_from: Mapping[str, str] = field(default_factory=dict)
    """Other repositories that its code comes from → commit."""
    repo_id: str = ""
    repo_key: str = ""
    owner: str = ""
    owner_key: str = ""
    root_commit: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.revision

    @property
    def hub(self) -> bool:
        return self.source.startswith("hf://")

    @property
    def accepted(self) -> Accepted:
        """What `provenance.reuse` compares with what the Hub says later."""
        name = self.source.removeprefix("hf://")
        return Accepted(
            name, self.when, self.commit, self.repo_id, self.repo_key, self.owner, self.owner_key, self.root_commit
        )

    @property
    def publisher(self) -> dict[str, str]:
        """What is known of the repository and its owner, as `entry_of` takes it."""
        return {key: getattr(self, key) for key in PUBLISHER}

    def same_as(self, other: Entry) -> bool:
        """Whether it locks the same content with the same judgement, whoever accepted it when."""
        return replace(self, who="", when=other.when, reason="", rules="", code_from={}) == replace(
            other, who="", reason="", rules="", code_from={}
        )


@dataclass(frozen=True)
class Lock:
    """All entries, by source and revision."""

    entries: tuple[Entry, ...] = ()

    def entry(self, source: str, revision: str | None) -> Entry | None:
        """What this source means at this revision; None where it is not in the lock.

        Without a revision: what was locked without one, or as `main`, or the only entry of that source.
        """
        found = [e for e in self.entries if e.source == source]
        if revision:
            named = next((e for e in found if e.revision == revision), None)
            if named is None and revision == "main":
                named = next((e for e in found if not e.revision), None)
            return named or next((e for e in found if e.commit == revision), None)
        by_default = next((e for e in found if not e.revision), None)
        by_default = by_default or next((e for e in found if e.revision == "main"), None)
        return by_default or (found[0] if len(found) == 1 else None)

    def code_commit(self, repo_id: str) -> str | None:
        """The commit of a repository that others take code from; None where it is not told, or not the same for all."""
        commits = {e.code_from[repo_id] for e in self.entries if repo_id in e.code_from}
        return commits.pop() if len(commits) == 1 else None

    def with_entry(self, entry: Entry) -> Lock:
        """With this entry in the place of the one of the same source and revision.

        One that locks the same content stays as it was, so that a lock which is written again keeps its bytes.
        """
        before = next((e for e in self.entries if e.key == entry.key), None)
        if before is not None and before.same_as(entry):
            return self
        kept = [e for e in self.entries if e.key != entry.key]
        return Lock(tuple(sorted([*kept, entry], key=lambda e: e.key)))


def entry_of(
    report: Report,
    *,
    source: str,
    revision: str,
    who: str,
    when: datetime,
    reason: str = "",
    sha256: Mapping[str, str] | None = None,
    publisher: Mapping[str, str] | None = None,
) -> Entry:
    """What to lock of a report. Raises LockError: it cannot be locked.

    Args:
        sha256: path → digest of all bytes, of files that the report pins by their layout.
        publisher: what `Entry` holds of the Hub's repository and owner, where that is known.
    """
    whole = sha256 or {}
    entry = Entry(
        source=source,
        revision=revision,
        commit=report.artifact.commit or "",
        verdict=report.verdict,
        severity=report.top_severity,
        files=tuple(
            sorted(
                (_file(f.path, f.size, f.pin, whole.get(f.path, "")) for f in report.artifact.files if not f.inert),
                key=lambda f: f.path,
            )
        ),
        artifact=report.artifact.digest,
        contract=report.contract.digest,
        rules=report.rules_version,
        who=plain(who),
        when=when.astimezone(UTC).replace(microsecond=0),
        reason=plain(reason),
        globals=tuple(sorted({g.dotted for g in report.contract.globals})),
        effects=tuple(sorted(set(report.contract.effects))),
        modules=dict(sorted(report.contract.local_modules.items())),
        code_from={
            key.removeprefix("code from "): commit
            for key, commit in sorted(report.provenance.items())
            if key.startswith("code from ")
        },
        **{key: (publisher or {}).get(key, "") for key in PUBLISHER},
    )
    checked(entry)
    return entry


def _file(path: str, size: int, pin: str, sha256: str) -> LockedFile:
    return LockedFile(path, size, pin, "" if pin.startswith("sha256:") else sha256)


def plain(text: str) -> str:
    """What a person wrote, on one line, without what cannot be seen."""
    return "".join(" " if c in "\n\t" else c for c in text if c in "\n\t" or not is_hidden(c))[:MAX_TEXT]


def text_of(value: object, key: str, where: str) -> str:
    """`value`, where it is text that can stand in a lock. Raises LockError."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or any(map(is_hidden, value)):
        raise LockError(f"{where}: {key!r} must be text of at most {MAX_TEXT:,} visible characters.")
    return value


# what may stand in one, read or written


def checked(entry: Entry) -> None:
    """Raises LockError where the entry is none that a lock can hold, read or written."""
    where = f"the entry {plain(entry.source)[:200]!r}"
    every = [entry.source, entry.revision, entry.who, entry.reason, entry.rules, *entry.globals, *entry.effects]
    for text in (*every, *entry.modules, *entry.modules.values(), *(getattr(entry, k) for k in PUBLISHER)):
        text_of(text, "text", where)
    if entry.verdict not in VERDICTS.values():
        raise LockError(f"{where}: what could not be read to the end cannot be locked.")
    if entry.hub:
        repo_id = typed(entry.source.removeprefix("hf://"))["repo_id"]
        if not is_repo_id(repo_id) or not COMMIT.fullmatch(entry.commit):
            raise LockError(f"{where}: a repository needs a name that the Hub accepts, and a commit of 40 hex digits.")
    elif entry.commit or entry.revision or not _is_path(entry.source):
        raise LockError(f"{where}: it is neither 'hf://org/name' nor the path of a file or folder, with '/'.")
    if not _DIGEST.fullmatch(entry.artifact) or not _DIGEST.fullmatch(entry.contract):
        raise LockError(f"{where}: 'artifact' and 'contract' must be digests of 64 hex digits.")
    for name, commit in entry.code_from.items():
        if not is_repo_id(name) or not COMMIT.fullmatch(commit):
            raise LockError(f"{where}: 'code_from' must name repositories, each with a commit of 40 hex digits.")
    if not entry.files:
        raise LockError(f"{where} names no file.")
    seen: set[str] = set()
    for file in entry.files:
        _checked_file(file, where)
        if file.path in seen:
            raise LockError(f"{where} names {plain(file.path)[:200]!r} twice.")
        seen.add(file.path)


def _checked_file(file: LockedFile, where: str) -> None:
    parts = file.path.split("/")
    if not file.path or len(file.path) > MAX_TEXT or any(map(is_hidden, file.path)) or "\\" in file.path or any(
        part in ("", ".", "..") for part in parts
    ):  # fmt: skip
        raise LockError(f"{where}: {plain(file.path)[:200]!r} is no name of a file in it that can be locked.")
    if not _PIN.fullmatch(file.pin) or (file.sha256 and not _DIGEST.fullmatch(file.sha256)):
        raise LockError(f"{where}: the pin of {plain(file.path)[:200]!r} is no digest.")
    if not file.whole:
        raise LockError(f"{where}: {plain(file.path)[:200]!r} has no SHA-256 of all its bytes.")


def _is_path(source: str) -> bool:
    rest = source.removeprefix("/")
    return bool(rest) and "\\" not in source and "://" not in source and "" not in rest.split("/")
