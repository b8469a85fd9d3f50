"""One content that is held in a quarantine or in the Hub's cache, with all handles on it.

blob = Blob(wanted, opened_file, digests, cached=False)
blob.handle("model.safetensors")       # one more handle
blob.moved("/cache/…/blobs/9f86d0…")   # it was renamed; every handle stays good
"""

from __future__ import annotations

import os

from nbguard.artifact import fetching
from nbguard.artifact.fetching import Digests, Wanted
from nbguard.artifact.sources import OpenedFile
from nbguard.errors import TargetError


class Blob:
    """One content: held in the quarantine, or in the cache."""

    def __init__(self, what: Wanted, file: OpenedFile, digests: Digests, *, cached: bool) -> None:
        self.what, self.file, self.sha256, self.cached = what, file, digests.sha256, cached
        self.given: list[OpenedFile] = []

    def handle(self, path: str) -> OpenedFile:
        """One more handle on it."""
        file = self.file
        one = OpenedFile(path, os.dup(file.fd), identity=file.identity, real_path=file.real_path)
        one.digest = self.sha256
        self.given.append(one)
        file.park()
        return one

    def moved(self, real: str) -> None:
        """It was renamed, which changes a time that its identity holds; all handles on it stay good."""
        seen = os.fstat(self.file.fd)
        before = self.file.identity
        assert before is not None
        if (seen.st_size, seen.st_mtime_ns) != (before.size, before.mtime_ns):
            raise TargetError(f"{self.what.name} was changed while it was being promoted.")
        now = type(before)(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        for file in (self.file, *(f for f in self.given if f.identity == before)):
            file.identity, file.real_path = now, real


def same(path: str, what: Wanted) -> bool:
    """Whether a plain file has the listed bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.fstat(fd).st_size == what.size and fetching.digests(fd, what.size).has(what.digest)
    finally:
        os.close(fd)
