"""In the worker: a file that only the parent can read, asked for over the socket between the two.

    view = RemoteView(link, size=1 << 30)
    view.read(0, 8)

The worker sends `{"read": [offset, length]}` or `{"at_hand": [offset, length, worth]}` and gets the bytes, or one byte
for yes and none for no, behind the length that heads every message. A length of `REFUSED` says that there are no bytes:
from then on every read is short, and the parent, which knows why, makes the file unverifiable.
"""

from __future__ import annotations

import json
import socket
import struct

HEADER = struct.Struct("<Q")
REFUSED = (1 << 64) - 1
_PIECE = 4 << 10
"""Bytes that are asked for at least; readers of small fields would send a message for each otherwise."""


class RemoteView:
    """As every view: reading moves nothing and is short only where the bytes end, or cannot be had any more."""

    def __init__(self, link: socket.socket, size: int) -> None:
        self._link = link
        self._size = size
        self._refused = False
        self._at, self._piece = 0, b""

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._size - offset))
        if self._refused or offset < 0 or not length:
            return b""
        start = offset - self._at
        if start >= 0 and start + length <= len(self._piece):
            return self._piece[start : start + length]
        if length >= _PIECE:
            return self._asked("read", [offset, length])
        self._at = offset // _PIECE * _PIECE
        self._piece = self._asked("read", [self._at, min(2 * _PIECE, self._size - self._at)])
        return self._piece[offset - self._at : offset - self._at + length]

    def at_hand(self, offset: int, length: int, worth: int = 0) -> bool:
        """Whether these bytes cost no request, or are worth one: while fewer than `worth` were made for the file."""
        return not self._refused and bool(self._asked("at_hand", [offset, length, worth]))

    def _asked(self, what: str, numbers: list[int]) -> bytes:
        data = json.dumps({what: numbers}).encode("ascii")
        self._link.sendall(HEADER.pack(len(data)) + data)
        (length,) = HEADER.unpack(self._exactly(HEADER.size))
        if length == REFUSED:
            self._refused = True
            return b""
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._link.recv(min(length - len(data), 1 << 20))
            if not part:
                raise EOFError("the parent has gone")
            data += part
        return bytes(data)
