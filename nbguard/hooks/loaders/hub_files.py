"""`hf_hub_download` and `snapshot_download`: the ways on which every library gets files of a Hub.

    hf_hub_download("org/name", "model.safetensors")    # alone: nothing is loaded; scanned and noted, not asked

Within a load they are held to it: the repository's commit is the one that was scanned, and a file that was not is
scanned and decided on before it is handed out. So whatever a library decides to open, it has been looked at.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.artifact.hub_listing import DATASETS
from nbguard.hooks import caller, swap, trust, walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders import downloaded, repository
from nbguard.hooks.loaders.building import arguments
from nbguard.hooks.loaders.choosing import is_aside

if TYPE_CHECKING:
    from nbguard.hooks.loaders.repository import RepositoryLoad

SHOWN = 300
"""Characters of a name in the audit log."""


def guard_file(hooks: Installed, module: ModuleType) -> None:
    """Guard `hf_hub_download`."""
    signature = inspect.signature(module.hf_hub_download)
    hooks.swap(module.hf_hub_download, functools.partial(_around, _file, signature, "hf_hub_download"))


def guard_snapshot(hooks: Installed, module: ModuleType) -> None:
    """Guard `snapshot_download`."""
    signature = inspect.signature(module.snapshot_download)
    hooks.swap(module.snapshot_download, functools.partial(_around, _snapshot, signature, "snapshot_download"))


def _around(
    within: Callable[[RepositoryLoad, str, dict[str, Any]], None],
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
    within(load, f"{DATASETS}{repo_id}" if kind == "dataset" else repo_id, given)
    return original(**{**kwargs, **given})  # what is long deprecated is still passed on, and dropped there


def _file(load: RepositoryLoad, source: str, given: dict[str, Any]) -> None:
    below, name = given.get("subfolder"), str(given.get("filename"))
    path = "/".join(p for p in (*str(below or "").split("/"), *name.split("/")) if p not in ("", "."))
    commit = load.admit(source, revision=_revision(given), files=_opened([path]))
    given |= {"revision": commit, "force_download": False}


def _snapshot(load: RepositoryLoad, source: str, given: dict[str, Any]) -> None:
    from huggingface_hub.utils import filter_repo_objects

    names = load.names(source, _revision(given))
    wanted = filter_repo_objects(
        names, allow_patterns=given.get("allow_patterns"), ignore_patterns=given.get("ignore_patterns")
    )
    commit = load.admit(source, revision=_revision(given), files=_opened(wanted))
    given |= {"revision": commit, "force_download": False}


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
