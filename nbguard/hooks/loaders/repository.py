"""One load of a repository or folder, with every file, commit and further repository that it draws in.

    with loading("AutoModel.from_pretrained") as load:
        commit = load.admit("org/name", selection=Selection())
        original("org/name", revision=commit)

Each source is pinned to one commit, opened, scanned and decided on before transformers opens anything of it. Whatever
the library reaches for meanwhile (an adapter's base model, code of another repository) goes the same way.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from nbguard.artifact.checkpoints import Choice, Further, Plan, Reader, Selection, code_closure
from nbguard.artifact.folders import names_below, read_small
from nbguard.artifact.hub import list_repo
from nbguard.artifact.hub_listing import Listing, snapshot_folder
from nbguard.artifact.model import LoadRequest, NotScanned
from nbguard.artifact.sources import Opened, open_files, open_path
from nbguard.errors import LoadBlocked, TargetError, TargetMissing
from nbguard.hooks import grants, locked, walk
from nbguard.hooks.grants import Grant
from nbguard.hooks.loaders.arriving import Arriving, Commit
from nbguard.hooks.loaders.calling import HubOptions, called_by_person
from nbguard.hooks.loaders.origins import Gathered, Source, SourceError, SourceMissing, chosen, plain, text
from nbguard.hooks.loaders.settled import Settled
from nbguard.provenance import did_you_mean
from nbguard.report.model import Report, Verdict

PASSED_ON = ("trust_remote_code", "use_safetensors", "subfolder", "variant", "gguf_file", "weights_only", "revision")
"""Arguments that change what may happen; they go into the request that a person sees."""

settled = Settled()
_loads: weakref.WeakKeyDictionary[grants.OuterRequest, RepositoryLoad] = weakref.WeakKeyDictionary()
_lock = threading.RLock()


class RepositoryLoad:
    """What one call of the person, or of a library, loads in the end."""

    def __init__(self, loader: str, arguments: dict[str, Any], *, nested: bool) -> None:
        self.loader = loader
        self.requested = text(arguments.get("revision"))
        self.code_revision = text(arguments.get("code_revision"))
        self.arguments = {k: plain(arguments[k]) for k in PASSED_ON if arguments.get(k) is not None}
        self.options = HubOptions.of(arguments)
        self.nested = nested
        self.in_person_code = not nested and called_by_person()
        self.grants = contextlib.ExitStack()
        self.instead: frozenset[str] = frozenset()
        """What the loader can be told to load in the place of what it asks about; see `walk.admit`."""
        self.chose_safetensors: str | None = None
        """The source for which the person chose it."""
        self.configurations_follow = False
        """Configurations of another source, which cannot run anything, belong to what was accepted: what a single
        checkpoint needs is told only once it is open."""
        self._sources: dict[tuple[str, str], Source] = {}
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
        on_hub: bool = False,
    ) -> str | None:
        """Scan and decide on what would be opened of `source`. Returns the commit to load, None for a local source.

        Args:
            selection: what the call narrows the files to.
            files: these files of a source, instead of a selection.
            module: a file of code, with what it imports from beside it, instead of a selection.
            plan: how another library than transformers chooses, instead of a selection.
            on_hub: whatever lies here under that name, the repository is meant.

        Raises:
            LoadBlocked: the answer was no, now or before in this load.
            SourceError: there is nothing there to load.
        """
        request = grants.current()
        if request is not None:
            request.still_allowed()
        try:
            found, below = (self.on_hub(source, revision), None) if on_hub else self._located(source, revision)
            wanted = self._wanted(found, below, selection, files, module, plan)
            if not set(wanted.files) <= found.files:
                self._decide(source, found, wanted)
        except SourceError:
            raise
        except TargetMissing as error:
            raise SourceMissing(str(did_you_mean(error, source)), error.filename) from None
        except TargetError as error:
            raise SourceError(str(did_you_mean(error, source))) from None
        return found.commit if below is None else None

    def known(self, source: str) -> bool:
        """Whether anything of this source has been admitted in this load."""
        if os.path.exists(source):
            return self._inside(source) is not None
        return any(p == source for p, _ in self._sources)

    def on_hub(self, source: str, revision: str | None = None) -> Source:
        """A repository by its name, at the commit that this load has pinned. Raises TargetError."""
        return self._on_hub(source, self._meant(source, revision))

    # finding it

    def _located(self, source: str, revision: str | None) -> tuple[Source, str | None]:
        """The source, and where in it a path leads; None for a repository by its name."""
        if not os.path.exists(source):
            return self._find(source, revision), None
        return self._inside(source) or (self._local(source), "")

    def _inside(self, source: str) -> tuple[Source, str] | None:
        """The source that a path lies in, where that is one of this load: a folder of a component, a snapshot."""
        folder, name = os.path.split(os.path.abspath(source))
        place = os.path.realpath(source) if os.path.isdir(source) else os.path.join(os.path.realpath(folder), name)
        for found in self._sources.values():
            if found.root is not None and (place == found.root or place.startswith(found.root + os.sep)):
                return found, place[len(found.root) + 1 :].replace(os.sep, "/")
        return None

    def _find(self, source: str, revision: str | None) -> Source:
        if os.path.exists(source):
            return self._local(source)
        return self.on_hub(source, revision)

    def _on_hub(self, source: str, revision: str | None, at: str | None = None) -> Source:
        """The repository at this revision; `at`: what that stands for, where it is known."""
        commit = self._pins.get((source, revision))
        if commit is None:
            return self._pinned(source, revision, self._listing(source, at or revision))
        return self._sources[source, commit]

    def _listing(self, source: str, revision: str | None) -> Listing:
        options = self.options
        try:
            return locked.listed(
                functools.partial(list_repo, remember=False),
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

    def _pinned(self, source: str, revision: str | None, listing: Listing) -> Source:
        """The source at the commit that was listed; whoever asks for this revision again gets that commit."""
        commit = listing.commit
        self._pins[source, revision] = self._pins[source, commit] = commit
        if revision == self.requested or revision is None:
            self._pins.setdefault((source, None), commit)
            self._pins.setdefault((source, "main"), commit)
        root = snapshot_folder(listing, self.options.cache_dir)
        there = Commit(listing, self.options)
        fresh = Source(("hub", source, commit), tuple(sorted(listing.sizes)), root, commit, listing, there)
        return self._sources.setdefault((source, commit), fresh)

    def _local(self, source: str) -> Source:
        place = os.path.realpath(source)
        found = self._sources.get((place, ""))
        if found is None:
            seen = os.stat(place)
            key = ("local", place, f"{seen.st_dev}:{seen.st_ino}")
            folder = os.path.isdir(place)
            names = tuple(names_below(place)) if folder else (os.path.basename(place),)
            found = self._sources[place, ""] = Source(key, names, place if folder else None)
        return found

    def _wanted(
        self,
        found: Source,
        below: str | None,
        selection: Selection | None,
        files: Sequence[str] | None,
        module: str | None,
        plan: Plan | None,
    ) -> Choice:
        """What of a source, or of the folder `below` in it, is opened; by its names in the whole source."""
        if found.root is None or below in found.names:
            return Choice((below,) if below else found.names)  # one file
        names, read = found.names, self._reader(found)
        if not below:
            return chosen(names, read, selection, files, module, plan, hub=below is None)
        start = f"{below}/"
        within = tuple(n.removeprefix(start) for n in names if n.startswith(start))
        choice = chosen(within, lambda name: read(start + name), selection, files, module, plan, hub=False)
        return replace(
            choice,
            files=tuple(start + n for n in choice.files),
            passed_over=tuple(replace(n, path=start + n.path) for n in choice.passed_over),
        )

    def _reader(self, found: Source) -> Reader:
        if found.there is not None:
            return found.there.read_small
        base = found.root or ""
        return lambda name: read_small(base, name, found.names)

    # deciding

    def _decide(self, source: str, found: Source, wanted: Choice) -> None:
        """Ask about the files where they lie; what has to be downloaded comes into a quarantine after that, is looked
        at once more, and is promoted only if it is what was accepted."""
        source = found.listing.repo_id if found.listing is not None else source
        gathered = self._gathered(source, found, wanted)
        request = self._request(source, gathered.opened)
        arriving = Arriving(request, gathered.opened, [(other.there, choice) for other, choice in gathered.wanted])
        if not arriving.needed:
            self._admitted(source, found, gathered)
        else:
            accepted = None if arriving.unclear else self._asked(source, found, gathered, arriving)
            with arriving.fetched():
                again = self._gathered(source, found, wanted)
                self._admitted(source, found, again, arriving, accepted)
                arriving.promote()
        for other, _ in gathered.wanted:
            if other.there is not None:
                other.there.note_revision()

    def _gathered(self, source: str, found: Source, wanted: Choice) -> Gathered:
        """Everything that the load opens, from this source and from those that it draws in."""
        opened = self._opened(source, found, wanted)
        if not self.arguments.get("trust_remote_code"):
            opened.provenance["remote_code"] = "refused"  # nothing that a configuration names as code will be run
        elsewhere = self._code_elsewhere(opened, wanted)
        drawn_in = self._drawn_in(opened, wanted.further)
        marks = {mark: other.key for mark, other, _ in drawn_in}
        others = [*elsewhere, *((other, choice) for _, other, choice in drawn_in)]
        return Gathered(opened, marks, [(found, wanted), *others])

    def _request(self, source: str, opened: Opened) -> LoadRequest:
        return LoadRequest(
            self.loader, source, opened.kind, self.arguments, self.requested, in_person_code=self.in_person_code
        )

    def _asked(self, source: str, found: Source, gathered: Gathered, arriving: Arriving) -> Grant:
        """The answer to what the Hub shows of files that are not here yet."""
        with contextlib.closing(gathered.opened):
            return walk.admit(
                self._request(source, gathered.opened),
                gathered.opened,
                nested=self.nested,
                settled=lambda report: (
                    self._belongs(source, report) or settled.covers_all(found.key, gathered.marks, report)
                ),
                instead=self.instead,
                report=arriving.report,
            )

    def _admitted(
        self,
        source: str,
        found: Source,
        gathered: Gathered,
        arriving: Arriving | None = None,
        accepted: Grant | None = None,
    ) -> None:
        """Scan what is here, decide on it, and hold what follows to it."""
        from nbguard.hooks.walls import code

        opened, marks = gathered.opened, gathered.marks
        self.grants.callback(opened.close)

        def known(report: Report) -> tuple[str, bool] | None:
            if arriving is not None and accepted is not None and accepted.enforced:
                return arriving.as_accepted(report, accepted)
            return self._belongs(source, report) or settled.covers_all(found.key, marks, report)

        grant = walk.admit(
            self._request(source, opened), opened, nested=self.nested, settled=known, instead=self.instead
        )
        if grant.enforced:
            settled.add_all(found.key, marks, grant.report, by_person=grant.accepted_by_person)
        self.grants.enter_context(grant)
        code.accept(grant)
        for other, choice in gathered.wanted:
            other.files.update(choice.files)

    def _belongs(self, source: str, report: Report) -> tuple[str, bool] | None:
        """What needs no second question within this very call, where it is explained data."""
        if report.verdict is not Verdict.SAFE:
            return None
        if source == self.chose_safetensors:
            return "The person chose the safetensors in the place of what was asked about.", True
        grant = grants.innermost()
        mine = grant is not None and self.configurations_follow and grant.request.loader == self.loader
        if mine and grant is not None and not {f.format for f in report.files} - {"json", "text", "jinja-template"}:
            return "Configurations of the checkpoint that was accepted in this call.", grant.accepted_by_person
        return None

    def _drawn_in(self, opened: Opened, further: Sequence[Further]) -> list[tuple[str, Source, Choice]]:
        """Other sources that the same load opens: their files, part of the same question, under a mark of their own.

        The mark holds two slashes in a row, so that no file of a repository or folder can have such a name. What cannot
        be had is noted, and asked about when the library reaches for it.
        """
        out: list[tuple[str, Source, Choice]] = []
        for other in further:
            mark = f"{'file' if os.path.exists(other.source) else 'hf'}://{other.source[:300]}/"
            try:
                found = self._find(other.source, other.revision)
                below = "" if os.path.exists(other.source) else None
                if other.needs and other.needs not in found.names:
                    continue  # it is no model: a configuration may name any folder, which is not read for that
                wanted = self._wanted(found, below, None, None, None, other.plan)
                beside = self._opened(other.source, found, wanted)
            except TargetError as error:
                opened.not_opened = (*opened.not_opened, NotScanned(other.source[:300], str(error)))
                continue
            for file in beside.files:
                file.path = mark + file.path
            opened.files = (*opened.files, *beside.files)
            opened.provenance[f"also from {other.source[:300]}"] = found.commit or "folder"
            out.append((mark, found, wanted))
        return out

    def _code_elsewhere(self, opened: Opened, wanted: Choice) -> list[tuple[Source, Choice]]:
        """Code of other repositories that this one names: pinned, and part of the same question."""
        out: list[tuple[Source, Choice]] = []
        for repo_id, module in wanted.code_elsewhere:
            try:
                at = locked.revision_of(repo_id, self.code_revision)
                found = self._on_hub(repo_id, self.code_revision, at)
                choice = Choice(tuple(sorted(code_closure(found.names, self._reader(found), [module]))))
                if not choice.files:
                    raise TargetError(f"{repo_id} has no file {module[:200]!r}.")
                beside = self._opened(repo_id, found, choice)
            except TargetError as error:
                opened.not_opened = (*opened.not_opened, NotScanned(f"{repo_id}/{module}"[:300], str(error)))
                continue
            there = {f.path for f in opened.files}
            for file in beside.files:
                file.path = f"{repo_id}/{file.path}"
            opened.files = (*opened.files, *(f for f in beside.files if f.path not in there))
            opened.provenance[f"code from {repo_id}"] = found.commit or ""
            out.append((found, choice))
        return out

    def _opened(self, source: str, found: Source, wanted: Choice) -> Opened:
        if found.there is not None:
            found.there.anew = self.options.force_download and not found.files
            return found.there.open(wanted)
        if found.root is None:
            return open_path(source)
        opened = open_files(found.root, wanted.files, target=source, kind="directory")
        opened.provenance.update({"source": "folder", "path": found.root})
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
