"""joblib's own way of reading, inert: raw array bytes that follow inside the pickle stream are skipped, not read.

    machine = JoblibMachine(open("model.joblib", "rb"), tape, size)
    guarded(lambda: machine, tape); machine.blocks   # [Block(offset=…, length=…, dtype=…), …]

`joblib.load` runs the Python pickle machine; when BUILD has given a `NumpyArrayWrapper` its state, the array's bytes
follow at the file's own position (behind the current frame), after one byte that says how much padding there is.
The length skipped comes from the validated descriptor and shape, never from what the state claims.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from nbguard.formats.numpy_dtype import DType, DTypeError, validate
from nbguard.formats.pickle_machine import Inert, InertType, Kept, Tape, make
from nbguard.formats.pickle_run import PythonMachine

WRAPPERS = frozenset({"NumpyArrayWrapper", "NDArrayWrapper", "ZNDArrayWrapper"})
WRAPPER_MODULES = frozenset(
    f"{package}.{module}"
    for package in ("joblib", "sklearn.externals.joblib")
    for module in ("numpy_pickle", "numpy_pickle_compat")
)
_STATE_KEYS = frozenset({"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"})
MAX_DIMENSIONS = 64


@dataclass(frozen=True)
class Block:
    """Raw bytes that lie inside a program's extent."""

    offset: int
    """Of the first byte cut out (padding included, the byte that says how much is not), from the stream's start."""
    length: int
    """Bytes cut out, padding included."""
    dtype: str
    """Validated descriptor, or `program` where a nested program follows instead."""
    shape: tuple[int, ...]
    data: int
    """Offset of the array's first byte."""


@dataclass(frozen=True)
class Inner:
    """A program that lies inside another: an array of objects."""

    start: int
    end: int


class ArrayOfBlock(Kept):
    """Stands for an array whose bytes are in a block."""

    __slots__ = ("block", "dtype")
    block: Block
    dtype: DType


class StreamError(pickle.UnpicklingError):
    """The stream's raw part cannot be worked out; the message says why."""


def dtype_parts(value: Any) -> tuple[tuple[Any, ...], Sequence[Any]] | None:
    """Arguments and states of an inert `numpy.dtype`, or None where `value` is none."""
    if not isinstance(value, Kept) or isinstance(value, InertType):
        return None
    if (value._seen.module, value._seen.name) != ("numpy", "dtype") or value.items or value.keywords:
        return None
    first = value.arguments[:1]
    if first and isinstance(first[0], InertType):
        first = (f"class {first[0]._seen.dotted}",)
    return (*first, *value.arguments[1:]), value.states


def dtype_of(value: Any) -> DType:
    """The validated descriptor of an inert `numpy.dtype`. Raises DTypeError."""
    parts = dtype_parts(value)
    if parts is None:
        raise DTypeError("something else stands where a descriptor belongs")
    return validate(parts[0], parts[1], dtype_parts)


class JoblibMachine(PythonMachine):
    """The Python machine with joblib's BUILD."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined,unused-ignore]

    def __init__(self, file: Any, tape: Tape, size: int) -> None:
        super().__init__(file, tape)
        self._file = file
        self._size = size
        self.blocks: list[Block] = []
        self.inner: list[Inner] = []
        self.files: list[tuple[str, Any]] = []
        """(wrapper class, file name) of each companion that would be opened."""

    def load_build(self) -> None:
        super().load_build()
        top = self.stack[-1]
        if not isinstance(top, Inert) or top._seen.name.rpartition(".")[2] not in WRAPPERS:
            return
        if top._seen.module not in WRAPPER_MODULES:
            raise StreamError("an array wrapper that is not joblib's, so that two readings are possible")
        self.stack.pop()
        if not isinstance(top, Kept) or len(top.states) != 1 or type(top.states[0]) is not dict:
            raise StreamError("an array wrapper without the one state it needs")
        if top._seen.name == "NumpyArrayWrapper":
            self.stack.append(self._array(top.states[0]))
        else:
            self.files.append((top._seen.name, top.states[0].get("filename")))
            self.stack.append(self._stand_in(top.states[0], None))

    dispatch[pickle.BUILD[0]] = load_build

    def _array(self, state: dict[Any, Any]) -> Any:
        if not set(state) <= _STATE_KEYS or not {"subclass", "shape", "order", "dtype"} <= set(state):
            raise StreamError("an array wrapper with unknown state")
        shape, order = state["shape"], state["order"]
        if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
            raise StreamError("an array wrapper with a malformed shape")
        if order not in ("C", "F") or type(state.get("allow_mmap", False)) is not bool:
            raise StreamError("an array wrapper with a malformed order")
        dtype = dtype_of(state["dtype"])
        if dtype.has_object:
            return self._objects(state)
        alignment = state.get("numpy_array_alignment_bytes")
        if alignment is not None and (type(alignment) is not int or not 0 < alignment <= 255):
            raise StreamError("an array wrapper with a malformed alignment")
        start, padding = self._file.tell(), 0
        if alignment is not None:
            counted = self._file.read(1)
            if len(counted) != 1:
                raise StreamError("the stream ends before an array's bytes")
            start, padding = start + 1, counted[0]
        if dtype.itemsize == 0:
            raise StreamError("an array of items without size")
        length = dtype.itemsize * math.prod(shape)
        if start + padding + length > self._size:
            raise StreamError("the stream ends inside an array's bytes")
        self._file.seek(start + padding + length)
        block = Block(start, padding + length, dtype.text, shape, start + padding)
        self.blocks.append(block)
        return self._stand_in(state, (block, dtype))

    def _objects(self, state: dict[Any, Any]) -> Any:
        """joblib reads an array of objects with a fresh, plain Python machine from the file's position."""
        start = self._file.tell()
        PythonMachine(self._file, self._tape).load()
        end = self._file.tell()
        self.blocks.append(Block(start, end - start, "program", (), start))
        self.inner.append(Inner(start, end))
        return self._stand_in(state, None)

    def _stand_in(self, state: dict[Any, Any], found: tuple[Block, DType] | None) -> Any:
        subclass = state.get("subclass")
        if not isinstance(subclass, InertType):
            raise StreamError("an array wrapper without a class")
        if found is None:
            return make(subclass, (), {})
        # made anew for each class, not each array: a class costs a kilobyte
        seen = subclass._seen
        classes = self.__dict__.setdefault("_array_classes", {})
        if seen not in classes:
            classes[seen] = InertType("array", (ArrayOfBlock,), {"__slots__": (), "_seen": seen})
        array = make(classes[seen], (), {})
        array.block, array.dtype = found
        return array
