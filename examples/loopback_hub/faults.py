"""What a Hub can do wrong, to be switched on and off while it serves; and a log of what it was asked.

    with misbehaving(hub.store, "model.bin", "status", status=503):
        ...                                   # every request for a file of that name is answered 503
    with requests(hub.store) as seen:
        ...
    seen()                                    # [{"method": "GET", "path": …, "range": …, "status": 206, "sent": 65536}]

Kinds: `status` (with `status`), `redirect` (`to`), `cut` (fewer bytes than announced), `slow` (a byte at a time,
`pause` seconds each), `whole` (ranges are ignored), `shifted` (another range than was asked for), `bytes` (other bytes
of the same length), `etag` (another digest, or `tag`), `length` (another length), `commit` (another commit), `more`
(bytes behind the range). Owners' overviews (`acme/overview`) know `status`, `slow` and `text` (`text`, that many
`copies` of it). `after` answers that many requests honestly first; `times` is how many are answered wrongly (0: all).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from loopback_hub.store import Store


@contextlib.contextmanager
def misbehaving(store: Store, name: str, kind: str, *, after: int = 0, times: int = 0, **more: Any) -> Iterator[None]:
    """Have the server answer wrongly for every file whose path ends in `name`."""
    fault = {"name": name, "kind": kind, "after": after, "times": times, **more}
    store.faults.write_text(json.dumps(fault))
    try:
        yield
    finally:
        store.faults.unlink()


@contextlib.contextmanager
def requests(store: Store) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Log what is asked, and give a function that reads the log."""
    store.requests.write_text("")

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (kept if closed else store.requests.read_text().splitlines())]

    kept: list[str] = []
    closed = False
    try:
        yield read
    finally:
        closed = True
        kept += store.requests.read_text().splitlines()
        store.requests.unlink()


class Faults:
    """The server's side: which fault an answer has, counted since the fault was switched on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] = (0, 0)
        self._seen: Counter[str] = Counter()

    def of(self, path: str) -> dict[str, Any]:
        """The fault of the answer that is due for this path; empty for none."""
        try:
            stamp = self._store.faults.stat()
            fault: dict[str, Any] = json.loads(self._store.faults.read_text())
        except (OSError, ValueError):
            return {}
        if not path.endswith(fault["name"]):
            return {}
        with self._lock:
            if self._stamp != (stamp.st_mtime_ns, stamp.st_ino):
                self._stamp = (stamp.st_mtime_ns, stamp.st_ino)
                self._seen.clear()
            self._seen[path] += 1
            number = self._seen[path] - fault["after"]
        due = number > 0 and (not fault["times"] or number <= fault["times"])
        return fault if due else {}

    def log(self, entry: dict[str, Any]) -> None:
        """Note an answer, where that is wanted."""
        with self._lock, contextlib.suppress(OSError):
            if self._store.requests.exists():
                with self._store.requests.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
