"""Files of one commit, held apart from the Hub's cache until they were compared, scanned and accepted.

    with hold(listing, ["config.json", "model.safetensors"]) as held:
        report = scan_opened(held.open(choice))
        root = held.promote()          # by rename into the ordinary cache: the snapshot's folder
        # or held.promote_to("models/name"), or held.discard()

The quarantine lies on the cache's own disk, in a folder that only this user can look into. A file in it has the digest
that the Hub lists as its name; what was interrupted goes on where it stopped, and what has another digest in the end is
deleted. What the cache holds already, under its digest and with the bytes of that digest, is not fetched again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from nbguard.artifact import fetching, placing
from nbguard.artifact.blobs import Blob, same
from nbguard.artifact.checkpoints import Choice
from nbguard.artifact.fetching import AGAIN, Digests, Progress, Wanted, mb
from nbguard.artifact.hub_listing import COMMIT, Listing, repository_folder, typed
from nbguard.artifact.names import shown
from nbguard.artifact.one_holder import locked
from nbguard.artifact.ranged_http import DISAGREE, NoAccess, Place, Unread
from nbguard.artifact.sources import HELD_OPEN, Opened, OpenedFile, open_files
from nbguard.errors import TargetError

SPARE = 64 << 20
"""Bytes that stay free on the disk."""


class QuarantineError(TargetError):
    """Files were not fetched, or not promoted. Nothing of them is where a loader would look.

    Attributes:
        place: the folder of the quarantine, which may hold what came so far.
    """

    def __init__(self, message: str, place: str) -> None:
        super().__init__(f"{message} Nothing was promoted. What came so far is kept in {shown(place)}: {AGAIN}")
        self.place = place


class Held:
    """What `hold` gives.

    Attributes:
        place: the folder of the quarantine, for people.
        sha256: path → SHA-256 of all bytes, in hex, taken here.
        fetched: bytes that came from the Hub just now.
        distrusted: sentences on files of the cache that did not have their digest and were fetched anew.
        listing, names: what was asked for.
    """

    def __init__(self, listing: Listing, names: Iterable[str], cache: str, repository: str, place: str) -> None:
        self.listing = listing
        self.names = tuple(dict.fromkeys(names))
        self.place = place
        self.sha256: dict[str, str] = {}
        self.fetched = 0
        self.distrusted: tuple[str, ...] = ()
        self._wanted = fetching.wanted(listing, self.names)
        self._cache, self._repository = cache, repository
        self._blobs: dict[str, Blob] = {}
        self._lock = contextlib.ExitStack()
        self._opened: list[Opened] = []

    def open(self, choice: Choice) -> Opened:
        """The chosen files, as `hub.open_listing` opens them from the cache. Raises TargetError."""
        files: list[OpenedFile] = []
        try:
            for name in choice.files:
                if name not in self._wanted:
                    raise TargetError(f"{name[:200]!r} of {self.listing.repo_id} is not in the quarantine.")
                files.append(self._blobs[self._wanted[name].digest].handle(shown(name)))
                if len(files) > HELD_OPEN:
                    files[-1].park()
        except BaseException:
            for file in files:
                file.close()
            raise
        listing = self.listing
        opened = Opened(listing.repo_id, "hub", tuple(files), os.path.join(self.place, "snapshots", listing.commit),
                      listing.commit, dict(listing.provenance), choice.not_opened,
                      hub=listing.hub)  # fmt: skip
        self._opened.append(opened)
        return opened

    def read(self, name: str) -> bytes:
        """All bytes of one small file."""
        return self._blobs[self._wanted[name].digest].file.read()

    # out of the quarantine

    def promote(self, names: Iterable[str] | None = None) -> str:
        """Rename into the Hub's cache, where every tool that uses it finds them. Returns the snapshot's folder.

        Raises:
            QuarantineError: something else lies where they belong, or they were changed meanwhile.
        """
        chosen, commit = self._chosen(names), self.listing.commit
        with self._told():
            self._check_targets(chosen)
            with (
                placing.inside(self._cache, self._repository, "blobs") as blobs,
                placing.inside(self.place, "blobs") as own,
            ):
                for blob in self._of(chosen):
                    digest = blob.what.digest
                    if not blob.cached:
                        os.rename(digest, digest, src_dir_fd=own, dst_dir_fd=blobs)
                        blob.cached = True
                        blob.moved(os.path.join(self._cache, self._repository, "blobs", digest))
                    blob.file.park()
            for name in chosen:
                *above, leaf = name.split("/")
                target = "../" * (len(above) + 2) + f"blobs/{self._wanted[name].digest}"
                with placing.inside(self._cache, self._repository, "snapshots", commit, *above) as folder:
                    placing.link(folder, leaf, target)
            self._note_revision()
        return self._done(chosen, os.path.join(self._cache, self._repository, "snapshots", commit))

    def promote_to(self, folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> str:
        """Rename into a folder of plain files, made where it is not there; returns it, resolved.

        What the cache holds too, and what lies there twice, is copied. Raises QuarantineError.
        """
        chosen = self._chosen(names)
        with self._told():
            os.makedirs(folder, exist_ok=True)
            root = os.path.realpath(folder)
            for name in chosen:
                blob = self._blobs[self._wanted[name].digest]
                what = placing.obstacle(root, name.split("/"), lambda path, b=blob: same(path, b.what))  # type: ignore[misc]
                if what or os.path.islink(os.path.join(root, *name.split("/"))):
                    raise TargetError(what or f"{shown(os.path.join(root, name))} is a link, and is not replaced.")
            for blob in self._of(chosen):
                blob.file.park()
            with placing.inside(self.place, "blobs") as own:
                for name, source in self._staged(chosen, root, own).items():
                    *above, leaf = name.split("/")
                    blob = self._blobs[self._wanted[name].digest]
                    with placing.inside(root, *above) as target:
                        kept = blob.file.fd  # open, since it is found under its old name no more
                        os.rename(source, leaf, src_dir_fd=own, dst_dir_fd=target)
                    if source == blob.what.digest and kept:
                        blob.moved(os.path.join(root, *above, leaf))
                    blob.file.park()
        return self._done(chosen, root)

    def discard(self) -> None:
        """Delete what is quarantined of this repository."""
        for blob in self._blobs.values():
            if not blob.cached:
                blob.file.close()
        shutil.rmtree(self.place, ignore_errors=True)
        self._lock.close()

    def close(self) -> None:
        """Let go of it; what is in the quarantine stays. Handles that were given out stay good."""
        for blob in self._blobs.values():
            blob.file.close()
        self._lock.close()

    def _chosen(self, names: Iterable[str] | None) -> tuple[str, ...]:
        chosen = self.names if names is None else tuple(dict.fromkeys(names))
        other = next((n for n in chosen if n not in self.sha256), None)
        if other is not None:
            raise TargetError(f"{other[:200]!r} of {self.listing.repo_id} is not in the quarantine.")
        return chosen

    def _of(self, names: Iterable[str]) -> Iterator[Blob]:
        """The contents of `names`, each once. Raises TargetError where one is not what was compared."""
        for digest in dict.fromkeys(self._wanted[name].digest for name in names):
            blob = self._blobs[digest]
            real, before = blob.file.real_path or "", blob.file.identity
            try:
                seen = os.lstat(real)
                same = before is not None and (seen.st_dev, seen.st_ino) == (before.device, before.inode)
            except OSError:
                same = False
            if not same or not blob.file.unchanged():
                raise TargetError(f"{blob.what.name[:200]!r} was changed after its bytes were compared.")
            yield blob

    def _staged(self, names: Iterable[str], root: str, own: int) -> dict[str, str]:
        """Name → what is to be renamed to it, in the quarantine; of what the cache holds too, or what is needed twice,
        a copy. What is there already is left out."""
        staged: dict[str, str] = {}
        taken: set[str] = set()
        for number, name in enumerate(names):
            if os.path.lexists(os.path.join(root, *name.split("/"))):
                continue
            blob = self._blobs[self._wanted[name].digest]
            digest, file = blob.what.digest, blob.file
            free = os.path.dirname(file.real_path or "") == os.path.join(self.place, "blobs")
            if free and digest not in taken:
                taken.add(digest)
                staged[name] = digest
                continue
            staged[name] = f"{digest}.{number}"
            fd = os.open(staged[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666, dir_fd=own)
            with os.fdopen(fd, "wb") as out:
                for at in range(0, file.size, fetching.CHUNK):
                    out.write(file.read(at, fetching.CHUNK))
            file.park()
        return staged

    def _check_targets(self, names: Iterable[str]) -> None:
        """Raise TargetError for what lies in the cache where the files belong."""
        for name in names:
            what = self._wanted[name]
            for parts in (("blobs", what.digest), ("snapshots", self.listing.commit, *name.split("/"))):
                blob = parts[0] == "blobs"  # what lies there under this digest has its bytes, or is of no use to anyone
                there = placing.obstacle(
                    self._cache,
                    (self._repository, *parts),
                    lambda path, b=blob, w=what: b or same(path, w),  # type: ignore[misc]
                )
                if there:
                    raise TargetError(there)

    def _note_revision(self) -> None:
        """What a branch or tag stands for, as huggingface_hub notes it."""
        name = self.listing.provenance.get("revision", "")
        *above, leaf = name.split("/")
        if COMMIT.fullmatch(name) or any(p in ("", ".", "..") or "\0" in p for p in (*above, leaf)):
            return
        with placing.inside(self._cache, self._repository, "refs", *above) as folder:
            placing.note(folder, leaf, self.listing.commit)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong inside is said with the place of the quarantine."""
        try:
            yield
        except QuarantineError:
            raise
        except NoAccess as error:
            if not placing.any_bytes(os.path.join(self.place, "blobs")):
                raise  # nothing is kept that could be told of
            raise QuarantineError(str(error), self.place) from None
        except TargetError as error:
            raise QuarantineError(str(error), self.place) from None
        except Unread as error:
            raise QuarantineError(f"{self.listing.repo_id} was not fetched: {error}", self.place) from None
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise QuarantineError(f"{self.listing.repo_id} could not be stored: {why}.", self.place) from None

    def _done(self, names: Iterable[str], root: str) -> str:
        """Tidy up, and let go once nothing is left in the quarantine."""
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.place, "snapshots", self.listing.commit, *name.split("/")))
        placing.bare(self.place)
        if not os.path.lexists(self.place):
            self._lock.close()
        for opened in self._opened:
            opened.root = root
        return root

    def _fill(self, token: str | bool | None, progress: Progress) -> None:
        """Have all files there, compared."""
        self._check_targets(self.names)
        contents = {what.digest: what for what in self._wanted.values()}
        tell = fetching.Telling(progress, sum(what.size for what in contents.values()))
        with placing.inside(self.place, "blobs") as own:
            missing = []
            for what in contents.values():
                tell.start(what, "comparing ")
                if self._found(what, own, tell):
                    tell.done += what.size
                else:
                    missing.append(what)
            self._check_space(missing, own)
            named = typed(self.listing.repo_id)
            about = self.listing.hub
            name = named["repo_id"] if about is None else about.repo_id  # it may have been renamed
            place = Place(name, self.listing.commit, named["repo_type"], token)
            for what in missing:
                tell.start(what)
                self._fetch(place, what, own, tell)
                tell.done += what.size
        self.sha256 = {name: self._blobs[what.digest].sha256 for name, what in self._wanted.items()}
        for name, what in self._wanted.items():
            *above, leaf = name.split("/")
            blob = self._blobs[what.digest]
            target = blob.file.real_path if blob.cached else "../" * (len(above) + 2) + f"blobs/{what.digest}"
            with placing.inside(self.place, "snapshots", self.listing.commit, *above) as folder:
                placing.link(folder, leaf, target or "")

    def _found(self, what: Wanted, own: int, tell: fetching.Tell) -> bool:
        """Whether its bytes are in the cache, or wholly in the quarantine."""
        place = os.path.join(self._cache, self._repository, "blobs", what.digest)
        real = os.path.realpath(place)
        if os.path.isfile(real) and os.path.commonpath((real, self._cache)) == self._cache:
            if self._compared(what, real, tell, cached=True):
                return True
            self.distrusted = (*self.distrusted,
                               f"{what.name[:200]} lay in the cache with other bytes than its digest stands for"
                               f" ({shown(place)}); it is fetched anew.")  # fmt: skip
        with contextlib.suppress(OSError):
            if os.stat(what.digest, dir_fd=own, follow_symlinks=False).st_size == what.size and what.size:
                if self._compared(what, os.path.join(self.place, "blobs", what.digest), tell):
                    return True
                os.unlink(what.digest, dir_fd=own)
        return False

    def _fetch(self, place: Place, what: Wanted, own: int, tell: fetching.Tell) -> None:
        fd = fetching.open_part(own, what.digest)
        try:
            self.fetched += fetching.fetch(place, what, fd, tell)
        finally:
            os.close(fd)
        if not self._compared(what, os.path.join(self.place, "blobs", what.digest), lambda at: None):
            os.unlink(what.digest, dir_fd=own)
            raise Unread(f"{DISAGREE}: the bytes of {what.name[:200]} do not have the digest that is listed.")

    def _compared(self, what: Wanted, real: str, tell: fetching.Tell, *, cached: bool = False) -> bool:
        """Open it, take its digests, and keep the handle where they are the listed ones."""
        (file,) = open_files(os.path.dirname(real), [os.path.basename(real)], target=what.name, kind="hub").files
        found = fetching.digests(file.fd, what.size, tell) if file.size == what.size else Digests("", "")
        if not found.has(what.digest) or not file.unchanged():
            file.close()
            return False
        if len(self._blobs) >= HELD_OPEN:
            file.park()
        self._blobs[what.digest] = Blob(what, file, found, cached=cached)
        return True

    def _check_space(self, missing: Iterable[Wanted], own: int) -> None:
        needed = 0
        for what in missing:
            there = 0
            with contextlib.suppress(OSError):
                there = os.stat(what.digest, dir_fd=own, follow_symlinks=False).st_size
            needed += max(0, what.size - there)
        disk = os.fstatvfs(own)
        free = disk.f_bavail * disk.f_frsize
        if needed and needed + SPARE > free:
            raise TargetError(
                f"{self.listing.repo_id} needs {mb(needed)} MB more, and the disk has {mb(free)} MB left."
            )


@contextlib.contextmanager
def hold(
    listing: Listing,
    names: Iterable[str],
    *,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    to: str | os.PathLike[str] | None = None,
) -> Iterator[Held]:
    """Fetch `names` of a listed commit into the quarantine, each compared with its length and digest.

    Another process that holds the same repository is waited for.

    Args:
        names: paths of `listing.sizes`.
        progress: called as it goes, by the calling thread.
        to: the folder they are meant for (`Held.promote_to`): the quarantine is then beside it, on its disk.

    Raises:
        KeyboardInterrupt: with a sentence on where what came so far is kept.
        QuarantineError: the server lies, fails or is too slow; the disk is full; something lies where they belong.
        TargetError: the listing cannot be gone by (no digest, no length, names that lead elsewhere).
    """
    if listing.cached:
        raise TargetError(f"The Hub did not list {listing.repo_id}, so there is nothing to compare files with.")
    cache, repository, above, below = _places(listing, cache_dir, to)
    place = os.path.join(above, *below)
    held = Held(listing, names, cache, repository, place)
    tell = progress or (lambda share, what: None)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(held.close)
            with held._told():
                held._lock.enter_context(
                    locked(above, below, lambda: tell(0.0, "waiting for another download of it"), tidy=to is not None)
                )
                with placing.inside(above, *below, private=True):
                    held._fill(token, tell)
            yield held
    except KeyboardInterrupt as stopped:
        if placing.any_bytes(os.path.join(place, "blobs")):
            stopped.args = (f"interrupted. What came so far is kept in {shown(place)}: {AGAIN}",)
        raise


def _places(
    listing: Listing, cache_dir: str | os.PathLike[str] | None, to: str | os.PathLike[str] | None
) -> tuple[str, str, str, tuple[str, ...]]:
    """The cache, resolved; the repository's folder in it; and the quarantine, below a folder that is there."""
    base, repository = os.path.split(repository_folder(listing.repo_id, cache_dir))
    try:
        os.makedirs(base, exist_ok=True)
        if to is not None:
            target = os.path.realpath(to)
            above = os.path.dirname(target)
            os.makedirs(above, exist_ok=True)
            if os.path.isdir(target) and os.stat(target).st_dev != os.stat(above).st_dev:
                above = target  # a disk of its own is mounted there
            return os.path.realpath(base), repository, above, (f".nbguard-quarantine-{Path(target).name}", repository)
    except OSError as error:
        raise TargetError(
            f"No folder can be made for {listing.repo_id}: {(error.strerror or 'error').lower()}."
        ) from None
    # the one folder of the cache that huggingface_hub passes over when it lists what is there
    cache = os.path.realpath(base)
    return cache, repository, cache, (".locks", f"nbguard-quarantine-{os.geteuid()}", repository)
