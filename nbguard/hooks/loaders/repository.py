"""One load of a repository or folder, with every file, commit and further repository that it draws in.

    with loading("AutoModel.from_pretrained") as load:
        commit = load.admit("org/name", selection=Selection())
        original("org/name", revision=commit)

Each source is pinned to one commit, opened, scanned and decided on before transformers opens anything of it. Whatever
the library reaches for meanwhile (an adapter's base model, code of another repository) goes the same way.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from nbguard.artifact.checkpoints import Choice, Further, Plan, Reader, Selection, choose, code_closure
from nbguard.artifact.folders import names_below, read_small
from nbguard.artifact.hub import Listing, add_code, list_repo, open_listing, reader
from nbguard.artifact.model import LoadRequest, NotScanned
from nbguard.artifact.sources import Opened, open_files, open_path
from nbguard.errors import LoadBlocked, TargetError, TargetMissing
from nbguard.hooks import grants, trust
from nbguard.hooks.loaders.settled import Key, Settled, part
from nbguard.report.model import Report

PASSED_ON = ("trust_remote_code", "use_safetensors", "subfolder", "variant", "gguf_file", "weights_only", "revision")
"""Arguments that change what may happen; they go into the request that a person sees."""
LOOKED_THROUGH = ("transformers", "diffusers", "sentence_transformers", "peft", "timm", "accelerate", "torch",
                  "huggingface_hub", "nbguard")  # fmt: skip
"""Packages whose frames do not count as the caller."""

settled = Settled()
_loads: weakref.WeakKeyDictionary[grants.OuterRequest, RepositoryLoad] = weakref.WeakKeyDictionary()
_lock = threading.RLock()


class SourceError(TargetError, OSError):
    """What should be loaded cannot be found or read. An OSError too, as transformers raises for it."""


class SourceMissing(SourceError, TargetMissing):  # noqa: N818 - like TargetMissing
    """There is no such folder."""


@dataclass(frozen=True)
class HubOptions:
    """How the call wants the Hub to be asked."""

    token: str | bool | None = None
    cache_dir: str | None = None
    local_files_only: bool = False
    force_download: bool = False

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> HubOptions:
        cache = arguments.get("cache_dir")
        return cls(
            arguments.get("token"),
            None if cache is None else os.fspath(cache),
            bool(arguments.get("local_files_only")),
            bool(arguments.get("force_download")),
        )


@dataclass
class _Source:
    """What of one source has been admitted in this load."""

    key: Key
    names: tuple[str, ...]
    """Everything that it holds."""
    commit: str | None = None
    listing: Listing | None = None
    files: set[str] = field(default_factory=set)
    """Those that were scanned and let through."""


class RepositoryLoad:
    """What one call of the person, or of a library, loads in the end."""

    def __init__(self, loader: str, arguments: dict[str, Any], *, nested: bool) -> None:
        self.loader = loader
        self.requested = _text(arguments.get("revision"))
        self.code_revision = _text(arguments.get("code_revision"))
        self.arguments = {k: _plain(arguments[k]) for k in PASSED_ON if arguments.get(k) is not None}
        self.options = HubOptions.of(arguments)
        self.nested = nested
        self.in_person_code = not nested and called_by_person()
        self.grants = contextlib.ExitStack()
        self._sources: dict[tuple[str, str], _Source] = {}
        self._pins: dict[tuple[str, str | None], str] = {}

    def admit(
        self,
        source: str,
        *,
        revision: str | None = None,
        selection: Selection | None = None,
        files: Sequence[str] | None = None,
        module: str | None = None,
        plan: Plan | None = None,
    ) -> str | None:
        """Scan and decide on what would be opened of `source`. Returns the commit to load, None for a local source.

        Args:
            selection: what the call narrows the files to.
            files: these files of a source, instead of a selection.
            module: a file of code, with what it imports from beside it, instead of a selection.
            plan: how another library than transformers chooses, instead of a selection.

        Raises:
            LoadBlocked: the answer was no, now or before in this load.
            SourceError: there is nothing there to load.
        """
        request = grants.current()
        if request is not None:
            request.still_allowed()
        try:
            found = self._find(source, revision)
            wanted = self._wanted(found, source, selection, files, module, plan)
            if set(wanted.files) <= found.files:
                return found.commit
            self._decide(source, found, wanted)
        except SourceError:
            raise
        except TargetMissing as error:
            raise SourceMissing(str(error), error.filename) from None
        except TargetError as error:
            raise SourceError(str(error)) from None
        return found.commit

    def known(self, source: str) -> bool:
        """Whether anything of this source has been admitted in this load."""
        place = os.path.realpath(source) if os.path.exists(source) else source
        return any(p == place for p, _ in self._sources)

    def names(self, source: str, revision: str | None = None) -> tuple[str, ...]:
        """Everything that a source holds, at the commit that this load has pinned. Raises SourceError."""
        try:
            return self._find(source, revision).names
        except TargetError as error:
            raise SourceError(str(error)) from None

    # finding it

    def _find(self, source: str, revision: str | None) -> _Source:
        if os.path.exists(source):
            return self._local(source)
        revision = self._meant(source, revision)
        commit = self._pins.get((source, revision))
        if commit is None:
            return self._pinned(source, revision, self._listing(source, revision))
        return self._sources[source, commit]

    def _listing(self, source: str, revision: str | None) -> Listing:
        options = self.options
        try:
            return list_repo(
                source,
                revision=revision,
                offline=options.local_files_only,
                token=options.token,
                cache_dir=options.cache_dir,
            )
        except TargetMissing:
            raise
        except TargetError as error:
            if not os.path.isdir(os.path.dirname(source)):
                raise
            raise TargetError(f"There is no folder {source} here, and on the Hub: {error}") from None

    def _meant(self, source: str, revision: str | None) -> str | None:
        """What a revision stands for where it is a commit of another repository, handed on to this one: what the
        person asked for, as transformers does with the base model of an adapter."""
        places = {s.commit: place for (place, _), s in self._sources.items() if s.commit}
        if revision not in places or places[revision] == source:
            return revision
        return None if self.requested in places else self.requested

    def _pinned(self, source: str, revision: str | None, listing: Listing) -> _Source:
        """The source at the commit that was listed; whoever asks for this revision again gets that commit."""
        commit = listing.commit
        self._pins[source, revision] = self._pins[source, commit] = commit
        if revision == self.requested or revision is None:
            self._pins.setdefault((source, None), commit)
            self._pins.setdefault((source, "main"), commit)
        fresh = _Source(("hub", source, commit), tuple(sorted(listing.sizes)), commit, listing)
        return self._sources.setdefault((source, commit), fresh)

    def _local(self, source: str) -> _Source:
        place = os.path.realpath(source)
        found = self._sources.get((place, ""))
        if found is None:
            seen = os.stat(place)
            key = ("local", place, f"{seen.st_dev}:{seen.st_ino}")
            names = tuple(names_below(place)) if os.path.isdir(place) else (os.path.basename(place),)
            found = self._sources[place, ""] = _Source(key, names)
        return found

    def _wanted(
        self,
        found: _Source,
        source: str,
        selection: Selection | None,
        files: Sequence[str] | None,
        module: str | None,
        plan: Plan | None,
    ) -> Choice:
        if files is not None:
            return Choice(tuple(n for n in files if n in found.names))
        if found.commit is None and not os.path.isdir(source):
            return Choice(found.names)
        if plan is not None:
            return plan(found.names, self._reader(found, source))
        if module is not None:
            return Choice(tuple(sorted(code_closure(found.names, self._reader(found, source), [module]))))
        return choose(found.names, self._reader(found, source), selection or Selection())

    def _reader(self, found: _Source, source: str) -> Reader:
        if found.listing is not None:
            return reader(found.listing, token=self.options.token, cache_dir=self.options.cache_dir)
        base = os.path.realpath(source)
        return lambda name: read_small(base, name, found.names)

    # deciding

    def _decide(self, source: str, found: _Source, wanted: Choice) -> None:
        from nbguard.hooks import walk
        from nbguard.hooks.walls import code

        opened = self._opened(source, found, wanted)
        self.grants.callback(opened.close)
        if not self.arguments.get("trust_remote_code"):
            opened.provenance["remote_code"] = "refused"  # nothing that a configuration names as code will be run
        elsewhere = self._code_elsewhere(opened, wanted)
        drawn_in = self._drawn_in(opened, wanted.further)
        marks = {mark: other.key for mark, other, _ in drawn_in}
        request = LoadRequest(
            self.loader, source, opened.kind, self.arguments, self.requested, in_person_code=self.in_person_code
        )
        grant = walk.admit(
            request, opened, nested=self.nested, settled=lambda report: _covered(found.key, marks, report)
        )
        if grant.enforced:
            for key, report in _parts(found.key, marks, grant.report):
                settled.add(key, report, by_person=grant.accepted_by_person)
        self.grants.enter_context(grant)
        code.accept(grant)
        found.files.update(wanted.files)
        for other, names in (*elsewhere, *((other, names) for _, other, names in drawn_in)):
            other.files.update(names)

    def _drawn_in(self, opened: Opened, further: Sequence[Further]) -> list[tuple[str, _Source, tuple[str, ...]]]:
        """Other sources that the same load opens: their files, part of the same question, under a mark of their own.

        The mark holds two slashes in a row, so that no file of a repository or folder can have such a name. What cannot
        be had is noted, and asked about when the library reaches for it.
        """
        out: list[tuple[str, _Source, tuple[str, ...]]] = []
        for other in further:
            mark = f"{'file' if os.path.exists(other.source) else 'hf'}://{other.source[:300]}/"
            try:
                found = self._find(other.source, other.revision)
                wanted = self._wanted(found, other.source, None, None, None, other.plan)
                beside = self._opened(other.source, found, wanted)
            except TargetError as error:
                opened.not_opened = (*opened.not_opened, NotScanned(other.source[:300], str(error)))
                continue
            for file in beside.files:
                file.path = mark + file.path
            opened.files = (*opened.files, *beside.files)
            opened.provenance[f"also from {other.source[:300]}"] = found.commit or "folder"
            out.append((mark, found, wanted.files))
        return out

    def _code_elsewhere(self, opened: Opened, wanted: Choice) -> list[tuple[_Source, tuple[str, ...]]]:
        """Code of other repositories that this one names: pinned, and part of the same question."""
        out: list[tuple[_Source, tuple[str, ...]]] = []
        options = self.options
        for repo_id, module in wanted.code_elsewhere:
            added = add_code(
                opened,
                repo_id,
                module,
                revision=self.code_revision,
                offline=options.local_files_only,
                token=options.token,
                cache_dir=options.cache_dir,
            )
            if added is not None:
                listing, names = added
                out.append((self._pinned(repo_id, self.code_revision, listing), names))
        return out

    def _opened(self, source: str, found: _Source, wanted: Choice) -> Opened:
        if found.listing is not None:
            options = self.options
            return open_listing(
                found.listing,
                wanted,
                token=options.token,
                cache_dir=options.cache_dir,
                force_download=options.force_download and not found.files,
            )
        if not os.path.isdir(source):
            return open_path(source)
        opened = open_files(os.path.realpath(source), wanted.files, target=source, kind="directory")
        opened.provenance.update({"source": "folder", "path": os.path.realpath(source)})
        opened.not_opened = wanted.passed_over
        return opened


@contextlib.contextmanager
def loading(loader: str, arguments: dict[str, Any]) -> Iterator[RepositoryLoad]:
    """The load that is on in this context, or a new one until the block ends.

    Raises the first refusal at its end, whatever the library made of it in between.
    """
    request = grants.current()
    if request is not None and request in _loads:
        yield _loads[request]
        return
    load = RepositoryLoad(loader, arguments, nested=request is not None)
    with grants.outer() as outer:
        with _lock:
            _loads[outer] = load
        try:
            with load.grants:
                yield load
        except LoadBlocked:
            raise
        except Exception:
            if outer.refused is not None:
                raise outer.refused from None  # what the library made of it says nothing more
            raise
        finally:
            with _lock:
                _loads.pop(outer, None)


def current() -> RepositoryLoad | None:
    """The load that is on in this context."""
    request = grants.current()
    return _loads.get(request) if request is not None else None


def called_by_person() -> bool:
    """Whether the first frame outside of transformers and what it is built on belongs to the person."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        through = filename == "<nbguard>" or (
            top in (*LOOKED_THROUGH, "contextlib", "functools") and (trust.is_installed(filename) or top == "nbguard")
        )
        if not through:
            return not trust.is_installed(filename)
        frame = frame.f_back
    return False


def _parts(key: Key, marks: dict[str, Key], report: Report) -> list[tuple[Key, Report]]:
    """What a report says of each source that it is about."""
    found = [(key, part(report, "", tuple(marks))), *((marks[mark], part(report, mark)) for mark in marks)]
    return [(k, r) for k, r in found if r.files]


def _covered(key: Key, marks: dict[str, Key], report: Report) -> tuple[str, bool] | None:
    """Why no question is needed for any of the sources that a report is about; None where one is."""
    told = [settled.covers(k, r) for k, r in _parts(key, marks, report)]
    if not told or any(t is None for t in told):
        return None
    why = next(t for t in told if t is not None)
    return why[0], all(t is not None and t[1] for t in told)


def _text(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "resolved", None) or value)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else str(value)[:300]
