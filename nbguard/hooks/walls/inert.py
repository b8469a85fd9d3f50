"""Inert classes: they stand where a program would have put real ones, and report what is done to them.

    kind = Kind.make(("os", "system"), stage)
    kind("id")                  # nothing runs; stage.happened("reduce", kind, None, ("id",))

A stage has two methods: `happened(verb, kind, subject, args)` for what is done, whose result stands on the stack for a
`reduce` or `newobj`, and `on_global(kind)` for what is done to the global itself instead of to something made by it.
"""

from __future__ import annotations

from typing import Any, cast


def _on_global(kind: Any) -> Any:
    kind._stage.on_global(kind)
    return lambda *a, **k: None


class Kind(type):
    """The metaclass: a global as the program sees it. Calling it is a REDUCE; changing it is never allowed."""

    _stage: Any
    _names: tuple[str, str]

    @classmethod
    def make(mcs, names: tuple[str, str], stage: Any) -> Kind:  # noqa: N804
        """A new inert global called `names` (module, qualified name)."""
        made = type.__new__(mcs, "Inert", (Inert,), {"_stage": stage, "_names": names})
        return made

    def bare(cls) -> Inert:
        """Something made by this global, without a word to the stage."""
        return object.__new__(cast("type[Inert]", cls))

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._stage.happened("reduce", cls, None, (*args, *kwargs.values()))

    def __setitem__(cls, key: Any, value: Any) -> None:
        cls._stage.on_global(cls)

    # Data descriptors: they win over the methods that instances have under the same names.
    __setstate__ = property(_on_global)
    append = property(_on_global)
    extend = property(_on_global)
    add = property(_on_global)


class Inert(metaclass=Kind):
    """Something that a global made: an object, or the result of a call."""

    _stage: Any
    _names: tuple[str, str]
    made_with: tuple[Any, ...] = ()
    """Arguments of the call that made it, where a later check needs them."""
    made_at = -1
    """Step at which it was made, where that matters."""
    changed = False
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._stage.happened("newobj", cls, None, (*args, *kwargs.values()))

    def __setstate__(self, state: Any) -> None:
        self._stage.happened("build", type(self), self, (state,))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._mutate(key, value)

    def append(self, value: Any) -> None:
        self._mutate(value)

    def extend(self, values: Any) -> None:
        self._mutate(values)

    def add(self, value: Any) -> None:
        self._mutate(value)

    def _mutate(self, *args: Any) -> None:
        if not self.changed:
            self._stage.happened("mutated", type(self), self, args)
            self.changed = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._stage.happened("called", type(self), self, (*args, *kwargs.values()))

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def is_empty_dict(value: Any) -> bool:
    """An `OrderedDict()` or a plain dictionary that nothing was given to."""
    if type(value) is dict:
        return not value
    return isinstance(value, Inert) and value._names[1] == "OrderedDict" and not value.changed and not value.made_with
