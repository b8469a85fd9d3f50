"""A repository's files into the Hub's cache or a folder, in six steps, none of which can be left out.

    done = fetch(Request("org/name", revision="main"), settle=settle, say=print)
    done.path, done.checksums

1. who published it, under which name; 2. what will be fetched and what will not, judged where it lies; 3. into a
quarantine; 4. each file's digest against the one that the Hub lists; 5. the scan of what came; 6. promotion by rename.
Whether to go on is not decided here: `settle` is asked about the name, about what the Hub shows, and about what came.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from nbguard.acquire import checksums
from nbguard.acquire.picking import CODE, Row, has_weights, pick
from nbguard.artifact import quarantine
from nbguard.artifact.checkpoints import Choice
from nbguard.artifact.hub import list_repo
from nbguard.artifact.hub_listing import Listing, repository_folder
from nbguard.artifact.model import Artifact, NotScanned
from nbguard.artifact.names import shown
from nbguard.artifact.remote_repo import RemoteFile, open_listed, told
from nbguard.artifact.sources import HELD_OPEN, Opened
from nbguard.errors import LoadBlocked, TargetError
from nbguard.provenance import did_you_mean, with_name
from nbguard.provenance.checksums import VerificationError, parse_manifest, read_bounded
from nbguard.report.escape import terminal
from nbguard.report.model import FileReport, Report, Severity, Verdict
from nbguard.report.words import size

Progress = Callable[[float, str], None]
MOST_LOOKED_AT = 8
"""Pickles that are looked at where they lie before it is said what to do with them."""
REMINDER = "Before you deploy it, verify the checksums once more where it will run."


class DownloadRefused(LoadBlocked):
    """A download was stopped, and nothing of it is where a loader would look.

    Attributes:
        report: what was found; None where the name or the list was the reason.
        place: the folder of the quarantine; None where nothing was fetched.
    """

    def __init__(self, message: str, report: Report | None = None, place: str | None = None) -> None:
        kept = f" What was fetched is kept in {place}; delete that folder once you have looked." if place else ""
        between = "" if message.endswith("\n") else " "
        super().__init__(f"{message}{between}Nothing was promoted.{kept}", report)
        self.place = place


@dataclass(frozen=True)
class Request:
    """What is to be downloaded."""

    repo_id: str
    revision: str | None = None
    to: str | os.PathLike[str] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    pickles: bool = False
    code: bool = False
    dry_run: bool = False
    token: str | bool | None = None
    cache_dir: str | os.PathLike[str] | None = None


@dataclass(frozen=True)
class Downloaded:
    """What became of it."""

    repo_id: str
    commit: str
    path: str | None
    """The folder that the files lie in; None for a dry run."""
    files: tuple[Row, ...]
    """The whole list: what was fetched, and what was not."""
    report: Report
    """On what came; for a dry run, on what the Hub shows."""
    sha256: dict[str, str] = field(default_factory=dict)
    checksums: str | None = None
    """The file that `sha256sum -c` reads, from within `path`."""
    fetched: int = 0
    """Bytes that came over the network for the files; the others were there already."""
    metadata: dict[str, str] = field(default_factory=dict)
    later: bool = False
    """Of a dry run: all that the report calls unverifiable is only too large to be judged before it is here."""

    def to_json(self) -> dict[str, Any]:
        return {
            "repo_id": self.repo_id,
            "commit": self.commit,
            "path": self.path,
            "verdict": self.report.verdict.word,
            "metadata": self.metadata,
            "files": [{**vars(row), "sha256": self.sha256.get(row.path)} for row in self.files],
            "checksums": self.checksums,
            "fetched": self.fetched,
            "judged_later": self.later,
            "report": self.report.to_json(),
        }


Settle = Callable[[Report, Opened | None, str], str]
"""Given a report, what is open, and the stage (`name`, `remote`, `quarantine`): why it does not go on, as a sentence;
empty where it does."""


def fetch(
    wanted: Request,
    *,
    settle: Settle,
    say: Callable[[str], object] = lambda text: None,
    progress: Progress | None = None,
    record: Callable[[Listing, dict[str, str]], str] | None = None,
) -> Downloaded:
    """Do all six steps, or for a dry run the first two.

    Args:
        settle: decides.
        say: told what a person should read, escaped for a terminal.
        record: keeps the checksums of files that were promoted into the cache; returns where.

    Raises:
        DownloadRefused: the answer was no, or there is nothing safe to fetch.
        TargetError: it could not be done; a `QuarantineError` says where what came so far is.
    """
    from nbguard import settings
    from nbguard.scanners import scan_opened

    tell = progress or (lambda share, what: None)

    def judged(opened: Opened) -> Report:
        if not wanted.code:  # none is fetched, and whoever loads with trust_remote_code is stopped anew
            opened.provenance["remote_code"] = "refused"
        return with_name(_whole(scan_opened(opened, limits=settings.scan_limits(), progress=tell)))

    def seen(names: tuple[str, ...]) -> Report | None:
        """What the Hub shows of files that are not fetched."""
        try:
            with open_listed(listing, Choice(names), token=wanted.token, cache_dir=wanted.cache_dir) as looked:
                return judged(looked)
        except TargetError:
            return None

    try:
        listing = list_repo(wanted.repo_id, revision=wanted.revision, token=wanted.token,
                            cache_dir=wanted.cache_dir, remember=False)  # fmt: skip
    except TargetError as error:
        raise did_you_mean(error, wanted.repo_id) from None
    if listing.cached:
        raise TargetError(f"The Hub could not be asked about {wanted.repo_id}, so nothing was downloaded.")
    metadata, remarks, unsafe = _metadata(listing)
    say("[1/6] Metadata")
    named = _of_name(listing)
    for line in (*_about_name(named), *(f"{key}: {value}" for key, value in metadata.items()), *remarks):
        say(f"      {terminal(line, 300)}")
    _stop(settle(named, None, "name"))

    rows = pick(listing.sizes, pickles=wanted.pickles, code=wanted.code, include=wanted.include,
                exclude=wanted.exclude)  # fmt: skip
    names = tuple(row.path for row in rows if row.fetch)
    passed = tuple(NotScanned(row.path, f"not downloaded: {row.why}") for row in rows if not row.fetch)
    _something(wanted, rows, names, unsafe, seen)
    with open_listed(listing, Choice(names, passed), token=wanted.token, cache_dir=wanted.cache_dir) as looked:
        remote = judged(looked)
        failed, later = _unread(remote, looked)
        remote = replace(remote, not_scanned=told(looked).not_opened)
    rows = tuple(_weighed(row, remote) for row in rows)
    say(f"[2/6] {len(names):,} of {len(rows):,} files, {size(sum(row.size or 0 for row in rows if row.fetch))};"
        f" judged where they lie: {remote.verdict.word}")  # fmt: skip
    for line in table(rows):
        say(f"      {line}")
    if later:
        say("      What is too large to be judged where it lies is judged in the quarantine, after the download.")
    if wanted.dry_run:
        say("      This was a dry run: nothing was written.")
        return Downloaded(listing.repo_id, listing.commit, None, rows, remote, metadata=metadata, later=later)
    if failed:
        raise TargetError(f"{listing.repo_id} could not be looked into: {failed} Nothing was fetched.")
    if not later:
        _stop(settle(remote, None, "remote"), remote)

    if wanted.to is not None:
        _checksums(wanted, listing)  # before anything moves
    with quarantine.hold(listing, names, token=wanted.token, cache_dir=wanted.cache_dir, progress=tell,
                         to=wanted.to) as held:  # fmt: skip
        came = f"{size(held.fetched)} fetched" if held.fetched else "nothing had to be fetched: all was here already"
        say(f"[3/6] Quarantine: {terminal(held.place, 500)} ({came})")
        for sentence in held.distrusted:
            say(f"      {terminal(sentence, 500)}")
        say(f"[4/6] Digests: all {len(names):,} files are what the Hub lists")
        with held.open(Choice(names, passed)) as opened:
            report = judged(opened)
            say(f"[5/6] Scan: {report.verdict.word}. {terminal(' '.join(report.summary), 500)}")
            _stop(settle(report, opened, "quarantine"), report, held.place)
            for number, file in enumerate(opened.files):
                if not file.unchanged():
                    raise quarantine.QuarantineError(f"{file.path} was changed while it was scanned.", held.place)
                if number >= HELD_OPEN:
                    file.park()
            done = Downloaded(listing.repo_id, listing.commit, None, rows, report, dict(held.sha256),
                              fetched=held.fetched, metadata=metadata)  # fmt: skip
            done = _promoted(done, held, wanted, listing, record)
    say(f"[6/6] Promoted to {terminal(done.path or '', 500)}")
    if done.checksums:
        there, sums = shlex.quote(done.path or ""), shlex.quote(done.checksums)
        say(f"      Checksums: (cd {terminal(there, 500)} && sha256sum -c {terminal(sums, 500)})")
    say(f"      {REMINDER}")
    return done


def _promoted(
    done: Downloaded,
    held: quarantine.Held,
    wanted: Request,
    listing: Listing,
    record: Callable[[Listing, dict[str, str]], str] | None,
) -> Downloaded:
    if wanted.to is None:
        path = held.promote()
        return replace(done, path=path, checksums=record(listing, done.sha256) if record is not None else None)
    try:
        name, before = _checksums(wanted, listing)
    except TargetError as error:
        raise quarantine.QuarantineError(str(error), held.place) from None
    path = held.promote_to(wanted.to)
    place = os.path.join(path, name)
    draft = f"{place}.{os.getpid()}"
    with open(draft, "x", encoding="utf-8", newline="") as file:
        file.write(checksums.text({**before, **done.sha256}.items()))
    os.replace(draft, place)
    return replace(done, path=path, checksums=place)


def _checksums(wanted: Request, listing: Listing) -> tuple[str, dict[str, str]]:
    """How the file of checksums is called in the folder of `--to`, and what one that lies there says of other files.

    Raises:
        TargetError: what lies there is no plain file, or holds more than lines as they are written here.
    """
    name = checksums.FILE_NAME
    while name in listing.sizes:
        name = f"nbguard-{name}"
    place = os.path.join(os.path.abspath(wanted.to or ""), name)
    if not os.path.lexists(place):
        return name, {}
    if os.path.islink(place) or not os.path.isfile(place):
        raise TargetError(f"{shown(place)} is no plain file, so no checksums can be written.")
    try:
        data = read_bounded(place)
        before = parse_manifest(data, label=shown(place))
        kept = sorted(data.splitlines()) == sorted(checksums.text(before.items()).encode().splitlines())
    except (TargetError, VerificationError, UnicodeEncodeError):
        kept = False
    if not kept:
        raise TargetError(
            f"{shown(place)} is there already and holds more than SHA-256 lines as sha256sum writes them; it is not"
            " replaced. Move it away, or choose another folder."
        )
    return name, before


def _stop(why: str, report: Report | None = None, place: str | None = None) -> None:
    if why:
        raise DownloadRefused(why, report, place)


def _whole(report: Report) -> Report:
    """Where nothing but papers (texts, pictures) is fetched, they are what is judged."""
    if any(not f.inert for f in report.files):
        return report
    return replace(report, files=tuple(replace(f, inert=False) for f in report.files))


def _something(
    wanted: Request,
    rows: tuple[Row, ...],
    names: tuple[str, ...],
    unsafe: str,
    seen: Callable[[tuple[str, ...]], Report | None],
) -> None:
    """Raise where what would be fetched is no model, and say what to do.

    Args:
        unsafe: what the Hub's own scanners say against it.
        seen: looks at files where they lie.
    """
    if has_weights(rows, fetched=False) and not has_weights(rows, fetched=True) and not wanted.include:
        source = wanted.repo_id + (f"@{wanted.revision}" if wanted.revision else "")
        pickles = tuple(row.path for row in rows if row.why.startswith("a pickle"))[:MOST_LOOKED_AT]
        found = seen(pickles) if pickles else None
        if found is not None and found.verdict is Verdict.DANGER:
            unsafe = "Loading its pickles would do something harmful or unexplained."
        if unsafe:
            said = "Do not load them, in whatever form; ask the publisher for safetensors, or take another model."
            raise DownloadRefused(f"{source} has no safetensors weights. {unsafe} {said}", found)
        raise DownloadRefused(
            f"{source} has no safetensors weights, and pickles are not fetched unasked."
            f" Have them converted in an isolated process (nbguard convert {source} --to FOLDER), ask the publisher for"
            " safetensors, or ask for the pickles, which are then scanned (--pickles)."
        )
    if not names:
        raise TargetError(
            f"Nothing of {wanted.repo_id} is to be fetched; pickles are asked for with --pickles, and code with --code."
        )


def _of_name(listing: Listing) -> Report:
    """What the name alone says."""
    artifact = Artifact(listing.repo_id, "hub", (), listing.commit)
    nothing = FileReport(listing.repo_id, 0, "name", Verdict.SAFE)
    return with_name(Report(listing.repo_id, artifact, (nothing,), provenance=listing.provenance))


def _about_name(named: Report) -> Iterator[str]:
    """What is to be said of the name before anything else."""
    meant = named.advice.meant
    asked = f" Did you mean {meant.name}?" if meant is not None else ""
    for finding in named.findings:
        yield f"{finding.severity.word.upper()}: {finding.message}{asked}"


def _metadata(listing: Listing) -> tuple[dict[str, str], list[str], str]:
    """What the Hub says of the repository, and what follows from it, as much as it answers; and what its own scanners
    call unsafe, as a sentence."""
    from nbguard.provenance import facts

    said, about = listing.provenance, listing.hub
    kept = {"id": listing.repo_id, "author": said.get("publisher", ""), "commit": listing.commit}
    remarks: list[str] = []
    unsafe = ""
    try:
        if about is None:
            raise ValueError("the Hub was not asked")
        files = about.files()
        found = facts.facts_from_model_info(about.info, about.overview(), requested=listing.repo_id, files=files)
        now = datetime.now(UTC)
        private = None if found.private is None else "yes" if found.private else "no"
        kept |= {k: v for k, v in (("private", private), ("tags", ", ".join(found.tags[:10]))) if v}
        kept |= {k: v for k, v in facts.rows(found, now).items() if k != "owner" or found.owner_kind}
        against = [f for f in facts.findings(found, now) if f.rule != "publisher.few-downloads"]  # a row says it
        remarks = [f"{finding.severity.word.upper()}: {finding.message}" for finding in against]
        bad = (f for f in against if f.rule == "publisher.hub-scan" and f.severity >= Severity.HIGH)
        unsafe = next((f.message for f in bad), "")
    except Exception as error:  # noqa: BLE001 - whatever the client makes of a hostile answer: the list is what counts
        remarks = [f"The Hub answered no more than the list of files ({type(error).__name__})."]
        kept |= {k: said[k] for k in ("downloads", "likes", "library", "modified") if said.get(k)}
    return kept, remarks, unsafe


def _unread(report: Report, there: Opened) -> tuple[str, bool]:
    """Why the server let nothing more be read of a file; and whether all that is unverifiable is only too large to be
    read from afar."""
    unread = {f.path for f in report.files if f.verdict is Verdict.UNVERIFIABLE and not f.inert}
    if report.verdict is not Verdict.UNVERIFIABLE:
        return "", False
    stopped = [f.remote for f in there.files if f.path in unread and isinstance(f, RemoteFile) and f.remote.failed]
    failed = next((reading.failed for reading in stopped if not reading.beyond), "")
    return failed, not failed and len(stopped) == len(unread) > 0


def _weighed(row: Row, report: Report) -> Row:
    """With what the remote scan says of the file in the place of what its name does. Code stays what it is."""
    found = next((f for f in report.files if f.path == row.path), None)
    if not row.fetch or found is None or row.path.lower().endswith(CODE):
        return row
    if found.verdict is Verdict.DANGER:
        return replace(row, kind="dangerous")
    return replace(row, kind="safe" if found.inert or found.verdict is Verdict.SAFE else "to be checked")


def table(rows: tuple[Row, ...]) -> Iterator[str]:
    """The list of files as lines for a terminal; what is fetched comes first."""
    width = min(60, max((len(terminal(row.path, 120)) for row in rows), default=0))
    for row in sorted(rows, key=lambda r: not r.fetch):
        mark, length = "+" if row.fetch else "-", "?" if row.size is None else f"{row.size:,}"
        yield f"{mark} {terminal(row.path, 120):<{width}}  {length:>15}  {row.kind:<13}  {row.why}"


def cache_record_name(listing: Listing) -> str:
    """The name of the record that keeps the checksums of one commit in the cache."""
    return f"{os.path.basename(repository_folder(listing.repo_id, None))}-{listing.commit}.sha256"
