"""What the argument and state checks share: kinds of values, and how a check says that it does not pass.

if not is_empty(hooks):
    return bad(judge, seen, "carries hooks", arguments, keywords)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbguard import rules
from nbguard.formats.pickle_machine import BUILD, Inert, InertType, Kept, Seen, make
from nbguard.report.model import Verdict
from nbguard.scanners.pickle_describe import call_text, value_text

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge


Arguments = tuple[Any, ...]

Keywords = Mapping[str, Any]

Call = Callable[["Judge", Seen, Arguments, Keywords], Any]

Build = Callable[["Judge", Seen, Any, Any], None]

MAX_LATER = 200_000
"""Looks at state that wait for the end of one program."""


def is_global(value: Any, *dotted: str) -> bool:
    """Whether `value` is one of these globals, by the name that Python 3 resolves."""
    return isinstance(value, InertType) and value._seen.dotted in dotted


def is_instance(value: Any, *dotted: str) -> bool:
    """Whether `value` was made by one of these globals."""
    return isinstance(value, Inert) and not isinstance(value, InertType) and value._seen.dotted in dotted


def is_empty(value: Any) -> bool:
    """Whether a container holds nothing, now: None, an empty literal, or a listed container that was given nothing."""
    if value is None or value in ((), [], {}):
        return True
    if not is_instance(value, "collections.OrderedDict", "builtins.dict", "builtins.set"):
        return False
    return (
        isinstance(value, Kept)
        and not value.items
        and not value.states
        and all(a in ((), [], {}) for a in value.arguments)
    )


def plain(value: Any, *types: type) -> bool:
    """Whether `value` is of exactly one of these types: no subclass, nothing inert."""
    return type(value) in types


def is_callable(value: Any) -> bool:
    """Whether the real value could be called: a global, or what one made."""
    return isinstance(value, Inert | InertType)


def bad(judge: Judge, seen: Seen, why: str, arguments: Arguments, keywords: Keywords, **more: Any) -> Any:
    """Report that a call does not pass; the machine goes on with an inert instance."""
    judge.problem(seen, why, call_text(seen.dotted, arguments, keywords), **more)
    judge.noted(seen, arguments, keywords)
    return NotImplemented


def twice(check: Build) -> Build:
    """A state check that looks when BUILD runs, and again when the program has ended."""

    def build(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
        check(judge, seen, made, state)
        if len(seen.tape.later) < MAX_LATER:
            seen.tape.later.append(lambda: check(judge, seen, made, state))
        else:
            judge.problem(seen, "is given state too often to look at all of it", verdict=Verdict.UNVERIFIABLE)

    return build


def instance(cls: InertType, arguments: Arguments = (), keywords: Keywords | None = None) -> Any:
    """What `cls.__new__(cls, …)` gives, recorded as the verb it is."""
    new: Any = cls.__new__
    return new(cls, *arguments, **{str(k): v for k, v in (keywords or {}).items()})


def vet_function(judge: Judge, seen: Seen, function: Any) -> None:
    """A function stored for a later call: listed ones are told, anything else is dangerous."""
    if isinstance(function, InertType) and rules.lookup(function._seen.module, function._seen.name) is not None:
        if not judge.may_be_called(function):
            judge.runs_later(seen, "the stored function", function)
    elif isinstance(function, InertType) and rules.gadget(function._seen.module, function._seen.name) is None:
        judge.runs_later(seen, "the stored function", function)
    else:
        judge.problem(seen, "stores something that no rule lets be called", value_text(function))


def listed_class(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """Functions that make an instance of the class they are given: `__pyx_unpickle_*`, `newObj`, `_new_Index`."""
    cls = arguments[0] if arguments else None
    if keywords or not isinstance(cls, InertType):
        return bad(judge, seen, "is not given a named class", arguments, keywords)
    rule = rules.lookup(cls._seen.module, cls._seen.name)
    if rule is None or not rule.verbs & {"newobj", "reduce"}:
        return bad(judge, seen, f"makes a {cls._seen.dotted[:100]}, which is no listed class", arguments, keywords)
    if len(arguments) > 1 and arguments[-1] is not None and type(arguments[-1]) is not int:
        cls._seen.bits |= BUILD if "build" in rule.verbs else 0
    return instance(cls) if "newobj" in rule.verbs else make(cls, (), {})
