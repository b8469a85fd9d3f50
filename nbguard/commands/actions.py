"""Scan, approve, revoke: the acts behind both faces, without any words to a terminal or a notebook.

report = scan_target("org/name", revision="main")
given, report = approve("model.pkl", reason="from our own trainer", expires=expiry("30d"))
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.errors import NbguardError, TargetError
from nbguard.policy import UNSAID, Policy, PolicyError, Unsaid, current, lifetime, needs_reason
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.approvals import Approval
    from nbguard.artifact.sources import Opened

Progress = Callable[[float, str], None]
"""Share done, 0 to 1, and what is being read."""

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
LEAST_DIGITS = 12
"""Hexadecimal digits of an artifact's digest that name it: 48 bits."""
MAX_EXPIRY = 10 * 365 * 86_400
"""Seconds; an approval for longer is one without an end, which has a word of its own."""


class ActionError(NbguardError):
    """Something that was asked for is not done. The message is one plain sentence."""


def open_target(target: str, revision: str | None = None, *, remote: bool = False, offline: bool = False) -> Opened:
    """Open a path or a Hub repository (`org/name`, `hf://org/name@revision`). Raises TargetError.

    Args:
        remote: open a repository where it lies, without downloading it.
        offline: of a repository, look into the cache only.
    """
    from nbguard.provenance import did_you_mean
    from nbguard.scanners import targets

    try:
        return targets.open_target(target, revision, remote=remote, offline=offline)
    except TargetError as error:
        raise did_you_mean(error, target) from None


def scan_target(
    target: str, *, revision: str | None = None, offline: bool = False, progress: Progress | None = None
) -> Report:
    """The report on a path, or on a Hub repository where it lies. Raises TargetError."""
    from nbguard.hooks.advice import advised
    from nbguard.scanners.orchestrate import holds_model

    with open_target(target, revision, remote=True, offline=offline) as opened:
        report = scan_opened(opened, target, progress)
        if opened.kind == "directory" and not any(holds_model(f) for f in report.files):
            raise TargetError(f"{opened.target} holds no model and no code that comes with one.")
        return advised(report, opened, None)


def scan_opened(opened: Opened, target: str, progress: Progress | None = None) -> Report:
    """The report on what is open, under the limits that are set."""
    from nbguard import scanners, settings
    from nbguard.hooks.published import published

    report = scanners.scan_opened(opened, limits=settings.scan_limits(), progress=progress)
    return published(_as_given(report, target), opened)


def approve(
    target: str,
    *,
    revision: str | None = None,
    reason: str = "",
    expires: float | Unsaid | None = UNSAID,
    digest: str | None = None,
    accept_danger: bool = False,
    show: Callable[[Report], None] | None = None,
    progress: Progress | None = None,
) -> tuple[Approval, Report]:
    """Scan the target and record that it may be loaded; `show` is called with the report before anything is recorded.

    Args:
        expires: seconds since the epoch; None: never. Without it, as the policy says.
        digest: refuse unless the artifact's digest begins with this.
        accept_danger: what is known to be harmful or unexplained may be approved too, where the policy counts that.

    Raises:
        TargetError: it cannot be found or read.
        ActionError: it is unverifiable, dangerous, not what `digest` names, or the policy counts no approval of it.
        RecordError: approvals or audit log cannot be written; nothing was approved.
    """
    from nbguard.approvals import AuditLog, RecordError, Store
    from nbguard.hooks.advice import advised, remember

    policy = current()
    wanted = None if digest is None else _digits(digest)
    with looked_at(target, revision, progress) as (opened, report):
        report = advised(report, opened, None)
        if show is not None:
            show(report)
        may_be_approved(report, policy, accept_danger)
        until = _until(policy, report, expires, reason)
        if wanted is not None and not report.artifact.digest.startswith(wanted):
            raise ActionError(f"The content is not the one named: its digest is {report.artifact.digest}.")
        store = Store()
        given = store.remember(report, opened, getpass_user(), reason, until)
        remember(report, opened, given.who, reason, given.id)
    try:
        AuditLog().record(
            "approval.given",
            approval=given.id,
            target=given.target,
            verdict=report.verdict.word,
            artifact=given.artifact,
            contract=given.contract,
            expires=given.to_json()["expires"],
            reason=given.reason,
        )
    except RecordError:
        store.revoke(given.id)
        raise
    return given, report


@contextlib.contextmanager
def looked_at(target: str, revision: str | None, progress: Progress | None = None) -> Iterator[tuple[Opened, Report]]:
    """The target, open, with the report on it. A repository is looked at where it lies, and only downloaded where all
    of its bytes are needed to judge it: the digests that the Hub lists are those that a load compares.

    Raises TargetError.
    """
    from nbguard.artifact.remote_repo import RemoteFile

    with open_target(target, revision, remote=True) as opened:
        report = scan_opened(opened, target, progress)
        later = any(isinstance(file, RemoteFile) and file.remote.beyond for file in opened.files)
        if report.verdict is not Verdict.UNVERIFIABLE or not later:
            yield opened, report
            return
    with open_target(target, report.artifact.commit or revision) as opened:
        yield opened, scan_opened(opened, target, progress)


def revoke(what: str, reason: str = "") -> tuple[Approval, ...]:
    """Revoke by id, target or digest; returns what was in force. Raises ActionError where nothing goes by that."""
    from nbguard.approvals import Store

    found = Store().revoke(what, getpass_user(), reason)
    if not found:
        raise ActionError(_NOTHING_GOES_BY_IT)
    for approval in found:
        _note("approval.revoked", approval, reason=reason)
    return found


def expire(what: str, when: float) -> tuple[Approval, ...]:
    """Let approvals end at `when` (seconds since the epoch), where that is sooner; returns them as they are now.

    Raises:
        ActionError: nothing in force goes by that id, target or digest, or all of it ends sooner already.
    """
    from nbguard.approvals import Store
    from nbguard.approvals.store import goes_by

    store = Store()
    found = store.expire(what, when)
    if not found:
        if any(goes_by(approval, what) for approval in store.list()):
            raise ActionError("It ends sooner already. For longer, look at the content and approve it again.")
        raise ActionError(_NOTHING_GOES_BY_IT)
    for approval in found:
        _note("approval.expires", approval, expires=approval.to_json()["expires"])
    return found


def prune(ended_before: float, *, dry_run: bool = False) -> tuple[Approval, ...]:
    """Delete approvals that were revoked or expired before this moment; the audit log keeps that they were given."""
    from nbguard.approvals import Store

    found = Store().prune(ended_before, dry_run=dry_run)
    for approval in () if dry_run else found:
        _note("approval.pruned", approval)
    return found


def _note(event: str, approval: Approval, **more: object) -> None:
    from nbguard.approvals import AuditLog

    AuditLog().record(event, approval=approval.id, target=approval.target, artifact=approval.artifact, **more)


_NOTHING_GOES_BY_IT = "No approval in force goes by that id, target or digest; see 'nbguard approvals'."


def expiry(text: str, now: float | None = None) -> float | None:
    """`30d`, `12h`, `4w`, `90m`, a date (`2027-01-31`, its end in UTC) or `never`, as seconds since the epoch.

    Raises:
        ActionError: it is none of these, lies in the past, or more than ten years ahead.
    """
    start = time.time() if now is None else now
    word = text.strip().lower()
    if word == "never":
        return None
    moment: float | None = None
    if match := re.fullmatch(r"([0-9]{1,9})([mhdw])", word):
        moment = start + int(match[1]) * _UNITS[match[2]]
    elif re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", word):
        try:
            day = datetime.datetime.fromisoformat(word).replace(tzinfo=datetime.UTC)
        except ValueError:
            pass
        else:
            moment = day.timestamp() + 86_400
    if moment is None:
        raise ActionError("An expiry is written 30d, 12h, 4w, 90m, 2027-01-31 or never.")
    if not start < moment <= start + MAX_EXPIRY:
        raise ActionError("An expiry lies ahead, by at most ten years; 'never' means without end.")
    return moment


def age(text: str) -> float:
    """`30d`, `12h`, `4w`, `90m` as seconds. Raises ActionError."""
    match = re.fullmatch(r"([0-9]{1,9})([mhdw])", text.strip().lower())
    if match is None:
        raise ActionError("An age is written 30d, 12h, 4w or 90m.")
    return float(int(match[1]) * _UNITS[match[2]])


def getpass_user() -> str:
    """Who is asking, as the system knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without an entry or environment
        return "unknown"


def _until(policy: Policy, report: Report, asked: float | Unsaid | None, reason: str) -> float | None:
    """When the approval ends. Raises ActionError: too late for the policy, or without the reason that it asks for."""
    reason_given(report, policy, reason, "Nothing was recorded.")
    try:
        return lifetime(policy, report.verdict, asked)
    except PolicyError as error:
        raise ActionError(f"{error} Nothing was recorded.") from None


def reason_given(report: Report, policy: Policy, reason: str, otherwise: str) -> None:
    """Raises ActionError where a reason is asked for, and this is none; `otherwise` says what became of it then."""
    if reason.strip():
        return
    if needs_reason(policy, report.verdict):
        raise ActionError(f"The policy {policy.name!r} asks for a reason here; say it with --reason. {otherwise}")
    if report.false_name is not None:
        raise ActionError(f"{_taken_for(report)}; say with --reason why it is this one all the same. {otherwise}")


def _taken_for(report: Report) -> str:
    meant = report.advice.meant
    return f"This name was made to be taken for {meant.name if meant is not None else 'another one'}"


def may_be_approved(report: Report, policy: Policy, accept_danger: bool) -> None:
    """Raises ActionError where nobody may approve this, or not without saying that the danger is accepted."""
    if report.verdict is Verdict.UNVERIFIABLE:
        raise ActionError("What could not be read to the end cannot be approved; nothing was recorded.")
    if report.verdict is Verdict.DANGER:
        if not policy.danger_stored:
            raise ActionError(
                f"The policy {policy.name!r} lets nobody approve what is dangerous; nothing was recorded."
            )
        if not accept_danger:
            raise ActionError(
                "This is dangerous, so nothing was recorded; where you know what it does and accept it,"
                " say so with --i-accept-danger."
            )
    if report.false_name is not None and not accept_danger:
        raise ActionError(
            f"{_taken_for(report)}, so nothing was recorded; where you know whose it is and accept it, say so with"
            " --i-accept-danger and a --reason."
        )
    if report.verdict is Verdict.REVIEW and not policy.review_stored:
        raise ActionError(f"The policy {policy.name!r} counts no approval of it; nothing was recorded.")


def _digits(given: str) -> str:
    """The beginning of a digest, as it was named. Raises ActionError for what cannot tell one content from another."""
    word = given.strip().lower().removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]*", word) is None:
        raise ActionError(
            f"A digest is named by 12 to 64 hexadecimal digits (0-9, a-f), and {word[:80]!r} holds something else."
        )
    if not LEAST_DIGITS <= len(word) <= 64:
        raise ActionError(f"A digest is named by 12 to 64 of its hexadecimal digits, and this has {len(word)}.")
    return word


def _as_given(report: Report, target: str) -> Report:
    """With the target as the person gave it; bytes in it that are no UTF-8 as visible escapes.

    The person's own modules are in its contract by the digests of their code, as they are when a load is decided on.
    """
    from nbguard.hooks.local_code import with_local_modules
    from nbguard.provenance import with_name

    shown = target.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return with_local_modules(with_name(replace(report, target=shown)))
