"""The process in which hostile bytes are read: it is given open files, and answers in JSON.

    python -I -S -c "…" <folder of the package> <socket>     # see pool.py; not meant to be started by hand

It has no environment, no handle but its socket and the file it is asked about, and limits on memory and processor
time. It ends when the socket does. Nothing that the parent reads from it is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
import sys
import time
from typing import Any

HEADER = struct.Struct("<Q")
"""Every message, in both directions: its length in bytes, and UTF-8 JSON."""
MAX_REQUEST = 16 << 20
MAX_FILES = 32
"""Open files that one request may bring."""


def main() -> None:
    """Serve requests until the socket is closed. `sys.argv[-1]` is the socket's file descriptor."""
    _confine()
    _prepare()
    with socket.socket(fileno=int(sys.argv[-1])) as link:
        while True:
            request = _receive(link)
            if request is None:
                return
            message, fds = request
            companions = {key: frozenset(names) for key, names in message.get("companions", {}).items()}
            while fds:
                wanted = message["files"][-len(fds)]
                fd = fds.pop(0)
                try:
                    answer = serve(message, wanted, companions.get(wanted.get("companions"), frozenset()), fd, link)
                finally:
                    os.close(fd)
                send(link, answer)


def _prepare() -> None:
    """Import what every scan needs while the parent is still opening the file."""
    import importlib

    from nbguard import rules
    from nbguard.scanners import registry

    registry.always()
    importlib.import_module("nbguard.scanners.pickle")
    with contextlib.suppress(ValueError, KeyError):  # broken rule data is for the scan to tell
        rules.listed()


def serve(
    message: dict[str, Any], wanted: dict[str, Any], beside: frozenset[str], fd: int, link: socket.socket
) -> dict[str, Any]:
    """Judge one file of the request; what goes wrong in here is an answer, not an end."""
    from nbguard.formats.view import BytesView, FileView, View
    from nbguard.scanners.base import Budget, Job, Limits
    from nbguard.scanners.registry import examine

    limits = Limits(**message["limits"])
    remote = wanted.get("remote")
    size = os.fstat(fd).st_size if remote is None else int(remote)
    _allow(limits.seconds, limits.memory, size if remote is None else 0)
    if message.get("task") == "digest":
        return {"digest": _digest(fd, link)}
    if message.get("task") == "follow":
        from nbguard.scanners.source.follow import together

        return {"entries": together({path: os.pread(fd, length, at) for path, at, length in message["index"]})}
    whole = size <= limits.whole and remote is None
    data = FileView(fd, size).read(0, size) if whole else b""
    view: View = BytesView(data) if whole else FileView(fd, size)
    if remote is not None:
        from nbguard.scanners.remote_view import RemoteView

        view = RemoteView(link, size)
    job = Job(
        wanted["path"],
        view,
        limits,
        Budget(limits.unpacked, limits.members),
        wanted.get("loader"),
        beside - {wanted["path"].rpartition("/")[2]},
        tick=lambda share: send(link, {"progress": share}),
    )
    facts = examine(job)
    if whole:
        import hashlib

        facts.sha256 = hashlib.sha256(data).hexdigest()
    return {"facts": facts.to_json()}


def _digest(fd: int, link: socket.socket) -> str:
    import hashlib

    size, at, digest = max(1, os.fstat(fd).st_size), 0, hashlib.sha256()
    while part := os.pread(fd, 8 << 20, at):
        digest.update(part)
        at += len(part)
        send(link, {"progress": min(1.0, at / size)})
    return digest.hexdigest()


def send(link: socket.socket, message: dict[str, Any]) -> None:
    data = json.dumps(message, ensure_ascii=True).encode("ascii")
    link.sendall(HEADER.pack(len(data)) + data)


def _receive(link: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One request and its open files; None when the parent has gone."""
    head, fds, _, _ = socket.recv_fds(link, HEADER.size, MAX_FILES)
    while head and len(head) < HEADER.size:
        more = link.recv(HEADER.size - len(head))
        if not more:
            return None
        head += more
    if not head:
        return None
    (length,) = HEADER.unpack(head)
    if length > MAX_REQUEST or not fds:
        raise ValueError("malformed request")
    data = bytearray()
    while len(data) < length:
        part = link.recv(min(1 << 20, length - len(data)))
        if not part:
            return None
        data += part
    message = json.loads(data)
    assert isinstance(message, dict)
    assert len(message["files"]) == len(fds)
    return message, list(fds)


def _confine() -> None:
    """What never changes: no core dumps (they would hold the model), few files, no new files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.setrecursionlimit(2000)


def _allow(seconds: float, memory: int, size: int) -> None:
    """Limits for this one request. A file that is mapped does not count as memory."""
    used = time.process_time()
    _soft(resource.RLIMIT_CPU, int(used + seconds) + 1)
    _soft(resource.RLIMIT_AS, memory + size)


def _soft(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(kind, (value, hard))
    except (ValueError, OSError):
        # macOS refuses some of them; the parent's clock is there in any case.
        return


if __name__ == "__main__":
    main()
