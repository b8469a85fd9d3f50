"""Open a repository of a Hugging Face Hub, pinned to one commit.

    with open_repo("org/name", revision="main") as opened:
        opened.commit          # 40 hex digits
        opened.files           # handles on the cached blobs

Files go into huggingface_hub's ordinary cache, so nothing is held twice. Everything that the server says is hostile: a
commit that is no commit and a file name that could leave the folder are refused before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from nbguard.artifact.checkpoints import Choice, Reader, Selection, choose, code_closure
from nbguard.artifact.hub_answers import repository_info
from nbguard.artifact.hub_facts import said
from nbguard.artifact.hub_listing import (
    COMMIT,
    Listing,
    cached_ref,
    is_repo_id,
    place_in_cache,
    remember_ref,
    repository_folder,
    snapshot_folder,
    typed,
)
from nbguard.artifact.model import NotScanned
from nbguard.artifact.names import no_repository
from nbguard.artifact.sources import Opened, open_files
from nbguard.errors import TargetError

MAX_FILES = 20_000
MAX_NAME = 1_024
"""Characters of a file's path."""
SMALL = 64 << 20
"""Bytes up to which a file counts as a configuration and is read while choosing."""


_NONSENSE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What huggingface_hub's client raises for answers that are not of the form that it knows."""


def open_repo(
    repo_id: str,
    *,
    revision: str | None = None,
    files: Sequence[str] | None = None,
    selection: Selection | None = None,
    offline: bool = False,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> Opened:
    """Resolve the commit, fetch what would be loaded, and open it.

    Args:
        revision: branch, tag or commit; the default branch when None.
        files: exactly these paths; everything that any loader would open when None.
        selection: what one call narrows it to; has no effect with `files`.
        offline: look into the cache only.

    Raises:
        TargetError: no such repository, revision or file; no access; no network; a listing that names files it must
            not. One plain sentence.
    """
    listing = list_repo(repo_id, revision=revision, offline=offline, token=token, cache_dir=cache_dir)
    if files is None:
        choice = choose_files(listing, selection, token=token, cache_dir=cache_dir)
    else:
        choice = Choice(tuple(files))
    opened = open_listing(listing, choice, token=token, cache_dir=cache_dir, force_download=force_download)
    if files is None and selection is None:
        opened.provenance["scope"] = "whole repository"
    for other, module in choice.code_elsewhere:
        add_code(opened, other, module, offline=listing.cached, token=token, cache_dir=cache_dir)
    return opened


def open_listing(
    listing: Listing,
    choice: Choice,
    *,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> Opened:
    """Fetch the chosen files of a listed commit and open them. Raises TargetError."""
    missing = [name for name in choice.files if name not in listing.sizes]
    if missing:
        raise TargetError(f"{listing.repo_id} has no file {missing[0][:200]!r} at commit {listing.commit[:12]}.")
    return _Fetch(listing, token, cache_dir, force_download).open(choice)


def add_code(
    opened: Opened,
    repo_id: str,
    module: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Listing, tuple[str, ...]] | None:
    """Open code that a configuration takes from another repository, below that repository's name.

    Returns the listing and the files; None where they cannot be had, which is noted in `opened.not_opened`: the code
    then stays unread, and the whole unverifiable.
    """
    try:
        listing = list_repo(repo_id, revision=revision, offline=offline, token=token, cache_dir=cache_dir)
        fetch = _Fetch(listing, token, cache_dir, False)
        files = tuple(sorted(code_closure(listing.sizes, fetch.read_small, [module])))
        if not files:
            raise TargetError(f"{repo_id} has no file {module[:200]!r}.")
        found = fetch.open(Choice(files))
    except TargetError as error:
        opened.not_opened = (*opened.not_opened, NotScanned(f"{repo_id}/{module}"[:300], str(error)))
        return None
    there = {f.path for f in opened.files}
    for file in found.files:
        file.path = f"{repo_id}/{file.path}"
    opened.files = (*opened.files, *(f for f in found.files if f.path not in there))
    opened.provenance[f"code from {repo_id}"] = listing.commit
    return listing, files


def list_repo(
    repo_id: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    remember: bool = True,
) -> Listing:
    """The commit that `revision` stands for now, and its files. Raises TargetError.

    Args:
        remember: note in the cache what a branch or tag stands for; False where nothing may be written yet.
    """
    from huggingface_hub import constants, errors, is_offline_mode

    if not is_repo_id(typed(repo_id)["repo_id"]):
        raise no_repository(repo_id)
    if offline or is_offline_mode():
        return _cached(repo_id, revision, cache_dir, "the Hub may not be asked")
    try:
        info: Any = repository_info(**typed(repo_id), revision=revision, token=token)
    except errors.HTTPError as error:
        problem = sentence(error, repo_id, revision)
        answered = getattr(error, "response", None)
        if answered is not None and answered.status_code < 500:
            raise TargetError(problem) from None
        try:  # transformers would go on with the cache here, and so does a person in a train
            return _cached(repo_id, revision, cache_dir, "the Hub did not answer")
        except TargetError:
            raise TargetError(problem) from None
    except (errors.HFValidationError, *_NONSENSE, OSError) as error:
        raise TargetError(sentence(error, repo_id, revision)) from None
    commit = info.sha if isinstance(info.sha, str) else ""
    if not COMMIT.fullmatch(commit):
        raise TargetError(f"The Hub named no commit for {repo_id}.")
    siblings = info.siblings or []
    sizes = {_checked(s.rfilename, repo_id): s.size for s in siblings}
    _count(sizes, repo_id)
    digests = {s.rfilename: s.lfs.sha256 for s in siblings if s.lfs is not None}
    facts = {
        "source": "Hub",
        "endpoint": constants.ENDPOINT,
        "repo": repo_id,
        "revision": revision or "main",
        "commit": commit,
        "publisher": info.author or repo_id.split("/")[0],
    }
    if remember:
        remember_ref(repository_folder(repo_id, cache_dir), revision or "main", commit)
    provenance = {k: str(v)[:300] for k, v in facts.items() if v}
    blob_ids = {s.rfilename: s.blob_id for s in siblings if isinstance(s.blob_id, str)}
    about = said(info, typed(repo_id)["repo_id"], typed(repo_id)["repo_type"], token)
    return Listing(repo_id, commit, sizes, digests, provenance, blob_ids=blob_ids, hub=about)


def _cached(repo_id: str, revision: str | None, cache_dir: str | os.PathLike[str] | None, why: str) -> Listing:
    """What the cache holds of one commit."""
    folder = repository_folder(repo_id, cache_dir)
    name = revision or "main"
    commit = name if COMMIT.fullmatch(name) else cached_ref(folder, name)
    root = os.path.join(folder, "snapshots", commit)
    if not commit or not os.path.isdir(root):
        at = f" at {revision[:100]!r}" if revision else ""
        raise TargetError(f"{repo_id}{at} is not in the cache, and {why}.")
    sizes: dict[str, int | None] = {}
    for base, _, names in os.walk(root):
        for entry in names:
            path = os.path.join(base, entry)
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            if os.path.isfile(path):
                sizes[_checked(relative, repo_id)] = os.path.getsize(path)
    _count(sizes, repo_id)
    facts = {"source": "Hub cache", "repo": repo_id, "revision": name[:300], "commit": commit, "not_asked": why}
    return Listing(repo_id, commit, sizes, {}, facts, cached=True)


def _checked(name: object, repo_id: str) -> str:
    """`name`, where it can only name a file inside the folder."""
    if isinstance(name, str) and 0 < len(name) <= MAX_NAME and "\\" not in name and name.isprintable():
        parts = name.split("/")
        if not any(p in ("", ".", "..") or len(p.encode("utf-8", "replace")) > 255 for p in parts):
            return name
    raise TargetError(
        f"{repo_id} lists a file under a name that no honest one uses ({str(name)[:120]!a}); nothing was fetched."
    )


def _count(sizes: dict[str, int | None], repo_id: str) -> None:
    if len(sizes) > MAX_FILES:
        raise TargetError(f"{repo_id} lists {len(sizes):,} files; more than {MAX_FILES:,} are not looked through.")


def choose_files(
    listing: Listing,
    selection: Selection | None = None,
    *,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Choice:
    """What would be opened of a listed commit; fetches configurations and indexes to find out. Raises TargetError."""
    return choose(sorted(listing.sizes), reader(listing, token=token, cache_dir=cache_dir), selection)


def reader(
    listing: Listing, *, token: str | bool | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> Reader:
    """Reads configurations, indexes and code of a listed commit, fetching each once."""
    return _Fetch(listing, token, cache_dir, False).read_small


class _Fetch:
    """Gets files of one commit into the cache; each one once."""

    def __init__(
        self, listing: Listing, token: str | bool | None, cache_dir: str | os.PathLike[str] | None, force: bool
    ) -> None:
        self.listing = listing
        self.token = token
        self.cache_dir = cache_dir
        self.force = force
        self.places: dict[str, str] = {}

    def get(self, name: str) -> str:
        if name not in self.places:
            self.places[name] = self._from_cache(name) if self.listing.cached else self._fetched([name])[name]
        return self.places[name]

    def _from_cache(self, name: str) -> str:
        from huggingface_hub import errors, hf_hub_download

        listing = self.listing
        try:
            place: str = hf_hub_download(
                **typed(listing.repo_id),
                filename=name,
                revision=listing.commit,
                cache_dir=self.cache_dir,
                local_files_only=True,
            )
        except (errors.HTTPError, errors.EntryNotFoundError, ValueError, OSError) as error:
            raise TargetError(sentence(error, listing.repo_id, listing.commit, name)) from None
        return place

    def _fetched(self, names: Sequence[str]) -> dict[str, str]:
        """Where the files lie in the cache; what is not there comes by the quarantine, compared with its digest."""
        from nbguard.artifact.quarantine import hold

        missing = [n for n in names if self.force or place_in_cache(self.listing, n, self.cache_dir) is None]
        if missing:
            with hold(self.listing, missing, token=self.token, cache_dir=self.cache_dir) as held:
                held.promote()
        root = snapshot_folder(self.listing, self.cache_dir)
        return {name: os.path.join(root, *name.split("/")) for name in names}

    def read_small(self, name: str) -> bytes | None:
        size = self.listing.sizes.get(name)
        if name not in self.listing.sizes or (size is not None and size > SMALL):
            return None
        with open(self.get(name), "rb") as file:
            return file.read(SMALL + 1)

    def open(self, choice: Choice) -> Opened:
        listing = self.listing
        if listing.cached:
            for name in choice.files:
                self.get(name)
        else:
            self.places |= self._fetched([name for name in choice.files if name not in self.places])
        root = os.path.join(repository_folder(listing.repo_id, self.cache_dir), "snapshots", listing.commit)
        opened = open_files(
            root, choice.files, target=listing.repo_id, kind="hub", commit=listing.commit, provenance=listing.provenance
        )
        opened.hub = listing.hub
        opened.not_opened = choice.not_opened
        return opened


def sentence(error: BaseException, repo_id: str, revision: str | None = None, name: str | None = None) -> str:
    """What went wrong, for a person: one plain sentence without addresses that carry tokens."""
    from huggingface_hub import constants, errors

    what = f"{name[:200]!r} of {repo_id}" if name else repo_id
    status = getattr(getattr(error, "response", None), "status_code", None)
    cases: tuple[tuple[Any, str], ...] = (
        (errors.GatedRepoError, f"{repo_id} is gated: ask for access on its page, then log in with `hf auth login`."),
        (errors.DisabledRepoError, f"{repo_id} has been disabled by the Hub."),
        (errors.RepositoryNotFoundError, f"There is no repository {repo_id}, or it is private and needs a token."),
        (errors.RevisionNotFoundError, f"{repo_id} has no revision {(revision or 'main')[:100]!r}."),
        (errors.LocalEntryNotFoundError, f"{what} is not in the cache, and the Hub could not be reached."),
        (errors.EntryNotFoundError, f"{repo_id} has no file {(name or '')[:200]!r}."),
        (errors.OfflineModeIsEnabled, f"{what} cannot be fetched: the offline mode is on."),
        (errors.HFValidationError, f"{repo_id[:200]!r} is not the name of a repository; it should look like org/name."),
    )
    for kind, text in cases:
        if isinstance(error, kind):
            return text
    if status in (401, 403):
        return f"The Hub gives no access to {what}; log in with `hf auth login`."
    if status is not None:
        return f"The Hub answered {status} for {what}."
    if isinstance(error, errors.HTTPError):
        return f"The Hub at {constants.ENDPOINT} cannot be reached, so {what} was not fetched."
    if isinstance(error, OSError) and error.strerror:
        return f"{what} could not be stored: {error.strerror.lower()}."
    return f"{what} could not be fetched: the Hub's answer makes no sense ({type(error).__name__})."
