"""`skops.io.load` and `loads`: the scanned bytes from memory, rehearsed as the program that they stand for.

    skops.io.load("model.skops", trusted=["sklearn.tree._tree.Tree"])

skops checks its list of trusted names; what is done with them it takes from the file. So the schema is translated into
the pickle program that does the same and rehearsed behind nbguard's walls, every import that skops then makes has to be
in the contract, and no effect is let through.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

from nbguard.formats import zip_reader
from nbguard.formats.skops_schema import PLAIN, Program
from nbguard.formats.view import BytesView
from nbguard.hooks import walk
from nbguard.hooks.grants import Grant
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.declarations.classical import SKOPS
from nbguard.hooks.loaders.declared import guard_module
from nbguard.hooks.loaders.entry import Call
from nbguard.hooks.loaders.scanned import scanned_file
from nbguard.hooks.walls import scope
from nbguard.hooks.walls.permissions import Permissions, free
from nbguard.hooks.walls.rehearsal import rehearse


def guard(hooks: Installed, module: ModuleType) -> None:
    """Guard the module `skops.io._persist`."""
    guard_module(hooks, module, [replace(loader, guard="", prepare=_hold) for loader in SKOPS])
    utils = sys.modules.get("skops.io._utils")
    if utils is not None:
        hooks.swap(utils._import_obj, _import)


def _hold(call: Call, grant: Grant) -> None:
    """Rehearse what the file would do, hand over its bytes, and put the walls up until the call has ended."""
    data = scanned_file(call, grant).read()
    with scope.outside():
        program = _program(data, grant)
        if program.names and not grant.contract.globals and not grant.accepted_danger:
            raise walk.violation(grant, "it names classes, and its contract holds none.")
        rehearse(program.data, grant)
    call.set(call.name, data if call.form == "bytes" else io.BytesIO(data))
    call.stack.enter_context(scope.machine(grant))


def _program(data: bytes, grant: Grant) -> Program:
    from nbguard.scanners.skops import program_of

    view = BytesView(data)
    try:
        return program_of(view, zip_reader.read_directory(view))[1]
    except (ValueError, RecursionError) as error:
        raise walk.violation(grant, f"its schema cannot be followed: {str(error)[:200]}") from error


def _import(original: Callable[..., Any], module: str, name: str, *args: Any, **kwargs: Any) -> Any:
    """Every name that skops resolves: in the contract, or nothing but data."""
    if f"{module}.{name}" not in PLAIN:
        grant = scope.current()
        if grant is not None:
            Permissions(grant).name(module, name)
        elif not free(module, name):
            shown = ascii(f"{module}.{name}"[:200])[1:-1]
            walk.stop(f"it names {shown}, and nobody was asked about this load", "skops.io.load", "<stream>")
    return original(module, name, *args, **kwargs)
