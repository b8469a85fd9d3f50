"""Argument checks: what a listed global may be called with, and which state it may be given.

    handling(judge, rules.lookup("_codecs", "encode")).call(seen, ("\\x80\\x02", "latin1"), {})    # b"\\x80\\x02"

Each check is keyed by the `check` of a rule. A check that does not pass reports a problem and the run goes on, so that
everything is seen; where the real call's result matters to what follows (bytes, a class, an instance of a class given
as argument) the check hands back exactly that. State that is kept by reference is looked at again at the end.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nbguard import rules
from nbguard.formats.joblib_machine import WRAPPERS, dtype_of
from nbguard.formats.numpy_dtype import DTypeError
from nbguard.formats.pickle_machine import BUILD, Handling, Inert, InertType, Kept, Seen, make
from nbguard.report.model import Verdict
from nbguard.scanners.pickle_describe import call_text, value_text

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge

Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]
Call = Callable[["Judge", Seen, Arguments, Keywords], Any]
Build = Callable[["Judge", Seen, Any, Any], None]

MAX_BUFFER = 16 * 1024 * 1024
"""Bytes that a number as argument of `bytes` or `bytearray` may allocate; honest files pass the bytes themselves."""
_BUILTIN_BASES = frozenset(
    ["object", "dict", "list", "set", "frozenset", "tuple", "int", "float", "str", "bytes", "complex", "bytearray"]
)


def handling(judge: Judge, rule: rules.Rule) -> Handling:
    """How the machine should treat a global with this rule's check."""
    from nbguard.scanners import pickle_state

    call = CALLS.get(rule.check)
    build = pickle_state.BUILDS.get(rule.check)
    if call is None and build is None and rule.check not in _KEEP:
        raise KeyError(rule.check)
    return Handling(
        keep=rule.check in _KEEP or build is not None,
        new=partial(_unmade, judge) if rule.check in ("ndarray", "masked") else None,
        call=partial(call, judge) if call is not None else None,
        build=partial(build, judge) if build is not None else None,
    )


def unlisted(judge: Judge, seen: Seen) -> Handling | None:
    """Handling for globals without a rule whose arguments say more than their name."""
    if seen.name.rpartition(".")[2] in WRAPPERS:
        return Handling(record=True, keep=True)
    if (seen.module.split(".")[0], seen.name) in _LOADERS or seen.dotted in _NESTED:
        return Handling(record=True, call=partial(_nested_call, judge))
    if seen.dotted == "torch.fx.graph_module.reduce_graph_module":
        return Handling(record=True, call=partial(_graph_module, judge))
    return None


_LOADERS = frozenset(
    (m, n) for m in ("pickle", "_pickle", "dill", "cloudpickle", "marshal") for n in ("loads", "_loads")
)
_NESTED = frozenset({"joblib.externals.loky.cloudpickle_wrapper._reconstruct_wrapper"})


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
    return type(value) in types


def _bad(judge: Judge, seen: Seen, why: str, arguments: Arguments, keywords: Keywords, **more: Any) -> Any:
    judge.problem(seen, why, call_text(seen.dotted, arguments, keywords), **more)
    judge.noted(seen, arguments, keywords)
    return NotImplemented


# --- the standard library


def _encode(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    text, codec = (*arguments, None, "utf-8")[:2] if not arguments else (*arguments, "utf-8")[:2]
    if keywords or not 1 <= len(arguments) <= 2 or type(text) is not str or type(codec) is not str:
        return _bad(judge, seen, "encodes something else than a literal text", arguments, keywords)
    if codec.lower().replace("_", "-") not in ("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"):
        return _bad(judge, seen, f"uses the codec {codec[:40]!r}", arguments, keywords)
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
        return _bad(
            judge, seen, "allocates as much as a number says", arguments, keywords, verdict=Verdict.UNVERIFIABLE
        )
    if keywords or len(arguments) > 3:
        return _bad(judge, seen, "has unexpected arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    if seen.name == "bytes":
        if not arguments:
            return b""
        if plain(first, list, tuple) and all(type(n) is int and 0 <= n < 256 for n in first):
            return bytes(first)
        if plain(first, bytes) and len(arguments) == 1:
            return first
    return NotImplemented


_OWN_METHODS = frozenset({"_entropy", "_cdf_single", "_ppf_single", "_ppfvec", "_cdfvec", "_mom1_sc", "_mom0_sc"})
"""Methods of its own that a SciPy distribution keeps for each element."""


_LITERALS = (list, tuple, set, frozenset, dict, str, bytes, bytearray, int, float, complex, bool, type(None))


def _iterable(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """Contents as long as the file says: `list(range(10 ** 12))` is a few bytes and ends the kernel."""
    for argument in arguments:
        if type(argument) in _LITERALS or is_instance(argument, *_FINITE):
            continue
        if isinstance(argument, InertType) and seen.name in ("deque", "UserString"):
            continue
        return _bad(judge, seen, "is filled from something that may have no end", arguments, keywords,
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
            return _bad(judge, seen, "is no fraction of two whole numbers", arguments, keywords,
                        verdict=Verdict.UNVERIFIABLE)  # fmt: skip
    return NotImplemented


_FRACTION = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?\Z")


def _unmade(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> None:
    """NEWOBJ with arguments, where honest files always go through `_reconstruct`."""
    if arguments or keywords:
        _bad(judge, seen, "is made with a shape and memory of the file's choice", arguments, keywords)


def _getattr(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    if keywords or len(arguments) != 2 or type(arguments[1]) is not str:
        return _bad(judge, seen, "needs one thing and one literal name", arguments, keywords)
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
        return _bad(judge, seen, f"reaches for {name[:80]!r}", arguments, keywords)
    if not isinstance(owner, Inert | InertType):
        return _bad(judge, seen, "reaches into plain data", arguments, keywords)
    rule = rules.lookup(owner._seen.module, owner._seen.name)
    if rule is None or not rule.verbs & {"newobj", "reduce"} or rule.check == "getattr":
        return _bad(
            judge, seen, f"reaches into {owner._seen.dotted[:100]}, which is no listed class", arguments, keywords
        )
    if isinstance(owner, InertType):
        return seen.tape.find(owner._seen.raw_module, f"{owner._seen.raw_name}.{name}")
    judge.runs_later(owner._seen, f"the method {name}", owner)
    return NotImplemented


def _reconstructor(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 3 or not isinstance(arguments[0], InertType):
        return _bad(judge, seen, "makes no instance of a named class", arguments, keywords)
    cls, base = arguments[:2]
    if not isinstance(base, InertType) or base._seen.module != "builtins" or base._seen.name not in _BUILTIN_BASES:
        return _bad(judge, seen, "starts from an unexpected base class", arguments, keywords)
    return instance(cls, arguments[2:] if arguments[2] is not None else ())


def _newobj(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or not arguments or not isinstance(arguments[0], InertType):
        return _bad(judge, seen, "makes no instance of a named class", arguments, keywords)
    cls, rest = arguments[0], arguments[1:]
    named: Keywords = {}
    if seen.name == "__newobj_ex__":
        if len(rest) != 2 or type(rest[0]) is not tuple or type(rest[1]) is not dict:
            return _bad(judge, seen, "has malformed arguments", arguments, keywords)
        rest, named = rest
    return instance(cls, rest, named)


def instance(cls: InertType, arguments: Arguments = (), keywords: Keywords | None = None) -> Any:
    """What `cls.__new__(cls, …)` gives, recorded as the verb it is."""
    new: Any = cls.__new__
    return new(cls, *arguments, **{str(k): v for k, v in (keywords or {}).items()})


def _partial(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    vet_function(judge, seen, arguments[0] if arguments else None)
    return NotImplemented


def vet_function(judge: Judge, seen: Seen, function: Any) -> None:
    """A function stored for a later call: listed ones are told, anything else is dangerous."""
    if isinstance(function, InertType) and rules.lookup(function._seen.module, function._seen.name) is not None:
        if not judge.may_be_called(function):
            judge.runs_later(seen, "the stored function", function)
    elif isinstance(function, InertType) and rules.gadget(function._seen.module, function._seen.name) is None:
        judge.runs_later(seen, "the stored function", function)
    else:
        judge.problem(seen, "stores something that no rule lets be called", value_text(function))


def _defaultdict(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    factory = arguments[0] if arguments else None
    if factory is None or judge.may_be_called(factory):
        return NotImplemented
    if is_instance(factory, "functools.partial") or isinstance(factory, InertType):
        judge.runs_later(seen, "the factory for missing keys", factory)
        if isinstance(factory, InertType) and rules.lookup(factory._seen.module, factory._seen.name) is None:
            judge.problem(seen, "calls an unlisted function for each missing key", value_text(factory))
        return NotImplemented
    return _bad(judge, seen, "has no named factory", arguments, keywords)


def _zone(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    name = arguments[0] if arguments else ""
    if type(name) is not str or name.startswith(("/", ".")) or ".." in name or "//" in name or len(name) > 100:
        return _bad(judge, seen, "names a time zone by a path", arguments, keywords)
    return NotImplemented


# --- numpy


def check_dtype(judge: Judge, seen: Seen, value: Any) -> Any:
    """The validated descriptor, or None with the problem reported."""
    try:
        return dtype_of(value)
    except DTypeError as error:
        judge.problem(
            seen, f"has a descriptor that numpy would not make: {error}", value_text(value), Verdict.UNVERIFIABLE
        )
        return None


def _reconstruct(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 3 or not isinstance(arguments[0], InertType):
        return _bad(judge, seen, "makes no array of a named class", arguments, keywords)
    cls, shape, code = arguments
    if type(shape) is not tuple or 0 not in shape or any(type(n) is not int or n < 0 for n in shape):
        return _bad(
            judge, seen, "does not start from an empty array", arguments, keywords, verdict=Verdict.UNVERIFIABLE
        )
    if code not in ("b", b"b"):
        return _bad(judge, seen, "does not start from bytes", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    return instance(cls)


def _mareconstruct(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 4 or not all(isinstance(a, InertType) for a in arguments[:2]):
        return _bad(judge, seen, "makes no masked array of named classes", arguments, keywords)
    rule = rules.lookup(arguments[1]._seen.module, arguments[1]._seen.name)
    if (
        rule is None
        or rule.check not in ("ndarray", "masked")
        or arguments[2] != (0,)
        or arguments[3] not in ("b", b"b")
    ):
        return _bad(judge, seen, "does not start from an empty array", arguments, keywords)
    return instance(arguments[0])


def _scalar(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or not 1 <= len(arguments) <= 2:
        return _bad(judge, seen, "has unexpected arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    dtype = check_dtype(judge, seen, arguments[0])
    if dtype is None:
        return NotImplemented
    if dtype.has_object:
        return _bad(judge, seen, "takes an object for a number", arguments, keywords)
    if len(arguments) == 2 and (not plain(arguments[1], bytes, str) or len(arguments[1]) != dtype.itemsize):
        return _bad(judge, seen, "has bytes of another length", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    return NotImplemented


def _frombuffer(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) not in (3, 4, 5) or not plain(arguments[0], bytes, bytearray, memoryview):
        return _bad(judge, seen, "is not given its bytes", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    dtype = check_dtype(judge, seen, arguments[1])
    if dtype is not None and dtype.has_object:
        return _bad(judge, seen, "takes bytes for objects", arguments, keywords)
    return NotImplemented


_UFUNC_MODULES = frozenset(
    ["numpy.core.umath", "numpy._core.umath", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath", "numpy"]
)


def _ufunc(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    if seen.name == "_ufunc_reduce":
        return _bad(judge, seen, "is not called by any honest file", arguments, keywords)
    if keywords or len(arguments) != 2 or not all(type(a) is str for a in arguments):
        return _bad(judge, seen, "needs two literal names", arguments, keywords)
    module, name = arguments
    if module not in _UFUNC_MODULES or rules.lookup("numpy", name) is None or name.startswith("_"):
        return _bad(judge, seen, f"imports {module[:80]}.{name[:80]}", arguments, keywords)
    return NotImplemented


def _scalar_class(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) > 2 or not all(plain(a, int, float, complex, str, bytes, bool) for a in arguments):
        return _bad(judge, seen, "is called with more than a plain number", arguments, keywords)
    return NotImplemented


_BIT_GENERATORS = frozenset(["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])


def _bit_generator(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    first = arguments[0] if arguments else "MT19937"
    if isinstance(first, InertType):
        first = first._seen.name if first._seen.module.startswith("numpy.random.") else None
    if keywords or len(arguments) > 1 or first not in _BIT_GENERATORS:
        return _bad(judge, seen, "names no bit generator of numpy's", arguments, keywords)
    return NotImplemented


_BIT_MAKER = "numpy.random._pickle.__bit_generator_ctor"


def _generator(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    first = arguments[0] if arguments else "MT19937"
    known = first in _BIT_GENERATORS if type(first) is str else is_instance(first, _BIT_MAKER)
    if keywords or len(arguments) > 2 or not known or (len(arguments) == 2 and not is_global(arguments[1], _BIT_MAKER)):
        return _bad(judge, seen, "is not made from a bit generator of numpy's", arguments, keywords)
    return NotImplemented


def _listed_class(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """Functions that make an instance of the class they are given: `__pyx_unpickle_*`, `newObj`, `_new_Index`."""
    cls = arguments[0] if arguments else None
    if keywords or not isinstance(cls, InertType):
        return _bad(judge, seen, "is not given a named class", arguments, keywords)
    rule = rules.lookup(cls._seen.module, cls._seen.name)
    if rule is None or not rule.verbs & {"newobj", "reduce"}:
        return _bad(judge, seen, f"makes a {cls._seen.dotted[:100]}, which is no listed class", arguments, keywords)
    if len(arguments) > 1 and arguments[-1] is not None and type(arguments[-1]) is not int:
        cls._seen.bits |= BUILD if "build" in rule.verbs else 0
    return instance(cls) if "newobj" in rule.verbs else make(cls, (), {})


# --- torch


def _rebuild_tensor(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """Hooks must be empty, also when the program ends: what holds them is kept by reference."""
    if keywords:
        return _bad(judge, seen, "has unexpected arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    at = {
        "_rebuild_tensor_v2": 5,
        "_rebuild_tensor_v3": 5,
        "_rebuild_parameter": 2,
        "_rebuild_parameter_with_state": 2,
        "_rebuild_qtensor": 6,
    }.get(seen.name)
    if at is not None and len(arguments) > at:
        _hooks(judge, seen, arguments[at])
        if arguments[at] is not None and not is_empty(arguments[at]):
            return NotImplemented
        if arguments[at] is not None:
            _look_again(judge, seen, arguments[at])
    if seen.name == "_rebuild_parameter_with_state" and len(arguments) > 3:
        _state_of_tensor(judge, seen, arguments[3])
    if seen.name == "_rebuild_device_tensor_from_numpy" and arguments and isinstance(arguments[0], InertType):
        return _bad(judge, seen, "is not given an array", arguments, keywords)
    return NotImplemented


def _look_again(judge: Judge, seen: Seen, value: Any) -> None:
    known = seen.tape.__dict__.setdefault("hook_containers", {})
    if id(value) not in known:
        known[id(value)] = value
        seen.tape.later.append(lambda: _hooks(judge, seen, value))


def _hooks(judge: Judge, seen: Seen, value: Any) -> None:
    if not is_empty(value):
        judge.problem(seen, "carries hooks, which run when a gradient is computed", value_text(value))


def _state_of_tensor(judge: Judge, seen: Seen, state: Any) -> None:
    if state is None or (type(state) is dict and all(not isinstance(v, InertType) for v in state.values())):
        return
    if type(state) is tuple and len(state) == 2 and all(s is None or type(s) is dict for s in state):
        for part in state:
            _state_of_tensor(judge, seen, part)
        return
    judge.problem(seen, "gives a tensor callable attributes", value_text(state))


def _rebuild_type(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) not in (3, 4) or type(arguments[2]) is not tuple:
        return _bad(judge, seen, "has malformed arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    function, cls, inner = arguments[:3]
    if not isinstance(function, InertType) or not isinstance(cls, InertType):
        return _bad(judge, seen, "calls something that is no named function", arguments, keywords)
    function(*inner)  # the inert class: recorded and checked as the call that it is
    if len(arguments) == 4 and arguments[3] is not None:
        cls._seen.bits |= BUILD
        _state_of_tensor(judge, seen, arguments[3])
    return NotImplemented


def _load_from_bytes(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 1 or not plain(arguments[0], bytes, bytearray):
        return _bad(judge, seen, "is not given its bytes", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    judge.recurse(seen, bytes(arguments[0]), "torch.storage._load_from_bytes")
    return NotImplemented


def _torchscript(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if judge.container != "torchscript":
        return _bad(judge, seen, "stands outside a TorchScript archive", arguments, keywords, verdict=Verdict.REVIEW)
    return arguments[0] if arguments else NotImplemented


def _graph_module(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    import hashlib

    judge.noted(seen, arguments, keywords)
    for value in arguments:
        for text in value.values() if type(value) is dict else (value,):
            if type(text) is str:
                judge.code(seen.dotted, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), "fx")
    return NotImplemented


def _nested_call(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """`pickle.loads` and the like: dangerous as a call, and what is inside is told too."""
    if arguments and plain(arguments[0], bytes, bytearray) and not seen.module.startswith("marshal"):
        judge.recurse(seen, bytes(arguments[0]), seen.dotted)
    return NotImplemented


def _companion(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    return _bad(judge, seen, "is called, where joblib only makes and fills it", arguments, keywords)


def _masked_seed(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if any(isinstance(a, InertType) for a in arguments):
        return _bad(judge, seen, "is seeded with something else than numbers", arguments, keywords)
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
    "partial": _partial,
    "defaultdict": _defaultdict,
    "zone": _zone,
    "reconstruct": _reconstruct,
    "mareconstruct": _mareconstruct,
    "scalar": _scalar,
    "frombuffer": _frombuffer,
    "ufunc": _ufunc,
    "scalar_class": _scalar_class,
    "bit_generator": _bit_generator,
    "generator": _generator,
    "seed_sequence": _masked_seed,
    "listed_class": _listed_class,
    "cython": _listed_class,
    "rebuild_tensor": _rebuild_tensor,
    "rebuild_type": _rebuild_type,
    "load_from_bytes": _load_from_bytes,
    "torchscript": _torchscript,
    "wrapper": _companion,
}
"""Check → what looks at each call."""

_KEEP = frozenset({"container", "frombuffer", "dtype", "ndarray", "masked", "partial", "wrapper", "rebuild_tensor"})
"""Checks whose instances keep what they were given, because another check looks at it."""
