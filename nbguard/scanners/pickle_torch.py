"""Checks on torch: tensors without hooks, modules whose methods are their own, programs inside programs.

CALLS["rebuild_tensor"](judge, seen, (storage, 0, (2,), (1,), False, hooks), {})
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbguard import rules
from nbguard.formats.pickle_machine import BUILD, Inert, InertType, Kept, Seen
from nbguard.report.model import Verdict
from nbguard.scanners.pickle_checks import (
    Arguments,
    Build,
    Call,
    Keywords,
    bad,
    is_callable,
    is_empty,
    is_instance,
    plain,
    twice,
)
from nbguard.scanners.pickle_describe import value_text

if TYPE_CHECKING:
    from nbguard.scanners.pickle_judge import Judge


def _rebuild_tensor(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """Hooks must be empty, also when the program ends: what holds them is kept by reference."""
    if keywords:
        return bad(judge, seen, "has unexpected arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
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
        return bad(judge, seen, "is not given an array", arguments, keywords)
    return NotImplemented


def _look_again(judge: Judge, seen: Seen, value: Any) -> None:
    if id(value) not in seen.tape.watched:
        seen.tape.watched[id(value)] = value
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
        return bad(judge, seen, "has malformed arguments", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    function, cls, inner = arguments[:3]
    if not isinstance(function, InertType) or not isinstance(cls, InertType):
        return bad(judge, seen, "calls something that is no named function", arguments, keywords)
    function(*inner)  # the inert class: recorded and checked as the call that it is
    if len(arguments) == 4 and arguments[3] is not None:
        cls._seen.bits |= BUILD
        _state_of_tensor(judge, seen, arguments[3])
    return NotImplemented


def _load_from_bytes(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if keywords or len(arguments) != 1 or not plain(arguments[0], bytes, bytearray):
        return bad(judge, seen, "is not given its bytes", arguments, keywords, verdict=Verdict.UNVERIFIABLE)
    judge.recurse(seen, bytes(arguments[0]), "torch.storage._load_from_bytes")
    return NotImplemented


def _torchscript(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    if judge.container != "torchscript":
        return bad(judge, seen, "stands outside a TorchScript archive", arguments, keywords, verdict=Verdict.REVIEW)
    return arguments[0] if arguments else NotImplemented


def graph_module(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:

    judge.noted(seen, arguments, keywords)
    for value in arguments:
        for text in value.values() if type(value) is dict else (value,):
            if type(text) is str:
                judge.code(seen.dotted, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), "fx")
    return NotImplemented


def nested_call(judge: Judge, seen: Seen, arguments: Arguments, keywords: Keywords) -> Any:
    """`pickle.loads` and the like: dangerous as a call, and what is inside is told too."""
    if arguments and plain(arguments[0], bytes, bytearray) and not seen.module.startswith("marshal"):
        judge.recurse(seen, bytes(arguments[0]), seen.dotted)
    return NotImplemented


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
        elif key in _METHODS and value is not None and is_callable(value):
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


def _wrapped_hook(judge: Judge, seen: Seen, made: Any, state: Any) -> None:
    if type(state) is not dict:
        judge.problem(seen, "is given a malformed state", value_text(state), Verdict.UNVERIFIABLE)
        return
    hook = state.get("hook")
    owner = hook._seen if isinstance(hook, Inert | InertType) else None
    if owner is None or rules.lookup(owner.module, owner.name) is None:
        judge.problem(seen, "holds a hook that is not listed", value_text(hook))


CALLS: Mapping[str, Call] = {
    "rebuild_tensor": _rebuild_tensor,
    "rebuild_type": _rebuild_type,
    "load_from_bytes": _load_from_bytes,
    "torchscript": _torchscript,
}
"""Check → what looks at each call."""

BUILDS: Mapping[str, Build] = {
    "module": twice(_module),
    "wrapped_hook": twice(_wrapped_hook),
}
"""Check → what looks at each BUILD."""
