"""The files of a folder and their digests, read through nbguard's own handles: no pipe, device or link is read.

    found = list_folder("model")
    found.entries["model.safetensors"].problem      # "" where it can be read
    digest(found, Job("model.safetensors"))         # "9f86d0…"

A snapshot in the Hub's cache consists of links into the cache's blobs; those are followed, and no other link is.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nbguard.artifact.folders import blob_folder, walk
from nbguard.artifact.model import NotScanned
from nbguard.artifact.names import shown
from nbguard.artifact.sources import Opened, open_files
from nbguard.errors import TargetError
from nbguard.provenance.checksums import MAX_ENTRIES

SIGNATURE = "model.sig"
"""What a signature is called in the folder that it signs."""
Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and what is being read."""
_PIECE = 1 << 20
_LINK = "a symbolic link, which is not followed"


@dataclass(frozen=True)
class Entry:
    """One name below a folder."""

    path: str
    """Relative to the folder with `/`, as the file system has it."""
    blob: str = ""
    """What the Hub's cache calls the content; empty where it is no link into it."""
    problem: str = ""
    """Why it is not read; empty where it can be."""


@dataclass
class Found:
    """What lies below a folder."""

    root: str
    """Resolved."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """Path → entry, sorted."""
    unwalked: tuple[str, ...] = ()
    """Folders that were not gone into (`.git/`), with a slash behind."""
    progress: Progress | None = None
    """Told how far the digests are."""


def list_folder(folder: str | os.PathLike[str]) -> Found:
    """Every name below `folder`. Raises TargetError where it cannot be listed or holds too much."""
    root = os.path.realpath(os.fsdecode(folder))
    left_out: list[NotScanned] = []
    blobs = blob_folder(root)
    entries: dict[str, Entry] = {}
    for relative, real, why in walk(root, left_out):
        blob = ""
        if os.path.islink(os.path.join(root, relative)):
            blob = os.path.basename(real) if blobs and os.path.dirname(real) == blobs else ""
            why = why or ("" if blob else _LINK)
        entries[relative] = Entry(relative, blob, why)
        if len(entries) > MAX_ENTRIES:
            raise TargetError(f"{shown(root)} holds more than {MAX_ENTRIES:,} files.")
    return Found(root, dict(sorted(entries.items())), tuple(sorted(f"{n.path}/" for n in left_out)))


class Job(NamedTuple):
    """One digest to take: of a file, or of its bytes from `start` to before `end`."""

    name: str
    algorithm: str = "sha256"
    """`sha256`, `git` (git's id of a blob), `blake2b` or `blake3`."""
    start: int = 0
    end: int | None = None


def digests(found: Found, jobs: Iterable[Job]) -> dict[Job, str | TargetError]:
    """Job → hex of the digest, or the error that says why it could not be taken; several at a time."""
    stop = threading.Event()
    listed = list(dict.fromkeys(jobs))
    total = sum(_size(found, job) for job in listed) if found.progress is not None else 0
    done = 0

    def moved(name: str, count: int) -> None:
        nonlocal done
        if stop.is_set():
            raise TargetError("It was interrupted.")
        done += count  # two threads at once may lose a piece of it, which only makes the bar a little shorter
        if found.progress is not None:
            found.progress(done / (total or 1), shown(name))

    def one(job: Job) -> str | TargetError:
        try:
            return digest(found, job, moved)
        except TargetError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        try:
            return dict(zip(listed, pool.map(one, listed), strict=True))
        except BaseException:  # Ctrl-C must not wait for the end of a file of a terabyte
            stop.set()
            raise


def _size(found: Found, job: Job) -> int:
    try:
        size = os.stat(os.path.join(found.root, job.name)).st_size
    except (OSError, ValueError):
        return 0
    return max(0, (size if job.end is None else min(job.end, size)) - job.start)


def digest(found: Found, job: Job, moved: Callable[[str, int], None] | None = None) -> str:
    """Hex of one digest.

    Args:
        moved: called with the name and the bytes that were read since; what it raises ends the reading.

    Raises TargetError: the file cannot be read, is no regular file, or changed meanwhile.
    """
    with open_entry(found, job.name) as opened:
        (file,) = opened.files
        hasher = _hasher(job.algorithm, file.size)
        position, end = job.start, file.size if job.end is None else job.end
        while position < end:
            piece = file.read(position, min(_PIECE, end - position))
            if not piece:
                raise TargetError(f"{shown(job.name)} was changed while it was being read.")
            hasher.update(piece)
            position += len(piece)
            if moved is not None:
                moved(job.name, len(piece))
        if not file.unchanged():
            raise TargetError(f"{shown(job.name)} was changed while it was being read.")
        return str(hasher.hexdigest())


def size_of(found: Found, name: str) -> int:
    """Bytes of one file. Raises TargetError."""
    with open_entry(found, name) as opened:
        return opened.files[0].size


def open_entry(found: Found, name: str) -> Opened:
    """One of the files, opened. Raises TargetError for what is not read."""
    entry = found.entries.get(name)
    if entry is None:
        raise TargetError(f"There is no file or folder {shown(name)}.")
    if entry.problem:
        raise TargetError(f"{shown(name)} is not read: {entry.problem}.")
    return open_files(found.root, (name,), target=shown(name), kind="path")


def _hasher(algorithm: str, size: int) -> Any:
    if algorithm == "git":
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3()
    makers: dict[str, Callable[[], Any]] = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b}
    if algorithm not in makers:
        raise TargetError(f"Digests of the kind {algorithm[:40]!r} are not compared.")
    return makers[algorithm]()


def whole_folder(folder: str | os.PathLike[str], *, without: Iterable[str] = ()) -> tuple[dict[str, str], Found]:
    """SHA-256 of every file below `folder` but those named, for writing them down.

    Raises:
        TargetError: a file cannot be read, or is a link, a pipe or a device: what is written down must be all there is.
    """
    found = list_folder(folder)
    names = [name for name in found.entries if name not in set(without)]
    for name in names:
        if found.entries[name].problem:
            raise TargetError(f"{shown(name)} is {found.entries[name].problem}; without it the folder is not whole.")
    made: dict[str, str] = {}
    for job, value in digests(found, map(Job, names)).items():
        if isinstance(value, TargetError):
            raise value
        made[job.name] = value
    if not made:
        raise TargetError(f"{shown(found.root)} holds no file.")
    return made, found


def inside(found: Found, paths: Iterable[str | os.PathLike[str] | None]) -> Iterator[str]:
    """The names below the folder of those paths that lie in it, without following the last part."""
    for path in paths:
        if path is None:
            continue
        name = os.path.abspath(os.fsdecode(path))
        resolved = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        if resolved.startswith(found.root.rstrip(os.sep) + os.sep):
            yield os.path.relpath(resolved, found.root).replace(os.sep, "/")
