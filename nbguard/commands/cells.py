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
from typing import TYPE_CHECKING, Any

from nbguard.cell_loads import CellLoad, loads_in
from nbguard.commands import looking
from nbguard.errors import LoadBlocked

if TYPE_CHECKING:
    from nbguard.artifact.model import LoadRequest
    from nbguard.gate.answer import Answer
    from nbguard.policy import Decision
    from nbguard.report.model import Report

LOADER = "%%safemodel"


def run(shell: Any, cell: str) -> None:
    """Do it. Raises LoadBlocked or ActionError where the cell is not run, else whatever the cell raises."""
    __tracebackhide__ = True
    _may_run(shell, cell)
    with _acceptance(shell, cell):
        _run(shell, cell)


def begin(shell: Any, cell: str) -> None:
    """Ask about all that `cell` names; what is accepted holds until the cell that runs now has ended.

    For cells that cannot be run from inside a magic, see `nbguard.commands.awaiting`. Raises LoadBlocked as `run` does.
    """
    __tracebackhide__ = True
    held = _acceptance(shell, cell)

    def ended() -> None:
        shell.events.unregister("post_execute", ended)
        held.close()

    shell.events.register("post_execute", ended)


def _acceptance(shell: Any, cell: str) -> contextlib.ExitStack:
    """What was accepted for the loads that `cell` names, in force until it is closed. Raises LoadBlocked."""
    with contextlib.ExitStack() as acceptance, contextlib.ExitStack() as handles:
        loads = _named(shell, cell)
        title = "Looking into what this cell loads"
        items = list(looking.looked_into(loads, handles, title=title, missing=_later, person=somebody_there()))
        if items and items[0].decision.enforced:
            acceptance.enter_context(_accepted(items))
        return acceptance.pop_all()


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
    return looking.unique(loads)


def _later(load: CellLoad, why: str) -> None:
    """What cannot be found yet is left to the interception, and said."""
    from nbguard.report.escape import terminal

    print(f"{terminal(why)} It is asked about when the cell loads it.")


def _accepted(items: list[looking.Item]) -> contextlib.AbstractContextManager[None]:
    """Ask once for all that has to be asked about. Raises LoadBlocked unless everything may be loaded."""
    from nbguard import approvals, gate

    for item in items:
        if item.decision.action == "deny":
            if somebody_there():
                gate.announce(item.report, item.decision, item.request)
            looking.record("cell.refused", items, rules=list(item.decision.rules))
            raise _blocked(item.report, item.decision.reason)
    asked = [item for item in items if item.decision.action == "ask"]
    if not asked:
        return contextlib.nullcontext()
    report, decision, request = looking.question(asked, f"{len(asked)} loads of this cell", loader=LOADER)
    answer = ask(report, decision, request)
    looking.record(f"cell.{answer.choice}", asked, who=answer.who, reason=answer.reason, rules=list(decision.rules))
    if answer.choice not in ("once", "always") or answer.choice not in decision.offers:
        raise LoadBlocked("Refused: the cell was not run, and nothing was loaded.", report)
    looking.keep(asked, answer)
    return approvals.accepted([(item.report, item.opened) for item in asked], answer.who)


def _blocked(report: Report, reason: str) -> LoadBlocked:
    from nbguard.policy import reason_asked
    from nbguard.report.text import brief

    return LoadBlocked(f"{reason} The cell was not run.\n{brief(report, reason=reason_asked(report))}", report)


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
