"""The way from a load request to a grant: scan, look up, decide, ask, record.

    with open_path("model.pt") as opened, admit(request, opened) as grant:
        ...                                     # load, under grant.contract

Raises LoadBlocked where the answer is no; the exception carries the report in short and the command that would approve
it. Every way out of here is in the audit log, and a log that cannot be written stops the load.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.hooks import grants, locked, own, repeats
from nbguard.hooks.advice import advised, remember
from nbguard.hooks.grants import Grant
from nbguard.hooks.local_code import with_local_modules
from nbguard.hooks.published import published
from nbguard.hooks.walls import scope
from nbguard.provenance import with_name
from nbguard.report.model import Contract, Report, Verdict

if TYPE_CHECKING:
    from nbguard.approvals import Approval
    from nbguard.artifact.sources import Opened
    from nbguard.gate.answer import Answer
    from nbguard.policy import Decision, Policy

Settled = Callable[[Report], "tuple[str, bool] | None"]

_BORN = os.getpid()


def admit(
    request: LoadRequest,
    opened: Opened,
    *,
    nested: bool | None = None,
    settled: Settled | None = None,
    instead: Collection[str] = (),
    report: Report | None = None,
) -> Grant:
    """Decide on one load. Raises LoadBlocked; KeyboardInterrupt where a person interrupts the question.

    Args:
        nested: whether this is part of another load, which raises no question; by default, whether one is on.
        settled: says of a report why no question is needed any more, and whether a person accepted it; None where one
            is. For loads that come in several calls (configuration, tokenizer, model of one commit).
        instead: what the loader can load in the place of this: `safetensors` that lie there, or what a person has
            it `convert` to.
        report: what `scan` said of it, where that was asked already.

    Raises:
        LoadBlocked: the answer is no.
        Instead: the person wants one of those; only with `instead`.
    """
    outer = grants.current()
    with scope.outside():
        if outer is not None:
            outer.still_allowed()
        report = with_name(scan(request, opened) if report is None else report)
        report = with_local_modules(published(report, opened))
        if (owner := _already_granted(report)) is not None:
            _record("load.nested", request, report, None, owner=owner.report.artifact.digest)
            return Grant(report, opened, request, owner.accepted_by_person, owner.enforced)
        lock = locked.judged(request, report, opened, person=_somebody_there())
        approved = lock.approval or (None if lock.refusal else find_approval(report, opened))
        settled = lock.unsettled(settled)
        if approved is None and settled is not None and (before := settled(report)) is not None:
            why, by_person = before
            _record("load.settled", request, report, None, why=why)
            return Grant(report, opened, request, accepted_by_person=by_person)
        if approved is None and repeats.covered(request, report):
            _record("load.settled", request, report, None, why="accepted at this line in this run of the cell")
            return Grant(report, opened, request, accepted_by_person=True)
        written = own.find(report, opened) if approved is None else None
        nested = outer is not None if nested is None else nested
        decision = lock.decided(_decide(report, request, approved, written, nested=nested))
        if not decision.enforced:
            return _watched(request, opened, report, decision)
        if written is not None and "own.load" in decision.rules:
            tell(report, decision, request)
            _record("load.own", request, report, decision, saver=written.saver, written=written.written)
            return Grant(report, opened, request, accepted_by_person=True, own_work=True)
        if decision.action == "allow":
            tell(report, decision, request)
            _record("load.allowed", request, report, decision)
            return Grant(report, opened, request, accepted_by_person=approved is not None)
        report = advised(report, opened, request, instead=instead)
        if decision.action == "ask" or _other_way(report, request, nested):
            answer = _asked(report, decision, request)
            _record(f"load.{_WORDS[answer.choice]}", request, report, decision, who=answer.who, reason=answer.reason)
            way = report.advice.way(answer.choice)
            if way is not None and way.arguments:
                raise Instead(dict(way.arguments), report if answer.choice == "convert" else None)
            if (
                answer.choice in ("once", "always")
                and decision.action == "ask"
                and report.verdict is not Verdict.UNVERIFIABLE
            ):
                given = _remember(report, opened, answer) if answer.choice == "always" else ""
                remember(report, opened, answer.who, answer.reason, given)
                repeats.remember(request, report)
                return Grant(report, opened, request, accepted_by_person=True)
            refused = LoadBlocked(_message(report, "Refused: nothing was loaded.", lock), report)
            raise grants.refuse(refused, alone=request.in_person_code)
        tell(report, decision, request)
        _record("load.refused", request, report, decision)
        refused = LoadBlocked(_message(report, decision.reason, lock), report)
        raise grants.refuse(refused, alone=request.in_person_code)


_WORDS = {"once": "accepted", "always": "approved", "refuse": "refused", "safetensors": "instead", "convert": "convert"}


class Instead(Exception):  # noqa: N818 - no error: the answer to the question, for the loader that asked
    """The person wants the safetensors alternative. The loader begins anew with these arguments.

    Attributes:
        to_convert: the report on what is to be converted first; None where the safetensors lie there.
    """

    def __init__(self, arguments: dict[str, Any], to_convert: Report | None = None) -> None:
        super().__init__("load the safetensors alternative")
        self.arguments = arguments
        self.to_convert = to_convert


def _other_way(report: Report, request: LoadRequest, nested: bool) -> bool:
    """Whether somebody can be asked for the safetensors alternative, though this itself cannot be accepted."""
    ways = (report.advice.way("safetensors"), report.advice.way("convert"))
    return (
        any(way is not None and way.arguments for way in ways)
        and request.in_person_code
        and not nested
        and _somebody_there()
    )


def scan(request: LoadRequest, opened: Opened) -> Report:
    """What the scanners say about what is opened. A seam: tests put a blinded scanner here."""
    from nbguard import settings
    from nbguard.scanners import scan_opened

    with progress(request, f"Looking into {request.source}") as moved:
        return scan_opened(opened, loader=request.loader, limits=settings.scan_limits(), progress=moved)


@contextlib.contextmanager
def progress(request: LoadRequest, title: str) -> Iterator[Callable[[float, str], None] | None]:
    """Show a person how far something is, where one made the call; None where nobody would see it."""
    if not (request.in_person_code and _somebody_there()):
        yield None
        return
    from nbguard import gate

    with gate.progress(title) as moved:
        yield moved


def _asked(report: Report, decision: Decision, request: LoadRequest) -> Answer:
    try:
        return ask(report, decision, request)
    except KeyboardInterrupt:
        _record("load.interrupted", request, report, decision)
        raise


def ask(report: Report, decision: Decision, request: LoadRequest) -> Answer:
    """Ask the person. A seam: tests answer here."""
    from nbguard import gate

    return gate.ask(report, decision, request)


def tell(report: Report, decision: Decision, request: LoadRequest) -> None:
    """Show a person the one line about what was decided without a question."""
    from nbguard import gate

    if request.in_person_code and _somebody_there():
        gate.announce(report, decision, request)


def find_approval(report: Report, opened: Opened) -> Approval | None:
    """The approval that covers exactly this, if a person gave one: before, or for the running cell as a whole."""
    from nbguard import approvals

    return approvals.find(report, opened)


def blocked(why: str, loader: str, source: str) -> LoadBlocked:
    """A refusal for which there is no report: logged, final for the outer request, and returned to be raised."""
    from nbguard.approvals import AuditLog

    with scope.outside():
        AuditLog().record("load.refused", loader=loader, target=source, why=why)
    return grants.refuse(LoadBlocked(f"nbguard stopped {loader}: {why}"))


def stop(why: str, loader: str, source: str) -> None:
    """Raise `blocked`, or only log it where the site observes."""
    from nbguard import settings

    with scope.outside():
        enforced = settings.load().mode == "enforce"
    if enforced:
        raise blocked(why, loader, source)
    note("load.not_stopped", loader=loader, target=source, why=why)


def note(event: str, **fields: Any) -> None:
    """An entry in the audit log for something that needed no decision."""
    from nbguard.approvals import AuditLog

    with scope.outside():
        AuditLog().record(event, **fields)


def _decide(
    report: Report, request: LoadRequest, approved: Approval | None, written: own.Own | None, *, nested: bool
) -> Decision:
    from nbguard import policy, settings

    mode = settings.load().mode
    person = request.in_person_code and not nested and _somebody_there()
    sentence = written.sentence if written is not None else ""
    situation = policy.Situation(approved=approved, own=sentence, person=person, request=request, mode=mode)
    decision = policy.decide(report, policy_in_force(), situation)
    if decision.action != "allow" and report.verdict is Verdict.SAFE and not request.in_person_code:
        reason = "A library unpickles explained data for itself."
        return policy.Decision("allow", "compact", (), (*decision.rules, "safe.library"), reason)
    return decision


def policy_in_force() -> Policy:
    """The policy in force, or the one that `nbguard.guard` was given, whichever is stricter."""
    from nbguard import policy
    from nbguard.hooks.guarding import policy_name

    configured, name = policy.current(), policy_name.get()
    wanted = policy.named(name) if name is not None else configured
    return wanted if wanted.strictness >= configured.strictness else configured


def _watched(request: LoadRequest, opened: Opened, report: Report, decision: Decision) -> Grant:
    """In the modes `observe` and `warn` a load is logged, and shown, but not stopped."""
    _record("load.allowed" if decision.action == "allow" else "load.not_stopped", request, report, decision)
    if "mode.warn" in decision.rules:
        tell(report, decision, request)
    return Grant(report, opened, request, enforced=False)


def _already_granted(report: Report) -> Grant | None:
    """The grant in force that holds every program and all the code of this report: a load nested in it."""
    wanted = _runs(report.contract)
    if not wanted or report.verdict is Verdict.UNVERIFIABLE:
        return None
    request = grants.current()
    for grant in request.grants if request is not None else ():
        if wanted <= _runs(grant.contract) and set(report.contract.containers.values()) <= {
            *grant.contract.containers.values(), *(p.container for p in grant.contract.programs)
        }:  # fmt: skip
            return grant
    return None


def _runs(contract: Contract) -> set[str]:
    """Digests of everything that loading would run: programs, code, machine code."""
    return {part.sha256 for parts in (contract.programs, contract.code, contract.native) for part in parts}


def _somebody_there() -> bool:
    """Whether a question can be asked. Never in a forked child: the front-end talks to its parent."""
    from nbguard import gate

    return os.getpid() == _BORN and gate.frontend() != "none"


def _remember(report: Report, opened: Opened, answer: Answer) -> str:
    """The id of the approval that was given."""
    from nbguard import policy
    from nbguard.approvals import Store

    expires = policy.lifetime(policy_in_force(), report.verdict)
    return Store().remember(report, opened, answer.who, answer.reason, expires).id


def _message(report: Report, reason: str, lock: locked.Judged) -> str:
    from nbguard.policy import needs_reason
    from nbguard.report.text import brief, lock_steps

    if lock.headless:
        return f"{reason}\n{brief(report, steps=lock_steps(report, lock.elsewhere))}"
    return f"{reason}\n{brief(report, reason=needs_reason(policy_in_force(), report.verdict))}"


def _record(event: str, request: LoadRequest, report: Report, decision: Decision | None, **more: Any) -> None:
    from nbguard import history
    from nbguard.approvals import AuditLog

    if request.in_person_code:
        history.note(report, event)
    AuditLog().record(
        event,
        loader=request.loader,
        target=request.source,
        verdict=report.verdict.word,
        artifact=report.artifact.digest,
        contract=report.contract.digest,
        person=request.in_person_code,
        rules=list(decision.rules) if decision is not None else [],
        **more,
    )


class NotExplained(ContractViolation):
    """A program is more than explained data: it needs a scan. Never leaves the hooks, and refuses nothing."""


def violation(grant: Grant, why: str) -> ContractViolation:
    """What a wall raises: logged, final for the outer request, and naming what was not in the contract."""
    request = grant.request
    if grant.explained:
        return NotExplained(why)
    with scope.outside():
        _record("load.violation", request, grant.report, None, why=why)
    message = f"nbguard stopped {request.loader} of {request.source} in the middle: {why} Nothing more of it was run."
    stopped = ContractViolation(message, grant.report)
    for outer in grant.requests:
        outer.refuse(stopped)
    grants.refuse(stopped)
    return stopped
