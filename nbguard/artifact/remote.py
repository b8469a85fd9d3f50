"""Read a file of a Hub's repository where it lies, a range at a time.

    reading = Reading(repo, "pytorch_model.bin", size=1 << 30, digest="9f86d0…")
    reading.read(0, 8)                   # one request, for the first 64 KB
    reading.whole()                      # all bytes of a small file, against the digest that was listed

Whatever the server says is compared with what it said before: commit, digest, length, and the range that was asked for.
A server that contradicts itself, is too slow, or sends people elsewhere makes the file *unread*, for good. It can still
lie consistently, which is why downloaded bytes are scanned again.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, field

from nbguard.artifact import ranged_http
from nbguard.artifact.ranged_http import DISAGREE, NoAccess, Place, Unread

BLOCK = 16 << 10
"""Bytes that are fetched and kept together."""
HEAD = 64 << 10
"""Bytes of the first request: what formats are told by."""
LONG_HEAD = 128 << 10
"""The same for safetensors, whose header is all there is to read."""
TAIL = 22 + 0xFFFF
"""Bytes of the last request: where zips have their end, and most of them their directory too."""
MAX_AHEAD = 1 << 20
"""Bytes that are fetched beyond what was asked for, at most, while a file is read from front to back."""
MAX_REQUEST = 8 << 20
PROBE = 4 << 10
"""Bytes that are asked for a second time, to see whether the server still says the same."""
LATER = "it is only known after download"


@dataclass(frozen=True)
class Most:
    """How much reading remotely may take."""

    nbytes: int = 64 << 20
    """Bytes of one file."""
    requests: int = 400
    """For one file."""
    seconds: float = 300.0
    """Spent waiting for one file."""
    all_bytes: int = 512 << 20
    """Bytes of one repository."""
    all_requests: int = 5_000
    failures: int = 5
    """Files that the server fails on; then it is not asked any more."""


@dataclass
class Repository:
    """One commit that is read remotely, and what that has taken so far."""

    place: Place
    most: Most = field(default_factory=Most)
    requests: int = 0
    nbytes: int = 0
    failures: int = 0

    def took(self, requests: int, nbytes: int) -> None:
        self.requests += requests
        self.nbytes += nbytes


class Reading:
    """One file, read by ranges; what was fetched once is kept.

    Attributes:
        size: bytes, as listed.
        failed: why no more of it can be read, as one sentence; empty while all is well.
        beyond: whether it failed for want of budget rather than because of the server.
        skipped: places that were not worth a request and stay unread.
    """

    def __init__(self, repository: Repository, name: str, *, size: int, digest: str = "") -> None:
        self.repository = repository
        self.name = name
        self.size = size
        self.digest = digest
        self.failed = ""
        self.beyond = False
        self.skipped = 0
        self.requests = 0
        self.nbytes = 0
        self.seconds = 0.0
        self._blocks: dict[int, bytes] = {}
        self._end = 0
        self._ahead = 0

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer where the file ends. Raises Unread."""
        if self.failed:
            raise Unread(self.failed)
        length = max(0, min(length, self.size - offset))
        if offset < 0 or not length:
            return b""
        most = self.repository.most
        if length > most.nbytes - self.nbytes and not self._there(offset, length):
            self._give_up(f"Too much of it would have to be fetched to judge it; {LATER}.")
        if not self._blocks:
            self._fetch(0, min(self.size, LONG_HEAD if self.name.endswith(".safetensors") else HEAD))
        for start, stop in self._missing(offset, offset + length):
            self._fetch_run(start, stop)
        return self._cached(offset, length)

    def at_hand(self, offset: int, length: int, worth: int = 0) -> bool:
        """Whether these bytes are kept already, or are worth a request: while fewer than `worth` were made."""
        if self._there(offset, max(0, min(length, self.size - offset))) or self.requests < worth:
            return True
        self.skipped += worth > 0
        return False

    def served(self, offset: int, length: int) -> bytes | None:
        """The same for the scanner's worker: None where the bytes cannot be had."""
        try:
            return self.read(offset, length)
        except Unread:
            return None

    def whole(self) -> bytes:
        """All bytes, in one request, compared with the digest that was listed. Raises Unread."""
        if self.failed:
            raise Unread(self.failed)
        data = self._ask(0, self.size, ranged=False) if self.size else b""
        if self.digest and self.digest not in (hashlib.sha256(data).hexdigest(), git_blob(data)):
            self._give_up(f"{DISAGREE}: the bytes do not have the digest that is listed.", server=True)
        return data

    def confirm(self) -> None:
        """Ask a second time for bytes that were served already, somewhere. A difference makes the file unread."""
        if self.failed or not self._blocks:
            return
        number = random.SystemRandom().choice(sorted(self._blocks))
        start = number * BLOCK
        block = self._blocks[number]
        try:
            again = self._ask(start, start + min(PROBE, len(block)), ranged=True)
            if again != block[: len(again)]:
                self._give_up(f"{DISAGREE}: the same place had other bytes the second time.", server=True)
        except Unread:
            return  # noted in `failed`

    def forget(self) -> None:
        """Keep none of the bytes any more; they can be read again."""
        self._blocks.clear()
        self._end = self._ahead = 0

    def _there(self, offset: int, length: int) -> bool:
        return not self._missing(offset, offset + length)

    def _missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Runs of blocks, as (start, stop) in bytes, that the range needs and that are not kept."""
        out: list[tuple[int, int]] = []
        for number in range(start // BLOCK, -(-stop // BLOCK)):
            if number in self._blocks:
                continue
            at = number * BLOCK
            if out and out[-1][1] == at:
                out[-1] = (out[-1][0], at + BLOCK)
            else:
                out.append((at, at + BLOCK))
        return [(a, min(b, self.size)) for a, b in out]

    def _fetch_run(self, start: int, stop: int) -> None:
        tail = (self.size - TAIL) // BLOCK * BLOCK
        if start >= tail and not self._there(self.size - 1, 1):
            start, stop = min(start, max(0, tail)), self.size
        elif start == self._end:  # front to back: each further request asks for more, as long as that goes on
            wanted = min(max(stop - start, self._ahead), MAX_AHEAD) if stop - start < MAX_AHEAD else stop - start
            self._ahead = min(MAX_AHEAD, max(HEAD, self._ahead * 2))
            stop = min(self.size, start + -(-wanted // BLOCK) * BLOCK)
        while start < stop:
            end = min(stop, start + MAX_REQUEST)
            self._fetch(start, end)
            start = end

    def _fetch(self, start: int, stop: int) -> None:
        data = self._ask(start, stop, ranged=True)
        for at in range(0, len(data), BLOCK):
            block = data[at : at + BLOCK]
            if self._blocks.setdefault((start + at) // BLOCK, block) != block:
                self._give_up(f"{DISAGREE}: the same place had other bytes the second time.", server=True)
        self._end = stop

    def _cached(self, offset: int, length: int) -> bytes:
        first = offset // BLOCK
        last = (offset + length - 1) // BLOCK
        data = b"".join(self._blocks[number] for number in range(first, last + 1))
        return data[offset - first * BLOCK : offset - first * BLOCK + length]

    def _ask(self, start: int, stop: int, *, ranged: bool) -> bytes:
        """Bytes from `start` up to `stop`, by as many tries as are allowed."""
        most, repository = self.repository.most, self.repository
        if repository.failures >= most.failures:
            self._give_up("The server failed on several files, so it was not asked any more.")
        beyond_own = self.requests >= most.requests or self.nbytes + stop - start > most.nbytes
        beyond_all = repository.requests >= most.all_requests or repository.nbytes + stop - start > most.all_bytes
        if (beyond_own and ranged) or beyond_all:
            what = "it" if beyond_own else "the repository"
            self._give_up(f"Too much of {what} would have to be fetched to judge it; {LATER}.")
        if self.seconds >= most.seconds:
            self._give_up(f"The server takes too long; {LATER}.", server=True)
        began = time.monotonic()
        asked = ranged_http.Asked(self.name, start, stop, self.size, self.digest, ranged)
        try:
            data = ranged_http.get(repository.place, asked)
        except NoAccess as error:
            if not ranged:
                raise
            self._give_up(str(error), server=True)
            raise
        except Unread as error:
            self._give_up(str(error), server=True)
            raise
        finally:
            self.seconds += time.monotonic() - began
            self.requests += asked.requests
            self.nbytes += asked.nbytes
            repository.took(asked.requests, asked.nbytes)
        self.digest = self.digest or asked.digest
        return data

    def _give_up(self, why: str, *, server: bool = False) -> None:
        self.failed, self.beyond = why, not server
        if server:
            self.repository.failures += 1
        raise Unread(why)


def git_blob(data: bytes) -> str:
    """The name that git gives to a file's content: SHA-1, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
