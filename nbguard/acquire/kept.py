"""Whether a converted folder of this user's own is still what would be made now, so that it need not be made again.

    now = digests("/models/bert", None, ["pytorch_model.bin"])
    if not still(folder, now):
        made = convert(…)
        remember(folder, now | {file.source: file.source_sha256 for file in made.files})

What it was made of is written down beside the folder, in the same private place, with the digest of its checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbguard.acquire.convert import KEPT
from nbguard.acquire.notes import CHECKSUMS
from nbguard.artifact.checkpoints import TORCH_WEIGHTS
from nbguard.provenance.checksums import VerificationError, parse_manifest

MAX_RECORD = 8 << 20


def digests(source: str, commit: str | None, only: Sequence[str] | None) -> dict[str, str]:
    """Path → SHA-256 of what a conversion of a folder, or of a repository at a commit, reads.

    Of a repository that is not in the cache: what the Hub lists of large files; the commit holds the others. Raises
    TargetError.
    """
    from nbguard.artifact.hub import list_repo, open_repo
    from nbguard.scanners.targets import open_target

    def read(path: str) -> bool:
        lower = path.lower()
        weights = path in only if only is not None else lower.endswith(TORCH_WEIGHTS)
        return weights or (commit is None and lower.endswith(KEPT))

    if commit is not None:
        listing = list_repo(source, revision=commit, remember=False)
        if not listing.cached:
            return {path: digest for path, digest in listing.sha256.items() if read(path)}
    with open_repo(source, revision=commit, offline=True) if commit is not None else open_target(source) as opened:
        return {file.path: file.sha256() for file in opened.files if read(file.path)}


def still(folder: Path, now: Mapping[str, str], *, whole: bool) -> bool:
    """Whether the folder is, to the byte, what was made of these files.

    Args:
        whole: whether `now` has to name every file; else those that it does not name are held by their commit.
    """
    try:
        with _record(folder).open("rb") as file:
            record = json.loads(file.read(MAX_RECORD))
        made_of, sums = record["source"], record["checksums"]
        if not made_of or (whole and dict(now) != made_of) or not dict(now).items() <= made_of.items():
            return False
        manifest = (folder / CHECKSUMS).read_bytes()
        if hashlib.sha256(manifest).hexdigest() != sums:
            return False
        listed = parse_manifest(manifest)
        there = [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]
        if {p.relative_to(folder).as_posix() for p in there} != {*listed, CHECKSUMS}:
            return False
        return all(
            not p.is_symlink() and (p.name == CHECKSUMS or _sha256(p) == listed[p.relative_to(folder).as_posix()])
            for p in there
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, VerificationError):
        return False  # none there, or another one than was made


def remember(folder: Path, made_of: Mapping[str, str]) -> None:
    """Write down what the folder was made of; where that cannot be, it is made again the next time."""
    with contextlib.suppress(OSError):
        record = {"source": dict(made_of), "checksums": _sha256(folder / CHECKSUMS)}
        _record(folder).write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")


def _record(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.made-of.json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
