"""What an unpickler is given to read, as something that can be looked at before a machine reads it.

    stream = Stream.of_file(f)
    stream.rest()                   # all bytes that follow; the position stays
    stream.take(120)                # the next 120 bytes; the position moves behind them

A file-like object can answer a scan with one thing and the load with another. So its bytes are drawn once and kept, and
what is scanned, and what is loaded, is the copy.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import sys
from collections.abc import Iterable
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any, cast

from nbguard.hooks.grants import Grant
from nbguard.report.model import Program

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

_CHUNK = 1 << 16


class Stream:
    """Bytes to come. What was drawn from a file and not taken is still there for its owner: the position goes back."""

    def __init__(self, file: Any, start: int | None, drawn: bytes) -> None:
        self.file = file
        """The object that the caller gave; None for bytes."""
        self._start = start
        self._drawn = drawn
        self._ended = start is None

    @classmethod
    def of_bytes(cls, data: Any) -> Stream:
        """From a bytes-like object, copied unless it is `bytes`, so that its owner cannot change it any more."""
        return cls(None, None, data if type(data) is bytes else bytes(memoryview(data).cast("B")))

    @classmethod
    def of_file(cls, file: Any) -> Stream:
        """From an object with `read`. One that cannot seek gives exactly one pickle: no more may be taken from it.

        Raises TypeError as `pickle.load` does for what is no file, and what `read` raises.
        """
        if not callable(getattr(file, "read", None)) or not callable(getattr(file, "readline", None)):
            raise TypeError("file must have 'read' and 'readline' attributes")
        try:
            start = file.tell() if file.seekable() else None
        except (AttributeError, OSError, io.UnsupportedOperation):
            start = None
        return cls(file, start, one_pickle(file) if start is None else b"")

    @property
    def name(self) -> str | None:
        """What the file says it is called, where that is text. A claim, for people and never for a choice of path."""
        name = getattr(self.file, "name", None)
        return os.fsdecode(name) if isinstance(name, str | bytes) else None

    def _draw(self, until: int) -> None:
        """Have at least `until` bytes drawn, or all there are."""
        if self._ended or len(self._drawn) >= until:
            return
        parts = [self._drawn]
        missing = max(until - len(self._drawn), _CHUNK)
        assert self._start is not None
        self.file.seek(self._start + len(self._drawn))
        try:
            while missing > 0:
                part = self.file.read(min(missing, 1 << 30))
                if not part:
                    self._ended = True
                    break
                parts.append(bytes(part))
                missing -= len(part)
        finally:
            self.file.seek(self._start)
        self._drawn = b"".join(parts)

    def peek(self, length: int) -> memoryview:
        """The next `length` bytes, fewer where they end."""
        self._draw(length)
        return memoryview(self._drawn)[:length]

    def rest(self) -> bytes:
        """Everything that follows."""
        self._draw(sys.maxsize)
        return self._drawn

    def take(self, length: int) -> bytes:
        """The next `length` bytes, and move behind them."""
        data = self._drawn if length == len(self._drawn) else bytes(self.peek(length))
        self._drawn = b"" if len(data) == len(self._drawn) else self._drawn[len(data) :]
        if self._start is not None:
            self._start += len(data)
            self.file.seek(self._start)
        return data

    def as_file(self) -> Opened | None:
        """The file on disk that this stream reads from its beginning, opened for a scan; None for anything else.

        What is loaded are the bytes drawn from the stream: only if they hold what the scan of the file found.
        """
        name = self.name
        if self._start != 0 or name is None or type(self.file) is not io.BufferedReader:
            return None
        if type(self.file.raw) is not io.FileIO:
            return None
        from nbguard.artifact.sources import open_path
        from nbguard.errors import TargetError

        try:
            opened = open_path(name)
        except TargetError:
            return None
        held = os.fstat(self.file.fileno())
        there = os.fstat(opened.files[0].fd) if opened.kind == "path" else None
        if there is None or (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            opened.close()
            return None
        return opened

    @property
    def position(self) -> int:
        """Where the file stands for its reader; 0 where that means nothing."""
        return self._start or 0

    def recognise(self, known: Iterable[Grant]) -> tuple[Grant, Program] | None:
        """The grant and the program that follows next, by length and digest.

        A pickle program ends at its first STOP, so that no program is the beginning of another one.
        """
        grants = list(known)
        for grant in grants:
            likely = grant.expected(self.file, self.position) if self.file is not None else None
            if likely is not None and sha256(self.peek(likely.length)).hexdigest() == likely.sha256:
                return grant, likely
        digest, done = sha256(), 0
        for length in sorted({n for grant in grants for n in grant.by_length}):
            self._draw(length)
            if len(self._drawn) < length:
                return None
            digest.update(memoryview(self._drawn)[done:length])
            done = length
            found = digest.hexdigest()
            for grant in grants:
                program = grant.by_length.get(length, {}).get(found)
                if program is not None:
                    return grant, program
        return None


class _Tee:
    """Keeps what is read through it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.kept = bytearray()

    def read(self, n: int = -1) -> bytes:
        part: bytes = self._file.read(n)
        self.kept += part
        return part

    def readline(self) -> bytes:
        part: bytes = self._file.readline()
        self.kept += part
        return part


def one_pickle(file: Any) -> bytes:
    """Exactly one pickle from a file that cannot seek. Raises pickle.UnpicklingError where none follows."""
    tee = _Tee(file)
    try:
        for _ in pickletools.genops(cast("IO[bytes]", tee)):
            pass
    except ValueError as problem:
        if not tee.kept:
            raise EOFError("Ran out of input") from None
        raise pickle.UnpicklingError(f"no complete pickle could be read: {problem}") from None
    return bytes(tee.kept)
