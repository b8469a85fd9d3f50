"""What a rehearsed program does, checked step by step: verbs for every global, arguments where they matter.

    stage = Stage(Permissions(grant), grant)
    stage.happened("reduce", kind, None, ("os", "system"))

The checks are those of names that are harmless with some arguments and not with others. Each says where the danger is.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from nbguard.hooks.grants import Grant
from nbguard.hooks.walls import numpy_types
from nbguard.hooks.walls.inert import Inert, Kind
from nbguard.hooks.walls.permissions import Permissions

Check = Callable[["Stage", Kind, tuple[Any, ...]], Any]

_MODULES_STATE = ("_parameters", "_modules")
_HOOKS = (
    "_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_RUNS = ("forward", "_compiled_call_impl", "__call__", "_call_impl", "_wrapped_call_impl")
_UFUNC_MODULES = frozenset(
    {"numpy", "numpy.core.umath", "numpy._core.umath", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath"}
)
_BIT_GENERATORS = frozenset({"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"})
_ARRAYS = frozenset({"ndarray", "matrix", "recarray", "record", "chararray", "MaskedArray", "memmap", "mvoid"})
_ENCODINGS = frozenset({"latin-1", "iso8859-1", "utf-8", "ascii"})
MOST_BYTES = 1 << 33
"""Of a `bytearray` that a program asks for by its size alone."""


class Stage:
    """Where the inert actors report to. Raises ContractViolation for what is not in the contract."""

    def __init__(
        self, permissions: Permissions, grant: Grant, on_array: Callable[[bool], None] | None = None
    ) -> None:
        self.permissions = permissions
        self.grant = grant
        self._on_array = on_array

    def happened(self, verb: str, kind: Kind, subject: Inert | None, args: tuple[Any, ...]) -> Any:
        """One step of the program. For `reduce` and `newobj` the result is what stands on the stack."""
        if verb == "called":
            self.stop(kind, "gives something that would be called in turn")
        module, name = kind._names
        if (construct := _CONSTRUCTORS.get(kind._names)) is not None and verb == "reduce":
            self.permissions.verb(module, name, verb)
            return construct(self, kind, args)
        if kind._names[0] != "" or verb not in ("build", "mutated"):
            self.permissions.verb(module, name, verb)
        if subject is not None:
            if verb == "build":
                self._state(kind, subject, args[0])
                subject.changed = True
            return None
        check = _REDUCE.get(kind._names)
        made = check(self, kind, args) if check is not None else None
        if made is None:
            made = kind.bare()
        return made

    def on_global(self, kind: Kind) -> None:
        """Something is done to the global itself: a function or class of the installation would be changed."""
        self.stop(kind, "would itself be changed")

    def persistent(self, pid: Any) -> None:
        """torch's persistent ids: storages, but no modules with source, which a patch file would be written for."""
        if not isinstance(pid, tuple) or not pid:
            return
        head = pid[0].decode("latin-1") if isinstance(pid[0], bytes) else pid[0]
        if head == "module" and len(pid) > 2 and all(pid[2:]):
            self.stop_for("a persistent id holds source code of a module.")
        if isinstance(pid[0], Kind) and len(pid) > 1 and all(pid[1:]):
            self.stop_for("a persistent id holds source code of a module.")

    def stop(self, kind: Kind, why: str) -> None:
        """Raise for this global, unless a person accepted exactly this as the danger it is."""
        self.stop_for(f"{ascii('.'.join(kind._names)[:200])[1:-1]} {why}.")

    def stop_for(self, why: str) -> None:
        from nbguard.hooks import walk

        raise walk.violation(self.grant, why)

    def callee(self, value: Any, args: Any) -> None:
        """Check something that a listed helper will call on the program's behalf."""
        if not isinstance(value, Kind) or not isinstance(args, tuple):
            self.stop_for("a helper would call something that is not named by the program.")
        self.happened("reduce", value, None, args)

    def listed_class(self, kind: Kind, value: Any) -> Kind:
        if not isinstance(value, Kind):
            self.stop(kind, "would be used on something that the program does not name")
        return value  # type: ignore[no-any-return]

    def _state(self, kind: Kind, subject: Inert, state: Any) -> None:
        module, name = kind._names
        if (module, name) == ("numpy", "dtype"):
            try:
                subject.state = numpy_types.with_state(subject, state)
            except numpy_types.Inconsistent as problem:
                self.stop(kind, str(problem))
        elif (module, name) in _WRAPPERS:
            self._wrapper(kind, state)
        elif isinstance(state, dict) and all(k in state for k in _MODULES_STATE):
            self._module_state(kind, state)
        elif module.startswith("scipy.stats") and isinstance(state, dict) and "_parse_arg_template" in state:
            self.stop(kind, "would run source code out of its state")

    def _module_state(self, kind: Kind, state: dict[Any, Any]) -> None:
        for key in _HOOKS:
            held = state.get(key)
            if held and not _is_empty_dict(held):
                self.stop(kind, f"would bring hooks that run later ({key})")
        for key in _RUNS:
            if state.get(key) is not None:
                self.stop(kind, f"would bring its own {key}")

    def _wrapper(self, kind: Kind, state: Any) -> None:
        if not isinstance(state, dict):
            self.stop(kind, "has a state that is no dictionary")
        file = state.get("filename")
        if file is not None and (not isinstance(file, str) or file not in self.grant.contract.companions):
            self.stop(kind, "would open a file that is not part of the artifact")
        dtype = state.get("dtype")
        if dtype is not None and not (isinstance(dtype, Inert) and dtype._names == ("numpy", "dtype")):
            self.stop(kind, "has a data type that is none")
        shape = state.get("shape", ())
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            self.stop(kind, "has a shape that is none")
        if self._on_array is not None and kind._names[1] == "NumpyArrayWrapper" and isinstance(dtype, Inert):
            holds_objects = numpy_types.real(dtype).hasobject
            self._on_array(not holds_objects and state.get("numpy_array_alignment_bytes") is not None)


_WRAPPERS = {
    (module, name)
    for module in ("joblib.numpy_pickle", "joblib.numpy_pickle_compat", "sklearn.externals.joblib.numpy_pickle")
    for name in ("NumpyArrayWrapper", "NDArrayWrapper", "ZNDArrayWrapper")
}


def _getattr(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    """`getattr` on a function leads to `__globals__`: only a plain name on a listed class."""
    if len(args) != 2 or not isinstance(args[0], Kind) or not isinstance(args[1], str) or args[1].startswith("_"):
        stage.stop(kind, "would reach for something else than a plain attribute of a listed class")
    return None


def _encode(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    """Other codecs run other code (`zip`, `uu`, what a registry adds)."""
    try:
        plain = isinstance(args[0], str) and codecs.lookup(args[1] if len(args) > 1 else "utf-8").name in _ENCODINGS
    except (LookupError, IndexError, TypeError):
        plain = False
    if not plain or len(args) > 2:
        stage.stop(kind, "would use an encoding that is not a plain one")
    return args[0].encode(*args[1:])


def _ufunc(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    """`_ufunc_reconstruct('os', 'system')` imports by string."""
    if len(args) != 2 or args[0] not in _UFUNC_MODULES or not isinstance(args[1], str) or not args[1].isidentifier():
        stage.stop(kind, "would import something that is no function of numpy")
    return None


def _array(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    cls = stage.listed_class(kind, args[0] if args else None)
    if not cls._names[0].startswith("numpy") or cls._names[1] not in _ARRAYS:
        stage.stop(kind, "would make something that is no array")
    return None


def _scalar(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    """With an object data type the bytes are taken for a pointer."""
    dtype = args[0] if args else None
    if not isinstance(dtype, Inert) or dtype._names != ("numpy", "dtype"):
        stage.stop(kind, "has a data type that is none")
        return None
    try:
        holds_objects = numpy_types.real(dtype).hasobject
    except numpy_types.Inconsistent as problem:
        stage.stop(kind, str(problem))
        return None
    if holds_objects:
        stage.stop(kind, "would take bytes for a pointer to an object")
    return None


def _dtype(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    made = kind.bare()
    made.made_with = args
    try:
        numpy_types.real(made)
    except numpy_types.Inconsistent as problem:
        stage.stop(kind, str(problem))
    return made


def _reconstructor(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    """`copyreg._reconstructor(cls, base, state)`: what it makes is judged as an instance of `cls`."""
    cls = stage.listed_class(kind, args[0] if args else None)
    base = args[1] if len(args) > 1 else None
    if not isinstance(base, Kind) or base._names[0] not in ("builtins", "__builtin__"):
        stage.stop(kind, "would use a base class that is not built in")
    return stage.happened("newobj", cls, None, args[2:])


def _newobj(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    return stage.happened("newobj", stage.listed_class(kind, args[0] if args else None), None, args[1:])


def _hooks(position: int) -> Check:
    """torch's rebuild functions take hooks that would run later: they have to be empty."""

    def check(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
        held = args[position] if len(args) > position else None
        empty = held is None or (isinstance(held, dict) and not held)
        if not empty and not _is_empty_dict(held):
            stage.stop(kind, "would bring hooks that run later")
        return None

    return check


def _from_type(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    """`_rebuild_from_type_v2(function, type, arguments, state)` calls the function."""
    if len(args) != 4:
        stage.stop(kind, "has other arguments than it should")
    stage.callee(args[0], args[2])
    stage.listed_class(kind, args[1])
    return None


def _bytearray(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    if args and isinstance(args[0], int) and args[0] > MOST_BYTES:
        stage.stop(kind, "would take all memory")
    return None


def _generator(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    for value in args:
        if isinstance(value, str) and value not in _BIT_GENERATORS:
            stage.stop(kind, "would make a random generator that is not one of numpy's")
        if isinstance(value, Kind) and not value._names[0].startswith("numpy.random"):
            stage.stop(kind, "would make a random generator that is not one of numpy's")
    return None


def _kept(stage: Stage, kind: Kind, args: tuple[Any, ...]) -> Any:
    made = kind.bare()
    made.made_with = args
    return made


def _is_empty_dict(value: Any) -> bool:
    """An `OrderedDict()` that nothing was given to."""
    return isinstance(value, Inert) and value._names[1] == "OrderedDict" and not value.changed and not value.made_with


_CORE = ("numpy.core", "numpy._core")
_CONSTRUCTORS: dict[tuple[str, str], Check] = {
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copyreg", "__newobj__"): _newobj,
    ("copyreg", "__newobj_ex__"): _newobj,
}
_REDUCE: dict[tuple[str, str], Check] = {
    ("builtins", "getattr"): _getattr,
    ("_codecs", "encode"): _encode,
    ("codecs", "encode"): _encode,
    ("builtins", "bytearray"): _bytearray,
    ("numpy", "dtype"): _dtype,
    ("collections", "OrderedDict"): _kept,
    ("torch._utils", "_rebuild_tensor_v2"): _hooks(5),
    ("torch._utils", "_rebuild_tensor_v3"): _hooks(5),
    ("torch._utils", "_rebuild_parameter"): _hooks(2),
    ("torch._utils", "_rebuild_parameter_with_state"): _hooks(2),
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("numpy.random._pickle", "__bit_generator_ctor"): _generator,
    ("numpy.random._pickle", "__generator_ctor"): _generator,
    ("numpy.random._pickle", "__randomstate_ctor"): _generator,
    **{(f"{core}.multiarray", "_reconstruct"): _array for core in _CORE},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORE},
    **{(core, "_ufunc_reconstruct"): _ufunc for core in _CORE},
    ("numpy.core.multiarray", "_ufunc_reconstruct"): _ufunc,
    ("numpy.core._internal", "_ufunc_reconstruct"): _ufunc,
}
