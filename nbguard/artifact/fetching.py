"""Fetch files of one commit to disk, a large range at a time, and take their digests.

    fetch(Place("org/name", commit), wanted, "quarantine/blobs/9f86d0…", tell)     # goes on where the file ends
    found = digests(fd, size)
    found.sha256, found.git

Every answer is compared with what the Hub listed (`ranged_http`). A name in the folder is never the server's word: it
is the digest, in hex, that was listed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass

from nbguard.artifact import ranged_http
from nbguard.artifact.hub_listing import COMMIT, Listing, one_kind
from nbguard.artifact.names import shortened, shown
from nbguard.artifact.ranged_http import Asked, Place
from nbguard.errors import TargetError

PIECE = 32 << 20
"""Bytes of one request; what came of it stays when it breaks off."""
SHOWN = 60
"""Characters of a line about the progress that every bar has room for."""
CHUNK = 4 << 20
"""Bytes that are hashed at a time."""
AGAIN = "trying again goes on from there, and deleting that folder frees the space."
"""What is said of what came, where it was not all."""
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")

Progress = Callable[[float, str], None]
"""Share done, 0 to 1, and what is being done."""
Tell = Callable[[int], object]
"""Called with the bytes that are there of the file so far."""


@dataclass(frozen=True)
class Wanted:
    """One file's content, as the Hub lists it."""

    name: str
    """A path of the repository at which it lies."""
    size: int
    digest: str
    """SHA-256 of a large file, else git's blob id, both in hex."""


@dataclass(frozen=True)
class Digests:
    """Of all bytes, in hex."""

    sha256: str
    git: str

    def has(self, digest: str) -> bool:
        return digest == (self.sha256 if len(digest) == 64 else self.git)


def wanted(listing: Listing, names: tuple[str, ...]) -> dict[str, Wanted]:
    """What has to be there for each of `names`.

    Raises:
        TargetError: a file that is not listed, or listed without a length or a digest, under a name that leads
            elsewhere, both as a file and as a folder, or with two lengths for one content.
    """
    out: dict[str, Wanted] = {}
    repo = listing.repo_id
    if not COMMIT.fullmatch(listing.commit):
        raise TargetError(f"The Hub named no commit for {repo}.")
    one_kind(listing)
    for name in names:
        if name not in listing.sizes:
            raise TargetError(f"{repo} has no file {name[:200]!r} at commit {listing.commit[:12]}.")
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise TargetError(f"{repo} lists a file under a name that leads elsewhere ({name[:120]!a}).")
        size = listing.sizes[name]
        if type(size) is not int or size < 0:
            raise TargetError(f"The Hub does not say how long {name[:200]!r} of {repo} is, so it is not fetched.")
        digest = listing.sha256.get(name) or listing.blob_ids.get(name)
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise TargetError(
                f"The Hub lists no digest for {name[:200]!r} of {repo}, so what it serves could not be compared with"
                " anything; it is not fetched."
            )
        out[name] = Wanted(name, size, digest)
    sizes: dict[str, int] = {}
    for one in out.values():
        if sizes.setdefault(one.digest, one.size) != one.size:
            raise TargetError(f"{repo} lists one digest with two lengths ({one.name[:120]!a}); nothing was fetched.")
    return out


def open_part(folder: int, name: str) -> int:
    """A handle to write on the file `name` of a folder (given by its handle), made where it is not there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(name, flags, 0o666, dir_fd=folder)  # nobody else gets into the folder while it is there
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1 or seen.st_uid != os.geteuid():
        os.close(fd)
        raise TargetError(f"Something else lies in the quarantine as {name}.")
    return fd


def fetch(place: Place, what: Wanted, fd: int, tell: Tell) -> int:
    """Write what the file behind `fd` lacks of `what`; returns how many bytes came.

    Raises:
        Unread: the server fails or contradicts itself; what came before stays.
        TargetError: no access.
        OSError: the disk is full, or fails.
    """
    there = os.fstat(fd).st_size
    if there > what.size:
        os.ftruncate(fd, 0)
        there = 0
    sink = _Sink(fd, there)
    try:
        while sink.at < what.size:
            tell(sink.at)
            asked = Asked(what.name, sink.at, min(what.size, sink.at + PIECE), what.size, what.digest)
            asked.sink = sink.take
            asked.tell = lambda: tell(sink.at)
            try:
                ranged_http.get(place, asked)
            except ranged_http.Unread:
                sink.check()
                raise
    finally:
        sink.close()
    os.fsync(fd)
    tell(sink.at)
    return sink.at - there


class _Sink:
    """Where the bytes of answers go. A thread that is late, after its answer was given up, writes nothing any more."""

    def __init__(self, fd: int, at: int) -> None:
        self.at = at
        self._fd = fd
        self._open = True
        self._lock = threading.Lock()
        self._failed: OSError | None = None

    def take(self, piece: bytes) -> None:
        with self._lock:
            if not self._open or self._failed:
                raise ranged_http.Unread("The answer came too late.")
            view = memoryview(piece)
            try:
                while view:
                    written = os.pwrite(self._fd, view, self.at)
                    self.at += written
                    view = view[written:]
            except OSError as error:  # the client would take it for a broken connection, and ask again
                self._failed = error
                raise ranged_http.Unread("The disk does not take it.") from None

    def check(self) -> None:
        if self._failed:
            raise self._failed

    def close(self) -> None:
        with self._lock:
            self._open = False


def digests(fd: int, size: int, tell: Tell = lambda at: None) -> Digests:
    """Of the bytes behind `fd`; those of another length have the digest of nothing that is looked for."""
    whole, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    at = 0
    while piece := os.pread(fd, CHUNK, at):
        whole.update(piece)
        blob.update(piece)
        at += len(piece)
        tell(at)
    return Digests(whole.hexdigest(), blob.hexdigest()) if at == size else Digests("", "")


class Telling:
    """Says how far it is: of one file, and of all."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.done = 0
        self._progress, self._total = progress, total
        self._what, self._doing = Wanted("", 0, ""), ""

    def start(self, what: Wanted, doing: str = "") -> None:
        self._what, self._doing = what, doing

    def __call__(self, at: int) -> None:
        what, all_at = self._what, self.done + at
        figures = f": {mb(at)} of {mb(what.size)} MB"
        if what.size != self._total:
            figures += f", {mb(all_at)} of {mb(self._total)} in all"
        name = shortened(shown(what.name), max(12, SHOWN - len(self._doing) - len(figures)))
        self._progress(all_at / max(1, self._total), f"{self._doing}{name}{figures}")


def mb(nbytes: int) -> str:
    """Megabytes, with a decimal where that says something."""
    return f"{nbytes / 1e6:,.1f}" if nbytes < 1e8 else f"{nbytes / 1e6:,.0f}"
