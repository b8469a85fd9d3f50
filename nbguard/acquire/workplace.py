"""The private folder that a conversion works in, which is gone however the conversion ends.

    with workplace(destination.parent) as private:
        ...                             # private is a Path, mode 0700, on the disk of the destination

A process that is killed cannot tidy up. So a second one, the keeper, waits beside it and removes the folder when it
ends in any way; it is in a session of its own, so that what kills a whole group of processes passes it by. Where even
that was killed (a container that is stopped, a machine without power), the next conversion to the same place finds the
folder and removes it: nobody holds its lock any more.

    python -m nbguard.acquire.workplace /place/.nbguard-convert-3f… 4711      # the keeper; not started by hand
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".nbguard-convert-"
LOCK = "lock"
TRIES, PAUSE = 100, 0.1
"""How often, and how many seconds apart, the keeper tries while the process that it tidies up after is still dying."""
YOUNG = 3600.0
"""Seconds for which a folder without a lock is taken for one that is just being made."""


def isolated(module: str) -> list[str]:
    """The command that runs a module of this very nbguard, whatever else the environment would have imported."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    boot = "import sys, runpy; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
    return [sys.executable, "-I", "-c", boot, root, module]


@contextlib.contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A new private folder below `parent`, removed at the end. Raises OSError where it cannot be made."""
    remove_leftovers(parent)
    folder = parent / f"{PREFIX}{secrets.token_hex(8)}"
    keeper = subprocess.Popen(
        [*isolated("nbguard.acquire.workplace"), str(folder), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        folder.mkdir(mode=0o700)
        with _locked(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if keeper.stdin is not None:  # its end is what the keeper waits for
            with contextlib.suppress(OSError):
                keeper.stdin.close()
        _ended(keeper)


def _ended(keeper: subprocess.Popen[bytes]) -> None:
    try:
        keeper.wait(TRIES * PAUSE)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


def remove_leftovers(parent: Path) -> None:
    """Remove what conversions below `parent` left behind that nothing could tidy up after."""
    with contextlib.suppress(OSError):
        for found in [p for p in parent.iterdir() if p.name.startswith(PREFIX)]:
            if found.is_symlink() or not found.is_dir() or found.stat().st_uid != os.getuid():
                continue
            with contextlib.suppress(OSError):
                if not (found / LOCK).exists():
                    if time.time() - found.stat().st_mtime > YOUNG:
                        shutil.rmtree(found, ignore_errors=True)
                    continue
                with _locked(found / LOCK):
                    shutil.rmtree(found, ignore_errors=True)


def give_usual_permissions(folder: Path) -> None:
    """Give a folder and everything in it the permissions that new folders and files have."""
    mask = os.umask(0o077)
    os.umask(mask)
    for place in (folder, *folder.rglob("*")):
        place.chmod((0o777 if place.is_dir() else 0o666) & ~mask)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the file's lock. Raises BlockingIOError where somebody else does."""
    import fcntl

    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def keep(folder: str, parent: int) -> None:
    """Wait for the end of `parent`, or of standard input, and remove the folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _wait(parent)
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(PAUSE)


def _wait(parent: int) -> None:
    """A child that was forked meanwhile keeps the other end of standard input open; the process itself it cannot."""
    watched: list[int] = [0]
    with contextlib.suppress(OSError, AttributeError):
        watched.append(os.pidfd_open(parent))
    while os.getppid() == parent:
        ready, _, _ = select.select(watched, [], [], 5.0)
        if any(handle != 0 for handle in ready) or (0 in ready and not os.read(0, 1)):
            return


if __name__ == "__main__":
    keep(sys.argv[1], int(sys.argv[2]))
