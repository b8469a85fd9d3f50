"""NetCDF's classic files: the header to its end, and that each variable lies in the file.

    found = read(view)
    found.variables         # [("temperature", 1024, 4096)]

Source: "NetCDF Classic Format Specification" (NetCDF 4.9): CDF-1, CDF-2 and CDF-5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from nbguard.formats.view import View

MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
MAX_HEAD = 64 << 20
MAX_ENTRIES = 1_000_000
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = 0xFFFF_FFFF


class NetcdfError(ValueError):
    """A file that no writer of NetCDF makes. The message is one plain sentence."""


@dataclass
class NetcdfFile:
    """What was read."""

    variables: list[tuple[str, int, int]] = field(default_factory=list)
    """(name, offset, bytes); of a variable that grows, of one record."""
    head: int = 0


def read(view: View) -> NetcdfFile:
    """Read and check a file. Raises NetcdfError."""
    return _Reader(view).all()


class _Reader:
    def __init__(self, view: View) -> None:
        self.view = view
        self.data = view.read(0, MAX_HEAD)
        self.at = 4
        self.wide = 8 if self.data[3:4] == b"\x05" else 4
        self.offset = 4 if self.data[3:4] == b"\x01" else 8

    def number(self, width: int) -> int:
        part = self.take(width)
        return int.from_bytes(part, "big")

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise NetcdfError("It is cut off, or a length in it leads out of it.")
        self.at += length
        return self.data[self.at - length : self.at]

    def name(self) -> str:
        text = self.take(self.number(self.wide))
        self.take(-len(text) % 4)
        return text[:200].decode("utf-8", "backslashreplace")

    def count(self, kind: int) -> int:
        mark, count = self.number(4), self.number(self.wide)
        if ((mark or count) and mark != kind) or count > min(MAX_ENTRIES, len(self.data)):
            raise NetcdfError("There is something else where a list should stand.")
        return count

    def attributes(self) -> None:
        for _ in range(self.count(_ATTRIBUTE)):
            self.name()
            size = _SIZES.get(self.number(4))
            if size is None:
                raise NetcdfError("A value is of a type that NetCDF does not have.")
            length = size * self.number(self.wide)
            self.take(length + -length % 4)

    def all(self) -> NetcdfFile:
        if self.data[:4] not in MAGIC:
            raise NetcdfError("It does not begin as a NetCDF file does.")
        out = NetcdfFile()
        records = self.number(self.wide)
        lengths = []
        for _ in range(self.count(_DIMENSION)):
            self.name()
            lengths.append(self.number(self.wide))
        self.attributes()
        grows = []
        for _ in range(self.count(_VARIABLE)):
            name = self.name()
            places = [self.number(self.wide) for _ in range(self.number(self.wide)) if self._few(lengths)]
            if any(place >= len(lengths) for place in places):
                raise NetcdfError("A variable has a dimension that is not there.")
            self.attributes()
            size = _SIZES.get(self.number(4))
            self.number(self.wide)  # its size, which readers work out again
            start = self.number(self.offset)
            if size is None:
                raise NetcdfError("A variable is of a type that NetCDF does not have.")
            record = bool(places) and lengths[places[0]] == 0
            nbytes = size * prod(lengths[place] for place in places[1 if record else 0 :])
            grows += [nbytes] if record else []
            out.variables.append((name, start, nbytes))
            if not record and start + nbytes > self.view.size:
                raise NetcdfError("A variable leads out of the file.")
        out.head = self.at
        row = grows[0] if len(grows) == 1 else sum(n + -n % 4 for n in grows)
        if grows and records != _STREAMING and records:
            first = min(start for name, start, n in out.variables if n in grows)
            if first + row * (records - 1) > self.view.size:
                raise NetcdfError("Its records lead out of the file.")
        if any(start < out.head for _, start, n in out.variables if n):
            raise NetcdfError("A variable lies in the header.")
        return out

    def _few(self, lengths: list[int]) -> bool:
        if self.at >= len(self.data):
            raise NetcdfError("It is cut off.")
        return True
