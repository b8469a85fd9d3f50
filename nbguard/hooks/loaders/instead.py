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


def admitted(
    load: RepositoryLoad, loader: str, source: str, given: dict[str, Any], admit: Callable[[], str | None]
) -> tuple[str | None, dict[str, Any]]:
    """What `admit` returns, and the arguments that the person's choice of the safetensors changed; mostly none.

    Args:
        loader: the name of this very call. Where the load began with another one, this call is part of that, and the
            alternative is not its to offer.
        source: what `admit` admits; the choice holds for nothing else that the load draws in.
        given: the call's arguments, which `admit` reads; changed where the safetensors were chosen.

    Raises:
        LoadBlocked: the answer was no.
        SourceError: there is nothing there to load.
    """
    from nbguard.hooks.walk import Instead

    load.instead = load.loader == loader
    try:
        return admit(), {}
    except Instead as other:
        chosen = other.arguments
        given |= chosen
        load.arguments |= chosen
        load.chose_safetensors = source
    finally:
        load.instead = False
    return admit(), chosen
