"""Intercept a Python function without changing its identity.

    swapped = swap(torch.load, around)      # around(original, *args, **kwargs)
    from_an_earlier_cell(...)               # bound before: caught all the same
    swapped.restore()

Replacing a module's attribute misses every name that was bound to the function before. Replacing the function's code
object reaches them all, and `inspect.signature`, the docstring and pickling by reference stay as they were.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbguard.hooks.short_traces import FILENAME, shorten

_TEMPLATE = """
def build({free}):
    def {name}(*args, **kwargs):
        if 0: ({free})
        around = 'nbguard: around'
        shorten = 'nbguard: shorten'
        try:
            return around(*args, **kwargs)
        except BaseException as error:
            shorten(error)
            raise
    return {name}
"""


@dataclass(frozen=True)
class Swapped:
    """One intercepted function, and all that is needed to give it back."""

    function: types.FunctionType
    original: Callable[..., Any]
    """Reaches what the function did before."""
    code: types.CodeType
    defaults: tuple[Any, ...] | None
    kwdefaults: dict[str, Any] | None
    attributes: dict[str, Any]

    def restore(self) -> None:
        """Give the function back exactly as it was."""
        self.function.__code__ = self.code
        self.function.__defaults__ = self.defaults
        self.function.__kwdefaults__ = self.kwdefaults
        self.function.__dict__.pop("__signature__", None)
        self.function.__dict__.update(self.attributes)


def swap(function: Callable[..., Any], around: Callable[..., Any]) -> Swapped:
    """Let every call of `function` go to `around(original, ...)`. Raises TypeError for what is no Python function."""
    if not isinstance(function, types.FunctionType):
        raise TypeError(f"{function!r} is not a Python function, so its code cannot be exchanged")
    clone = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    clone.__kwdefaults__ = function.__kwdefaults__
    clone.__qualname__ = function.__qualname__
    attributes = {k: v for k, v in function.__dict__.items() if k == "__signature__"}
    swapped = Swapped(function, clone, function.__code__, function.__defaults__, function.__kwdefaults__, attributes)
    signature = inspect.signature(function)
    clone.__signature__ = signature  # type: ignore[attr-defined]  # of a decorated one, what it wraps says it

    def enter(*args: Any, **kwargs: Any) -> Any:
        return around(clone, *args, **kwargs)

    code = _trampoline(function.__code__, enter)
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__defaults__ = None
    function.__kwdefaults__ = None
    function.__code__ = code
    return swapped


def _trampoline(code: types.CodeType, enter: Callable[..., Any]) -> types.CodeType:
    """Code that calls `enter`, with as many free variables as `code` has, since the closure stays in place.

    What it calls travels as a constant of the code object: no name in any module leads to it.
    """
    free = "".join(f"{name}, " for name in code.co_freevars)
    namespace: dict[str, Any] = {}
    source = _TEMPLATE.format(free=free, name="trampoline")
    if not free:
        source = source.replace("        if 0: ()\n", "")
    exec(compile(source, FILENAME, "exec"), namespace)
    made: types.CodeType = namespace["build"](*(None for _ in code.co_freevars)).__code__
    if made.co_freevars != code.co_freevars:
        raise TypeError(f"the closure of {code.co_name} cannot be kept")
    given = {"nbguard: around": enter, "nbguard: shorten": shorten}
    constants = tuple(given.get(c, c) if isinstance(c, str) else c for c in made.co_consts)
    return made.replace(co_consts=constants, co_name=code.co_name, co_qualname=code.co_qualname)


__all__ = ["FILENAME", "Swapped", "swap"]
