"""What the entries for exported programs need.

Loader(name="torch.export.load", ..., hand="sealed", prepare=torch_export_.only_exports)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbguard.hooks import walk
from nbguard.hooks.loaders.declared import scanned
from nbguard.hooks.loaders.entry import Call

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant


def only_exports(call: Call, grant: Grant) -> None:
    """Stop where the archive was judged as another kind: its graph, if it has one, was then not looked at.

    Raises:
        LoadBlocked: it is no archive of torch.export, or something else as well.
    """
    kind = grant.contract.containers.get(scanned(call, grant).path)
    if kind != "torch-export":
        why = f"it was scanned as {kind or 'something else'}, and would be loaded as an exported program"
        raise walk.blocked(why, call.loader.name, grant.opened.target)


__all__ = ["only_exports"]
