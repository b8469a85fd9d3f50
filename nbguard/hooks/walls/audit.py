"""The one audit hook, behind which the second and the third wall stand.

    arm()       # the hook is added once for a process; disarm() makes it let everything pass

It is called for every audit event of the process, so it returns at once for all but two cases: something asks for a
global while unpickling, or a guarded machine is running. An audit hook cannot be taken out again, and whether it is
armed is kept in a closure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from nbguard.hooks.walls import effects, names, scope

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant


def _make() -> tuple[Callable[[], None], Callable[[], None]]:
    armed = [False]
    added = [False]
    running = scope.held

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not armed[0]:
            return
        if event == "pickle.find_class":
            names.judge(running(), args[0], args[1])
            return
        grant = running()
        if grant is not None and grant is not scope.FREE_ONLY and grant is not scope.OWN_ONLY:
            effects.judge(cast("Grant", grant), event, args)

    def arm() -> None:
        """Let the walls stand."""
        armed[0] = True
        if not added[0]:
            added[0] = True
            sys.addaudithook(hook)

    def disarm() -> None:
        """Let everything pass."""
        armed[0] = False

    return arm, disarm


arm, disarm = _make()
