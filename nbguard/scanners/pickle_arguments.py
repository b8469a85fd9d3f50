"""Argument and state checks, by the `check` of a rule: what a listed global may be called with and given.

    handling(judge, rules.lookup("_codecs", "encode")).call(seen, ("\\x80\\x02", "latin1"), {})    # b"\\x80\\x02"

A check that does not pass reports a problem and the run goes on, so that everything is seen; where the real call's
result matters to what follows (bytes, a class, an instance of a class given as argument) the check hands back exactly
that. State is a dictionary that the real object keeps by reference, so most of it is looked at when BUILD runs and
again when the program has ended: what was empty may have been filled since.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from nbguard import rules
from nbguard.formats.joblib_machine import WRAPPERS
from nbguard.formats.pickle_machine import Handling, Seen
from nbguard.scanners import pickle_libraries, pickle_numpy, pickle_stdlib, pickle_torch
from nbguard.scanners.pickle_checks import Build, Call, listed_class

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge

CALLS: Mapping[str, Call] = {
    "listed_class": listed_class,
    "cython": listed_class,
    **pickle_stdlib.CALLS,
    **pickle_numpy.CALLS,
    **pickle_torch.CALLS,
    **pickle_libraries.CALLS,
}
"""Check → what looks at each call."""
BUILDS: Mapping[str, Build] = {
    **pickle_stdlib.BUILDS,
    **pickle_numpy.BUILDS,
    **pickle_torch.BUILDS,
    **pickle_libraries.BUILDS,
}
"""Check → what looks at each BUILD."""

_KEEP = frozenset({"container", "frombuffer", "dtype", "ndarray", "masked", "partial", "wrapper", "rebuild_tensor"})
"""Checks whose instances keep what they were given, because another check looks at it."""
_LOADERS = frozenset(
    (m, n) for m in ("pickle", "_pickle", "dill", "cloudpickle", "marshal") for n in ("loads", "_loads")
)
_NESTED = frozenset({"joblib.externals.loky.cloudpickle_wrapper._reconstruct_wrapper"})


def handling(judge: Judge, rule: rules.Rule) -> Handling:
    """How the machine should treat a global with this rule's check. KeyError for a check that does not exist."""
    call, build = CALLS.get(rule.check), BUILDS.get(rule.check)
    if call is None and build is None:
        raise KeyError(rule.check)
    return Handling(
        keep=rule.check in _KEEP or build is not None,
        new=partial(pickle_numpy.unmade, judge) if rule.check in ("ndarray", "masked") else None,
        call=partial(call, judge) if call is not None else None,
        build=partial(build, judge) if build is not None else None,
    )


def unlisted(judge: Judge, seen: Seen) -> Handling | None:
    """Handling for globals without a rule whose arguments say more than their name."""
    if seen.name.rpartition(".")[2] in WRAPPERS:
        return Handling(record=True, keep=True)
    if (seen.module.split(".")[0], seen.name) in _LOADERS or seen.dotted in _NESTED:
        return Handling(record=True, call=partial(pickle_torch.nested_call, judge))
    if seen.dotted == "torch.fx.graph_module.reduce_graph_module":
        return Handling(record=True, call=partial(pickle_torch.graph_module, judge))
    return None
