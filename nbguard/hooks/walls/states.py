"""States that listed classes may be given.

    BUILDS["dtype"](stage, kind, subject, (3, "<", None, None, None, -1, -1, 0))

A state is a dictionary that the real object keeps by reference, so those that matter are looked at again at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbguard.hooks.walls import numpy_types
from nbguard.hooks.walls.inert import Inert, Kind, is_empty_dict

if TYPE_CHECKING:
    from nbguard.hooks.walls.stage import Stage

Build = Callable[["Stage", Kind, Inert, Any], None]

_METHODS = frozenset({
    "forward", "__call__", "_call_impl", "_wrapped_call_impl", "_slow_forward", "_compiled_call_impl",
    "__setstate__", "__getattr__", "state_dict", "load_state_dict", "_apply", "apply", "to", "train", "eval",
    "step", "zero_grad", "parameters", "named_parameters", "children", "modules", "register_forward_hook",
})  # fmt: skip
"""Methods of `torch.nn.Module` and `torch.optim.Optimizer` that an attribute of the same name would replace."""
_HANDLES = ("handle", "_handle", "__model", "_object", "_network")


def _twice(look: Callable[[Stage, Kind, Any], None]) -> Build:
    def build(stage: Stage, kind: Kind, subject: Inert, state: Any) -> None:
        look(stage, kind, state)
        stage.later(lambda: look(stage, kind, state))

    return build


def _dtype(stage: Stage, kind: Kind, subject: Inert, state: Any) -> None:
    """Once, right after it was made, and on a copy: what an array uses already must not change under it."""
    copied = len(subject.made_with) > 2 and bool(subject.made_with[2])
    if subject.state is not None or subject.made_at != stage.steps or not copied:
        stage.stop(kind, "would be given state after it was put to use")
    try:
        subject.state = numpy_types.with_state(subject, state)
    except numpy_types.Inconsistent as problem:
        stage.stop(kind, str(problem))


def _module(stage: Stage, kind: Kind, state: Any) -> None:
    """Hook dictionaries empty, no attribute in the place of a method. With a person's consent, what they were shown."""
    for part in state if type(state) is tuple else (state,):
        for key, value in part.items() if type(part) is dict else ():
            if not isinstance(key, str):
                continue
            hooks = key.startswith("_") and key.endswith("_hooks")
            if hooks and _is_container(value) and not is_empty_dict(value) and not stage.shown:
                stage.stop(kind, f"would bring hooks that run later ({key[:60]})")
            if key in _METHODS and isinstance(value, Inert | Kind):
                stage.stop(kind, f"would bring its own {key}")


def _is_container(value: Any) -> bool:
    return bool(value) or isinstance(value, Inert | Kind)


def _wrapper(stage: Stage, kind: Kind, subject: Inert, state: Any) -> None:
    """joblib's placeholder for an array: another file only from beside this one, and a data type that is one."""
    if type(state) is not dict:
        stage.stop(kind, "has a state that is no dictionary")
        return
    file = state.get("filename")
    if file is not None and (type(file) is not str or file not in stage.grant.contract.companions):
        stage.stop(kind, "would open a file that is not part of the artifact")
    shape = state.get("shape", ())
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        stage.stop(kind, "has a shape that is none")
    if kind._names[1] != "NumpyArrayWrapper":
        return
    try:
        holds_objects = numpy_types.real(state.get("dtype")).hasobject
    except numpy_types.Inconsistent as problem:
        stage.stop(kind, str(problem))
        return
    if stage.on_array is not None:
        stage.on_array(not holds_objects and state.get("numpy_array_alignment_bytes") is not None)


def _native_model(stage: Stage, kind: Kind, state: Any) -> None:
    """xgboost, lightgbm, catboost: a model is bytes or text; a number would be taken for a pointer, and freed."""
    if type(state) is not dict:
        stage.stop(kind, "has a state that is no dictionary")
        return
    for key in _HANDLES:
        value = state.get(key)
        made_of_bytes = isinstance(value, Inert) and value._names in (("builtins", "bytearray"), ("builtins", "bytes"))
        if value is not None and type(value) not in (str, bytes, bytearray, bool) and not made_of_bytes:
            stage.stop(kind, f"has a {key} that is no model")


def _distribution(stage: Stage, kind: Kind, state: Any) -> None:
    """`__setstate__` of scipy's distributions runs a template out of the state; the wall for effects sees that code."""
    if type(state) is not dict or not all(type(key) is str for key in state):
        stage.stop(kind, "has a state that is no dictionary of names")
        return
    for key in ("_parse_args", "_parse_args_stats", "_parse_args_rvs", "_attach_methods", "_construct_argparser"):
        if key in state:
            stage.stop(kind, f"would bring its own {key}")


BUILDS: Mapping[str, Build] = {
    "dtype": _dtype,
    "module": _twice(_module),
    "wrapper": _wrapper,
    "native_model": _twice(_native_model),
    "distribution": _twice(_distribution),
    "frozen": _twice(_distribution),
}
"""Check of a rule → what looks at each state."""
