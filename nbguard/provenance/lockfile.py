"""`nbguard.lock`: what a notebook loads, by digest, with who accepted it and when.

    lock = read("nbguard.lock")                     # LockError: one plain sentence
    lock.entry("hf://org/name", None).commit        # 40 hex digits
    write("nbguard.lock", lock.with_entry(entry_of(report, …)))

TOML, made to be read in a review: entries by source, one file a line, the same input gives the same bytes. A lock may
come with somebody else's notebook, so that it is read within bounds, and whatever is not as it is written here is
refused.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from nbguard.provenance.locked import (
    PUBLISHER,
    SEVERITIES,
    VERDICTS,
    Entry,
    Lock,
    LockedFile,
    LockError,
    checked,
    entry_of,
    plain,
    text_of,
)

NAME = "nbguard.lock"
VERSION = 1
MAX_BYTES = 4 << 20
MAX_ENTRIES = 500
MAX_FILES = 20_000
"""Of all entries together."""
MAX_GLOBALS = 5_000
"""Of one entry."""

HEAD = """\
# What the notebooks and scripts in this folder load, as it was accepted. Written by `nbguard lock`; review it as code.
# Where nobody can be asked, exactly this loads: `nbguard lock --check` compares, `nbguard lock --upgrade` goes on.
"""


# reading


def read(path: str) -> Lock:
    """The lock of that name. Raises LockError: it cannot be read, or is none."""
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise LockError(f"{shown} is no regular file.")
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise LockError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or 'no such name'}.") from None
    try:
        return parse(data)
    except LockError as error:
        raise LockError(f"{shown} is no lock that can be used: {error}") from None


def parse(data: bytes) -> Lock:
    """The lock that these bytes are. Raises LockError."""
    import tomllib

    if len(data) > MAX_BYTES:
        raise LockError(f"it has more than {MAX_BYTES >> 20} MiB.")
    try:
        raw = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise LockError("it is not UTF-8.") from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise LockError(f"it is not TOML ({plain(str(error))[:200]}).") from None
    version = raw.get("version")
    if type(version) is not int or version != VERSION:
        raise LockError(f"its version is {plain(repr(version))[:40]}, and only {VERSION} is known here.")
    _known(raw, ("version", "locked"), "it")
    items = raw.get("locked", [])
    if not isinstance(items, list) or len(items) > MAX_ENTRIES:
        raise LockError(f"'locked' must be a list of at most {MAX_ENTRIES} tables.")
    entries = [_entry(item) for item in items]
    if sum(len(entry.files) for entry in entries) > MAX_FILES:
        raise LockError(f"it names more than {MAX_FILES:,} files.")
    keys = [entry.key for entry in entries]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise LockError(f"{plain(twice[0])[:200]!r} is in it twice at the same revision.")
    return Lock(tuple(sorted(entries, key=lambda e: e.key)))


_OPTIONAL = ("revision", "commit", "reason", "rules", "globals", "effects", "modules", "code_from", *PUBLISHER)


def _entry(raw: object) -> Entry:
    if not isinstance(raw, dict):
        raise LockError("each 'locked' must be a table.")
    where = f"the entry {plain(str(raw.get('source', '?')))[:200]!r}"
    _known(raw, [f.name for f in fields(Entry)], where)
    for name in (f.name for f in fields(Entry)):
        if name not in raw and name not in _OPTIONAL:
            raise LockError(f"{where} lacks {name!r}.")
    files = raw["files"]
    if not isinstance(files, list):
        raise LockError(f"{where}: 'files' must be a list.")
    verdict, severity = raw["verdict"], raw["severity"]
    if not isinstance(verdict, str) or verdict not in VERDICTS:
        raise LockError(f"{where}: 'verdict' must be one of {', '.join(VERDICTS)}.")
    if not isinstance(severity, str) or severity not in SEVERITIES:
        raise LockError(f"{where}: 'severity' must be one of {', '.join(SEVERITIES)}.")
    texts = ("source", "artifact", "contract", "who", "revision", "commit", "reason", "rules", *PUBLISHER)
    entry = Entry(
        verdict=VERDICTS[verdict],
        severity=SEVERITIES[severity],
        files=tuple(sorted((_read_file(file, where) for file in files), key=lambda f: f.path)),
        when=_moment(raw["when"], where),
        globals=_several(raw.get("globals", []), "globals", where),
        effects=_several(raw.get("effects", []), "effects", where),
        modules=_table(raw.get("modules", {}), "modules", where),
        code_from=_table(raw.get("code_from", {}), "code_from", where),
        **{key: text_of(raw.get(key, ""), key, where) for key in texts},
    )
    checked(entry)
    return entry


def _read_file(raw: object, where: str) -> LockedFile:
    if not isinstance(raw, dict):
        raise LockError(f"{where}: each of its files must be a table.")
    _known(raw, ("path", "size", "pin", "sha256"), where)
    size = raw.get("size")
    if type(size) is not int or size < 0:
        raise LockError(f"{where}: the size of a file must be a number of bytes.")
    path, pin = text_of(raw.get("path"), "path", where), text_of(raw.get("pin"), "pin", where)
    return LockedFile(path, size, pin, text_of(raw.get("sha256", ""), "sha256", where))


def _known(raw: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for key in raw:
        if key not in names:
            raise LockError(f"{where} has a key that is not known here: {plain(key)[:80]!r}.")


def _several(value: object, key: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_GLOBALS:
        raise LockError(f"{where}: {key!r} must be a list of at most {MAX_GLOBALS:,} names.")
    return tuple(sorted({text_of(item, key, where) for item in value}))


def _table(value: object, key: str, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_GLOBALS:
        raise LockError(f"{where}: {key!r} must be a table of at most {MAX_GLOBALS:,} names.")
    return {text_of(k, key, where): text_of(v, key, where) for k, v in sorted(value.items())}


def _moment(value: object, where: str) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise LockError(f"{where}: 'when' must be a moment with its time zone, such as 2027-01-31T09:30:00Z.")
    try:
        return value.astimezone(UTC).replace(microsecond=0)
    except (OverflowError, ValueError):
        raise LockError(f"{where}: 'when' is no moment that can be told.") from None


# writing


def dump(lock: Lock) -> bytes:
    """The file's bytes: the same for the same entries, in whatever order they came."""
    blocks = [f"{HEAD}version = {VERSION}\n"]
    blocks += [_block(entry) for entry in sorted(lock.entries, key=lambda e: e.key)]
    data = "\n".join(blocks).encode("utf-8")
    if parse(data) != Lock(tuple(sorted(lock.entries, key=lambda e: e.key))):
        raise LockError("What should be locked does not come back from the lock as it was; nothing was written.")
    return data


def _block(entry: Entry) -> str:
    lines = ["[[locked]]"]
    texts = {"source": entry.source, "revision": entry.revision, "commit": entry.commit,
             "verdict": entry.verdict.word, "severity": entry.severity.word, "artifact": entry.artifact,
             "contract": entry.contract, "rules": entry.rules, "who": entry.who}  # fmt: skip
    lines += [f"{key} = {_quoted(text)}" for key, text in texts.items() if text or key == "who"]
    lines.append(f"when = {entry.when.astimezone(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}")
    extra = {"reason": entry.reason, **{key: getattr(entry, key) for key in PUBLISHER}}
    lines += [f"{key} = {_quoted(text)}" for key, text in extra.items() if text]
    lines.append("files = [")
    for file in entry.files:
        whole = f", sha256 = {_quoted(file.sha256)}" if file.sha256 else ""
        lines.append(f"  {{ path = {_quoted(file.path)}, size = {file.size}, pin = {_quoted(file.pin)}{whole} }},")
    lines.append("]")
    for key, names in (("globals", entry.globals), ("effects", entry.effects)):
        if names:
            lines += [f"{key} = [", *(f"  {_quoted(name)}," for name in names), "]"]
    for key, table in (("modules", entry.modules), ("code_from", entry.code_from)):
        if table:
            pairs = ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in sorted(table.items()))
            lines.append(f"{key} = {{ {pairs} }}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML; what is hidden was refused before."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write(path: str, lock: Lock) -> None:
    """Write it, whole or not at all, in the place of what is there. Raises LockError."""
    data = dump(lock)
    folder = os.path.dirname(os.path.abspath(path))
    made = ""
    try:
        fd, made = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(made, 0o644)
        os.replace(made, path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(made)
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise LockError(f"{shown} cannot be written: {getattr(error, 'strerror', None) or 'no such name'}.") from None


__all__ = ["NAME", "Entry", "Lock", "LockError", "LockedFile", "dump", "entry_of", "parse", "read", "write"]
