"""A file made of two kinds of bytes: opcodes from memory, as they were scanned, and raw arrays from the file.

    composite = Composite.of(file, program)         # raises ValueError where the opcodes are not those of the program
    composite.opcodes.read(10)                      # only where the scan saw opcodes
    composite.read(4096)                            # only where it saw an array

joblib writes arrays into the middle of a pickle. A machine that is made to skip too little would run array bytes as
opcodes, one that skips too much would lose its place: here neither face can reach what belongs to the other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbguard.report.model import Program

if TYPE_CHECKING:
    from nbguard.artifact.sources import OpenedFile


@dataclass(frozen=True)
class _Segment:
    start: int
    end: int
    data: bytes


class OutOfPlace(Exception):  # noqa: N818 - what a reader is
    """A machine reads where the scan saw something else."""


class _Opcodes:
    """The face for the pickle machine. It has no `peek`, so that no machine reads ahead."""

    def __init__(self, whole: Composite) -> None:
        self._whole = whole

    def read(self, size: int = -1) -> bytes:
        segment = self._whole.segment()
        at = self._whole.position - segment.start
        data = segment.data[at:] if size < 0 else segment.data[at : at + size]
        if size >= 0 and len(data) < size:
            raise OutOfPlace("an opcode reaches into the bytes of an array")
        self._whole.position += len(data)
        return data

    def readline(self) -> bytes:
        segment = self._whole.segment()
        at = self._whole.position - segment.start
        end = segment.data.find(b"\n", at) + 1
        return self.read(end - at if end else len(segment.data) - at)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Composite:
    """Both faces of one program, and one position for the two. This face is the one for arrays."""

    def __init__(self, file: OpenedFile, segments: list[_Segment]) -> None:
        self._file = file
        self._segments = segments
        self.position = segments[0].start
        self.opcodes = _Opcodes(self)

    @classmethod
    def of(cls, file: OpenedFile, program: Program) -> Composite:
        """The opcodes of `program`, read once from `file`. Raises ValueError where their digest is another."""
        digest = hashlib.sha256()
        segments, at, left = [], program.offset, program.length
        for start, length in sorted(program.ranges):
            if length and start >= at:
                segments.append(_Segment(at, start, file.read(at, start - at)))
                left -= start - at
                at = start + length
        segments.append(_Segment(at, at + left, file.read(at, left)))
        for segment in segments:
            digest.update(segment.data)
        if left < 0 or digest.hexdigest() != program.sha256:
            raise ValueError("the opcodes are not those that were scanned")
        return cls(file, segments)

    def rewind(self) -> None:
        """Back to the first opcode."""
        self.position = self._segments[0].start

    @property
    def end(self) -> int:
        """Offset behind the program."""
        return self._segments[-1].end

    def segment(self) -> _Segment:
        """The opcodes at the position. Raises OutOfPlace inside an array."""
        for segment in self._segments:
            if segment.start <= self.position < segment.end or (segment.end == self.position == self.end):
                return segment
        raise OutOfPlace("bytes of an array would be run as opcodes")

    def _array(self) -> tuple[int, int]:
        """(first byte, end) of the array at the position."""
        for before, behind in zip(self._segments, self._segments[1:], strict=False):
            if before.end <= self.position <= behind.start:
                return before.end, behind.start
        raise OutOfPlace("opcodes would be read as the bytes of an array")

    def skip_array(self, counted: bool) -> None:
        """Move behind the array at the position; `counted` where a byte that tells the padding comes before it."""
        self.position += 1 if counted else 0
        start, end = self._array()
        if self.position != start:
            raise OutOfPlace("an array begins where the scan saw none")
        self.position = end

    def read(self, size: int = -1) -> bytes:
        """Bytes of the array at the position, or the one byte before it that tells how much padding it has."""
        if size == 1 and any(self.position == s.end - 1 for s in self._segments[:-1]):
            segment = self.segment()
            self.position += 1
            return segment.data[-1:]
        _, end = self._array()
        data = self._file.read(self.position, end - self.position if size < 0 else min(size, end - self.position))
        self.position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readline(self) -> bytes:
        """For a program inside this one, which starts where an array would."""
        start = self.position
        _, end = self._array()
        line = self._file.read(start, end - start).partition(b"\n")
        self.position = start + len(line[0]) + len(line[1])
        return line[0] + line[1]

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only within the array at the position."""
        start, end = self._array()
        if whence != 0 or not start <= offset <= end:
            raise OutOfPlace("a reader would leave the array that it is in")
        self.position = offset
        return offset
