"""Arguments of calls that are harmless with some arguments and not with others.

    CALLS["encode"](stage, kind, ("\\x80", "latin1"))        # b"\\x80"; raises ContractViolation for other codecs

Keyed by the `check` of a rule. A check gives what stands on the stack afterwards, where that matters, else None.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbguard.hooks.walls import numpy_types
from nbguard.hooks.walls.inert import Inert, Kind, is_empty_dict

if TYPE_CHECKING:
    from nbguard.hooks.walls.stage import Stage

Args = tuple[Any, ...]
Check = Callable[["Stage", Kind, Args], Any]

MOST_BYTES = 1 << 24
"""That a program may ask for by a number alone; honest ones bring the bytes."""
_UFUNC_MODULES = frozenset(
    {"numpy", "numpy.core.umath", "numpy._core.umath", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath"}
)
_BIT_GENERATORS = frozenset({"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"})
_ENCODINGS = frozenset({"iso8859-1", "utf-8", "ascii"})
_BASES = frozenset({
    "object", "dict", "list", "set", "frozenset", "tuple", "int", "float", "str", "bytes", "complex", "bytearray",
})  # fmt: skip


def _getattr(stage: Stage, kind: Kind, args: Args) -> Any:
    """On a function it leads to `__globals__`: only a plain name, or one that the rules list, as a dotted global."""
    if len(args) != 2 or type(args[1]) is not str or not args[1].isidentifier():
        stage.stop(kind, "would reach for something else than an attribute")
    listed = isinstance(args[0], Kind) and stage.lists(args[0]._names[0], f"{args[0]._names[1]}.{args[1]}")
    if isinstance(args[0], Inert) and args[1] in _OWN_METHODS and stage.check_of(type(args[0])) == "distribution":
        return None
    if args[1].startswith("_") and (not listed or args[1].startswith("__")):
        stage.stop(kind, "would reach for something else than a plain attribute")
    if isinstance(args[0], Inert):
        return None  # a method of something the program made; calling it is stopped
    owner = stage.named(kind, args[0])
    module, name = owner._names[0], f"{owner._names[1]}.{args[1]}"
    stage.permissions.name(module, name)
    return stage.kind(module, name)


_OWN_METHODS = frozenset({"_entropy", "_cdf_single", "_ppf_single", "_ppfvec", "_cdfvec", "_mom1_sc", "_mom0_sc"})
"""Methods of its own that a distribution keeps for later (scipy 1.17, `stats/_distn_infrastructure.py`)."""


def _encode(stage: Stage, kind: Kind, args: Args) -> Any:
    """Other codecs run other code (`zip`, `uu`, what a registry adds)."""
    try:
        plain = type(args[0]) is str and codecs.lookup(args[1] if len(args) > 1 else "utf-8").name in _ENCODINGS
    except (LookupError, IndexError, TypeError, ValueError):
        plain = False
    if not plain or len(args) > 2:
        stage.stop(kind, "would use an encoding that is not a plain one")
    return args[0].encode(*args[1:])


def _small(stage: Stage, kind: Kind, args: Args) -> Any:
    """A number as the only argument allocates that many bytes."""
    if args and isinstance(args[0], int) and args[0] > MOST_BYTES and kind._names[1] in ("bytes", "bytearray"):
        stage.stop(kind, "would take memory by a number alone")
    return None


def _ufunc(stage: Stage, kind: Kind, args: Args) -> Any:
    """`_ufunc_reconstruct('os', 'system')` imports by string."""
    if len(args) != 2 or not all(type(a) is str for a in args) or args[0] not in _UFUNC_MODULES:
        stage.stop(kind, "would import something that is no function of numpy")
    stage.permissions.rule_for(kind, "numpy", args[1])
    return None


def _reconstruct(stage: Stage, kind: Kind, args: Args) -> Any:
    """An empty array of a listed class, which then gets its state."""
    if len(args) != 3 or not isinstance(args[1], tuple) or 0 not in args[1] or args[2] not in ("b", b"b"):
        stage.stop(kind, "would not start from an empty array")
    return stage.instance(kind, args[0])


def _mareconstruct(stage: Stage, kind: Kind, args: Args) -> Any:
    if len(args) != 4 or args[2] != (0,) or args[3] not in ("b", b"b"):
        stage.stop(kind, "would not start from an empty array")
    stage.named(kind, args[1])
    return stage.instance(kind, args[0])


def _no_objects(stage: Stage, kind: Kind, token: Any) -> None:
    try:
        holds_objects = numpy_types.real(token).hasobject
    except numpy_types.Inconsistent as problem:
        stage.stop(kind, str(problem))
        return
    if holds_objects:
        stage.stop(kind, "would take bytes for a pointer to an object")


def _scalar(stage: Stage, kind: Kind, args: Args) -> Any:
    """With an object data type the bytes are taken for a pointer."""
    _no_objects(stage, kind, args[0] if args else None)
    return None


def _frombuffer(stage: Stage, kind: Kind, args: Args) -> Any:
    _no_objects(stage, kind, args[1] if len(args) > 1 else None)
    return None


def _dtype(stage: Stage, kind: Kind, args: Args) -> Any:
    made = kind.bare()
    made.made_with, made.made_at = args, stage.steps
    try:
        numpy_types.real(made)
    except numpy_types.Inconsistent as problem:
        stage.stop(kind, str(problem))
    return made


def _reconstructor(stage: Stage, kind: Kind, args: Args) -> Any:
    """`copyreg._reconstructor(cls, base, state)`: what it makes is judged as an instance of `cls`."""
    base = stage.named(kind, args[1] if len(args) > 1 else None)
    if base._names[0] not in ("builtins", "__builtin__") or base._names[1] not in _BASES:
        stage.stop(kind, "would use a base class that is not built in")
    return stage.instance(kind, args[0], args[2:])


def _newobj(stage: Stage, kind: Kind, args: Args) -> Any:
    return stage.instance(kind, args[0] if args else None, args[1:])


def _hooks(stage: Stage, kind: Kind, args: Args) -> Any:
    """torch's rebuild functions take hooks that would run later: they have to be empty, and stay so."""
    at = _HOOKS_AT.get(kind._names[1])
    if at is not None and len(args) > at:
        held = args[at]

        def look() -> None:
            if held is not None and not (type(held) is dict and not held) and not is_empty_dict(held):
                stage.stop(kind, "would bring hooks that run later")

        look()
        if held is not None:
            stage.later(look)
    return None


_HOOKS_AT = {
    "_rebuild_tensor_v2": 5, "_rebuild_tensor_v3": 5, "_rebuild_qtensor": 6, "_rebuild_parameter": 2,
    "_rebuild_parameter_with_state": 2,
}  # fmt: skip
"""Position of the hooks among the arguments (torch 2.13, `_utils.py`)."""


def _rebuild_type(stage: Stage, kind: Kind, args: Args) -> Any:
    """`_rebuild_from_type_v2(function, type, arguments, state)` calls the function."""
    if len(args) not in (3, 4) or not isinstance(args[2], tuple):
        stage.stop(kind, "has other arguments than it should")
    stage.happened("reduce", stage.named(kind, args[0]), None, args[2])
    stage.named(kind, args[1])
    return None


def _bit_generator(stage: Stage, kind: Kind, args: Args) -> Any:
    first = args[0] if args else "MT19937"
    if isinstance(first, Kind) and first._names[0].startswith("numpy.random."):
        first = first._names[1]
    if len(args) > 1 or first not in _BIT_GENERATORS:
        stage.stop(kind, "would make a random generator that is not one of numpy's")
    return None


def _generator(stage: Stage, kind: Kind, args: Args) -> Any:
    """`__generator_ctor(bit_generator, maker)` calls the maker."""
    for value in args:
        known = value in _BIT_GENERATORS if isinstance(value, str) else getattr(value, "_names", None) == _BIT_MAKER
        if not known:
            stage.stop(kind, "would make a random generator that is not one of numpy's")
    return None


_BIT_MAKER = ("numpy.random._pickle", "__bit_generator_ctor")


def _listed_class(stage: Stage, kind: Kind, args: Args) -> Any:
    """Functions that make an instance of the class they are given: Cython's `__pyx_unpickle_*`, `_new_Index`."""
    cls = stage.named(kind, args[0] if args else None)
    verb = stage.permissions.any_verb(cls, ("newobj", "reduce"))
    stage.permissions.verb(*cls._names, verb)
    return cls.bare()


def _no_call(stage: Stage, kind: Kind, args: Args) -> Any:
    stage.stop(kind, "would be called, where joblib only makes and fills it")


def _torchscript(stage: Stage, kind: Kind, args: Args) -> Any:
    if "torchscript" not in stage.grant.contract.containers.values():
        stage.stop(kind, "would be called outside of TorchScript")
    return None


def _zone(stage: Stage, kind: Kind, args: Args) -> Any:
    """Time zones are read from files of that name."""
    name = args[0] if args else ""
    if type(name) is not str or name.startswith(("/", ".")) or ".." in name:
        stage.stop(kind, "would read a time zone from a path")
    return None


def _plain_values(stage: Stage, kind: Kind, args: Args) -> Any:
    if any(isinstance(a, Kind) for a in args):
        stage.stop(kind, "would be given something else than plain values")
    return None


_LITERALS = (str, bytes, bytearray, int, float, complex, bool, type(None), tuple, list, dict, set, frozenset)
_FINITE = frozenset(
    {("numpy", "ndarray")}
    | {("builtins", n) for n in ("list", "tuple", "set", "frozenset", "dict", "bytearray", "str", "int", "float")}
    | {("collections", n) for n in ("OrderedDict", "Counter", "deque", "defaultdict", "UserDict", "UserList")}
)


def _iterable(stage: Stage, kind: Kind, args: Args) -> Any:
    """`list(range(10 ** 12))` is a few bytes and ends the kernel: only what is as long as the file says."""
    for value in args:
        if not isinstance(value, _LITERALS) and getattr(value, "_names", None) not in _FINITE:
            stage.stop(kind, "would be filled from something that may have no end")
    return None


def _fraction(stage: Stage, kind: Kind, args: Args) -> Any:
    """`Fraction('1e999999999')` computes for hours."""
    for value in args:
        if type(value) is not int and not (type(value) is str and _FRACTION.fullmatch(value)):
            stage.stop(kind, "would not be a fraction of two whole numbers")
    return None


_FRACTION = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?")


CALLS: Mapping[str, Check] = {
    "encode": _encode,
    "bytearray": _small,
    "small": _small,
    "getattr": _getattr,
    "reconstructor": _reconstructor,
    "newobj": _newobj,
    "reconstruct": _reconstruct,
    "mareconstruct": _mareconstruct,
    "scalar": _scalar,
    "scalar_class": _plain_values,
    "frombuffer": _frombuffer,
    "ufunc": _ufunc,
    "dtype": _dtype,
    "bit_generator": _bit_generator,
    "generator": _generator,
    "seed_sequence": _plain_values,
    "listed_class": _listed_class,
    "cython": _listed_class,
    "rebuild_tensor": _hooks,
    "rebuild_type": _rebuild_type,
    "torchscript": _torchscript,
    "wrapper": _no_call,
    "zone": _zone,
    "iterable": _iterable,
    "fraction": _fraction,
}
"""Check of a rule → what looks at each call."""

NO_CHECK = frozenset(
    {"cache", "container", "defaultdict", "estimator", "load_from_bytes", "masked", "ndarray", "partial", "tree",
     "vectorize", "wrapped_hook"}
)  # fmt: skip
"""Checks that need nothing here: what is handed over was named, and passed as a name; what comes of it is not called
while unpickling (a call on a result is stopped); nested bytes meet the first wall when they are loaded."""
