"""The real pickle machine over inert classes: what would this program do, without any of it being done?

    tape = run(pickle.dumps(object_to_look_at), Tape(watch=lambda seen: RECORD))
    [(seen.dotted, seen.verbs) for seen in tape.seen.values()]

CPython's own C `pickle.Unpickler` reads the bytes, with its own stack and memo; only `find_class`, `persistent_load`
and the extension registry are replaced. Every global becomes an inert class that records what is done to it and
returns inert results; no real global is ever resolved, so nothing can run. joblib's reader is built on the Python
machine, `pickle._Unpickler`, and so is `JoblibMachine`: each file is read by the machine that its loader uses.

What a program's verbs mean on an inert class:

| verb | opcodes | what the real loader would do |
|---|---|---|
| named | GLOBAL, STACK_GLOBAL, INST | import the module, look the name up |
| newobj | NEWOBJ, NEWOBJ_EX | `cls.__new__(cls, ...)` |
| reduce | REDUCE, OBJ, INST | `callable(...)` |
| build | BUILD on what it made | `__setstate__`, or writes into its `__dict__` |
| mutated | APPEND(S), SETITEM(S), ADDITEMS on what it made | `append`, `extend`, `__setitem__`, `add` |
| touched | BUILD, APPEND(S), SETITEM(S), ADDITEMS on the global itself | changes a class, function or module in place |
| recalled | REDUCE, OBJ on what it made | calls an instance or a function's result |

The machine judges nothing. It is iterative and bounded; memory and hash bombs are held by the process it runs in.
"""

from __future__ import annotations

import _compat_pickle
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAMED, NEWOBJ, REDUCE, BUILD, MUTATED, TOUCHED, RECALLED, INSTANCED = 1, 2, 4, 8, 16, 32, 64, 128
"""Bits of `Seen.bits`. INSTANCED: INST or OBJ without arguments, which is `newobj` for a class and `reduce` for
anything else; only a reader of the rules can tell which."""

VERBS = ((NAMED, "named"), (NEWOBJ, "newobj"), (REDUCE, "reduce"), (BUILD, "build"), (MUTATED, "mutated"))

MAX_NAME = 512
"""Characters of a module or a qualified name; the longest in the rules has under 80."""
MAX_GLOBALS = 20_000
"""Different globals in one stream; the largest honest file of 230 looked at names under 200."""
MAX_EVENTS = 64
"""Events kept of each global, and deferred looks at state kept for each program in `Tape.later`."""
MAX_UNASKED = 4
"""Calls kept of a global that nobody asked to record: evidence, should its rule have no verb for them."""
MAX_PERSISTENT = 1_000_000


class MachineLimit(Exception):  # noqa: N818 - it ends a program, it is no mistake of the program's
    """The program asks for more than the machine is willing to record."""


@dataclass(frozen=True)
class Handling:
    """What the watcher wants from one global."""

    record: bool = False
    """Keep the first events with their arguments."""
    keep: bool = False
    """Keep arguments and state on every inert instance."""
    call: Callable[[Seen, tuple[Any, ...], Mapping[str, Any]], Any] | None = None
    """Called on `reduce`; its result stands in for the call's, NotImplemented for an inert instance."""
    new: Callable[[Seen, tuple[Any, ...], Mapping[str, Any]], None] | None = None
    """Called on `newobj`."""
    build: Callable[[Seen, Any, Any], None] | None = None
    """Called on `build` with instance and state."""


PASS = Handling()
RECORD = Handling(record=True)


@dataclass(frozen=True)
class Event:
    """One thing done to one global, with what the stream gave it."""

    verb: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]


class Seen:
    """One global as one spelling names it, and everything that was done to it."""

    __slots__ = ("bits", "events", "handling", "inert", "module", "name", "raw_module", "raw_name", "tape")

    def __init__(self, tape: Tape, raw_module: str, raw_name: str) -> None:
        self.tape = tape
        self.raw_module, self.raw_name = raw_module, raw_name
        self.module, self.name = mapped(raw_module, raw_name)
        self.bits = NAMED
        self.events: list[Event] = []
        self.handling = PASS
        self.inert: InertType

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs of the contract, sorted; what has no such word (touched, recalled) is for the judge alone."""
        return tuple(sorted(word for bit, word in VERBS if self.bits & bit))

    def note(self, verb: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(Event(verb, arguments, keywords))


def mapped(module: str, name: str) -> tuple[str, str]:
    """The name that Python 3 resolves below protocol 3: `find_class` overrides see names before they are mapped."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


class Inert:
    """An instance of nothing: takes whatever the machine does to it, keeps the default hash and equality."""

    __slots__ = ()
    _seen: Seen

    def __new__(cls, *arguments: Any, **keywords: Any) -> Inert:
        seen = cls._seen
        seen.bits |= NEWOBJ
        handling = seen.handling
        if handling is PASS:
            return object.__new__(cls)
        if handling.record:
            seen.note("newobj", arguments, keywords)
        if handling.new is not None:
            handling.new(seen, arguments, keywords)
        made: Inert = make(cls, arguments, keywords)
        return made

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        seen = self._seen
        seen.bits |= BUILD
        handling = seen.handling
        if handling is PASS:
            return
        if handling.record:
            seen.note("build", (state,), {})
        if handling.keep:
            kept: Any = self
            kept.states = [*kept.states, state]
        if handling.build is not None:
            handling.build(seen, self, state)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._mutated("setitem", (key, value))

    def append(self, value: Any) -> None:
        self._mutated("append", (value,))

    def extend(self, values: Any) -> None:
        self._mutated("extend", (values,))

    def add(self, value: Any) -> None:
        self._mutated("add", (value,))

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        seen = self._seen
        seen.bits |= RECALLED
        seen.note("recalled", arguments, keywords)
        return make(type(self), (), {})

    def _mutated(self, how: str, values: tuple[Any, ...]) -> None:
        seen = self._seen
        seen.bits |= MUTATED
        handling = seen.handling
        if handling.record or len(seen.events) < MAX_UNASKED:
            seen.note(how, values, {})
        if handling.keep:
            kept: Any = self
            if kept.items:
                kept.items.append(values)
            else:
                kept.items = [values]


class Kept(Inert):
    """An inert instance that keeps what it was given, for globals whose arguments or state must be checked."""

    __slots__ = ("arguments", "items", "keywords", "states")

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    states: Sequence[Any]
    items: Sequence[tuple[Any, ...]]


class _Touch:
    """A data descriptor of the metaclass: what the machine looks up on the global itself, not on an instance."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, cls: InertType | None, owner: type) -> Any:
        if cls is None:
            return self

        def touched(*values: Any) -> None:
            cls._seen.bits |= TOUCHED
            cls._seen.note(f"touched by {self.name}", values, {})

        return touched

    def __set__(self, cls: Any, value: Any) -> None:
        raise AttributeError(self.name)


class _Initargs:
    """`__getinitargs__` is looked up by INST and OBJ without arguments alone; being there, it makes both of them call
    the class, and tells us that it was they who did."""

    def __get__(self, cls: InertType | None, owner: type) -> Any:
        if cls is not None:
            cls._seen.tape.instancing = True
        return ()

    def __set__(self, cls: Any, value: Any) -> None:
        raise AttributeError("__getinitargs__")


class InertType(type):
    """The type of every global: calling it is REDUCE (or OBJ, INST), what it makes comes from its `Inert` side."""

    _seen: Seen
    __setstate__ = _Touch()
    append = _Touch()
    extend = _Touch()
    add = _Touch()
    __getinitargs__ = _Initargs()

    def __setitem__(cls, key: Any, value: Any) -> None:
        cls._seen.bits |= TOUCHED
        cls._seen.note("touched by __setitem__", (key, value), {})

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        seen = cls._seen
        if not arguments and not keywords and seen.tape.instancing:
            seen.bits |= INSTANCED
        else:
            seen.bits |= REDUCE
        seen.tape.instancing = False
        handling = seen.handling
        if len(seen.events) < MAX_UNASKED:
            seen.note("reduce", arguments, keywords)
        if handling is PASS:
            return object.__new__(cls)  # type: ignore[arg-type]
        if handling.record and len(seen.events) >= MAX_UNASKED:
            seen.note("reduce", arguments, keywords)
        if handling.call is not None:
            result = handling.call(seen, arguments, keywords)
            if result is not NotImplemented:
                return result
        return make(cls, arguments, keywords)


def make(cls: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """An inert instance of `cls` that records nothing about its own making."""
    made = object.__new__(cls)
    if issubclass(cls, Kept):
        made.arguments, made.keywords, made.states, made.items = arguments, keywords, (), ()
    return made


class Persistent(Kept):
    """What a persistent id stands for."""

    __slots__ = ()


class Tape:
    """Everything recorded while one stream's programs ran. `seen` is shared by all programs of the stream."""

    def __init__(self, watch: Callable[[Seen], Handling]) -> None:
        self.watch = watch
        self.seen: dict[tuple[str, str], Seen] = {}
        self.asked = 0
        """How often a global was named, those included that could not be recorded."""
        self.persistent: list[Any] = []
        self.extensions = False
        """An EXT opcode was met."""
        self.later: list[Callable[[], None]] = []
        """Checks to be made again when the program has ended: what it holds by reference may change until then."""
        self.watched: dict[int, Any] = {}
        """Containers, by identity, of which a check in `later` already takes care."""
        self.instancing = False
        stand_in = Seen(self, "", "<persistent id>")
        self._persistent = InertType("Persistent", (Persistent,), {"__slots__": (), "_seen": stand_in})
        self.stand_in = stand_in

    def find(self, module: Any, name: Any) -> Any:
        """The inert class for a global; MachineLimit where names are too long or too many, TypeError for no strings."""
        self.asked += 1
        if type(module) is not str or type(name) is not str:
            raise TypeError("a global's name is no string")
        key = (module, name)
        old = self.seen.get(key)
        if old is not None:
            return old.inert
        if len(module) > MAX_NAME or len(name) > MAX_NAME:
            raise MachineLimit(f"a global's name has {max(len(module), len(name))} characters")
        if len(self.seen) >= MAX_GLOBALS:
            raise MachineLimit(f"more than {MAX_GLOBALS} different globals")
        new = Seen(self, module, name)
        new.handling = self.watch(new)
        base = Kept if new.handling.keep else Inert
        new.inert = InertType("inert", (base,), {"__slots__": (), "_seen": new})
        self.seen[key] = new
        return new.inert

    def persist(self, identity: Any) -> Any:
        if len(self.persistent) >= MAX_PERSISTENT:
            raise MachineLimit(f"more than {MAX_PERSISTENT} persistent ids")
        self.persistent.append(identity)
        if type(identity) is tuple and len(identity) > 1 and identity[0] in ("module", b"module"):
            if isinstance(identity[1], InertType):
                return identity[1]  # torch hands back the class itself
            raise pickle.UnpicklingError("a persistent id of a module without its class")
        return make(self._persistent, (identity,), {})

    def settle(self) -> None:
        """Make the checks that had to wait for the end of a program."""
        later, self.later = self.later, []
        self.watched = {}
        for check in later:
            check()
