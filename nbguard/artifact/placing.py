"""Put files into folders by rename, without following a link on the way.

with inside("/cache", "models--org--name", "blobs") as folder:      # made where it is not there
    os.rename("9f86d0…", "9f86d0…", src_dir_fd=quarantine, dst_dir_fd=folder)
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence

from nbguard.artifact.names import shown
from nbguard.errors import TargetError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def inside(root: str, *parts: str, private: bool = False) -> Iterator[int]:
    """A handle on the folder `root/parts…`; `root` is there, the others are made.

    Args:
        private: the last one belongs to this user alone, and nobody else may look into it.

    Raises:
        TargetError: something else than a folder lies on the way, a link too; or the folder is another user's.
    """
    fd = os.open(root, _FOLDER)
    path = root
    try:
        for part in parts:
            path = os.path.join(path, part)
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700 if private and part == parts[-1] else 0o777, dir_fd=fd)
            try:
                below = os.open(part, _FOLDER, dir_fd=fd)
            except NotADirectoryError:
                raise TargetError(f"{shown(path)} is a link or a file where a folder should be.") from None
            except OSError as error:
                if os.path.islink(path):
                    raise TargetError(f"{shown(path)} is a link or a file where a folder should be.") from None
                raise TargetError(f"{shown(path)} cannot be opened: {(error.strerror or 'error').lower()}.") from None
            os.close(fd)
            fd = below
        if private:
            seen = os.fstat(fd)
            if seen.st_uid != os.geteuid():
                raise TargetError(f"{shown(path)} belongs to another user.")
            if stat.S_IMODE(seen.st_mode) & 0o077:
                os.fchmod(fd, 0o700)
        yield fd
    finally:
        os.close(fd)


def obstacle(root: str, parts: Sequence[str], same: Callable[[str], bool]) -> str:
    """What is in the way of a file `root/parts…`, as a sentence; empty for nothing.

    Args:
        same: whether a file there has the very bytes that are to be put there.
    """
    path = root
    for part in parts[:-1]:
        path = os.path.join(path, part)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return ""
        if not stat.S_ISDIR(mode):
            return f"{shown(path)} is a link or a file where a folder should be."
    path = os.path.join(path, parts[-1])
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    if stat.S_ISDIR(mode):
        return f"{shown(path)} is a folder where a file should be."
    if stat.S_ISREG(mode) and not same(path):
        return f"{shown(path)} is another file than the one that belongs there, and is not overwritten."
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        return f"{shown(path)} is no file."
    return ""


def link(folder: int, name: str, target: str) -> None:
    """A symbolic link `name` in a folder, in the place of another link too; a file there is left as it is."""
    try:
        os.symlink(target, name, dir_fd=folder)
    except FileExistsError:
        if not stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return
        if os.readlink(name, dir_fd=folder) != target:
            draft = f".nbguard-{secrets.token_hex(8)}"
            os.symlink(target, draft, dir_fd=folder)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)


def note(folder: int, name: str, text: str) -> None:
    """A small file, whole or not at all; what stood there before, a link too, is replaced."""
    draft = f".nbguard-{secrets.token_hex(8)}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(text)
    os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)


def bare(root: str, *parts: str) -> None:
    """Remove the folder `root/parts…` and the empty ones in it, where nothing but folders is in it."""
    place = os.path.join(root, *parts)
    for base, _, _ in os.walk(place, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(base)


def any_bytes(folder: str) -> bool:
    """Whether any file in a folder holds something; False where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return False
