"""`marshal.load` and `loads` in a person's own code: what holds byte code is a danger.

    marshal.loads(data)         # plain values pass; a code object is shown as the instructions that it is

Python's import system reads every `.pyc` with the same functions, and libraries keep byte code of their own: those
calls reach the C functions after one look at who calls. Nothing can hold a code object to a contract once somebody
runs it, so the question is all there is.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from nbguard.hooks import caller
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.declarations.streams import MARSHAL
from nbguard.hooks.loaders.declared import guarded_call
from nbguard.hooks.loaders.entry import Loader
from nbguard.hooks.short_traces import shorten
from nbguard.hooks.walls import code_effects, scope


def guard(hooks: Installed, marshal: ModuleType) -> None:
    """Guard the module `marshal`."""
    for loader in MARSHAL:
        hooks.replace(marshal, loader.function, _for_a_person(loader, getattr(marshal, loader.function)))


def _for_a_person(loader: Loader, original: Callable[..., Any]) -> Callable[..., Any]:
    frame_of, kind_of, held = sys._getframe, caller.kind_of, scope.held

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        frame = frame_of(1)
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if held() is None:
                return original(*args, **kwargs)
            with scope.outside():  # an import in the middle of a load, which its walls judge by the module's file
                return original(*args, **kwargs)
        if kind_of(frame) != "person":
            return original(*args, **kwargs)
        try:
            return guarded_call(loader, original, *args, **kwargs)
        except BaseException as error:
            shorten(error)
            raise

    code_effects.look_through(guarded)  # type: ignore[arg-type]
    return guarded
