"""State checks: what listed classes may be given by BUILD.

    BUILDS["dtype"](judge, seen, instance, (3, "<", None, None, None, -1, -1, 0))

State is a dictionary that the real object keeps by reference, so each check runs when BUILD does and again when the
program has ended: what was empty may have been filled since.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbguard import rules
from nbguard.formats.joblib_machine import ArrayOfBlock, dtype_of
from nbguard.formats.numpy_dtype import DTypeError
from nbguard.formats.pickle_machine import Inert, InertType, Kept, Seen
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.pickle_arguments import check_dtype, is_empty, is_instance, vet_function
from nbguard.scanners.pickle_describe import value_text

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge

Build = Callable[["Judge", Seen, Any, Any], None]

MAX_LATER = 200_000
"""Looks at state that wait for the end of one program."""


def _twice(check: Build) -> Build:
    def build(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
        check(judge, seen, made, state)
        if len(seen.tape.later) < MAX_LATER:
            seen.tape.later.append(lambda: check(judge, seen, made, state))
        else:
            judge.problem(seen, "is given state too often to look at all of it", verdict=Verdict.UNVERIFIABLE)

    return build


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


def _partial(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not tuple or len(state) != 4:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    vet_function(judge, seen, state[0])


_HOOKS = frozenset(
    [
        "_backward_pre_hooks",
        "_backward_hooks",
        "_forward_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
        "_optimizer_step_pre_hooks",
        "_optimizer_step_post_hooks",
        "_optimizer_state_dict_pre_hooks",
        "_optimizer_state_dict_post_hooks",
        "_optimizer_load_state_dict_pre_hooks",
        "_optimizer_load_state_dict_post_hooks",
    ]
)
"""Attributes of `torch.nn.Module` and `torch.optim.Optimizer` that hold functions to call (torch 2.13)."""
_METHODS = frozenset(
    [
        "forward",
        "__call__",
        "_call_impl",
        "_wrapped_call_impl",
        "_slow_forward",
        "_compiled_call_impl",
        "__setstate__",
        "__getattr__",
        "state_dict",
        "load_state_dict",
        "_apply",
        "apply",
        "to",
        "train",
        "eval",
        "step",
        "zero_grad",
        "parameters",
        "named_parameters",
        "children",
        "modules",
        "register_forward_hook",
    ]
)
"""Methods that an attribute of the same name would replace."""


def _module(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    """Hook dictionaries empty, no attribute in the place of a method."""
    if type(state) is tuple and state and type(state[0]) is dict:
        state = state[0]
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    for key, value in state.items():
        if key in _HOOKS and not is_empty(value):
            _hook_values(judge, seen, str(key), value)
        elif key in _METHODS and value is not None and _callable(value):
            judge.problem(seen, f"replaces its method {key}", value_text(value))


def _hook_values(judge: Judge, seen: Seen, key: str, value: Any) -> None:
    held: list[Any] = list(value.values()) if type(value) is dict else []
    if is_instance(value, "collections.OrderedDict") and isinstance(value, Kept):
        held += [pair[-1] for pair in value.items]
        held += [v for a in (*value.arguments, *value.states) for v in _second(a)]
    for hook in held:
        owner = hook._seen if isinstance(hook, Inert | InertType) else None
        if owner is not None and rules.lookup(owner.module, owner.name) is not None:
            judge.runs_later(seen, key, hook)
        elif hook is not True and hook is not False:
            judge.problem(seen, f"carries a hook in {key}", value_text(hook))
    if not held:
        judge.problem(seen, f"carries hooks in {key} that cannot be read", value_text(value))


def _second(pairs: Any) -> list[Any]:
    if type(pairs) is dict:
        return list(pairs.values())
    if type(pairs) in (list, tuple):
        return [p[1] if type(p) in (list, tuple) and len(p) == 2 else p for p in pairs]
    return [pairs]


def _callable(value: Any) -> bool:
    return isinstance(value, Inert | InertType)


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
        if _callable(state[key]):
            judge.runs_later(seen, str(key), state[key])
    memory = state.get("memory")
    if type(memory) is str or _callable(memory):
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
        rows, dtype = _array_bytes(judge, nodes)
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


def _array_bytes(judge: Judge, value: Any) -> tuple[Any, Any]:
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


def _wrapped_hook(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    hook = state.get("hook")
    owner = hook._seen if isinstance(hook, Inert | InertType) else None
    if owner is None or rules.lookup(owner.module, owner.name) is None:
        judge.problem(seen, "holds a hook that is not listed", value_text(hook))


def _vectorize(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    function = state.get("pyfunc")
    if function is not None and not isinstance(function, Inert):
        vet_function(judge, seen, function)


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


BUILDS: Mapping[str, Build] = {
    "native_model": _twice(_native_model),
    "dtype": _dtype,
    "ndarray": _ndarray,
    "masked": _masked,
    "partial": _partial,
    "module": _twice(_module),
    "estimator": _twice(_estimator),
    "cache": _twice(_cache),
    "tree": _twice(_tree),
    "distribution": _twice(_distribution),
    "frozen": _frozen,
    "wrapper": _wrapper,
    "wrapped_hook": _twice(_wrapped_hook),
    "vectorize": _twice(_vectorize),
}
"""Check → what looks at each BUILD."""
