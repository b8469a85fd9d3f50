"""What the entries for exported programs need: the right kind of archive, and walls around the code torch makes of it.

Loader(name="torch.export.load", ..., hand="sealed", prepare=torch_export_.held, finish=torch_export_.looked_at)
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from nbguard.formats.expressions import problem
from nbguard.hooks import walk
from nbguard.hooks.loaders.declared import scanned
from nbguard.hooks.loaders.entry import Call
from nbguard.hooks.walls import made_code

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant


def held(call: Call, grant: Grant) -> None:
    """Hold what torch makes of the graph to having no effects while it loads.

    Raises:
        LoadBlocked: the archive was judged as another kind: its graph, if it has one, was then not looked at.
    """
    kind = grant.contract.containers.get(scanned(call, grant).path)
    if kind != "torch-export":
        why = f"it was scanned as {kind or 'something else'}, and would be loaded as an exported program"
        raise walk.blocked(why, call.loader.name, grant.opened.target)
    call.notes["wall"] = wall = ExitStack()
    call.stack.callback(wall.close)
    wall.enter_context(made_code.held(grant))


def looked_at(call: Call, grant: Grant, result: Any) -> Any:
    """The result, if its conditions on inputs, which torch runs when the program is used, hold arithmetic alone.

    Raises:
        ContractViolation: one of them holds more, whatever the scan said.
    """
    from nbguard.scanners.tables import table

    call.notes["wall"].close()
    rules = table("torch_export")
    for program in getattr(result, "exported_programs", {"": result}).values():
        for text in getattr(program, "_guards_code", ()):
            more = problem(text, functions=rules["guards"], methods=rules["guard_methods"], subscripts=True)
            if more is not None:
                raise walk.violation(grant, f"a condition in it holds {more}.")
    return result


__all__ = ["held", "looked_at"]
