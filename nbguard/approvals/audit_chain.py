"""One entry of the audit log: what is written down, how it is chained to the one before, and what is left out.

    line = encoded(entry_after(Link(0, GENESIS), "load.allowed", {"target": "model.pt"}))
    problem(line, Link(0, GENESIS))        # "" where it follows

Every entry is one line of JSON with the hash of the one before (`prev`) and its own (`hash`), over all else in it.
"""

from __future__ import annotations

import datetime
import getpass
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nbguard.artifact.model import canonical_digest

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""
MAX_TEXT = 2_000
"""Characters kept of one string."""
MAX_ITEMS = 100
"""Kept of one list or table."""
MAX_LINE = 1 << 20
"""Bytes; a longer line was not written by nbguard."""

Hide = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes out of an entry, before it is hashed, what a site does not want written down."""


@dataclass(frozen=True)
class Link:
    """Where a chain stands: the number and hash of its last entry."""

    entries: int
    hash: str


def entry_after(last: Link, event: str, fields: Mapping[str, Any], hide: Hide | None = None) -> dict[str, Any]:
    """The entry that follows `last`. Fields cannot be what the chain itself writes."""
    body = {str(k): plain(v) for k, v in fields.items() if k != "hash"}
    body.update(user=_user(), pid=os.getpid())
    if hide is not None:
        body = hide(body)
    body.update(
        n=last.entries + 1,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        event=event[:MAX_TEXT],
        prev=last.hash,
    )
    body["hash"] = canonical_digest(body)
    return body


def encoded(entry: Mapping[str, Any]) -> bytes:
    """One line, with its end."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def decoded(line: bytes) -> dict[str, Any] | None:
    """The entry that a line holds, whether or not it fits anywhere; None where it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def problem(line: bytes, last: Link) -> str:
    """What is wrong with the line that should follow `last`, or an empty string."""
    entry = decoded(line)
    if entry is None or not isinstance(entry.get("hash"), str):
        return "is not an entry"
    body = {key: value for key, value in entry.items() if key != "hash"}
    if canonical_digest(body) != entry["hash"]:
        return "was changed: its hash is not that of its content"
    if entry.get("prev") != last.hash:
        return "does not follow the line before it"
    if entry.get("n") != last.entries + 1:
        return "has the wrong number"
    return ""


def link(line: bytes) -> Link:
    """Where the chain stands after a line that is in order."""
    entry = json.loads(line)
    return Link(int(entry["n"]), str(entry["hash"]))


def plain(value: Any) -> Any:
    """`value` as JSON can hold it; strings bounded, everything unknown as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {str(k)[:MAX_TEXT]: plain(v) for k, v in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(v) for v in list(value)[:MAX_ITEMS]]
    return str(value)[:MAX_TEXT]


def _user() -> str:
    try:
        return getpass.getuser()[:MAX_TEXT]
    except (OSError, KeyError, ImportError):  # a container's user without an entry or environment
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
