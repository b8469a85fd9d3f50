"""Open what is to be converted; of a Hub's repository only what the conversion needs comes, and only for that long.

with opened_source("org/name", None, needed, judged) as opened:
    ...                                  # read from the quarantine, which is gone afterwards
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.artifact.checkpoints import choose
from nbguard.artifact.hub import list_repo, open_repo
from nbguard.artifact.quarantine import hold
from nbguard.artifact.remote_repo import RemoteCommit, RemoteFile

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


@contextlib.contextmanager
def opened_source(
    source: str,
    revision: str | None,
    needed: Callable[[Opened], Collection[str]],
    judged: Callable[[Opened], object],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[Opened]:
    """A file, a folder, or a repository's files in quarantine: nothing of them is promoted, and they are deleted.

    Args:
        needed: the files of a repository that have to come; called with it where it lies.
        judged: called with what is there to be converted before it is downloaded; raises where it is no use to.

    Raises TargetError, and what `needed` and `judged` raise.
    """
    from nbguard.scanners.targets import open_target

    with contextlib.ExitStack() as stack:

        def fetched(repo_id: str, revision: str | None) -> Opened:
            listing = list_repo(repo_id, revision=revision, remember=False)
            if listing.cached:
                return open_repo(repo_id, revision=revision, offline=True)
            commit = RemoteCommit(listing)
            choice = choose(sorted(listing.sizes), commit.read_small, None)
            there = commit.open(choice)
            wanted = needed(there)
            if not any(isinstance(file, RemoteFile) and file.path in wanted for file in there.files):
                return there
            with there:
                judged(there)
            names = tuple(name for name in choice.files if name in wanted)
            held = stack.enter_context(hold(listing, names, progress=progress))
            stack.callback(held.discard)
            return held.open(replace(choice, files=names))

        with open_target(source, revision, repository=fetched) as opened:
            yield opened
