"""What a person's word for a target means: a path that exists, or a repository on the Hub.

with open_target("hf://org/name@main") as opened: ...
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from nbguard.artifact.names import shown
from nbguard.artifact.sources import Opened, open_path
from nbguard.errors import TargetError, TargetMissing
from nbguard.scanners.companions import beside

_REPOSITORY = re.compile(
    r"(?:hf://)?(?P<id>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}|[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,100}))?\Z"
)


_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_FILE = re.compile(r"\.[A-Za-z]\w{0,11}\Z")
"""The end of a word that is rather a misspelt file than a repository."""
_NO_MODELS = ("datasets", "spaces")


def open_target(
    target: str | os.PathLike[str],
    revision: str | None = None,
    *,
    remote: bool = False,
    offline: bool = False,
    repository: Callable[[str, str | None], Opened] | None = None,
) -> Opened:
    """Open it. A path that exists wins over a repository of the same name, unless it starts with `hf://`.

    An address of the Hub that is set (`{HF_ENDPOINT}/org/name`, `{HF_ENDPOINT}/org/name/tree/revision`) means that
    repository.

    Args:
        remote: open a repository where it lies, without downloading it: to look only, since what is loaded then may be
            something else.
        offline: of a repository, look into the cache only.
        repository: opens a repository in another way, by its name and the revision.

    Raises:
        TargetError: neither is there. One plain sentence.
    """
    name = os.fspath(target)
    repository = repository or (lambda repo_id, at: _open_repo(repo_id, at, remote, offline))
    if not name:
        raise TargetError("An empty name was given; name a file, a folder, or a Hub repository (org/name).")
    hub = name.startswith("hf://")
    if not hub and ("\0" in name or os.path.lexists(os.path.expanduser(name))):
        place = os.path.expanduser(name)
        return beside(open_path(place, target=shown(name)), folder=os.path.dirname(os.path.abspath(place)))
    if _ADDRESS.match(name):
        repo_id, named = _at_address(name)
        return repository(repo_id, revision or named)
    match = _REPOSITORY.match(name)
    looks_local = name.startswith((".", "/", "~")) or os.sep * 2 in name or name.count("/") != 1
    if match is None or (looks_local and not hub):
        raise TargetMissing(f"There is no file or folder {shown(name)}.{_meant(name, match)}", name)
    return repository(match["id"], revision or match["revision"])


def _open_repo(repo_id: str, revision: str | None, remote: bool, offline: bool) -> Opened:
    from nbguard.artifact.hub import open_repo
    from nbguard.artifact.remote_repo import open_remote

    if remote:
        return open_remote(repo_id, revision=revision, offline=offline)

    return open_repo(repo_id, revision=revision, offline=offline)


def _meant(name: str, match: re.Match[str] | None) -> str:
    """The other thing that a single word may have been meant to name."""
    if match is None or "/" in match["id"] or name.startswith((".", "hf://")) or _FILE.search(match["id"]):
        return ""
    return f" For a repository on the Hub write hf://{name}."


def _at_address(address: str) -> tuple[str, str | None]:
    """Repository and revision that an address of the Hub names. Raises TargetError for any other address."""
    from urllib.parse import unquote, urlsplit

    from huggingface_hub import constants

    endpoint = constants.ENDPOINT.rstrip("/")
    plain = urlsplit(address)._replace(query="", fragment="").geturl()
    parts = plain.removeprefix(endpoint + "/").rstrip("/").split("/")
    at = parts.index("tree", 1) if "tree" in parts[1:3] else len(parts)
    revision = "@" + unquote("/".join(parts[at + 1 :])) if parts[at:] else ""
    match = _REPOSITORY.match("hf://" + "/".join(parts[:at]) + revision)
    known = plain.startswith(endpoint + "/") and parts[0] not in _NO_MODELS and len(parts) - at in (0, 2)
    if not known or match is None:
        raise TargetError(
            f"{shown(address)[:300]} is not the address of a model repository on the Hub that is set;"
            f" one looks like {endpoint}/org/name."
        )
    return match["id"], match["revision"]
