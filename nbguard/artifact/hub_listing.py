"""One commit of a repository as it was listed, and where the Hub's cache keeps what it holds of it.

listing = Listing("org/name", commit, {"config.json": 500})
snapshot_folder(listing)                      # …/models--org--name/snapshots/<commit>
place_in_cache(listing, "config.json", None)  # None where it is not there under the digest that is listed
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbguard.errors import TargetError

if TYPE_CHECKING:
    from nbguard.artifact.hub_facts import HubSaid

COMMIT = re.compile(r"[0-9a-f]{40}")


NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
"""The names that huggingface_hub accepts (`validate_repo_id`), `--` and `..` excluded below."""


@dataclass(frozen=True)
class Listing:
    """One commit of a repository, as the Hub or the cache describes it."""

    repo_id: str
    commit: str
    sizes: dict[str, int | None]
    """Path → bytes; None where the Hub did not say."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Path → what the Hub says is the digest of a large file."""
    provenance: dict[str, str] = field(default_factory=dict)
    cached: bool = False
    """Taken from the cache, without asking the Hub."""
    blob_ids: dict[str, str] = field(default_factory=dict)
    """Path → git's id of its content; for a large file, of the pointer to it."""
    hub: HubSaid | None = None
    """What the Hub says of the repository and its owner; None where it was not asked."""


DATASETS = "datasets/"
"""In front of a name: a repository of data, where some libraries keep code (diffusers' community pipelines)."""


def typed(repo_id: str) -> dict[str, str]:
    """`repo_id` and `repo_type`, as huggingface_hub wants them."""
    if repo_id.startswith(DATASETS) and repo_id.count("/") == 2:
        return {"repo_id": repo_id.removeprefix(DATASETS), "repo_type": "dataset"}
    return {"repo_id": repo_id, "repo_type": "model"}


def is_repo_id(name: str) -> bool:
    """Whether `name` has the form `org/name` (or an old one-word name) that a Hub accepts."""
    return bool(NAME.fullmatch(name)) and "--" not in name and ".." not in name and not name.endswith(".git")


def _ref_path(folder: str, name: str) -> str | None:
    parts = name.split("/")
    return None if any(p in ("", ".", "..") or "\0" in p for p in parts) else os.path.join(folder, "refs", *parts)


def remember_ref(folder: str, name: str, commit: str) -> None:
    """Note in the cache what a branch or tag stood for, as huggingface_hub does, so that it is found offline too."""
    path = _ref_path(folder, name)
    if path is None or COMMIT.fullmatch(name):
        return
    draft = f"{path}.{os.getpid()}.nbguard"
    with contextlib.suppress(OSError):  # a cache that cannot be written to can still be read
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(draft, "w", encoding="ascii") as file:
            file.write(commit)
        os.replace(draft, path)


def cached_ref(folder: str, name: str) -> str:
    """The commit that the cache last saw for a branch or tag, or an empty string."""
    path = _ref_path(folder, name)
    if path is None:
        return ""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if COMMIT.fullmatch(text) else ""


def repository_folder(repo_id: str, cache_dir: str | os.PathLike[str] | None) -> str:
    """Where the cache keeps a repository; it need not be there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    base = os.path.expanduser(os.fspath(cache_dir or constants.HF_HUB_CACHE))
    return os.path.join(base, repo_folder_name(**typed(repo_id)))


def snapshot_folder(listing: Listing, cache_dir: str | os.PathLike[str] | None = None) -> str:
    """Where the files of a listed commit lie in the cache, resolved; the folder need not be there yet."""
    return os.path.realpath(os.path.join(repository_folder(listing.repo_id, cache_dir), "snapshots", listing.commit))


def place_in_cache(listing: Listing, name: str, cache_dir: str | os.PathLike[str] | None) -> str | None:
    """Where the cache holds a file of this commit under the digest that is listed; None where it does not."""
    digest = listing.sha256.get(name) or listing.blob_ids.get(name, "")
    folder = repository_folder(listing.repo_id, cache_dir)
    place = os.path.join(folder, "snapshots", listing.commit, *name.split("/"))
    try:
        there = (
            bool(digest)
            and os.path.basename(os.path.realpath(place)) == digest
            and (os.path.getsize(place) == listing.sizes.get(name))
        )
    except OSError:
        return None
    return place if there else None


def one_kind(listing: Listing) -> None:
    """Raise TargetError where one name is listed as a file and as the folder of others."""
    folders = {name[:at] for name in listing.sizes for at, letter in enumerate(name) if letter == "/"}
    both = sorted(folders & set(listing.sizes))
    if both:
        raise TargetError(
            f"{listing.repo_id} lists {both[0][:120]!a} both as a file and as a folder; nothing was fetched."
        )
