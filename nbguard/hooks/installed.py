"""All that an installation has changed, and the way back.

hooks = Installed()
hooks.swap(torch.load, around)
hooks.replace(pickle, "loads", guarded)
hooks.undo()                    # everything is again what it was, object for object
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from nbguard.hooks.imports import PostImport
from nbguard.hooks.swap import Swapped, swap
from nbguard.hooks.walls import scope


def bound(
    original: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, defaults: bool = True
) -> dict[str, Any]:
    """Arguments by name, with the defaults of those that were left out. Raises TypeError as the call itself would."""
    with scope.outside():  # reading a signature reaches into the function, which no machine may
        given = inspect.signature(original).bind(*args, **kwargs)
        if defaults:
            given.apply_defaults()
        return dict(given.arguments)


def _rebind(name: str, old: Any, new: Any) -> None:
    for module in list(sys.modules.values()):
        held = getattr(module, "__dict__", None)
        if isinstance(held, dict) and held.get(name) is old and not str(held.get("__name__")).startswith("nbguard."):
            held[name] = new


class Installed:
    """What is in place, in the order it was put there."""

    def __init__(self) -> None:
        self.imports = PostImport()
        self._undo: list[Callable[[], None]] = []
        self._swapped: set[int] = set()

    def swap(self, function: Callable[..., Any], around: Callable[..., Any]) -> Swapped | None:
        """Let calls of `function` go to `around(original, *args, **kwargs)`. None where that is so already."""
        if id(function) in self._swapped:
            return None
        swapped = swap(function, around)
        self._swapped.add(id(function))
        self._undo.append(swapped.restore)
        return swapped

    def replace(self, owner: Any, name: str, value: Any) -> Any:
        """Set `owner.name`, and give back what stood there."""
        before = getattr(owner, name)
        setattr(owner, name, value)

        def undo() -> None:
            if getattr(owner, name) is value:
                setattr(owner, name, before)

        self._undo.append(undo)
        return before

    def replace_everywhere(self, owner: ModuleType, name: str, value: Any) -> None:
        """`replace`, in every module that has bound the same thing under the same name (`from lib import name`) too.

        Undoing it gives the name back everywhere, in modules that were imported meanwhile as well.
        """
        before = self.replace(owner, name, value)
        _rebind(name, before, value)
        self.on_undo(lambda: _rebind(name, value, before))

    def on_undo(self, action: Callable[[], None]) -> None:
        """Have `action` called when everything is taken back."""
        self._undo.append(action)

    def undo(self) -> None:
        """Take everything back, the last first."""
        self.imports.remove()
        while self._undo:
            self._undo.pop()()
        self._swapped.clear()
