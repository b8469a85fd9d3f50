"""`hf_hub_download` and `snapshot_download`: the ways on which every library gets files of a Hub.

    hf_hub_download("org/name", "model.safetensors")    # alone: nothing is loaded; scanned and noted, not asked

Within a load they are held to it: the repository's commit is the one that was scanned, and a file that was not is
scanned and decided on before it is handed out. So whatever a library decides to open, it has been looked at. What the
listing does not hold is not there, though the server may have it, and no second download into another cache or folder
brings other bytes than were scanned.
"""

from __future__ import annotations

import functools
import glob
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from nbguard.artifact.hub_answers import client
from nbguard.artifact.hub_listing import DATASETS, place_in_cache, repository_folder, typed
from nbguard.artifact.quarantine import hold
from nbguard.errors import TargetError
from nbguard.hooks import caller, swap, trust, walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders import downloaded, repository
from nbguard.hooks.loaders.building import arguments
from nbguard.hooks.loaders.choosing import is_aside
from nbguard.hooks.loaders.origins import SourceError
from nbguard.hooks.walls import scope

if TYPE_CHECKING:
    from nbguard.hooks.loaders.origins import Source
    from nbguard.hooks.loaders.repository import RepositoryLoad

SHOWN = 300
"""Characters of a name in the audit log."""
MOST_PATTERNS = 1_000
"""Names that `snapshot_download` is told one by one: it compares each with each."""
CHUNK = 4 << 20


def guard_file(hooks: Installed, module: ModuleType) -> None:
    """Guard `hf_hub_download`."""
    signature = inspect.signature(module.hf_hub_download)
    hooks.swap(module.hf_hub_download, functools.partial(_around, _file, signature, "hf_hub_download"))


def guard_snapshot(hooks: Installed, module: ModuleType) -> None:
    """Guard `snapshot_download`."""
    signature = inspect.signature(module.snapshot_download)
    hooks.swap(module.snapshot_download, functools.partial(_around, _snapshot, signature, "snapshot_download"))


def _around(
    within: Callable[[RepositoryLoad, str, dict[str, Any]], Callable[[Any], None]],
    signature: inspect.Signature,
    name: str,
    original: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    asking = _asking()
    known = {k: v for k, v in kwargs.items() if k in signature.parameters}
    given = arguments(signature, args, known)
    repo_id, kind = given.get("repo_id"), given.get("repo_type")
    if asking == "nbguard" or not isinstance(repo_id, str) or kind not in (None, "model", "dataset"):
        return original(*args, **kwargs)
    load = repository.current()
    if load is None:
        if asking == "huggingface_hub":  # a snapshot asks for each of its files
            return original(*args, **kwargs)
        note = _noted(name, given)
        place = original(*args, **kwargs)
        downloaded.look(place, given, note)
        return place
    check = within(load, f"{DATASETS}{repo_id}" if kind == "dataset" else repo_id, given)
    place = original(**{**kwargs, **given})  # what is long deprecated is still passed on, and dropped there
    check(place)
    return place


def _file(load: RepositoryLoad, source: str, given: dict[str, Any]) -> Callable[[Any], None]:
    below, name = given.get("subfolder"), str(given.get("filename"))
    path = "/".join(p for p in (*str(below or "").split("/"), *name.split("/")) if p not in ("", "."))
    revision = _revision(given)
    commit = load.admit(source, revision=revision, files=_opened([path]), on_hub=True)
    found = _found(load, source, revision)
    if path not in found.names and found.listing is not None and not found.listing.cached:
        _no_such_file(source, path, commit)
    given |= {"revision": commit, "force_download": False}
    return _held(load, found, [path], given)


def _snapshot(load: RepositoryLoad, source: str, given: dict[str, Any]) -> Callable[[Any], None]:
    from huggingface_hub.utils import filter_repo_objects

    revision = _revision(given)
    found = _found(load, source, revision)
    wanted = list(filter_repo_objects(
        found.names, allow_patterns=given.get("allow_patterns"), ignore_patterns=given.get("ignore_patterns")
    ))  # fmt: skip
    commit = load.admit(source, revision=revision, files=_opened(wanted), on_hub=True)
    given |= {"revision": commit, "force_download": False}
    if given.get("local_dir") is not None or len(wanted) <= MOST_PATTERNS:  # it asks the server for a list of its own
        given |= {"allow_patterns": [glob.escape(name) for name in wanted], "ignore_patterns": None}
    return _held(load, found, wanted, given)


def _found(load: RepositoryLoad, source: str, revision: str | None) -> Source:
    try:
        return load.on_hub(source, revision)
    except TargetError as error:
        raise SourceError(str(error)) from None


def _no_such_file(source: str, path: str, commit: str | None) -> NoReturn:
    """Raise what huggingface_hub raises where the server does not have a file."""
    from huggingface_hub import errors, hf_hub_url

    named = typed(source)
    url = hf_hub_url(named["repo_id"], path, repo_type=named["repo_type"], revision=commit)
    http = client()
    response = http.Response(404, request=http.Request("HEAD", url))
    raise errors.RemoteEntryNotFoundError(f"{source} lists no file {path[:SHOWN]!r}.", response=response)


def _held(load: RepositoryLoad, found: Source, names: list[str], given: dict[str, Any]) -> Callable[[Any], None]:
    """Have the library find these files where it will look for them; and what to check of the place that it names."""
    listing, own, cache = found.listing, load.options.cache_dir, given.get("cache_dir")
    assert listing is not None
    if listing.cached:
        given |= {"local_files_only": True, "cache_dir": own}  # of what was looked at, and nothing besides
    elif repository_folder(listing.repo_id, cache) != repository_folder(listing.repo_id, own):
        there = [n for n in _opened(names) if place_in_cache(listing, n, cache) is None]
        try:
            with scope.outside(), hold(listing, there, token=load.options.token, cache_dir=cache) as held:
                held.promote()
        except TargetError as error:
            raise SourceError(str(error)) from None
    return functools.partial(_check, found, names, given)


def _check(found: Source, names: list[str], given: dict[str, Any], place: Any) -> None:
    """Stop the load where what came is not what was listed and looked at."""
    if given.get("dry_run") or not isinstance(place, str | os.PathLike):
        return
    odd: Iterable[str] = ()
    if given.get("local_dir") is not None:
        single = "filename" in given
        odd = (n for n in _opened(names) if not _same(found, n, place if single else os.path.join(place, n)))
    elif len(names) > MOST_PATTERNS:  # files that lie there by themselves are the person's own
        listed = frozenset(found.names)
        odd = (n for n in _links_below(os.path.realpath(place)) if n not in listed)
    name = next(iter(odd), "")
    if name:
        why = f"{ascii(name)[:SHOWN]} is not the file that was listed and looked at."
        walk.stop(why, "huggingface_hub", "/".join(found.key[1:2]))


def _links_below(place: str) -> Iterator[str]:
    """Names of what the cache holds of a commit; all of them, at whatever depth."""
    for base, _, names in os.walk(place):
        paths = (os.path.join(base, name) for name in names)
        yield from (os.path.relpath(p, place).replace(os.sep, "/") for p in paths if os.path.islink(p))


def _same(found: Source, name: str, place: str | os.PathLike[str]) -> bool:
    """Whether a file has the bytes of the one that was scanned."""
    if name not in found.files or found.root is None:
        return False
    try:
        with open(os.path.join(found.root, *name.split("/")), "rb") as one, open(place, "rb") as other:
            while piece := one.read(CHUNK):
                if other.read(len(piece)) != piece:
                    return False
            return not other.read(1)
    except OSError:
        return False


def _opened(names: Iterable[str]) -> list[str]:
    """Without cards, licences and pictures: by themselves they are nothing that could be loaded, or judged."""
    return [name for name in names if not is_aside(name)]


def _revision(given: dict[str, Any]) -> str | None:
    revision = given.get("revision")
    return None if revision is None else str(getattr(revision, "resolved", None) or revision)


def _noted(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the audit log says of a download, whatever it brings; it is there before the first byte comes."""
    who = caller.find(3)
    files = given.get("filename") or given.get("allow_patterns") or "all files"
    note = {
        "loader": f"huggingface_hub.{name}",
        "target": str(given.get("repo_id"))[:SHOWN],
        "files": str(files)[:SHOWN],
        "revision": str(_revision(given) or "main")[:SHOWN],
        "kind": str(given.get("repo_type") or "model"),
        "caller": who.module[:SHOWN],
        "person": who.kind == "person",
    }
    walk.note("hub.download", **note)
    return note


def _asking() -> str:
    """The package whose own code called. Told by files, not by names alone."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in _BETWEEN:
        frame = frame.f_back
    if frame is None:
        return "?"
    place = os.path.realpath(frame.f_code.co_filename)
    if place.startswith(_OWN):
        return "nbguard"
    return str(frame.f_globals.get("__name__", "?")).partition(".")[0] if trust.is_installed(place) else "?"


_OWN = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))) + os.sep
"""nbguard's own code: it fetches what it scans in the same way."""
_BETWEEN = frozenset({swap.FILENAME, swap.__file__})
"""Frames between the caller and the guard."""
