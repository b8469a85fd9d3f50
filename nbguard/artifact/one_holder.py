"""One holder of a folder at a time, among threads and processes.

with locked("/cache", ("downloads", "models--org--name"), lambda: print("waiting")):
    ...
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator

from nbguard.artifact import placing
from nbguard.errors import TargetError

WAIT = 0.2
"""Seconds between two looks whether another process is done with the same repository."""
_HELD: dict[str, tuple[int, int]] = {}
"""Quarantines that this process holds, and the process and thread of each."""


@contextlib.contextmanager
def locked(above: str, below: tuple[str, ...], waiting: Callable[[], None], *, tidy: bool = False) -> Iterator[None]:
    """The one holder of a quarantine, among threads and processes.

    Args:
        waiting: called while another holds it.
        tidy: remove the folder around it in the end, where it is empty.
    """
    name = f"{below[-1]}.lock"
    path = os.path.join(above, *below[:-1], name)
    if _HELD.get(path) == _me():
        raise TargetError("The same repository is being downloaded by this very call.")
    with placing.inside(above, *below[:-1], private=True) as folder:
        while True:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                _flock(fd, waiting)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=folder, follow_symlinks=False)):
                        break
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # the one before deleted it
        try:
            _HELD[path] = _me()
            yield
        finally:
            _HELD.pop(path, None)
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
                if tidy:
                    os.rmdir(os.path.dirname(path))
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)  # closing is not enough where a forked child has a copy of the handle
            os.close(fd)


def _flock(fd: int, waiting: Callable[[], None]) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waiting()
            time.sleep(WAIT)
        except OSError:  # a file system without locks: two at once cost a second fetch, and digests tell
            return


def _me() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()
