"""numpy data types that a program describes, rebuilt by numpy's own validating constructor and compared.

    real(token)                 # the numpy.dtype, or Inconsistent

`dtype.__setstate__` believes what it is told: a void type of eight bytes with an object field and no flags makes numpy
take raw bytes for a pointer to an object. So each type is built the regular way, and its size and flags must agree.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nbguard.hooks.walls.inert import Inert, Kind

if TYPE_CHECKING:
    import numpy as np

_PLAIN = re.compile(r"[<>|=]?(?:[?bBhHiIlLqQnNpPefdgFDGO]|[biufcmMO]\d{1,3}|[SaUV]\d{0,10}|[mM]8?(?:\[[\w/]{1,16}\])?)")
_ALIGNED = 0x80


class Inconsistent(Exception):  # noqa: N818 - reads as what is said of a data type
    """The description of a data type contradicts itself, or is none."""


def real(token: Any) -> np.dtype[Any]:
    """The data type that an inert `numpy.dtype` stands for. Raises Inconsistent, for anything else too."""
    import numpy

    if not isinstance(token, Inert) or token._names != ("numpy", "dtype"):
        raise Inconsistent("has a data type that is none")

    if token.state is not None:
        found: np.dtype[Any] = token.state
        return found
    args = token.made_with
    if not args or len(args) > 3 or any(not isinstance(a, bool | int) for a in args[1:]):
        raise Inconsistent("has a data type with other arguments than it should")
    text = args[0].decode("latin-1") if isinstance(args[0], bytes) else args[0]
    if isinstance(text, Kind):
        text = _scalar_type(text)
    if not isinstance(text, str) or not _PLAIN.fullmatch(text):
        raise Inconsistent("has a data type that is not described plainly")
    try:
        return numpy.dtype(text, align=bool(args[1]) if len(args) > 1 else False)
    except (TypeError, ValueError) as problem:
        raise Inconsistent("has a data type that numpy does not know") from problem


def with_state(token: Inert, state: Any) -> np.dtype[Any]:
    """The data type after `__setstate__(state)`. Raises Inconsistent where a regularly built one would differ."""
    import numpy

    base = real(token)
    if not isinstance(state, tuple) or not 8 <= len(state) <= 9 or not isinstance(state[0], int):
        raise Inconsistent("has a data type with a state of another form")
    version, order, subdtype, names, fields, itemsize, alignment, flags = state[:8]
    order = order.decode("latin-1") if isinstance(order, bytes) else order
    if version not in (3, 4) or order not in ("<", ">", "|", "=") or not _is_int(itemsize, alignment, flags):
        raise Inconsistent("has a data type with a state of another form")
    try:
        if subdtype is not None:
            built: np.dtype[Any] = numpy.dtype((_inner(subdtype[0]), subdtype[1]))
        elif names is not None:
            built = _structured(names, fields, itemsize, bool(flags & _ALIGNED))
        elif fields:
            raise Inconsistent("has a data type with fields that have no names")
        elif base.kind in "SUV":
            size = itemsize if itemsize >= 0 else base.itemsize
            built = numpy.dtype(f"{base.kind}{size // 4 if base.kind == 'U' else size}")
        else:
            built = base if order in "|=" else base.newbyteorder("<" if order == "<" else ">")
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as problem:
        raise Inconsistent("has a data type that numpy would not build") from problem
    if itemsize not in (-1, built.itemsize) or (flags & 0xFF & ~_ALIGNED) != (built.flags & 0xFF & ~_ALIGNED):
        raise Inconsistent("has a data type whose size or flags are not what its parts make")
    return built


def _structured(names: Any, fields: Any, itemsize: int, aligned: bool) -> np.dtype[Any]:
    import numpy

    if not isinstance(names, tuple) or not isinstance(fields, dict) or not set(names) <= set(fields):
        raise Inconsistent("has a data type whose names and fields differ")
    parts = [fields[name] for name in names]
    titles = [part[2] if len(part) > 2 else None for part in parts]
    form: dict[str, Any] = {
        "names": [n.decode("latin-1") if isinstance(n, bytes) else n for n in names],
        "formats": [_inner(part[0]) for part in parts],
        "offsets": [part[1] for part in parts],
        "itemsize": itemsize,
    }
    if any(titles):
        form["titles"] = titles
    built: np.dtype[Any] = numpy.dtype(form, align=aligned)
    return built


def _inner(token: Any) -> np.dtype[Any]:
    return real(token)


def _scalar_type(kind: Kind) -> str:
    """numpy 1 pickled `dtype(numpy.float64)` for some types: the name says which plain type it is."""
    import numpy

    module, name = kind._names
    found = getattr(numpy, name, None) if module == "numpy" and name.isidentifier() else None
    if not (isinstance(found, type) and issubclass(found, numpy.generic)):
        raise Inconsistent("has a data type that is made of a class")
    return numpy.dtype(found).str


def _is_int(*values: Any) -> bool:
    return all(isinstance(v, int) for v in values)
