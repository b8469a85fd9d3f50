"""What was accepted under a name before, kept so that a later question can say what changed.

    remember(report, opened, who="ada", reason="", how="once")
    since(new_report, new_opened)         # Since(changed=("modeling.py",), …), or None

Nothing here lets anything load: approvals do. This only tells a person who accepted what, when, and what is different
now, with the text of code that was accepted, as far as it was small. Bounded in number and size; the oldest goes first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nbguard.approvals import differences, keys
from nbguard.approvals.model import RecordError
from nbguard.approvals.private_db import made_privately, migrate, ours_alone
from nbguard.report.advice import CodeChange, Since
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

FILE_NAME = "versions.sqlite3"
LOCK_SECONDS = 5.0
KEPT_FOR_A_NAME = 12
"""Acceptances kept of one name: several calls (configuration, tokenizer, model) accept parts of one commit."""
KEPT = 4_000
"""Acceptances kept in all."""
MAX_PATHS = 5_000
MAX_GLOBALS = 2_000
MAX_TEXT = 2_000
"""Characters of a name, a reason, a target."""
CODE_BYTES = 256 << 10
"""Of one source file whose text is kept."""
CONFIG_BYTES = 64 << 10
"""Of one configuration whose text is kept."""
RECORD_BYTES = 4 << 20
"""Of all texts of one acceptance."""
TEXTS_BYTES = 64 << 20
"""Of all texts that are kept, compressed."""

_CODE = (".py", ".pyi", ".jinja", ".j2")
_CONFIGS = (".json", ".yaml", ".yml", ".toml", ".cfg")
_IN_CACHE = re.compile(r"models--(?P<repo>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})(?:/(?P<path>.+))?\Z")

_SCHEMA = """
CREATE TABLE versions (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
  how TEXT NOT NULL, approval TEXT NOT NULL, target TEXT NOT NULL, revision TEXT NOT NULL, verdict INTEGER NOT NULL,
  artifact TEXT NOT NULL, contract TEXT NOT NULL, files TEXT NOT NULL, beside TEXT NOT NULL, globals TEXT NOT NULL,
  code TEXT NOT NULL) STRICT;
CREATE INDEX versions_by_name ON versions (name, at);
CREATE TABLE texts (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
"""
_WITH_HUB = "ALTER TABLE versions ADD COLUMN hub TEXT NOT NULL DEFAULT '{}'"


def remember(
    report: Report,
    opened: Opened | None,
    who: str,
    reason: str,
    how: Literal["once", "always"],
    approval: str = "",
    hub: Mapping[str, str] | None = None,
) -> None:
    """Keep what was just accepted. Raises RecordError; the load itself does not depend on this.

    Args:
        hub: what the Hub said of the repository and its owner (`nbguard.provenance.published.record`).
    """
    key = name_of(report)
    if key is None:
        return
    texts = _texts(report, opened)
    row = (
        key, time.time(), _short(who), _short(reason), how, approval, _short(report.target),
        report.artifact.commit or "", int(report.verdict), report.artifact.digest, keys.contract_key(report),
        json.dumps(_files(report)), json.dumps(_beside(report)), json.dumps(_globals(report)),
        json.dumps({path: sha256 for path, (sha256, _) in texts.items()}),
        json.dumps({_short(key): _short(text) for key, text in (hub or {}).items()}),
    )  # fmt: skip
    with _connection(make=True) as db, db:
        for sha256, data in texts.values():
            db.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (sha256, zlib.compress(data)))
        db.execute(  # accepting the same again renews it, and pushes nothing else out
            "DELETE FROM versions WHERE name = ? AND artifact = ? AND contract = ? AND who = ? AND how = ?",
            (key, report.artifact.digest, keys.contract_key(report), _short(who), how),
        )
        db.execute(f"INSERT INTO versions VALUES (NULL{', ?' * len(row)})", row)
        _prune(db, key)


def since(report: Report, opened: Opened | None) -> Since | None:
    """What is different from what was last accepted under this name; None where nothing was, or nothing is.

    Raises:
        RecordError: the records cannot be read. One plain sentence.
    """
    key = name_of(report)
    if key is None or not _path().exists():
        return None
    with _connection(make=False) as db:
        rows = db.execute("SELECT * FROM versions WHERE name = ? ORDER BY at DESC, id DESC", (key,)).fetchall()
        if not rows:
            return None
        records = [_Record.of(row) for row in rows]
        same = next((r for r in records if r.same_as(report)), None)
        if same is not None:
            return same.told(report, records, same=True)
        base = _base(records, report)
        if base is None:
            return None
        found = base.compared(records, report)
        return found if found is None else _with_code(db, found, base, report, opened)


def hub_before(report: Report) -> tuple[dict[str, str], bool] | None:
    """What the Hub said of the repository when something was last accepted under its name, and whether it was exactly
    this content that was accepted at any time; None where nothing was. Raises RecordError."""
    key = name_of(report)
    if key is None or not _path().exists():
        return None
    with _connection(make=False) as db:
        found = db.execute(
            "SELECT hub FROM versions WHERE name = ? AND hub != '{}' ORDER BY at DESC, id DESC LIMIT 1", (key,)
        ).fetchone()
        if found is None:
            return None
        same = db.execute(
            "SELECT 1 FROM versions WHERE name = ? AND artifact = ? AND contract = ?",
            (key, report.artifact.digest, keys.contract_key(report)),
        ).fetchone()
        said = json.loads(found["hub"])
        return {str(k): str(v) for k, v in said.items()}, same is not None


def name_of(report: Report) -> str | None:
    """By what a later load of the same thing is recognised: the repository, or the absolute path; None for neither."""
    if report.artifact.kind == "hub":
        return "hub:" + (report.provenance.get("repo") or report.target).lower()
    place = report.target
    try:
        if not os.path.exists(place):
            place = report.provenance.get("path", "")
        if not place or not os.path.exists(place):
            return None
    except ValueError:  # a NUL byte
        return None
    place = os.path.abspath(place)
    cached = _IN_CACHE.search(place)
    if cached is not None:
        return f"hub:{cached['repo'].replace('--', '/', 1).lower()}/{cached['path'] or ''}"
    return f"path:{place.encode('utf-8', 'backslashreplace').decode('utf-8')}"


@dataclass(frozen=True)
class _Record:
    """One acceptance, as it was kept."""

    at: float
    who: str
    reason: str
    how: Literal["once", "always"]
    approval: str
    target: str
    commit: str
    verdict: Verdict
    artifact: str
    contract: str
    files: dict[str, tuple[int, str]]
    beside: frozenset[str]
    globals: frozenset[str]
    code: dict[str, str]

    @classmethod
    def of(cls, row: sqlite3.Row) -> _Record:
        return cls(
            row["at"],
            row["who"],
            row["reason"],
            "always" if row["how"] == "always" else "once",
            row["approval"],
            row["target"],
            row["revision"],
            Verdict(row["verdict"]),
            row["artifact"],
            row["contract"],
            {path: (size, pin) for path, size, pin in json.loads(row["files"])},
            frozenset(json.loads(row["beside"])),
            frozenset(json.loads(row["globals"])),
            dict(json.loads(row["code"])),
        )

    def same_as(self, report: Report) -> bool:
        return self.artifact == report.artifact.digest and self.contract == keys.contract_key(report)

    def told(self, report: Report, records: Sequence[_Record], *, same: bool) -> Since:
        """Who accepted it and when; of an acceptance for one load, the newest approval of the name besides."""
        approved = next((r for r in records if r.how == "always" and self.how == "once"), None)
        return Since(
            self.target,
            self.at,
            self.who,
            self.reason,
            self.how,
            self.verdict.word,
            report.verdict.word,
            self.approval,
            _standing(self.approval),
            self.commit,
            same,
            None if approved is None else approved.told(report, (), same=approved.same_as(report)),
        )

    def compared(self, records: list[_Record], report: Report) -> Since | None:
        """The differences; None where what both opened is the same."""
        then = dict(self.files)
        listed = set(self.beside)
        for other in records if self.commit else ():
            if other.commit == self.commit:  # other parts of the same commit were accepted by themselves
                then = {**other.files, **then}
                listed |= other.beside
        now = {path: (size, pin) for path, size, pin in _files(report)}
        there = set(now) | set(_beside(report))
        fresh = [path for path in now if path not in then]
        used, named = self.globals, set(_globals(report))
        found = replace(
            self.told(report, records, same=False),
            changed=tuple(sorted(p for p in now if p in then and now[p] != then[p])),
            added=tuple(sorted(p for p in fresh if p not in listed)),
            opened=tuple(sorted(p for p in fresh if p in listed)),
            removed=tuple(sorted(p for p in then if p not in there)),
        )
        if set(now) & set(then):  # else other files are opened, and their names say nothing about these
            found = replace(
                found, globals_added=tuple(sorted(named - used)), globals_removed=tuple(sorted(used - named))
            )
        return found if found.changed or found.added or found.removed else None


def _base(records: list[_Record], report: Report) -> _Record | None:
    """What to compare with: the newest that opened some of the same files."""
    if report.artifact.commit and records[0].commit == report.artifact.commit:
        return None  # another part of the commit that was accepted last
    wanted = {path for path, _, _ in _files(report)}
    return next((r for r in records if wanted & set(r.files)), records[0] if report.artifact.kind == "hub" else None)


def _standing(approval: str) -> str:
    if not approval:
        return ""
    from nbguard.approvals.store import Store

    found = next((a for a in Store().list(all_of_them=True) if a.id == approval), None)
    if found is None:
        return "deleted"
    if found.revoked is not None:
        return "revoked"
    return "in force" if found.active(time.time()) else "expired"


def _with_code(db: sqlite3.Connection, found: Since, base: _Record, report: Report, opened: Opened | None) -> Since:
    texts = _texts(report, opened)
    changes: list[CodeChange] = []
    for path in (*found.changed, *found.added):
        if len(changes) >= differences.MOST_FILES:
            break
        if path not in texts:
            if path.endswith(_CODE):
                changes.append(CodeChange(path, "", "too large to be compared here"))
            continue
        kept = None
        if path in base.code:
            kept = db.execute("SELECT data FROM texts WHERE sha256 = ?", (base.code[path],)).fetchone()
        if kept is not None:
            before = zlib.decompressobj().decompress(kept["data"], CODE_BYTES)
            changes.append(differences.between(path, before, texts[path][1]))
        elif path in found.changed:
            changes.append(CodeChange(path, "", "changed; the text that was accepted was not kept"))
        elif path.endswith(_CODE):
            changes.append(differences.between(path, b"", texts[path][1]))
    return replace(found, code=tuple(changes))


# what of a report is kept


def _files(report: Report) -> list[tuple[str, int, str]]:
    loaded = sorted((_short(f.path), f.size, f.pin) for f in report.files if not f.inert)
    return loaded[:MAX_PATHS]


def _beside(report: Report) -> list[str]:
    """What was there and not opened."""
    names = {f.path for f in report.files if f.inert} | {n.path for n in report.not_scanned}
    return sorted(map(_short, names))[:MAX_PATHS]


def _globals(report: Report) -> list[str]:
    ordered = sorted(report.contract.globals, key=lambda g: (g.level == "data", g.dotted))
    return [_short(g.dotted) for g in ordered[:MAX_GLOBALS]]


def _texts(report: Report, opened: Opened | None) -> dict[str, tuple[str, bytes]]:
    """Path → (SHA-256, bytes) of code and small configurations, as far as they are what the report is about."""
    import hashlib

    out: dict[str, tuple[str, bytes]] = {}
    left = RECORD_BYTES
    for file in report.files if opened is not None else ():
        name = file.path.lower()
        most = CODE_BYTES if name.endswith(_CODE) else CONFIG_BYTES if name.endswith(_CONFIGS) else 0
        if file.inert or not 0 < file.size <= min(most, left) or not file.pin.startswith("sha256:"):
            continue
        handle = next((f for f in opened.files if f.path == file.path), None) if opened is not None else None
        if handle is None:
            continue
        data = bytes(handle.read(0, file.size))
        sha256 = hashlib.sha256(data).hexdigest()
        if file.pin == f"sha256:{sha256}":
            out[_short(file.path)] = (sha256, data)
            left -= len(data)
    return out


def _short(text: str) -> str:
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")


# the file


def _path() -> Path:
    from nbguard import settings

    return settings.data_dir() / FILE_NAME


def _prune(db: sqlite3.Connection, key: str) -> None:
    db.execute(
        "DELETE FROM versions WHERE name = ? AND id NOT IN (SELECT id FROM versions WHERE name = ? ORDER BY at DESC, id"
        " DESC LIMIT ?)",
        (key, key, KEPT_FOR_A_NAME),
    )
    db.execute(
        "DELETE FROM versions WHERE id NOT IN (SELECT id FROM versions ORDER BY at DESC, id DESC LIMIT ?)", (KEPT,)
    )
    _drop_texts(db)
    while (db.execute("SELECT total(length(data)) FROM texts").fetchone()[0]) > TEXTS_BYTES:
        oldest = db.execute("SELECT id FROM versions WHERE code != '{}' ORDER BY at, id LIMIT 1").fetchone()
        if oldest is None:
            break
        db.execute("UPDATE versions SET code = '{}' WHERE id = ?", (oldest["id"],))
        _drop_texts(db)


def _drop_texts(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM texts WHERE sha256 NOT IN (SELECT value FROM versions, json_each(versions.code))")


@contextlib.contextmanager
def _connection(*, make: bool) -> Iterator[sqlite3.Connection]:
    """Open, check, close; every way in which SQLite fails becomes one sentence."""

    path = _path()
    db: sqlite3.Connection | None = None
    try:
        if not ours_alone(made_privately(path, make=make)):
            raise RecordError(f"What was accepted before cannot be told: others can write to {str(path)!r}.")
        db = sqlite3.connect(path, timeout=LOCK_SECONDS)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA trusted_schema = OFF")
        migrate(db, (_SCHEMA, _WITH_HUB))
        yield db
    except (sqlite3.Error, zlib.error, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"What was accepted before cannot be told: {error} ({str(path)!r}).") from None
    except OSError as error:
        why = error.strerror or "input/output error"
        raise RecordError(f"What was accepted before cannot be told: {why} ({str(path)!r}).") from None
    finally:
        if db is not None:
            db.close()
