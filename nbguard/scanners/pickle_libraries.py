"""Checks on scikit-learn, SciPy, boosted trees and joblib: what runs later, what would be executed, what would crash.

BUILDS["tree"](judge, seen, made, {"node_count": 3, "nodes": nodes, "values": values})
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbguard.formats.numpy_dtype import DTypeError
from nbguard.formats.pickle_machine import Seen
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.pickle_checks import Arguments, Build, Call, Keywords, bad, is_callable, is_instance, twice
from nbguard.scanners.pickle_describe import value_text
from nbguard.scanners.pickle_numpy import array_bytes

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge


def _companion(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    return bad(judge, seen, "is called, where joblib only makes and fills it", arguments, keywords)


_LATER_KEYS = frozenset(
    [
        "func",
        "inverse_func",
        "analyzer",
        "tokenizer",
        "preprocessor",
        "scoring",
        "metric",
        "kernel",
        "callable",
        "refit",
    ]
)


def _estimator(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """scikit-learn estimators: functions that run when the estimator is used, and where a pipeline writes."""
    if type(state) is not dict:
        return
    for key in _LATER_KEYS & state.keys():
        if is_callable(state[key]):
            judge.runs_later(seen, str(key), state[key])
    memory = state.get("memory")
    if type(memory) is str or is_callable(memory):
        _cache_folder(judge, seen, memory)


def _cache(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    _cache_folder(judge, seen, state.get("location"))


def _cache_folder(judge: Judge, seen: Seen, where: Any) -> None:
    found = Finding(
        "pickle.cache-folder",
        Severity.MEDIUM,
        judge.file,
        judge.locate(seen),
        f"{seen.name} keeps results in a folder that the file chooses.",
        value_text(where),
        "Using it writes there, and unpickles what lies there.",
        "Set `memory=None` on the loaded object before using it.",
    )
    if found not in judge.facts.findings:
        judge.facts.add(found, Verdict.REVIEW)


def _tree(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """A decision tree's children must be later nodes of the same tree: predict follows them without looking."""
    if type(state) is not dict or type(state.get("node_count")) is not int:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    nodes, count = state.get("nodes"), state["node_count"]
    try:
        rows, dtype = array_bytes(judge, nodes)
    except (DTypeError, ValueError) as error:
        judge.problem(seen, f"has nodes that cannot be read: {error}", value_text(nodes), Verdict.UNVERIFIABLE)
        return
    if not count or len(rows) != count * dtype.itemsize:
        judge.problem(seen, "counts other nodes than it has", value_text(count))
        return
    children = [dtype.fields.get(side) for side in ("left_child", "right_child")]
    if any(c is None or c[0].text not in ("<i8", "<i4") for c in children):
        judge.problem(seen, "has nodes of an unknown layout", dtype.text, Verdict.UNVERIFIABLE)
        return
    for field in children:
        assert field is not None
        code, offset = ("<q" if field[0].itemsize == 8 else "<i"), field[1]
        for index in range(count):
            (child,) = struct.unpack_from(code, rows, index * dtype.itemsize + offset)
            if not (child == -1 or index < child < count):
                judge.problem(
                    seen,
                    "has a node whose child is no later node: it would crash or hang in predict",
                    f"node {index} -> {child} of {count}",
                )
                return


_SHAPES = re.compile(r"[A-Za-z_]\w*(, ?[A-Za-z_]\w*)*\Z", re.ASCII)


def _distribution(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """scipy.stats distributions: `__setstate__` executes `_parse_arg_template`, so it must be the one scipy makes."""
    if type(state) is not dict or not all(type(key) is str for key in state):
        judge.problem(seen, "is given a malformed state", value_text(state))
        return
    template, shapes = state.get("_parse_arg_template"), state.get("shapes")
    if type(template) is not str or not (shapes is None or (type(shapes) is str and _SHAPES.match(shapes))):
        judge.problem(seen, "is given no readable template, which would be executed", value_text(template))
        return
    if template not in _templates(shapes):
        judge.problem(seen, "is given code of its own, which would be executed", value_text(template))
    if any(key in state for key in ("_parse_args", "_parse_args_stats", "_parse_args_rvs", "_attach_methods")):
        judge.problem(seen, "replaces its own methods", value_text(list(state)))


_TEMPLATE = """
def _parse_args(self, %(shape_arg_str)s %(locscale_in)s):
    return (%(shape_arg_str)s), %(locscale_out)s

def _parse_args_rvs(self, %(shape_arg_str)s %(locscale_in)s, size=None):
    return self._argcheck_rvs(%(shape_arg_str)s %(locscale_out)s, size=size)

def _parse_args_stats(self, %(shape_arg_str)s %(locscale_in)s, moments='mv'):
    return (%(shape_arg_str)s), %(locscale_out)s, moments
"""


def _templates(shapes: str | None) -> set[str]:
    """What scipy/stats/_distn_infrastructure.py makes of these shapes: continuous, discrete, and without location."""
    arguments = ", ".join(shapes.replace(" ", "").split(",")) + ", " if shapes else ""
    made = set()
    for inside, outside in (("loc=0, scale=1", "loc, scale"), ("loc=0", "loc, 1")):
        made.add(_TEMPLATE % {"shape_arg_str": arguments, "locscale_in": inside, "locscale_out": outside})
    return made


def _frozen(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """A frozen distribution holds one that is listed itself, and plain arguments."""
    if type(state) is not dict or any(key in ("rvs", "pdf", "cdf", "ppf") for key in state):
        judge.problem(seen, "is given a malformed state", value_text(state))


def _wrapper(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """joblib's placeholders: their file names are looked at by the reader; here, that they are not given callables."""
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)


def _native_model(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """xgboost, lightgbm, catboost: what their own readers take for a model is bytes or text, never a number that they
    would take for a pointer and free."""
    _estimator(judge, seen, made, state)
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    for key in ("handle", "_handle", "__model", "_object", "_network"):
        value = state.get(key)
        if value is None or type(value) in (str, bytes, bytearray, bool) or is_instance(value, "builtins.bytearray"):
            continue
        judge.problem(seen, f"is given a {key} that is no model", value_text(value))


CALLS: Mapping[str, Call] = {
    "wrapper": _companion,
}
"""Check → what looks at each call."""

BUILDS: Mapping[str, Build] = {
    "native_model": twice(_native_model),
    "estimator": twice(_estimator),
    "cache": twice(_cache),
    "tree": twice(_tree),
    "distribution": twice(_distribution),
    "frozen": _frozen,
    "wrapper": _wrapper,
}
"""Check → what looks at each BUILD."""
