"""Guard one block of code.

with nbguard.guard():
    model = torch.load("model.pt")

with nbguard.guard("model.pt") as report:       # looked at and decided before the block begins
    model = torch.load("model.pt")              # no second question
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

from nbguard import hooks
from nbguard.artifact.model import LoadRequest
from nbguard.hooks import walk
from nbguard.report.model import Report

policy_name: ContextVar[str | None] = ContextVar("nbguard.policy", default=None)


@contextlib.contextmanager
def guard(target: str | os.PathLike[str] | None = None, *, policy: str | None = None) -> Iterator[Report | None]:
    """Guard every load within the block, and leave loaders as they were before.

    Args:
        target: a file, a folder or a Hub repository (`org/name[@revision]`) that is admitted before the block begins;
            its report is what `as` gives.
        policy: name of a preset for this block. It only ever makes things stricter than what is configured.

    Raises:
        LoadBlocked: `target` was refused. The block is not entered.
        TargetError: `target` cannot be read. The message is one plain sentence.
        ValueError: there is no policy of that name.
    """
    if policy is not None:
        from nbguard.policy import presets

        if policy not in presets():
            raise ValueError(f"There is no policy {policy!r}; there are {', '.join(presets())}.")
    was_installed = hooks.installed()
    token = policy_name.set(policy if policy is not None else policy_name.get())
    hooks.install()
    try:
        if target is None:
            yield None
            return
        from nbguard.approvals import accepted
        from nbguard.scanners.targets import open_target

        name = os.fspath(target)
        with open_target(name) as opened:
            grant = walk.admit(LoadRequest("nbguard.guard", name, opened.kind), opened)
            mine = [(grant.report, opened)] if grant.accepted_by_person else []
            with accepted(mine, who="guard"):
                yield grant.report
    finally:
        policy_name.reset(token)
        if not was_installed:
            hooks.uninstall()
