"""Download a repository the safe way: looked at first, quarantined, compared, scanned, and only then promoted.

done = nbguard.download("org/name", revision="main")
done.path                                   # the snapshot in the Hub's cache, which from_pretrained loads
nbguard.download("org/name", to="models/name", dry_run=True).files
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbguard.acquire import checksums
from nbguard.acquire.download import Downloaded, DownloadRefused, Request, cache_record_name, fetch
from nbguard.artifact.model import LoadRequest
from nbguard.errors import TargetError
from nbguard.report.model import Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.hub_listing import Listing
    from nbguard.artifact.sources import Opened

LOADER = "nbguard.download"
_NAMED = re.compile(r"(?:hf://)?(?P<id>[^@\s]{1,250})(?:@(?P<revision>[\w./-]{1,100}))?\Z")

Accept = bool | Callable[[Report], bool] | None


def download(
    repo_id: str,
    *,
    revision: str | None = None,
    to: str | os.PathLike[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    pickles: bool = False,
    code: bool = False,
    accept: Accept = None,
    dry_run: bool = False,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    say: Callable[[str], object] | None = print,
    progress: Callable[[float, str], None] | None = None,
) -> Downloaded:
    """Fetch a repository's safetensors, configurations, tokenizers and texts, in six steps that are shown.

    Args:
        repo_id: `org/name`, `org/name@revision` or `datasets/org/name`.
        revision: branch, tag or commit.
        to: a folder for plain files; by default they go into the Hub's ordinary cache.
        include, exclude: globs that narrow what is fetched; other kinds are fetched where `include` names them.
        pickles: pickles, and weights in other formats, too.
        code: the repository's code too.
        accept: whether what a person should look at first (verdict *review*, or a name like another's) is accepted
            without a question: True, or a function of the report. Danger and what is unverifiable never are, and True
            accepts no name that was made to be taken for another one's.
        dry_run: only look; nothing is written.
        say: shown the steps; None for silence.
        progress: called with the share done and what is being fetched; by default a bar where somebody looks.

    Raises:
        DownloadRefused: nothing was promoted, because of what was found; it is a `LoadBlocked`.
        TargetError: it could not be done; the sentence says where what came so far is kept, and trying again goes on.
    """
    from nbguard import gate

    match = _NAMED.match(repo_id)
    if match is None:
        raise TargetError(f"{repo_id[:200]!r} is not the name of a repository; it should look like org/name.")
    wanted = Request(match["id"], revision or match["revision"], to, tuple(include), tuple(exclude), pickles, code,
                     dry_run, token, cache_dir)  # fmt: skip
    way = _Way(wanted, accept)
    told = say or (lambda text: None)
    try:
        if progress is not None:
            done = fetch(wanted, settle=way.settle, say=told, progress=progress, record=_keep)
        else:
            with gate.progress(f"Downloading {wanted.repo_id}") as moved:
                done = fetch(wanted, settle=way.settle, say=told, progress=moved, record=_keep)
    except DownloadRefused as refused:
        way.note("download.refused", refused.report, why=str(refused))
        raise
    except TargetError as error:
        way.note("download.failed", None, why=str(error))
        raise
    except KeyboardInterrupt:
        way.note("download.interrupted", None)
        raise
    if not dry_run:
        way.note("download.promoted", done.report, commit=done.commit, place=done.path, fetched=done.fetched,
                 files=sum(row.fetch for row in done.files), checksums=done.checksums)  # fmt: skip
    return done


class _Way:
    """Who decides on one download, and what is written down about it."""

    def __init__(self, wanted: Request, accept: Accept) -> None:
        self.wanted, self.accept = wanted, accept
        self.name_accepted = False
        self._names: set[str] = set()
        """Look-alikes that were accepted."""

    def settle(self, report: Report, opened: Opened | None, stage: str) -> str:
        """See `nbguard.acquire.download.Settle`."""
        from nbguard import approvals, gate, policy
        from nbguard.hooks.local_code import with_local_modules

        if stage == "name" and (report.verdict is Verdict.SAFE or self.wanted.dry_run):
            return ""
        report = with_local_modules(report)
        approved = approvals.find(report, opened) if stage == "quarantine" else None
        request = LoadRequest(LOADER, self.wanted.repo_id, "hub", revision=self.wanted.revision)
        alike = _lookalikes(report) - self._names
        accept = None if self.accept is True and alike else self.accept  # it was said before the name was looked at
        there = accept is not None or gate.frontend() != "none"
        decision = policy.decide(report, policy.current(), policy.Situation(approved, there, request))
        allowed = decision.action == "allow" or (report.verdict is Verdict.SAFE and there)
        if report.verdict is Verdict.UNVERIFIABLE:
            return self._why(report, f"{_elsewhere(report)}What could not be read to the end is not downloaded.")
        if stage == "name" and self._approved_some():  # by the bytes, once they are here
            return ""
        if stage == "remote" and (decision.action == "ask" or self._approved_some()):
            allowed = allowed or report.verdict is Verdict.REVIEW or self._approved_some()
        if allowed:
            if stage == "quarantine":
                self.note("download.accepted", report, rules=list(decision.rules))
            return ""
        if report.verdict is Verdict.DANGER:
            return self._why(report, "It would do something harmful or unexplained when it is loaded.")
        if decision.action == "deny":
            also = " Such a name is not accepted by --yes (accept=True) alone." if alike and self.accept is True else ""
            asking = report.verdict is Verdict.REVIEW and "review.headless.refuse" in decision.rules and not alike
            way = "Or, once you have looked at it, the same with --yes (accept=True in Python).\n" if asking else ""
            return self._why(report, decision.reason + also, way)
        if self.name_accepted and stage == "quarantine" and _only_name(report) and not alike:
            self.note("download.accepted", report, rules=list(decision.rules), why="the name was accepted before")
            return ""
        why = self._asked(report, opened, decision, request, stage, accept)
        if not why:
            self._names |= alike
        return why

    def _approved_some(self) -> bool:
        """Whether some content of this repository was approved; whether this one is, only its bytes say."""
        from nbguard.approvals import Store

        names = (approval.target.removeprefix("hf://").partition("@")[0] for approval in Store().list())
        return self.wanted.repo_id in names

    def _asked(
        self, report: Report, opened: Opened | None, decision: Any, request: LoadRequest, stage: str, accept: Accept
    ) -> str:
        from nbguard import gate
        from nbguard.gate.answer import person

        if accept is not None:
            yes = accept if isinstance(accept, bool) else bool(accept(report))
            who, reason = person(), "accepted beforehand"
            if not yes:
                return self._why(report, "It was not accepted.")
        else:
            from nbguard.hooks.advice import advised

            answer = gate.ask(advised(report, opened, None), decision, request)
            who, reason = answer.who, answer.reason
            if answer.choice not in ("once", "always"):
                return self._why(report, "It was not accepted.")
        self.name_accepted = self.name_accepted or stage == "name"
        self.note(f"download.{'name-' if stage == 'name' else ''}accepted", report, who=who, reason=reason,
                  rules=list(decision.rules))  # fmt: skip
        return ""

    @staticmethod
    def _why(report: Report, sentence: str, way: str = "") -> str:
        from nbguard.policy import reason_asked
        from nbguard.report.text import brief

        return f"{sentence}\n{brief(report, reason=reason_asked(report))}\n{way}"

    def note(self, event: str, report: Report | None, **more: Any) -> None:
        """An entry in the audit log; a dry run decides nothing."""
        from nbguard.approvals import AuditLog

        if self.wanted.dry_run:
            return
        fields = {} if report is None else {
            "verdict": report.verdict.word,
            "artifact": report.artifact.digest,
            "contract": report.contract.digest,
        }  # fmt: skip
        target = self.wanted.repo_id + (f"@{self.wanted.revision}" if self.wanted.revision else "")
        AuditLog().record(event, loader=LOADER, target=target, **fields, **more)


def _elsewhere(report: Report) -> str:
    """What to do where code lies in a repository that is not fetched with this one."""
    if not any(f.rule == "code.cross-repository" for f in report.findings):
        return ""
    return "It takes code from another repository, which --code does not fetch: leave --code out, or get that one too. "


def _lookalikes(report: Report) -> set[str]:
    """Names in it that were made to be taken for other ones."""
    return {f.file for f in report.findings if f.rule.startswith("name.") and f.severity is Severity.CRITICAL}


def _only_name(report: Report) -> bool:
    """Whether nothing but the name makes the report worse than safe."""
    return all(file.verdict is Verdict.SAFE for file in report.files if not file.inert)


def _keep(listing: Listing, sha256: dict[str, str]) -> str:
    """The record of the checksums of one commit in the cache, in this user's data directory."""
    from nbguard import settings

    folder = settings.private_dir(settings.data_dir() / "checksums")
    place = folder / cache_record_name(listing)
    try:
        before = place.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        before = ""
    draft = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        draft.write_text(checksums.text(sha256.items(), before=before), encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        print(f"nbguard: the checksums could not be kept: {error.strerror}.", file=sys.stderr)
    return str(place)


__all__ = ["DownloadRefused", "Downloaded", "download"]
