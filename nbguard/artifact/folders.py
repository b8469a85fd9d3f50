"""Walking a folder without leaving it.

for relative, real, problem in walk(root, left_out):
    ...
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from nbguard.artifact.model import NotScanned
from nbguard.artifact.names import problem, sentence, shown
from nbguard.errors import TargetError

MAX_DEPTH = 32
"""Levels of folders below the one that was named."""
MAX_LISTED = 20_000
"""Files below the folder of one model; a folder with more is not what a loader should be given."""
MODEL_DEPTH = 6
"""Levels below the folder of one model; loaders open files two or three levels down."""
READ_LIMIT = 64 << 20
"""Bytes of a configuration or source file that is read to see which files a loader would open."""
_UNWALKED = {
    ".git": "version control data, which no loader opens",
    ".hg": "version control data, which no loader opens",
}


def walk(root: str, left_out: list[NotScanned]) -> Iterator[tuple[str, str, str]]:
    """(relative path, resolved path, problem or empty) of every file below `root`; links out of it are not followed."""
    pending: list[tuple[str, int]] = [("", 0)]
    blobs = blob_folder(root)
    while pending:
        folder, depth = pending.pop()
        try:
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda e: e.name)
        except OSError as error:
            if not folder:
                raise problem(error, shown(root)) from None
            yield folder, "", sentence(error, shown(folder))
            continue
        for entry in entries:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
                if os.path.isdir(real):
                    yield relative, real, "a symbolic link to a folder, which is not followed"
                elif not os.path.lexists(real):
                    yield relative, real, "a symbolic link that leads nowhere"
                elif inside(real, root) or (blobs and os.path.dirname(real) == blobs):
                    yield relative, real, ""
                else:
                    yield relative, real, "a symbolic link that leads out of the folder, which is not followed"
            elif entry.is_dir(follow_symlinks=False):
                if entry.name in _UNWALKED:
                    left_out.append(NotScanned(shown(relative), _UNWALKED[entry.name]))
                elif depth >= MAX_DEPTH:
                    yield relative, entry.path, f"more than {MAX_DEPTH} folders deep"
                else:
                    pending.append((relative, depth + 1))
            else:
                yield relative, entry.path, ""


def blob_folder(root: str) -> str | None:
    """The blob folder that a Hub cache's snapshot links into, or None where `root` is no snapshot."""
    parent = os.path.dirname(root)
    return os.path.join(os.path.dirname(parent), "blobs") if os.path.basename(parent) == "snapshots" else None


def hub_cache(root: str) -> dict[str, str]:
    """What the place of a Hub cache's snapshot claims about it."""
    blobs = blob_folder(root)
    if blobs is None:
        return {}
    match = re.fullmatch(r"models--([\w.-]+)--([\w.-]+)", os.path.basename(os.path.dirname(blobs)))
    commit = os.path.basename(root)
    if match is None or not re.fullmatch(r"[0-9a-f]{40}", commit):
        return {}
    return {"source": "Hub cache", "repo": f"{match[1]}/{match[2]}", "cached_commit": commit}


def inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def names_below(root: str) -> Iterator[str]:
    """Relative names of the files of one model's folder, bounded; links to folders are not followed.

    Raises TargetError where there are more than `MAX_LISTED`.
    """
    count = 0
    for base, folders, names in os.walk(root):
        depth = 0 if base == root else os.path.relpath(base, root).count(os.sep) + 1
        folders[:] = [] if depth >= MODEL_DEPTH else [f for f in sorted(folders) if f not in (".git", "__pycache__")]
        for name in sorted(names):
            count += 1
            if count > MAX_LISTED:
                raise TargetError(f"{root} holds more than {MAX_LISTED:,} files; name the model's own folder.")
            yield os.path.relpath(os.path.join(base, name), root).replace(os.sep, "/")


def read_small(base: str, name: str, names: tuple[str, ...]) -> bytes | None:
    """Up to `READ_LIMIT` bytes, and one more where there are more, of one of these `names`; None where it is none."""
    if name not in names:
        return None
    try:
        with open(os.path.join(base, *name.split("/")), "rb") as file:
            return file.read(READ_LIMIT + 1)
    except OSError:
        return None
