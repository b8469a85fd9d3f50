"""`torch.hub`: code of a repository, and weights from an address.

    torch.hub.load("owner/name:v1", "resnet")                      # hubconf.py and what it imports: asked about
    torch.hub.load_state_dict_from_url("https://…/weights.pth")    # fetched, then loaded as `torch.load` does

The repository is downloaded and unpacked by torch; nothing of it runs before its code was scanned and accepted, and
then only the scanned bytes do (`walls/folders.py`), held to having no effects. torch's own question on standard input
does not come: whom it calls trusted says nothing about what it would run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from nbguard.artifact.folders import names_below, read_small
from nbguard.artifact.imports import import_closure
from nbguard.artifact.model import LoadRequest
from nbguard.artifact.sources import open_files
from nbguard.errors import TargetMissing
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.loaders.calling import called_by_person
from nbguard.hooks.loaders.repository import settled
from nbguard.hooks.walls import code, code_effects, folders, scope

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant

HUBCONF = "hubconf.py"
REACHED_FOR = "reached for while it loads"
"""The `scope` in the report of a file that the code imports beyond what its text says."""
LEAST_HASH = 8
"""Hexadecimal digits of a checksum in a file's name; torch's own convention has at least eight."""
MAX_UNPACKED = 2 << 30
"""Bytes of a repository's archive once it is unpacked; GitHub refuses to serve much larger ones."""
MAX_MEMBERS = 50_000
MAX_OLD_ZIP = 8 << 30
"""Bytes of the one member of an old kind of archive, which is unpacked in memory."""
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,255}")
_FOLDER = re.compile(r"[A-Za-z0-9][\w.-]{0,250}/")
_NEEDED = ("_load_local", "_add_to_sys_path", "_load_entry_from_hubconf", "_get_cache_or_reload")


def guard(hooks: Installed, hub: ModuleType) -> None:
    """Guard `torch.hub`."""
    hooks.on_undo(folders.install(lambda module: None))
    missing = [name for name in _NEEDED if not hasattr(hub, name)]
    around: dict[str, Callable[..., Any]] = {
        "load": _load,
        "_load_local": _load_local,
        "list": functools.partial(_look, "torch.hub.list"),
        "help": functools.partial(_look, "torch.hub.help"),
        "_get_cache_or_reload": _get_cache_or_reload,
        "_check_repo_is_trusted": _check_repo_is_trusted,
        "download_url_to_file": _download,
        "load_state_dict_from_url": _load_state_dict,
    }
    for name, function in around.items():
        if hasattr(hub, name):
            hooks.swap(getattr(hub, name), functools.partial(_refuse if missing else function, hub))


@dataclass
class _Session:
    """What one call of `torch.hub` loads in the end."""

    loader: str
    target: str
    arguments: dict[str, Any]
    person: bool
    nested: bool
    kept: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    grants: dict[str, Grant] = field(default_factory=dict)
    """By the folder of the repository, its real path."""
    texts: list[bytes] = field(default_factory=list)
    """The source of all code that was accepted."""
    fetching: bool = False
    """torch itself fetches the repository."""

    def admit(self, folder: str, start: str = HUBCONF) -> Grant:
        """Scan and decide on what `start` in the folder of a repository runs. Raises LoadBlocked, TargetError."""
        root = os.path.realpath(folder)
        if start == HUBCONF and root in self.grants:
            return self.grants[root]
        with code_effects.outside(), scope.outside():
            names = tuple(names_below(root))
            wanted = import_closure(names, lambda name: read_small(root, name, names), [start])
            if start not in wanted:
                raise TargetMissing(f"There is no {start} in {root}.", os.path.join(root, start))
            opened = open_files(root, sorted(wanted), target=root, kind="directory")
            self.kept.callback(opened.close)
            opened.provenance.update({"source": "torch.hub", "path": root})
            if self.target != root:
                opened.provenance["repository"] = self.target[:300]
            if start != HUBCONF:
                opened.provenance["scope"] = REACHED_FOR
            request = LoadRequest(self.loader, self.target, "directory", self.arguments, in_person_code=self.person)
            there = os.stat(root)
            key = ("torch.hub", root, f"{there.st_dev}:{there.st_ino}")
            grant = walk.admit(request, opened, nested=self.nested, settled=lambda report: settled.covers(key, report))
            if grant.enforced:
                settled.add(key, grant.report, by_person=grant.accepted_by_person)
                code.accept(grant)
                folders.add(root, _reach)
            self.texts += [file.read() for file in opened.files]
        self.kept.enter_context(grant)
        self.grants.setdefault(root, grant)
        return grant

    def may_fetch(self, url: str) -> None:
        """Refuse an address that the accepted code does not name: what it sends there nobody has seen."""
        parts = _address(url, self.loader)
        host = f"://{parts.netloc}".encode()
        if not any(host in text for text in self.texts):
            raise walk.blocked(
                f"the code wants to fetch from {_shown(url)}, an address whose host does not stand in the code that was"
                " scanned",
                self.loader,
                self.target,
            )


_session: ContextVar[_Session | None] = ContextVar("nbguard.torch_hub", default=None)


@contextlib.contextmanager
def _loading(loader: str, target: str, arguments: dict[str, Any]) -> Iterator[_Session]:
    """The load that is on in this context, or a new one until the block ends."""
    there = _session.get()
    if there is not None:
        yield there
        return
    nested = grants.current() is not None
    session = _Session(loader, target, arguments, person=not nested and called_by_person(), nested=nested)
    with grants.outer():
        before = _session.set(session)
        try:
            with session.kept:
                yield session
        finally:
            _session.reset(before)


def _reach(root: str, name: str) -> None:
    """A file that the code imports beyond what its text says: asked about by itself."""
    with _loading("torch.hub.load", root, {}) as session:
        session.admit(root, name)


# what a person calls


def _refuse(hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    walk.stop("this version of torch.hub works in a way that nbguard does not know", "torch.hub", str(args[:1])[1:-2])
    return original(*args, **kwargs)


def _load(hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    given = bound(original, args, kwargs)
    shown = {"model": str(given["model"])[:300], "source": str(given["source"])[:100]}
    with _loading("torch.hub.load", os.fspath(given["repo_or_dir"]), shown):
        return original(*args, **kwargs)


def _load_local(
    hub: ModuleType, original: Callable[..., Any], hubconf_dir: Any, model: Any, *args: Any, **kwargs: Any
) -> Any:
    folder = os.fspath(hubconf_dir)
    with _loading("torch.hub.load", folder, {"model": str(model)[:300]}) as session:
        grant = session.admit(folder)
        if not grant.enforced:
            return original(hubconf_dir, model, *args, **kwargs)
        with hub._add_to_sys_path(folder):
            module = _hubconf(folder)
            with code_effects.constructing(grant):
                entry = hub._load_entry_from_hubconf(module, model)
                return entry(*args, **kwargs)


def _look(loader: str, hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`list` and `help`: the repository's code is imported for these too."""
    given = bound(original, args, kwargs)
    with _loading(loader, str(given["github"]), {}) as session:
        options = {"verbose": given.get("verbose", True), "skip_validation": given["skip_validation"]}
        folder = hub._get_cache_or_reload(given["github"], given["force_reload"], given["trust_repo"], **options)
        grant = session.admit(folder)
        if not grant.enforced:
            return original(*args, **{**kwargs, "force_reload": False})
        with hub._add_to_sys_path(folder):
            module = _hubconf(folder)
            with code_effects.constructing(grant):
                if "model" in given:
                    return hub._load_entry_from_hubconf(module, given["model"]).__doc__
                return [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name))]


def _hubconf(folder: str) -> ModuleType:
    return folders.module_at(HUBCONF, os.path.join(folder, HUBCONF), lambda module: None)


# how torch gets the repository


def _get_cache_or_reload(hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    session = _session.get()
    if session is None:
        return original(*args, **kwargs)
    before, session.fetching = session.fetching, True
    try:
        with code_effects.outside():
            return original(*args, **kwargs)
    finally:
        session.fetching = before


def _check_repo_is_trusted(hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Nobody is asked before there is anything to show, and nothing is written down as trusted."""
    if bound(original, args, kwargs)["trust_repo"] is False or not _enforced():
        return original(*args, **kwargs)
    return None


def _download(hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    session = _session.get()
    if session is None or not _enforced():
        return original(*args, **kwargs)
    given = bound(original, args, kwargs)
    url, place = str(given["url"]), os.path.expanduser(os.fspath(given["dst"]))
    if session.fetching:
        original(*args, **kwargs)
        _check_archive(place, os.path.realpath(hub.get_dir()), session)
        return None
    session.may_fetch(url)
    folder = os.path.realpath(hub.get_dir())
    if os.path.realpath(place).startswith(folder + os.sep) and folders.folder_of(place) is None:
        _note(url, session.person)
        with code_effects.outside():
            return original(*args, **kwargs)
    why = f"the code wants to write what it fetches outside of torch's own folder, to {ascii(place)[1:-1][:200]}"
    raise walk.blocked(why, session.loader, session.target)


def _check_archive(path: str, folder: str, session: _Session) -> None:
    """torch removes what goes by the name of the archive's first entry, and unpacks beside its other repositories: so
    that entry must be a new folder, and all others lie in it."""
    why = ""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            top = members[0].filename.partition("/")[0] + "/" if members else ""
            if not _FOLDER.fullmatch(top) or not all(m.filename.startswith(top) for m in members):
                why = "the archive is no single folder"
            elif any(".." in m.filename.split("/") or "\\" in m.filename for m in members):
                why = "the archive has entries that lead out of its folder"
            elif os.path.lexists(os.path.join(folder, top.rstrip("/"))):
                why = f"the archive would take the place of {top!r}, which is there"
            elif len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > MAX_UNPACKED:
                why = "the archive is larger, once unpacked, than the code of a model is"
    except (zipfile.BadZipFile, OSError, ValueError):
        why = "what came is no zip archive"
    if why:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        raise walk.blocked(why, session.loader, session.target)


# weights from an address


def _load_state_dict(hub: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    import torch

    given = bound(original, args, kwargs)
    said = bound(original, args, kwargs, defaults=False).get("weights_only")
    who = caller.find(2)
    if (outer := grants.current()) is not None:
        outer.still_allowed()
    if not _enforced():
        return original(*args, **kwargs)
    if said is None and who.kind == "person" and _session.get() is None:
        warnings.warn(
            "torch.hub.load_state_dict_from_url was called without weights_only; nbguard loads with weights_only=True. "
            "Write weights_only=False to load other objects too: the file is then scanned, and you are asked what it "
            "may do.",
            UserWarning,
            stacklevel=4,
        )
    with code_effects.outside(), scope.outside():
        place = _fetched(hub, given, person=who.kind == "person")
        source = _of_old_zip(place) if hub._is_legacy_zip_format(place) else place
    return torch.load(source, map_location=given["map_location"], weights_only=said is None or bool(said))


def _fetched(hub: ModuleType, given: dict[str, Any], *, person: bool) -> str:
    """Where the file lies, fetched if it was not there."""
    url, named = str(given["url"]), given["file_name"]
    name = os.path.basename(urlsplit(url).path) if named is None else str(named)
    if not _FILE_NAME.fullmatch(name) or name.startswith("."):
        shown = ascii(name)[1:-1][:100]
        raise walk.blocked(f"{shown or 'nothing'} is no plain name for a file", _URL_LOADER, _shown(url))
    folder = given["model_dir"] or os.path.join(hub.get_dir(), "checkpoints")
    os.makedirs(folder, exist_ok=True)
    place = os.path.join(folder, name)
    digits = _hash_in(name, url) if given["check_hash"] else None
    if not os.path.exists(place):
        _address(url, _URL_LOADER)
        if _session.get() is None:
            _note(url, person)
        sys.stdout.write(f'Downloading: "{_shown(url)}" to {place}\n')
        hub.download_url_to_file(url, place, digits, progress=given["progress"])
    elif digits is not None and not _sha256(place).startswith(digits):
        raise walk.blocked(
            "the file that is there does not have the checksum in its name; remove it, so that it is fetched again",
            _URL_LOADER,
            place,
        )
    return place


_URL_LOADER = "torch.hub.load_state_dict_from_url"


def _hash_in(name: str, url: str) -> str:
    """The checksum that torch's convention puts into a name. torch checks nothing where there is none."""
    found = re.search(r"-([a-f0-9]*)\.", name)
    if found is None or len(found[1]) < LEAST_HASH:
        raise walk.blocked("check_hash was asked for, and its name holds no checksum", _URL_LOADER, _shown(url))
    return found[1]


def _of_old_zip(place: str) -> io.BytesIO:
    """What torch would unpack beside its other files, under a name of the archive's choosing, in memory instead."""
    with zipfile.ZipFile(place) as archive:
        (member,) = archive.infolist()
        if member.file_size > MAX_OLD_ZIP:
            raise walk.blocked("it is too large to be unpacked in memory", _URL_LOADER, place)
        return io.BytesIO(archive.read(member))


def _address(url: str, loader: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise walk.blocked("only http and https addresses without a password in them are fetched", loader, _shown(url))
    return parts


def _shown(url: str) -> str:
    """Without what may be a secret: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return ascii(f"{parts.scheme}://{host}{parts.path}")[1:-1][:300]


def _note(url: str, person: bool) -> None:
    walk.note("hub.download", loader=_URL_LOADER, target=_shown(url), person=person)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _enforced() -> bool:
    from nbguard import settings

    with scope.outside(), code_effects.outside():
        return settings.load().mode == "enforce"
