"""dill: the real namespace of `__main__` is never handed to a program.

dill.loads(data)        # what it names is denied by default, by the names wall

dill resolves the pair `__builtin__ __main__` itself, to the real dictionary, and no audit event tells of it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from nbguard.hooks import walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.walls import scope


def guard(hooks: Installed, dill: ModuleType) -> None:
    """Guard the module `dill._dill`."""

    def find_class(original: Callable[..., Any], self: Any, module: str, name: str) -> Any:
        if (module, name) == ("__builtin__", "__main__") and not _own_work():
            walk.stop("it asks for the whole namespace of the notebook", "dill.load", "<stream>")
        return original(self, module, name)

    hooks.swap(dill.Unpickler.find_class, find_class)


def _own_work() -> bool:
    """Whether the person's own kernel wrote it: its functions go back to the namespace that they came from."""
    running = scope.current()
    return scope.held() is scope.OWN_ONLY or (running is not None and running.own_work)
