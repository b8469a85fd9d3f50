"""What the guards of repository loaders have in common: one load, its files admitted first, its code held.

    with loading("SentenceTransformer", arguments) as load:
        commit = load.admit(source, plan=plan)
        return building(original, cls, cls, source, revision=commit)

The walls for code that a repository brought along stand on the frames of this file (`walls/code_effects.py`).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, TypeGuard

from nbguard.hooks.installed import Installed


def held(cls: type) -> AbstractContextManager[None]:
    """The wall for effects around the construction of a class that a repository brought along."""
    from nbguard.hooks.walls import code, code_effects

    grant = code.grant_of(cls.__module__)
    return code_effects.constructing(grant) if grant is not None and grant.enforced else nullcontext()


def building(original: Callable[..., Any], cls: type, /, *args: Any, **kwargs: Any) -> Any:
    """Call `original` with the code of `cls`, where a repository brought it along, held to what was accepted."""
    with held(cls):
        return original(*args, **kwargs)


def hold_constructors(
    hooks: Installed, module: ModuleType, base: str, methods: tuple[str, ...] = ("__init__",)
) -> None:
    """Hold the constructors of what a repository's module defines below a class called `base`.

    Such a class is often found and made by the library in one call, so that no guarded method of it comes before.

    Args:
        methods: what else of such a class makes an object; class methods too.
    """
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        if not any(b.__name__ == base for b in value.__mro__):
            continue
        for name in methods:
            method = value.__dict__.get(name)
            function = getattr(method, "__func__", method)
            if inspect.isfunction(function):
                hooks.swap(function, _construct)


def _construct(original: Callable[..., Any], this: Any, /, *args: Any, **kwargs: Any) -> Any:
    return building(original, this if isinstance(this, type) else type(this), this, *args, **kwargs)


def is_source(value: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Whether an argument names a repository, folder or file, and is not something in memory."""
    return isinstance(value, str | os.PathLike) and bool(os.fspath(value))


def arguments(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, those of `**kwargs` among them; empty where they do not fit: the call itself raises then."""
    try:
        given = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:
        return {}
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
    return given
