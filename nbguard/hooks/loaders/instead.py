"""The safetensors alternative, for loaders that can load it in the place of what they ask about.

with loading(name, given) as load:
    commit, chosen = admitted(load, name, source, given, lambda: load.admit(source, plan=planned(given)))
    original(**{**kwargs, **chosen})
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbguard.hooks.loaders.repository import RepositoryLoad

FOLDER = "nbguard.folder"
"""Among what changed: the folder to load from in the place of the source. No library has an argument of that name."""


def admitted(
    load: RepositoryLoad,
    loader: str,
    source: str,
    given: dict[str, Any],
    admit: Callable[[], str | None],
    elsewhere: Callable[[str], object] | None = None,
) -> tuple[str | None, dict[str, Any]]:
    """What `admit` returns, and the arguments that the person's choice of the safetensors changed; mostly none.

    Args:
        loader: the name of this very call. Where the load began with another one, this call is part of that, and the
            alternative is not its to offer.
        source: what `admit` admits; the choice holds for nothing else that the load draws in.
        given: the call's arguments, which `admit` reads; changed where the safetensors were chosen.
        elsewhere: admits a folder in the place of the source, for loaders that can load one that was converted: among
            what changed is `FOLDER` then.

    Raises:
        LoadBlocked: the answer was no, or what a person wanted converted could not be.
        SourceError: there is nothing there to load.
    """
    from nbguard.hooks.converting import converted
    from nbguard.hooks.walk import Instead

    if load.loader == loader:
        load.instead = frozenset({"safetensors"} if elsewhere is None else {"safetensors", "convert"})
    try:
        return admit(), {}
    except Instead as other:
        wanted = other
    finally:
        load.instead = frozenset()
    if wanted.to_convert is not None and elsewhere is not None:
        folder = converted(wanted.to_convert, loader, source, wanted.arguments["only"])
        for arguments in (given, load.arguments):
            arguments.pop("revision", None)
            arguments["use_safetensors"] = True
        load.chose_safetensors = folder
        elsewhere(folder)
        return None, {FOLDER: folder}
    chosen = wanted.arguments
    given |= chosen
    load.arguments |= chosen
    load.chose_safetensors = source
    return admit(), chosen
