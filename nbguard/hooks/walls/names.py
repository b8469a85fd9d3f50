"""The second wall: every global that any pickle machine of this process asks for.

    judge(grant, "os", "system")        # raises ContractViolation, or LoadBlocked where no contract is in force

`pickle.find_class` is raised before a name is resolved, by the C machine and the Python one, whoever calls them. With a
contract in force the name must pass it. With none, in a thread that belongs to no load or through a function that was
bound before nbguard came, only globals pass that are harmless whatever is done with them, and machinery that unpickles
what its own processes sent. A thread beside a load does not inherit its contract: no arguments were checked there.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from nbguard.hooks import caller
from nbguard.hooks.walls import never, scope
from nbguard.hooks.walls.permissions import NotFree, Permissions, free

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant


BY_VALUE = ("cloudpickle", "dill", "types", "builtins.type", "builtins.getattr", "builtins.__main__")
"""Modules and names through which cloudpickle and dill write functions and classes themselves into a pickle."""


@functools.lru_cache(maxsize=8192)
def harmful(module: str, name: str, meant: tuple[str, ...] = BY_VALUE) -> bool:
    """Whether a global is known to do harm, or forbidden to every contract; those under `meant` are how a saver
    works."""
    from nbguard import rules

    dotted = f"{module}.{name}"
    if any(dotted == m or dotted.startswith(m + ".") for m in meant):
        return False
    return rules.gadget(module, name) is not None or never.forbidden(module, name)


def judge(grant: Grant | scope.FreeOnly | None, module: str, name: str) -> None:
    """Let a global pass, or raise."""
    if isinstance(grant, scope.OwnOnly):
        if harmful(module, name):
            raise NotFree(f"{module}.{name}")
        return
    if isinstance(grant, scope.FreeOnly):
        if not free(module, name, unchecked=True):
            raise NotFree(f"{module}.{name}")
        return
    if grant is not None:
        if (module, name) not in grant.permitted:
            with scope.outside():  # it looks into code of the person's own, which no machine may
                Permissions(grant).name(module, name)
        return
    who = caller.find(2)
    if who.kind == "machinery":
        return
    if free(module, name):
        return
    from nbguard.hooks import walk

    shown = ascii(f"{module}.{name}"[:200])[1:-1]
    walk.stop(
        f"a pickle names {shown}, and nobody was asked about this load. It reached Python's unpickling past the "
        "guarded functions, or in a thread of its own; load it through pickle.load or pickle.loads, called by that "
        "name",
        "unpickling",
        ascii(who.module[:120])[1:-1],
    )
