"""Checks on numpy: descriptors, arrays, scalars, random generators. numpy itself is never imported.

BUILDS["dtype"](judge, seen, made, (3, "<", None, None, None, -1, -1, 0))
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbguard import rules
from nbguard.formats.joblib_machine import ArrayOfBlock, dtype_of
from nbguard.formats.numpy_dtype import DTypeError
from nbguard.formats.pickle_machine import Inert, InertType, Kept, Seen
from nbguard.report.model import Verdict
from nbguard.scanners.pickle_checks import (
    Arguments,
    Build,
    Call,
    Keywords,
    bad,
    instance,
    is_global,
    is_instance,
    plain,
    twice,
    vet_function,
)
from nbguard.scanners.pickle_describe import value_text

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge


def check_dtype(judge: Judge, seen: Seen, value: Any) -> Any:
    """The validated descriptor, or None with the problem reported."""
    try:
        return dtype_of(value)
    except DTypeError as error:
        judge.problem(
            seen, f"has a descriptor that numpy would not make: {error}", value_text(value), Verdict.UNVERIFIABLE
        )
        return None


def unmade(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> None:
    """NEWOBJ with arguments, where honest files always go through `_reconstruct`."""
    if arguments or keywords:
        bad(judge, seen, "is made with a shape and memory of the file's choice", arguments, keywords)


def _reconstruct(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 3 or not isinstance(arguments[0], InertType):
        return bad(judge, seen, "makes no array of a named class", arguments, keywords)
    cls, shape, code = arguments
    if type(shape) is not tuple or 0 not in shape or any(type(n) is not int or n < 0 for n in shape):
        return bad(judge, seen, "does not start from an empty array", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    if code not in ("b", b"b"):
        return bad(judge, seen, "does not start from bytes", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    return instance(cls)


def _mareconstruct(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 4 or not all(isinstance(a, InertType) for a in arguments[:2]):
        return bad(judge, seen, "makes no masked array of named classes", arguments, keywords)
    rule = rules.lookup(arguments[1]._seen.module, arguments[1]._seen.name)
    if (
        rule is None
        or rule.check not in ("ndarray", "masked")
        or arguments[2] != (0,)
        or arguments[3] not in ("b", b"b")
    ):
        return bad(judge, seen, "does not start from an empty array", arguments, keywords)
    return instance(arguments[0])


def _scalar(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or not 1 <= len(arguments) <= 2:
        return bad(judge, seen, "has unexpected arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    dtype = check_dtype(judge, seen, arguments[0])
    if dtype is None:
        return NotImplemented
    if dtype.has_object:
        return bad(judge, seen, "takes an object for a number", arguments, keywords)
    if len(arguments) == 2 and (not plain(arguments[1], bytes, str) or len(arguments[1]) != dtype.itemsize):
        return bad(judge, seen, "has bytes of another length", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    return NotImplemented


def _frombuffer(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) not in (3, 4, 5) or not plain(arguments[0], bytes, bytearray, memoryview):
        return bad(judge, seen, "is not given its bytes", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    dtype = check_dtype(judge, seen, arguments[1])
    if dtype is not None and dtype.has_object:
        return bad(judge, seen, "takes bytes for objects", arguments, keywords)
    return NotImplemented


_UFUNC_MODULES = frozenset(
    ["numpy.core.umath", "numpy._core.umath", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath", "numpy"]
)


def _ufunc(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    if seen.name == "_ufunc_reduce":
        return bad(judge, seen, "is not called by any honest file", arguments, keywords)
    if keywords or len(arguments) != 2 or not all(type(a) is str for a in arguments):
        return bad(judge, seen, "needs two literal names", arguments, keywords)
    module, name = arguments
    if module not in _UFUNC_MODULES or rules.lookup("numpy", name) is None or name.startswith("_"):
        return bad(judge, seen, f"imports {module[:80]}.{name[:80]}", arguments, keywords)
    return NotImplemented


def _scalar_class(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) > 2 or not all(plain(a, int, float, complex, str, bytes, bool) for a in arguments):
        return bad(judge, seen, "is called with more than a plain number", arguments, keywords)
    return NotImplemented


_BIT_GENERATORS = frozenset(["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])


def _bit_generator(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    first = arguments[0] if arguments else "MT19937"
    if isinstance(first, InertType):
        first = first._seen.name if first._seen.module.startswith("numpy.random.") else None
    if keywords or len(arguments) > 1 or first not in _BIT_GENERATORS:
        return bad(judge, seen, "names no bit generator of numpy's", arguments, keywords)
    return NotImplemented


_BIT_MAKER = "numpy.random._pickle.__bit_generator_ctor"


def _generator(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    judge.noted(seen, arguments, keywords)
    first = arguments[0] if arguments else "MT19937"
    known = first in _BIT_GENERATORS if type(first) is str else is_instance(first, _BIT_MAKER)
    if keywords or len(arguments) > 2 or not known or (len(arguments) == 2 and not is_global(arguments[1], _BIT_MAKER)):
        return bad(judge, seen, "is not made from a bit generator of numpy's", arguments, keywords)
    return NotImplemented


def _masked_seed(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if any(isinstance(a, InertType) for a in arguments):
        return bad(judge, seen, "is seeded with something else than numbers", arguments, keywords)
    return NotImplemented


def _dtype(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is tuple and len(state) >= 5 and (state[3] is not None or state[4] is not None or state[2]):
        # nested descriptors may get their own state later: look when the program has ended
        seen.tape.later.append(lambda: check_dtype(judge, seen, made))
        return
    check_dtype(judge, seen, made)


def _ndarray(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """`(version, shape, dtype, fortran, bytes or list)`, as numpy/core/src/multiarray/methods.c takes it."""
    if type(state) is not tuple or len(state) not in (4, 5):
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    shape, descriptor, _, raw = state[-4:]
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        judge.problem(seen, "is given a malformed shape", value_text(shape), Verdict.UNVERIFIABLE)
        return
    dtype = check_dtype(judge, seen, descriptor)
    if dtype is None:
        return
    count = math.prod(shape)
    if dtype.has_object:
        fits = type(raw) is list and len(raw) == count
    else:
        fits = type(raw) in (bytes, bytearray, str) and len(raw) == count * dtype.itemsize
    if not fits:
        judge.problem(seen, "is given bytes of another length than its shape", value_text(raw), Verdict.UNVERIFIABLE)


def _masked(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not tuple or len(state) != 7:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    _ndarray(judge, seen, made, state[:5])


def _vectorize(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    function = state.get("pyfunc")
    if function is not None and not isinstance(function, Inert):
        vet_function(judge, seen, function)


def array_bytes(judge: Judge, value: Any) -> tuple[Any, Any]:
    """(bytes, descriptor) of an inert array. Raises DTypeError or ValueError."""
    if isinstance(value, ArrayOfBlock):
        return judge.block_bytes(value.block), value.dtype
    if isinstance(value, Kept) and len(value.states) == 1 and type(value.states[0]) is tuple:
        state = value.states[0]
        if len(state) in (4, 5) and type(state[-1]) in (bytes, str):
            raw = state[-1].encode("latin1") if type(state[-1]) is str else state[-1]
            return raw, dtype_of(state[-3])
    if isinstance(value, Kept) and value._seen.name == "_frombuffer" and len(value.arguments) >= 2:
        return bytes(value.arguments[0]), dtype_of(value.arguments[1])
    raise ValueError("no plain array")


CALLS: Mapping[str, Call] = {
    "reconstruct": _reconstruct,
    "mareconstruct": _mareconstruct,
    "scalar": _scalar,
    "frombuffer": _frombuffer,
    "ufunc": _ufunc,
    "scalar_class": _scalar_class,
    "bit_generator": _bit_generator,
    "generator": _generator,
    "seed_sequence": _masked_seed,
}
"""Check → what looks at each call."""

BUILDS: Mapping[str, Build] = {
    "dtype": _dtype,
    "ndarray": _ndarray,
    "masked": _masked,
    "vectorize": twice(_vectorize),
}
"""Check → what looks at each BUILD."""
