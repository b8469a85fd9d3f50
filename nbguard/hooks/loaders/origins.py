"""What one load of repositories and folders knows of each of its sources.

found = Source(("hub", "org/name", commit), names, root, commit, listing, Commit(listing, options))
chosen(found.names, found.there.read_small, Selection(), None, None, None, hub=True).files
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nbguard.artifact.checkpoints import Choice, Plan, Reader, Selection, choose, code_closure
from nbguard.artifact.hub_listing import Listing
from nbguard.artifact.sources import Opened
from nbguard.errors import TargetError, TargetMissing
from nbguard.hooks.loaders.arriving import Commit
from nbguard.hooks.loaders.settled import Key


class SourceError(TargetError, OSError):
    """What should be loaded cannot be found or read. An OSError too, as transformers raises for it."""


class SourceMissing(SourceError, TargetMissing):  # noqa: N818 - like TargetMissing
    """There is no such folder."""


@dataclass
class Source:
    """What of one source has been admitted in this load."""

    key: Key
    names: tuple[str, ...]
    """Everything that it holds."""
    root: str | None
    """Its folder, resolved: the snapshot in the cache for a repository; None for a single file."""
    commit: str | None = None
    listing: Listing | None = None
    there: Commit | None = None
    """A repository's commit, where the files lie: in the cache, or still on the Hub."""
    files: set[str] = field(default_factory=set)
    """Those that were scanned and let through."""


@dataclass(frozen=True)
class Gathered:
    """Everything that one load opens."""

    opened: Opened
    marks: dict[str, Key]
    """How the names of the files of each further source begin."""
    wanted: list[tuple[Source, Choice]]
    """Of each source, this one first."""


def chosen(
    names: Sequence[str],
    read: Reader,
    selection: Selection | None,
    files: Sequence[str] | None,
    module: str | None,
    plan: Plan | None,
    *,
    hub: bool,
) -> Choice:
    """What of a source's `names` is opened: these files, a file of code with what it imports, or by a selection."""
    if files is not None:
        return Choice(tuple(n for n in files if n in names))
    if module is not None:
        return Choice(tuple(sorted(code_closure(names, read, [module]))))
    choice = plan(names, read) if plan is not None else choose(names, read, selection or Selection())
    whole_model = plan is None and not hub and "config.json" in names
    return replace(choice, further=()) if whole_model else choice  # transformers then takes that, not the base model


def text(value: Any) -> str | None:
    """A revision as the library gave it, which may be an object that holds one."""
    return None if value is None else str(getattr(value, "resolved", None) or value)


def plain(value: Any) -> Any:
    """An argument as it is shown to a person."""
    return value if isinstance(value, bool | int | float) else str(value)[:300]
