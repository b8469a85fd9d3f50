"""Checks on the standard library's own functions: how bytes, classes and containers are made.

CALLS["encode"](judge, seen, ("\\x80\\x02", "latin1"), {})    # b"\\x80\\x02"
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbguard import rules
from nbguard.formats.pickle_machine import Inert, InertType, Seen
from nbguard.report.model import Verdict
from nbguard.scanners.pickle_checks import (
    Arguments,
    Build,
    Call,
    Keywords,
    bad,
    instance,
    is_instance,
    plain,
    vet_function,
)
from nbguard.scanners.pickle_describe import value_text

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge


MAX_BUFFER = 16 * 1024 * 1024
"""Bytes that a number as argument of `bytes` or `bytearray` may allocate; honest files pass the bytes themselves."""

_BUILTIN_BASES = frozenset(
    ["object", "dict", "list", "set", "frozenset", "tuple", "int", "float", "str", "bytes", "complex", "bytearray"]
)


def _encode(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    text, codec = (*arguments, None, "utf-8")[:2] if not arguments else (*arguments, "utf-8")[:2]
    if keywords or not 1 <= len(arguments) <= 2 or type(text) is not str or type(codec) is not str:
        return bad(judge, seen, "encodes something else than a literal text", arguments, keywords)
    if codec.lower().replace("_", "-") not in ("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"):
        return bad(judge, seen, f"uses the codec {codec[:40]!r}", arguments, keywords)
    return codecs.encode(text, codec)


def _bytearray(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if arguments and plain(arguments[0], bytes, bytearray):
        return NotImplemented
    if len(arguments) == 2 and all(type(a) is str for a in arguments):
        return NotImplemented
    return _small(judge, seen, arguments, keywords)


def _small(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """No argument that allocates or computes more than the file is long."""
    first: Any = arguments[0] if arguments else 0
    if seen.name in ("bytes", "bytearray") and plain(first, int, bool) and not 0 <= first <= MAX_BUFFER:
        return bad(judge, seen, "allocates as much as a number says", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    if keywords or len(arguments) > 3:
        return bad(judge, seen, "has unexpected arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    if seen.name == "bytes":
        if not arguments:
            return b""
        if plain(first, list, tuple) and all(type(n) is int and 0 <= n < 256 for n in first):
            return bytes(first)
        if plain(first, bytes) and len(arguments) == 1:
            return first
    return NotImplemented


_LITERALS = (list, tuple, set, frozenset, dict, str, bytes, bytearray, int, float, complex, bool, type(None))


def _iterable(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """Contents as long as the file says: `list(range(10 ** 12))` is a few bytes and ends the kernel."""
    for argument in arguments:
        if type(argument) in _LITERALS or is_instance(argument, *_FINITE):
            continue
        if isinstance(argument, InertType) and seen.name in ("deque", "UserString"):
            continue
        return bad(judge, seen, "is filled from something that may have no end", arguments, keywords,
                    verdict=Verdict.UNVERIFIABLE)  # fmt: skip
    return NotImplemented


_FINITE = (
    "builtins.list", "builtins.tuple", "builtins.set", "builtins.frozenset", "builtins.dict", "builtins.bytearray",
    "collections.OrderedDict", "collections.Counter", "collections.deque", "collections.defaultdict", "numpy.ndarray",
    "collections.UserDict", "collections.UserList", "builtins.str", "builtins.int", "builtins.float",
)  # fmt: skip


def _fraction(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    for argument in arguments:
        if type(argument) is not int and not (type(argument) is str and _FRACTION.match(argument)):
            return bad(judge, seen, "is no fraction of two whole numbers", arguments, keywords,
                        verdict=Verdict.UNVERIFIABLE)  # fmt: skip
    return NotImplemented


_FRACTION = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?\Z")

_OWN_METHODS = frozenset({"_entropy", "_cdf_single", "_ppf_single", "_ppfvec", "_cdfvec", "_mom1_sc", "_mom0_sc"})
"""Methods of its own that a SciPy distribution keeps for each element."""


def _getattr(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    if keywords or len(arguments) != 2 or type(arguments[1]) is not str:
        return bad(judge, seen, "needs one thing and one literal name", arguments, keywords)
    owner, name = arguments
    if isinstance(owner, InertType) and not name.startswith("__"):
        listed = rules.lookup(owner._seen.module, f"{owner._seen.name}.{name}")
        if listed is not None:
            return seen.tape.find(owner._seen.raw_module, f"{owner._seen.raw_name}.{name}")
    if isinstance(owner, Inert) and name in _OWN_METHODS:
        rule = rules.lookup(owner._seen.module, owner._seen.name)
        if rule is not None and rule.check == "distribution":
            return NotImplemented
    if not name.isidentifier() or not name.isascii() or name.startswith("_"):
        return bad(judge, seen, f"reaches for {name[:80]!r}", arguments, keywords)
    if not isinstance(owner, Inert | InertType):
        return bad(judge, seen, "reaches into plain data", arguments, keywords)
    rule = rules.lookup(owner._seen.module, owner._seen.name)
    if rule is None or not rule.verbs & {"newobj", "reduce"} or rule.check == "getattr":
        return bad(
            judge, seen, f"reaches into {owner._seen.dotted[:100]}, which is no listed class", arguments, keywords
        )
    if isinstance(owner, InertType):
        return seen.tape.find(owner._seen.raw_module, f"{owner._seen.raw_name}.{name}")
    judge.runs_later(owner._seen, f"the method {name}", owner)
    return NotImplemented


def _reconstructor(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 3 or not isinstance(arguments[0], InertType):
        return bad(judge, seen, "makes no instance of a named class", arguments, keywords)
    cls, base = arguments[:2]
    if not isinstance(base, InertType) or base._seen.module != "builtins" or base._seen.name not in _BUILTIN_BASES:
        return bad(judge, seen, "starts from an unexpected base class", arguments, keywords)
    return instance(cls, arguments[2:] if arguments[2] is not None else ())


def _newobj(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or not arguments or not isinstance(arguments[0], InertType):
        return bad(judge, seen, "makes no instance of a named class", arguments, keywords)
    cls, rest = arguments[0], arguments[1:]
    named: Keywords = {}
    if seen.name == "__newobj_ex__":
        if len(rest) != 2 or type(rest[0]) is not tuple or type(rest[1]) is not dict:
            return bad(judge, seen, "has malformed arguments", arguments, keywords)
        rest, named = rest
    return instance(cls, rest, named)


def _partial_call(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    vet_function(judge, seen, arguments[0] if arguments else None)
    return NotImplemented


def _partial_state(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not tuple or len(state) != 4:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    vet_function(judge, seen, state[0])


def _defaultdict(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    factory = arguments[0] if arguments else None
    if factory is None or judge.may_be_called(factory):
        return NotImplemented
    if is_instance(factory, "functools.partial") or isinstance(factory, InertType):
        judge.runs_later(seen, "the factory for missing keys", factory)
        if isinstance(factory, InertType) and rules.lookup(factory._seen.module, factory._seen.name) is None:
            judge.problem(seen, "calls an unlisted function for each missing key", value_text(factory))
        return NotImplemented
    return bad(judge, seen, "has no named factory", arguments, keywords)


def _zone(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    name = arguments[0] if arguments else ""
    if type(name) is not str or name.startswith(("/", ".")) or ".." in name or "//" in name or len(name) > 100:
        return bad(judge, seen, "names a time zone by a path", arguments, keywords)
    return NotImplemented


CALLS: Mapping[str, Call] = {
    "encode": _encode,
    "bytearray": _bytearray,
    "small": _small,
    "container": _iterable,
    "iterable": _iterable,
    "fraction": _fraction,
    "getattr": _getattr,
    "reconstructor": _reconstructor,
    "newobj": _newobj,
    "partial": _partial_call,
    "defaultdict": _defaultdict,
    "zone": _zone,
}
"""Check → what looks at each call."""

BUILDS: Mapping[str, Build] = {
    "partial": _partial_state,
}
"""Check → what looks at each BUILD."""
