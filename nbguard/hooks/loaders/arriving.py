"""Files of a Hub's repository on their way to a load: judged where they lie, downloaded into a quarantine, promoted.

    commit = Commit(listing, options)
    commit.open(choice)                    # from the cache where they are there, else where they lie on the Hub
    arriving = Arriving(request, opened, [(commit, choice)])
    with arriving.fetched():               # now `commit.open` opens the quarantine
        ...                                # scanned once more, and compared with what was accepted
        arriving.promote()

Nothing is where a loader would look for it before it was accepted, and nothing is held twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nbguard.artifact.checkpoints import Choice
from nbguard.artifact.hub import open_listing, reader
from nbguard.artifact.hub_listing import Listing, remember_ref, repository_folder
from nbguard.artifact.quarantine import Held, hold
from nbguard.artifact.remote_repo import RemoteCommit, RemoteFile
from nbguard.errors import LoadBlocked, TargetError
from nbguard.hooks import walk
from nbguard.hooks.loaders.settled import serious
from nbguard.hooks.walls import scope
from nbguard.report.model import Report, Verdict
from nbguard.report.words import size

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.grants import Grant
    from nbguard.hooks.loaders.calling import HubOptions

NOTED = 100
"""Files of one promotion whose digests the audit log holds."""


class Commit:
    """One commit of a repository, wherever its files lie now."""

    def __init__(self, listing: Listing, options: HubOptions) -> None:
        self.listing, self.options = listing, options
        self.held: Held | None = None
        """Its files in quarantine, while they are compared with what was accepted."""
        self.anew = False
        """What lies in the cache is looked at as if it did not."""
        self._remote = RemoteCommit(listing, options.token, options.cache_dir)

    def read_small(self, name: str) -> bytes | None:
        """A configuration, an index or code. Raises TargetError where it cannot be had."""
        if self.listing.cached:
            return reader(self.listing, token=self.options.token, cache_dir=self.options.cache_dir)(name)
        return self._remote.read_small(name)

    def open(self, choice: Choice) -> Opened:
        """The chosen files. Raises TargetError."""
        missing = [name for name in choice.files if name not in self.listing.sizes]
        if missing:
            raise TargetError(
                f"{self.listing.repo_id} has no file {missing[0][:200]!r} at commit {self.listing.commit[:12]}."
            )
        if self.listing.cached:
            return open_listing(self.listing, choice, token=self.options.token, cache_dir=self.options.cache_dir)
        if self.held is not None:
            return self.held.open(choice)
        self._remote.anew = self.anew
        return self._remote.open(choice)

    def note_revision(self) -> None:
        """Note in the cache what the branch stood for, now that files of it are there and were accepted."""
        if not self.listing.cached:
            folder = repository_folder(self.listing.repo_id, self.options.cache_dir)
            remember_ref(folder, self.listing.provenance.get("revision", "main"), self.listing.commit)

    def lacks(self, choice: Choice) -> bool:
        """Whether any of these files has to be downloaded."""
        return not self.listing.cached and not all(self._remote.in_cache(name) for name in choice.files)


class Arriving:
    """What one load needs and is not in the cache.

    Attributes:
        needed: whether anything is to be downloaded at all.
        report: on what the Hub shows of it.
        unclear: that could not be judged without its bytes, so that the question has to come after the download.
    """

    def __init__(self, request: LoadRequest, opened: Opened, wanted: Sequence[tuple[Commit | None, Choice]]) -> None:
        self.request = request
        self.needed = any(isinstance(file, RemoteFile) for file in opened.files)
        self.report: Report | None = None
        self.unclear = False
        self._held: list[Held] = []
        self._wanted: dict[Commit, list[str]] = {}
        if not self.needed:
            return
        for commit, choice in wanted:
            if commit is not None and commit.lacks(choice):
                names = self._wanted.setdefault(commit, [])
                names += [name for name in choice.files if name not in names]
        coming = [file for file in opened.files if isinstance(file, RemoteFile)]
        opened.provenance["judged"] = "remotely, before download"
        opened.provenance["to download"] = (
            f"{len(coming):,} file{'' if len(coming) == 1 else 's'}, {size(sum(f.size for f in coming))}"
        )
        with scope.outside():
            self.report = walk.scan(request, opened)
        later = any(file.remote.beyond for file in coming)
        self.unclear = later and self.report.verdict is Verdict.UNVERIFIABLE
        if self.unclear:
            opened.close()

    @contextlib.contextmanager
    def fetched(self) -> Iterator[None]:
        """Have the files in quarantine until the block ends; what was refused there is deleted.

        Raises QuarantineError, which says where the quarantine is.
        """
        with contextlib.ExitStack() as stack:
            with scope.outside(), walk.progress(self.request, f"Downloading {self.request.source}") as moved:
                for commit, names in sorted(self._wanted.items(), key=lambda item: item[0].listing.repo_id):
                    options = commit.options
                    held = hold(commit.listing, names, token=options.token, cache_dir=options.cache_dir, progress=moved)
                    commit.held = stack.enter_context(held)
                    stack.callback(setattr, commit, "held", None)
                    self._held.append(commit.held)
            try:
                yield
            except (LoadBlocked, walk.Instead):
                for one in self._held:
                    one.discard()
                raise

    def promote(self) -> None:
        """Rename what is in quarantine into the Hub's cache, and note its digests. Raises QuarantineError."""
        with scope.outside():
            for held in self._held:
                held.promote()
                known = sorted(held.sha256.items())
                walk.note(
                    "hub.promoted",
                    target=held.listing.repo_id,
                    commit=held.listing.commit,
                    files=len(known),
                    sha256=dict(known[:NOTED]),
                )

    def as_accepted(self, report: Report, accepted: Grant) -> tuple[str, bool] | None:
        """Why what arrived needs no second question; None where it does.

        Raises LoadBlocked where the server showed other bytes before the download than it sent.
        """
        before = accepted.report
        if {f.path for f in report.files} != {f.path for f in before.files}:
            return None  # something that could not be had before came after all, or the other way round
        same = (report.artifact.digest, report.contract.digest) == (before.artifact.digest, before.contract.digest)
        if not same:
            raise walk.blocked(
                "The server showed other bytes before the download than it then sent. Nothing was promoted.",
                self.request.loader,
                self.request.source,
            )
        if report.verdict > before.verdict or not serious(report) <= serious(before):
            return None  # all of it was read now, and there is something that the person was not told
        return "Accepted before it was downloaded; these are the bytes that were listed.", accepted.accepted_by_person
