"""Repositories on disk, with commits, as the loopback Hub serves them.

    store = Store(Path("hub"))
    commit = store.push("demo/tiny", {"config.json": b"{}"})
    store.read("demo/tiny", commit, "config.json")

Layout: `ROOT/<org>/<name>/refs.json` (branch → commit) and `ROOT/<org>/<name>/commits/<40 hex>/…`. A commit's name is
the SHA-1 of its files, so the same files make the same commit. Another process may push while the server is serving.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
LFS_SUFFIXES = (".bin", ".safetensors", ".pt", ".pth", ".pkl", ".joblib", ".gguf", ".h5", ".onnx")


@dataclass(frozen=True)
class Entry:
    """One file of one commit, as the Hub describes it."""

    path: str
    size: int
    oid: str
    """Git's blob id (SHA-1)."""
    sha256: str

    @property
    def lfs(self) -> bool:
        return self.path.endswith(LFS_SUFFIXES)

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


class Store:
    """A folder of repositories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entries: dict[tuple[str, str], list[Entry]] = {}

    def _folder(self, repo_id: str) -> Path:
        parts = repo_id.split("/")
        if len(parts) != 2 or not all(NAME.fullmatch(p) for p in parts):
            raise KeyError(repo_id)
        return self.root / parts[0] / parts[1]

    def push(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        *,
        branch: str = "main",
        info: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a commit that holds exactly `files` and let `branch` point at it. Returns its 40 hex digits.

        A file given by its path is linked to, on the same disk, and must not be changed any more.

        Args:
            info: what `GET /api/models/…` answers beside the usual (`{"gated": "manual"}`, `{"downloads": 5000}`, …).
        """
        folder = self._folder(repo_id)
        total = hashlib.sha1(repo_id.encode())
        for path in sorted(files):
            total.update(path.encode() + b"\0" + _digests(files[path])[1].encode())
        commit = total.hexdigest()
        target = folder / "commits" / commit
        for path, data in files.items():
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, Path):
                place.unlink(missing_ok=True)
                os.link(data, place)
            else:
                place.write_bytes(data)
        refs = self.refs(repo_id) if (folder / "refs.json").exists() else {}
        self._write(folder / "refs.json", {**refs, branch: commit})
        history = self.history(repo_id, branch)
        if commit not in history:
            self._write(folder / "history.json", {**self._read(folder / "history.json"), branch: [*history, commit]})
        if info is not None:
            self._write(folder / "info.json", dict(info))
        return commit

    @staticmethod
    def _write(path: Path, value: object) -> None:
        """By rename, so that a server reading at this moment sees the old or the new text."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(value))
        draft.replace(path)

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return loaded

    def history(self, repo_id: str, branch: str = "main") -> list[str]:
        """The commits that were pushed to a branch, the first one first."""
        return list(self._read(self._folder(repo_id) / "history.json").get(branch, []))

    # who publishes, and what was renamed

    def describe_owner(self, name: str, kind: str = "organization", **overview: Any) -> None:
        """What the Hub tells of an owner: `kind` is `organization` or `user`, the rest is as in its JSON."""
        (self.root / name).mkdir(parents=True, exist_ok=True)
        self._write(self.root / name / "owner.json", {"kind": kind, "overview": {"name": name, **overview}})

    def owner(self, name: str) -> tuple[str, dict[str, Any]]:
        """Kind and overview; of an owner who was not described, those of an organisation that is not verified."""
        found = self._read(self.root / name / "owner.json") if NAME.fullmatch(name) else {}
        usual = {"name": name, "fullname": name, "isVerified": False, "numModels": 1}
        return found.get("kind", "organization"), {**usual, **found.get("overview", {})}

    def describe(self, repo_id: str, **info: Any) -> None:
        """Change what `GET /api/models/…` answers beside the usual."""
        place = self._folder(repo_id) / "info.json"
        self._write(place, {**self._read(place), **info})

    def rename(self, repo_id: str, to: str) -> None:
        """The old name leads to the new one, for as long as nobody takes it."""
        target = self._folder(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._folder(repo_id).rename(target)
        self._write(self.root / "renamed.json", {**self._read(self.root / "renamed.json"), repo_id: to})

    def renamed(self, repo_id: str) -> str | None:
        """What a name leads to that no repository has any more."""
        if "/" in repo_id and (self.root / repo_id / "refs.json").exists():
            return None
        return self._read(self.root / "renamed.json").get(repo_id)

    def delete(self, repo_id: str) -> None:
        """The name is free again."""
        shutil.rmtree(self._folder(repo_id))
        self._entries = {key: kept for key, kept in self._entries.items() if key[0] != repo_id}

    # what tests and demonstrations switch on; see faults.py

    @property
    def requests(self) -> Path:
        """A line of JSON for each request, from when this file is there."""
        return self.root / "requests.jsonl"

    @property
    def faults(self) -> Path:
        """What the server does wrong, while this file is there."""
        return self.root / "faults.json"

    def repositories(self) -> list[str]:
        return sorted(f"{p.parent.parent.name}/{p.parent.name}" for p in self.root.glob("*/*/refs.json"))

    def refs(self, repo_id: str) -> dict[str, str]:
        """Branch → commit. Raises KeyError where there is no such repository."""
        try:
            loaded: dict[str, str] = json.loads((self._folder(repo_id) / "refs.json").read_text())
        except FileNotFoundError:
            raise KeyError(repo_id) from None
        return loaded

    def info(self, repo_id: str) -> dict[str, Any]:
        path = self._folder(repo_id) / "info.json"
        loaded: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return loaded

    def resolve(self, repo_id: str, revision: str) -> str | None:
        """The commit that a branch or a commit's own name stands for, or None."""
        refs = self.refs(repo_id)
        if revision in refs:
            return refs[revision]
        known = re.fullmatch(r"[0-9a-f]{40}", revision) and (self._folder(repo_id) / "commits" / revision).is_dir()
        return revision if known else None

    def path(self, repo_id: str, commit: str, name: str) -> Path | None:
        """Where a file of a commit lies, or None. A name that leaves the commit's folder names nothing."""
        base = (self._folder(repo_id) / "commits" / commit).resolve()
        place = (base / name).resolve()
        return place if place.is_relative_to(base) and place.is_file() else None

    def read(self, repo_id: str, commit: str, name: str) -> bytes:
        place = self.path(repo_id, commit, name)
        if place is None:
            raise KeyError(name)
        return place.read_bytes()

    def entries(self, repo_id: str, commit: str) -> list[Entry]:
        """All files of a commit; commits never change, so their digests are taken once."""
        key = (repo_id, commit)
        if key not in self._entries:
            self._entries[key] = list(self._walk(self._folder(repo_id) / "commits" / commit))
        return self._entries[key]

    @staticmethod
    def _walk(base: Path) -> Iterator[Entry]:
        for place in sorted(p for p in base.rglob("*") if p.is_file()):
            yield Entry(place.relative_to(base).as_posix(), place.stat().st_size, *_digests(place))


_KNOWN: dict[tuple[int, int, int], tuple[str, str]] = {}


def _digests(data: bytes | Path) -> tuple[str, str]:
    """Git's blob id and the SHA-256; of large files, taken once in this process."""
    if isinstance(data, bytes):
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), hashlib.sha256(data).hexdigest()
    seen = data.stat()
    key = (seen.st_dev, seen.st_ino, seen.st_mtime_ns)
    if key not in _KNOWN:
        blob, whole = hashlib.sha1(b"blob %d\0" % seen.st_size), hashlib.sha256()
        with data.open("rb") as file:
            while piece := file.read(1 << 20):
                blob.update(piece)
                whole.update(piece)
        _KNOWN[key] = blob.hexdigest(), whole.hexdigest()
    return _KNOWN[key]
