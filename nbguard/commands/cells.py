"""`%%safemodel`: scan every load that a cell can name, ask once for all of them, then run the cell.

run(get_ipython(), "model = torch.load('model.pt')")

The question before the cell saves the questions inside it. It replaces nothing: what the cell loads is still
intercepted, held to the contract that was accepted, and asked about where it is anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.cell_loads import CellLoad, loads_in
from nbguard.errors import LoadBlocked, TargetError

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.gate.answer import Answer
    from nbguard.policy import Decision
    from nbguard.report.model import Report

LOADER = "%%safemodel"


@dataclass(frozen=True, eq=False)
class _Item:
    """One target of the cell, open, with its report and what is to happen to it."""

    load: CellLoad
    opened: Opened
    report: Report
    decision: Decision


def run(shell: Any, cell: str) -> None:
    """Do it. Raises LoadBlocked or ActionError where the cell is not run, else whatever the cell raises."""
    __tracebackhide__ = True
    _may_run(shell, cell)
    with contextlib.ExitStack() as acceptance:
        with contextlib.ExitStack() as handles:
            items = list(_looked_into(_named(shell, cell), handles))
            if items and items[0].decision.enforced:
                acceptance.enter_context(_accepted(items))
        _run(shell, cell)


def ask(report: Report, decision: Decision, request: LoadRequest) -> Answer:
    """Ask the person. A seam: tests answer here."""
    from nbguard import gate

    return gate.ask(report, decision, request)


def somebody_there() -> bool:
    """Whether a question can be asked. A seam, too."""
    from nbguard import gate

    return gate.frontend() != "none"


def _named(shell: Any, cell: str) -> list[CellLoad]:
    try:
        loads = loads_in(cell, shell.user_ns)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # running the cell says what is wrong with it; what it loads is intercepted all the same
    unique: dict[tuple[str, str | None, bool], CellLoad] = {}
    for load in loads:
        unique.setdefault((load.target, load.revision, load.hub), load)
    return list(unique.values())


def _looked_into(loads: list[CellLoad], handles: contextlib.ExitStack) -> Iterator[_Item]:
    """Open, scan and decide on each load; what cannot be found yet is left to the interception, and said."""
    from nbguard import gate, history
    from nbguard.commands import actions
    from nbguard.report.escape import terminal

    if not loads:
        return
    with gate.progress(f"Looking into what this cell loads ({len(loads)})") as moved:
        for number, load in enumerate(loads):

            def part(share: float, what: str, done: int = number) -> None:
                moved((done + share) / len(loads), what)

            try:
                opened = handles.enter_context(_opened(load))
                report = actions.scan_opened(opened, load.target, part)
            except TargetError as error:
                print(f"{terminal(str(error))} It is asked about when the cell loads it.")
                continue
            history.note(report, "scanned")
            yield _Item(load, opened, report, _decision(load, opened, report))


def _opened(load: CellLoad) -> Opened:
    from nbguard.artifact.sources import open_path
    from nbguard.commands import actions

    return actions.open_target(load.target, load.revision) if load.hub else open_path(load.target)


def _decision(load: CellLoad, opened: Opened, report: Report) -> Decision:
    from nbguard import approvals, policy, settings

    request = LoadRequest(load.loader, load.target, opened.kind, revision=load.revision)
    situation = policy.Situation(
        approved=approvals.find(report, opened),
        person=somebody_there(),
        request=request,
        mode=settings.load().mode,
    )
    return policy.decide(report, policy.current(), situation)


def _accepted(items: list[_Item]) -> contextlib.AbstractContextManager[None]:
    """Ask once for all that has to be asked about. Raises LoadBlocked unless everything may be loaded."""
    from nbguard import approvals, gate

    for item in items:
        if item.decision.action == "deny":
            if somebody_there():
                gate.announce(item.report, item.decision, _request(item))
            _record("cell.refused", items, rules=list(item.decision.rules))
            raise _blocked(item.report, item.decision.reason)
    asked = [item for item in items if item.decision.action == "ask"]
    if not asked:
        return contextlib.nullcontext()
    report, decision, request = _question(asked)
    answer = ask(report, decision, request)
    _record(f"cell.{answer.choice}", asked, who=answer.who, reason=answer.reason, rules=list(decision.rules))
    if answer.choice not in ("once", "always") or answer.choice not in decision.offers:
        raise LoadBlocked("Refused: the cell was not run, and nothing was loaded.", report)
    if answer.choice == "always":
        from nbguard import policy

        for item in asked:
            expires = policy.lifetime(policy.current(), item.report.verdict)
            approvals.Store().remember(item.report, item.opened, answer.who, answer.reason, expires)
    return approvals.accepted([(item.report, item.opened) for item in asked], answer.who)


def _question(asked: list[_Item]) -> tuple[Report, Decision, LoadRequest]:
    if len(asked) == 1:
        return asked[0].report, asked[0].decision, _request(asked[0])
    from nbguard.commands.combined import combine, strictest

    title = f"{len(asked)} loads of this cell"
    report = combine([item.report for item in asked], title)
    return report, strictest([item.decision for item in asked]), LoadRequest(LOADER, title, "directory")


def _request(item: _Item) -> LoadRequest:
    return LoadRequest(item.load.loader, item.load.target, item.opened.kind, revision=item.load.revision)


def _blocked(report: Report, reason: str) -> LoadBlocked:
    from nbguard.report.text import brief

    return LoadBlocked(f"{reason} The cell was not run.\n{brief(report)}", report)


def _record(event: str, items: list[_Item], **more: Any) -> None:
    from nbguard.approvals import AuditLog

    AuditLog().record(
        event,
        targets=[item.report.target for item in items],
        verdicts=[item.report.verdict.word for item in items],
        artifacts=[item.report.artifact.digest for item in items],
        **more,
    )


class CellError(Exception):
    """The cell is not Python. No SyntaxError itself, because IPython shows one with the frames that raised it."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


def _run(shell: Any, cell: str) -> None:
    """Run the cell as if it stood there by itself; its error, shown once, is this cell's error."""
    __tracebackhide__ = True
    with _silent(shell, "_showtraceback", "show_usage_error"):
        result = shell.run_cell(cell, store_history=False, silent=False)
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        return
    if isinstance(error, SyntaxError):
        raise CellError(str(error), shell.SyntaxTB.structured_traceback(type(error), error, None)) from None
    if not hasattr(error, "_render_traceback_"):
        trace = error.__traceback__
        own = functools.partial(shell.InteractiveTB.structured_traceback, type(error), error, trace, tb_offset=1)
        vars(error)["_render_traceback_"] = own
    raise error


def _may_run(shell: Any, cell: str) -> None:
    """Raises ActionError for a cell that cannot run inside this one: the kernel's event loop is already serving it."""
    from nbguard.commands.actions import ActionError

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if shell.should_run_async(cell, transformed_cell=shell.transform_cell(cell)):
        raise ActionError(
            "A cell with a top-level await cannot run under %%safemodel here; without it, its loads are asked about one"
            " by one."
        )


@contextlib.contextmanager
def _silent(shell: Any, *methods: str) -> Iterator[None]:
    """These methods of this one shell do nothing within the block."""
    before = {name: vars(shell)[name] for name in methods if name in vars(shell)}
    for name in methods:
        setattr(shell, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name in methods:
            delattr(shell, name)
        for name, value in before.items():
            setattr(shell, name, value)
