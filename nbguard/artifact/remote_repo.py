"""Open a repository of a Hub without downloading it: small files are fetched whole, of large ones ranges are read.

    with open_remote("org/name", revision="main") as opened:
        opened.files[0].remote.read(0, 8)       # of a large one
        opened.commit                           # 40 hex digits

What lies in the Hub's cache already, under the digest that is listed, is opened from there. Nothing is written.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from nbguard.artifact.checkpoints import Choice, choose, code_closure
from nbguard.artifact.hub import SMALL, list_repo, open_repo
from nbguard.artifact.hub_listing import Listing, one_kind, place_in_cache, repository_folder, snapshot_folder, typed
from nbguard.artifact.model import NotScanned
from nbguard.artifact.ranged_http import NoAccess, Place, Unread
from nbguard.artifact.remote import Most, Reading, Repository
from nbguard.artifact.sealed import sealed_copy
from nbguard.artifact.sources import HELD_OPEN, Opened, OpenedFile, open_files
from nbguard.errors import TargetError

WHOLE = 1 << 20
"""Files up to this many bytes are fetched whole."""
UNLISTED = 16 << 20
"""The same for files of which the Hub lists no SHA-256: it keeps none above 10 MB that way, and such texts are read to
their end anyway."""


class RemoteFile(OpenedFile):
    """A file of a repository that was not downloaded.

    Attributes:
        remote: by what it is read.
        data: all bytes of a small one; None where ranges are read, or where they cannot be had (`remote.failed`).
    """

    def __init__(self, path: str, remote: Reading, data: bytes | None = None, digest: str = "") -> None:
        self.path = path
        self.digest = digest
        self.size = remote.size
        self.identity = None
        self.real_path = None
        self.sealed = True
        self.remote = remote
        self.data = data
        self._fd: int | None = None
        self._closed = False

    @property
    def fd(self) -> int:
        """A handle on a sealed copy of a small file, an empty one for a file that is read by ranges."""
        if self._closed:
            raise TargetError(f"{self.path} has been closed.")
        if self._fd is None:
            self._fd = sealed_copy([self.data or b""])
        return self._fd

    @property
    def ranged(self) -> bool:
        """Whether it is read a range at a time."""
        return self.data is None

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """As of any opened file; raises TargetError where the bytes cannot be had."""
        length = max(0, self.size - offset) if length is None else length
        if self.data is not None:
            return self.data[offset : offset + length]
        try:
            return self.remote.read(offset, length)
        except Unread as error:
            raise TargetError(f"{self.path} could not be read: {error}") from None

    def at_hand(self, offset: int, length: int, worth: int = 0) -> bool:
        """Whether reading there costs no request, or is worth one (`formats.view.at_hand`)."""
        return self.data is not None or self.remote.at_hand(offset, length, worth)

    def park(self) -> None:
        """Give the handle back; a copy is made again when it is needed."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def open_remote(
    repo_id: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    whole: int = WHOLE,
    most: Most | None = None,
) -> Opened:
    """Resolve the commit and open what any loader of it would open, where it lies.

    Where the Hub may not be asked, or does not answer, what the cache holds is opened instead.

    Args:
        offline: look into the cache only.
        whole: bytes up to which a file is fetched whole.
        most: what reading may take.

    Raises:
        TargetError: no such repository or revision; no access; no network and nothing in the cache; a listing that
            names files it must not. One plain sentence.
    """
    listing = list_repo(repo_id, revision=revision, offline=offline, token=token, cache_dir=cache_dir, remember=False)
    if listing.cached:
        return open_repo(repo_id, revision=revision, offline=True, token=token, cache_dir=cache_dir)
    fetch = RemoteCommit(listing, token, cache_dir, whole, most)
    fetch.repository.took(1, 0)
    if listing.hub is not None:
        listing.hub.start()
    choice = choose(sorted(listing.sizes), fetch.read_small, None)
    opened = fetch.open(choice)
    opened.provenance["scope"] = "whole repository"
    opened.provenance["judged"] = "remotely, before download"
    for other, module in choice.code_elsewhere:
        _add_code(opened, other, module, fetch)
    return opened


def open_listed(
    listing: Listing,
    choice: Choice,
    *,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Opened:
    """Open the chosen files of a listed commit where they lie. Raises TargetError."""
    return RemoteCommit(listing, token, cache_dir).open(choice)


def told(opened: Opened) -> Opened:
    """The same, with what reading it took so far and what was not read. For when it has been judged."""
    remote = [f for f in opened.files if isinstance(f, RemoteFile)]
    if not remote:
        return opened
    repositories = {id(f.remote.repository): f.remote.repository for f in remote}.values()
    nbytes, requests = sum(r.nbytes for r in repositories), sum(r.requests for r in repositories)
    if opened.hub is not None:
        opened.hub.overview()
        opened.hub.files()
        requests += opened.hub.requests
    size = sum(f.size for f in opened.files)
    opened.provenance["read"] = f"{nbytes:,} bytes of {size:,}, in {requests:,} requests"
    ranged = [f for f in remote if f.ranged and (f.remote.beyond or not f.remote.failed)]
    if not ranged:
        return opened
    unread = [
        NotScanned(
            f"{len(ranged)} large file{'s' * (len(ranged) != 1)}",
            "only the parts that say what the rest is were read; all of it is scanned again when it is downloaded",
        )
    ]
    unread += [NotScanned(f.path, f"only known after download: {f.remote.failed}") for f in ranged if f.remote.beyond]
    unread += [
        NotScanned(f.path, "only known after download: what stands in front of the bytes of its tensors")
        for f in ranged
        if f.remote.skipped and not f.remote.failed
    ]
    return replace(opened, not_opened=(*opened.not_opened, *unread))


def _add_code(opened: Opened, repo_id: str, module: str, fetch: RemoteCommit) -> None:
    """Open code that a configuration takes from another repository, below that repository's name."""
    try:
        listing = list_repo(repo_id, token=fetch.token, cache_dir=fetch.cache_dir, remember=False)
        other = RemoteCommit(listing, fetch.token, fetch.cache_dir, fetch.whole, fetch.repository.most)
        other.repository.took(1, 0)
        files = tuple(sorted(code_closure(listing.sizes, other.read_small, [module])))
        if not files:
            raise TargetError(f"{repo_id} has no file {module[:200]!r}.")
        found = other.open(Choice(files))
    except TargetError as error:
        opened.not_opened = (*opened.not_opened, NotScanned(f"{repo_id}/{module}"[:300], str(error)))
        return
    there = {f.path for f in opened.files}
    for file in found.files:
        file.path = f"{repo_id}/{file.path}"
    opened.files = (*opened.files, *(f for f in found.files if f.path not in there))
    opened.provenance[f"code from {repo_id}"] = listing.commit


class RemoteCommit:
    """Opens files of one commit; each one once.

    Args:
        whole: bytes up to which a file is fetched whole; one whose digest is not listed up to `UNLISTED`.
        anew: what lies in the cache is not opened from there.
    """

    def __init__(
        self,
        listing: Listing,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        whole: int = WHOLE,
        most: Most | None = None,
        *,
        anew: bool = False,
    ) -> None:
        self.listing, self.token, self.cache_dir, self.whole = listing, token, cache_dir, whole
        self.anew = anew
        named = typed(listing.repo_id)
        name = named["repo_id"] if listing.hub is None else listing.hub.repo_id  # it may have been renamed
        self.repository = Repository(Place(name, listing.commit, named["repo_type"], token), most or Most())
        self._known: dict[str, RemoteFile] = {}
        one_kind(listing)

    def read_small(self, name: str) -> bytes | None:
        """What choosing the files depends on is fetched whole, whatever else is not."""
        size = self.listing.sizes.get(name)
        if size is None or size > SMALL:
            return None
        with contextlib.closing(self._file(name, SMALL)) as file:
            if isinstance(file, RemoteFile) and file.data is None:
                raise TargetError(f"{name[:200]!r} of {self.listing.repo_id} could not be read: {file.remote.failed}")
            return file.read()

    def open(self, choice: Choice) -> Opened:
        files: list[OpenedFile] = []
        try:
            for name in choice.files:
                files.append(self._file(name, self.whole))
                if len(files) > HELD_OPEN:
                    files[-1].park()
        except BaseException:
            for file in files:
                file.close()
            raise
        listing = self.listing
        opened = Opened(
            listing.repo_id, "hub", tuple(files), commit=listing.commit, provenance=dict(listing.provenance),
            hub=listing.hub,
        )  # fmt: skip
        if not any(isinstance(file, RemoteFile) for file in files):
            opened.root = snapshot_folder(listing, self.cache_dir)
        opened.not_opened = choice.not_opened
        return opened

    def in_cache(self, name: str) -> bool:
        """Whether the file would be opened from the cache."""
        return not self.anew and place_in_cache(self.listing, name, self.cache_dir) is not None

    def _file(self, name: str, whole: int) -> OpenedFile:
        """The file, opened anew; what was fetched of it once is kept."""
        cached = self._cached(name)
        if cached is not None:
            return cached
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._remote(name, whole)
        return RemoteFile(name, known.remote, known.data, known.digest)

    def _remote(self, name: str, whole: int) -> RemoteFile:
        size = self.listing.sizes.get(name)
        digest = self.listing.sha256.get(name) or self.listing.blob_ids.get(name, "")
        reading = Reading(self.repository, name, size=size or 0, digest=digest)
        if type(size) is not int or size < 0:
            reading.failed = "The server does not say how long it is."
        elif size <= (whole if not whole or name in self.listing.sha256 else max(whole, UNLISTED)):
            try:
                return RemoteFile(name, reading, reading.whole())
            except NoAccess:
                raise
            except Unread:
                pass  # said in `reading.failed`, and by the scan
        return RemoteFile(name, reading, digest=self.listing.sha256.get(name, ""))

    def _cached(self, name: str) -> OpenedFile | None:
        """The file in the Hub's cache, where it lies there for this commit and under the digest that is listed."""
        listing = self.listing
        if self.anew or place_in_cache(listing, name, self.cache_dir) is None:
            return None
        root = os.path.join(repository_folder(listing.repo_id, self.cache_dir), "snapshots", listing.commit)
        try:
            (file,) = open_files(root, [name], target=listing.repo_id, kind="hub").files
        except TargetError:
            return None
        return file
