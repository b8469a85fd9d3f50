"""Open what is about to be loaded, once; what is scanned through these handles is what is loaded through them.

with open_path("model.pt") as opened:
    head = opened.files[0].read(0, 64)
    torch.load(opened.files[0].load_path())
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING

from nbguard.artifact.folders import blob_folder, hub_cache, inside, walk
from nbguard.artifact.model import FileIdentity, NotScanned, SourceKind
from nbguard.artifact.names import problem, shown
from nbguard.artifact.sealed import sealed_copy
from nbguard.errors import TargetError

if TYPE_CHECKING:
    from nbguard.artifact.hub_facts import HubSaid

MAX_FILES = 20_000
"""Files of one folder; a folder with more is refused rather than half read."""
HELD_OPEN = 256
"""Handles that one artifact keeps; files beyond are opened again when needed, and compared with what they were."""
CHUNK = 8 << 20
"""Bytes read at a time while a file is hashed."""
_COMPANION = "{name}_{number:02d}.npy"
"""How joblib before 0.10 named the arrays beside a pickle (`numpy_pickle_compat`)."""


class OpenedFile:
    """One file, held open. Reading moves no position, so that every user of the handle sees the same bytes.

    Attributes:
        path: relative to the artifact's root with `/`, the base name for a single file; bytes that are no UTF-8 are
            shown as `\\xNN`.
        size: bytes, when it was opened.
        identity: what the file system said it was when it was opened; None for bytes from memory.
        real_path: where it lies, resolved; None for bytes from memory. For people, and for opening a parked file again.
        sealed: nobody can change the bytes any more.
        digest: SHA-256 of all bytes, in hex, where it was computed as they came, or, of a file that has not been
            downloaded yet, where its server lists it: then it is what the downloaded bytes have to have. Else empty.
    """

    digest: str = ""

    def __init__(
        self,
        path: str,
        fd: int,
        *,
        identity: FileIdentity | None = None,
        real_path: str | None = None,
        sealed: bool = False,
    ) -> None:
        self.path = path
        self.size = os.fstat(fd).st_size
        self.identity = identity
        self.real_path = real_path
        self.sealed = sealed
        self._fd: int | None = fd
        self._closed = False

    def __repr__(self) -> str:
        return f"<OpenedFile {self.path!r}, {self.size} bytes{', sealed' if self.sealed else ''}>"

    @property
    def fd(self) -> int:
        """The handle. A parked file is opened again; TargetError where it is not the same file any more."""
        if self._closed:
            raise TargetError(f"{self.path} has been closed.")
        if self._fd is None:
            assert self.real_path is not None
            fd = _open(self.real_path, self.path, follow=False)
            if _identity(os.fstat(fd)) != self.identity:
                os.close(fd)
                raise TargetError(f"{self.path} was changed while it was being looked at.")
            self._fd = fd
        return self._fd

    def load_path(self) -> str:
        """A path that opens this very handle's file, whatever has been put in its place since."""
        return f"/proc/self/fd/{self.fd}" if sys.platform == "linux" else f"/dev/fd/{self.fd}"

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes (all that follow when None) from `offset`; fewer where the file ends."""
        remaining = max(0, self.size - offset) if length is None else length
        parts: list[bytes] = []
        while remaining > 0:
            part = os.pread(self.fd, min(remaining, 1 << 30), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            remaining -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sha256(self) -> str:
        """Of all bytes, in hex: the one that is known, while nobody changed the file; else it is taken through the
        handle, about one second for a gigabyte."""
        if self.digest and self.unchanged():
            return self.digest
        digest, at = hashlib.sha256(), 0
        while part := self.read(at, max(0, min(CHUNK, self.size - at))):
            digest.update(part)
            at += len(part)
        return digest.hexdigest()

    def unchanged(self) -> bool:
        """Whether the file behind the handle still is, for the file system, what it was when it was opened."""
        return self.sealed or (self.identity is not None and _identity(os.fstat(self.fd)) == self.identity)

    def park(self) -> None:
        """Give the handle back until it is needed again; only a file that can be found and compared can be parked."""
        if self._fd is not None and self.real_path is not None and self.identity is not None and not self.sealed:
            os.close(self._fd)
            self._fd = None

    def moved(self, real_path: str) -> None:
        """The file was renamed to this place. Raises TargetError where it is not the same file any more."""
        seen, was = os.fstat(self.fd), self.identity
        now = _identity(seen)
        if was is None or (now.device, now.inode, now.size, now.mtime_ns) != (
            was.device, was.inode, was.size, was.mtime_ns
        ):  # fmt: skip
            raise TargetError(f"{self.path} was changed while it was being looked at.")
        self.identity, self.real_path = now, real_path

    def close(self) -> None:
        self._closed = True
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@dataclass
class Opened:
    """The files of one target, held open; a context manager that closes them."""

    target: str
    """As the person gave it."""
    kind: SourceKind
    files: tuple[OpenedFile, ...]
    root: str | None = None
    """Resolved folder that the paths are relative to."""
    commit: str | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    not_opened: tuple[NotScanned, ...] = ()
    """What was left out on purpose and would not be opened by a loader either."""
    unreachable: tuple[NotScanned, ...] = ()
    """What a loader may open and could not be opened here: it makes the whole unverifiable."""
    hub: HubSaid | None = None
    """What the Hub says of the repository and its owner; None where it was not asked."""

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for file in self.files:
            file.close()

    def file(self, path: str) -> OpenedFile | None:
        """The file with this relative path."""
        return next((f for f in self.files if f.path == path), None)


def open_path(path: str | os.PathLike[str], *, target: str | None = None) -> Opened:
    """Open a file, with the joblib companions beside it, or every file of a folder.

    Raises:
        TargetError: it is missing, unreadable, or neither a file nor a folder. The message is one plain sentence.
    """
    name = os.fsdecode(path)
    label = shown(name) if target is None else target
    if "\0" in name or not name:
        raise TargetError("An empty path or one with a NUL byte in it names no file.")
    try:
        found = os.stat(name)
    except OSError as error:
        raise problem(error, label) from None
    return _open_folder(name, label) if stat.S_ISDIR(found.st_mode) else _open_single(name, label)


def open_bytes(data: bytes | bytearray | memoryview, *, name: str = "<stream>") -> Opened:
    """A sealed copy of `data`: what is scanned cannot be changed before it is loaded."""
    file = OpenedFile(name, sealed_copy(iter((data,))), sealed=True)
    return Opened(name, "stream", (file,), provenance={"source": "memory"})


def open_files(
    root: str,
    relative_paths: Iterable[str],
    *,
    target: str,
    kind: SourceKind,
    commit: str | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Opened:
    """Open exactly these files below `root`.

    Raises:
        TargetError: one of them is missing, unreadable, or leads out of the folder.
    """
    base = os.path.realpath(root)
    blobs = blob_folder(base)
    files: list[OpenedFile] = []
    try:
        for relative in relative_paths:
            parts = PurePosixPath(relative).parts
            if not parts or relative.startswith("/") or ".." in parts or "\0" in relative:
                raise TargetError(f"{shown(relative)} does not name a file inside the folder.")
            real = os.path.realpath(os.path.join(base, *parts))
            if not (inside(real, base) or (blobs and os.path.dirname(real) == blobs)):
                raise TargetError(
                    f"{shown(relative)} is a symbolic link that leads out of the folder, which is not followed: "
                    "copy the file into the folder."
                )
            files.append(_opened(real, shown("/".join(parts)), follow=False))
            if len(files) > HELD_OPEN:
                files[-1].park()
    except BaseException:
        for file in files:
            file.close()
        raise
    return Opened(target, kind, tuple(files), base, commit, dict(provenance or {}))


def seal(file: OpenedFile) -> OpenedFile:
    """A copy that nobody can write to any more; the file itself where it is one already."""
    if file.sealed:
        return file
    chunks = (file.read(at, 1 << 20) for at in range(0, file.size, 1 << 20))
    return OpenedFile(file.path, sealed_copy(chunks), sealed=True)


def _open_single(name: str, label: str) -> Opened:
    real = os.path.realpath(name)
    files = [_opened(real, shown(os.path.basename(os.path.abspath(name))), follow=True, label=label)]
    files += _companions(real)
    seen = os.fstat(files[0].fd)
    return Opened(
        label,
        "path",
        tuple(files),
        os.path.dirname(real),
        provenance={"source": "file", "path": shown(real), "size": str(files[0].size), "modified": _utc(seen.st_mtime)},
    )


def _companions(real: str) -> list[OpenedFile]:
    """The arrays that joblib before 0.10 laid beside `real`; a gap in the numbering ends them."""
    found: list[OpenedFile] = []
    for number in range(1, 1000):
        plain = _COMPANION.format(name=real, number=number)
        candidate = next((p for p in (plain, plain + ".z") if os.path.isfile(p) and not os.path.islink(p)), None)
        if candidate is None:
            break
        found.append(_opened(candidate, shown(os.path.basename(candidate)), follow=False))
        if len(found) > HELD_OPEN:
            found[-1].park()
    return found


def _open_folder(name: str, label: str) -> Opened:
    root = os.path.realpath(name)
    provenance = {"source": "folder", "path": shown(root), **hub_cache(root)}
    files: list[OpenedFile] = []
    left_out: list[NotScanned] = []
    unreachable: list[NotScanned] = []
    names: set[str] = set()
    try:
        for relative, real, problem in walk(root, left_out):
            if problem:
                unreachable.append(NotScanned(shown(relative), problem))
                continue
            if shown(relative) in names:
                unreachable.append(NotScanned(shown(relative), "another file's name looks the same when it is shown"))
                continue
            names.add(shown(relative))
            try:
                files.append(_opened(real, shown(relative), follow=False))
            except TargetError as error:
                unreachable.append(NotScanned(shown(relative), str(error)))
                continue
            if len(files) + len(unreachable) > MAX_FILES:
                raise TargetError(f"{label} holds more than {MAX_FILES:,} files.")
            if len(files) > HELD_OPEN:
                files[-1].park()
    except BaseException:
        for file in files:
            file.close()
        raise
    files.sort(key=lambda f: f.path)
    return Opened(
        label,
        "directory",
        tuple(files),
        root,
        provenance=provenance,
        not_opened=tuple(left_out),
        unreachable=tuple(unreachable),
    )


def _opened(real: str, path: str, *, follow: bool, label: str | None = None) -> OpenedFile:
    fd = _open(real, label or path, follow=follow)
    return OpenedFile(path, fd, identity=_identity(os.fstat(fd)), real_path=real)


def _open(real: str, label: str, *, follow: bool) -> int:
    """A handle on a regular file. O_NONBLOCK, so that a named pipe cannot hold the opening up."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(real, flags)
    except OSError as error:
        raise problem(error, label) from None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise TargetError(f"{label} is {_what(mode)}, not a file.")
    return fd


def _what(mode: int) -> str:
    for test, words in (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return words
    return "something else"


def _identity(seen: os.stat_result) -> FileIdentity:
    return FileIdentity(seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _utc(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
