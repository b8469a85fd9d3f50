"""The frozen facts about what a load would open.

request = LoadRequest(loader="torch.load", source="model.pt", kind="path")
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SourceKind = Literal["path", "directory", "stream", "hub"]


def canonical_digest(value: object) -> str:
    """SHA-256, in hex, of `value` as canonical JSON (sorted keys, no spaces, ASCII)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class LoadRequest:
    """One intercepted call."""

    loader: str
    """The public name of the loader, as a person would type it: `torch.load`, `AutoModel.from_pretrained`."""
    source: str
    """What the person named: a path, a repository id, or `<stream>`. Hostile: escape it where it is shown."""
    kind: SourceKind
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Those arguments that change what may happen (`weights_only`, `trust_remote_code`, `revision`, …)."""
    revision: str | None = None
    in_person_code: bool = True
    """Whether the call was written by the person (a cell, a script, their modules) and not by a library."""


@dataclass(frozen=True)
class FileIdentity:
    """What the file system says a file is. A cache key for bulk data, never a proof for what executes."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def key(self) -> str:
        return f"{self.device}:{self.inode}:{self.size}:{self.mtime_ns}:{self.ctime_ns}"


@dataclass(frozen=True)
class ArtifactFile:
    """One file of an artifact."""

    path: str
    """Relative to the artifact's root, with `/`; the base name for a single file."""
    size: int
    """Bytes."""
    format: str
    """Detected by content: `torch-zip`, `pickle`, `safetensors`, …, `unknown`."""
    pin: str
    """`sha256:<hex>` of all bytes where the file is small or was hashed whole, else `layout:<hex>`: the digest of its
    size, its programs and the place and length of its bulk data."""
    sha256: str | None = None
    """Of all bytes, where it was computed."""
    inert: bool = False
    """Lies beside the model and no loader would open it (a licence, a picture)."""


@dataclass(frozen=True)
class NotScanned:
    """Something that was not looked at, and why. Nothing is hidden."""

    path: str
    why: str

    def to_json(self) -> dict[str, str]:
        return {"path": self.path, "why": self.why}


@dataclass(frozen=True)
class Artifact:
    """The files that one load, or any loader of one target, would open."""

    target: str
    kind: SourceKind
    files: tuple[ArtifactFile, ...]
    commit: str | None = None
    """40 hex digits, for a Hub repository."""

    @property
    def digest(self) -> str:
        """Of all files that are not inert, by relative path and pin; a single file's name does not count."""
        loaded = sorted((f.path, f.size, f.pin) for f in self.files if not f.inert)
        if self.kind in ("path", "stream"):
            loaded = [("", size, pin) for _, size, pin in loaded]
        return canonical_digest(["nbguard.artifact/1", loaded])
