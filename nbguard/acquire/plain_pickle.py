"""A pickle of plain arrays, as `joblib.dump` and `pickle.dump` write them, read without running anything it names.

    arrays = load(file, limit=1 << 30)          # {"weights.0": array, …}

A handful of names is known, each for a class or function of this module; any other refuses the file. Of joblib's format
the bytes of an array follow inside the stream (joblib/numpy_pickle.py, `NumpyArrayWrapper.read_array`).
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, ClassVar

from nbguard.acquire.arrays import DEEPEST, MAX_NAME, MOST_OBJECTS, NotDataError

Arrays = dict[str, Any]
_KINDS = "biufc"
_MOST_DIMENSIONS = 64


class _DType:
    """`numpy.dtype`, as a name that is checked and a byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        self.code = str(code)[:20]
        self.order = "="

    def state(self, given: Any) -> None:
        """Take pickle's state of a dtype: `(version, byte order, subarray, names, fields, …)`."""
        if not isinstance(given, tuple) or len(given) < 5 or any(part is not None for part in given[2:5]):
            raise NotDataError("one of its arrays has a structured type, which safetensors has no type for")
        if given[1] not in ("<", ">", "|", "="):
            raise NotDataError("one of its arrays has an unknown byte order")
        self.order = given[1]

    def real(self) -> Any:
        """NumPy's dtype. Raises NotDataError where it is not one of numbers."""
        import numpy

        if self.code.lstrip("<>=|")[:1] not in ("b", "i", "u", "f", "c", "?"):
            raise NotDataError(f"one of its arrays holds {self.code!r}, which safetensors has no type for")
        dtype = numpy.dtype(self.code)
        if dtype.kind not in _KINDS or dtype.itemsize < 1:
            raise NotDataError(f"one of its arrays holds {self.code!r}, which safetensors has no type for")
        return dtype if self.order in ("|", "=") else dtype.newbyteorder("<" if self.order == "<" else ">")


class _Array:
    """`numpy.ndarray`: the class as it is named, and an array before its state is known."""

    value: Any = None


class _Wrapper:
    """joblib's note that the bytes of an array follow."""

    value: Any = None


def _reconstruct(subtype: Any, shape: Any = (), code: Any = b"") -> _Array:
    if subtype is not _Array:
        raise NotDataError("one of its arrays is of a class of its own")
    return _Array()


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return _shaped(buffer, dtype, shape, order == "F")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return _shaped(data, dtype, (), False)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise NotDataError("it holds bytes in an encoding of their own")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """`bytes()`, as protocol 2 writes what is empty; with arguments it could be told to make gigabytes."""
    return b""


def _shaped(data: Any, dtype: Any, shape: Any, fortran: bool) -> Any:
    """The array with these bytes; exactly as many as the shape says."""
    import numpy

    if isinstance(data, str):  # Python 2's bytes, read as latin-1
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _DType):
        raise NotDataError("one of its arrays is not made of bytes")
    sides = _shape(shape)
    real = dtype.real()
    if len(data) != math.prod(sides) * real.itemsize:
        raise NotDataError("one of its arrays has more or fewer bytes than its shape says")
    flat = numpy.frombuffer(data, dtype=real)
    return flat.reshape(sides[::-1]).transpose() if fortran else flat.reshape(sides)


def _shape(shape: Any) -> tuple[int, ...]:
    sides = tuple(shape) if isinstance(shape, tuple | list) else None
    if sides is None or len(sides) > _MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in sides):
        raise NotDataError("one of its arrays has no shape")
    return sides


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "memmap"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    **{(f"{home}.numpy_pickle", "NumpyArrayWrapper"): _Wrapper for home in ("joblib", "sklearn.externals.joblib")},
}
_CALLED = (_DType, _reconstruct, _scalar, _frombuffer, _encode, _no_bytes, OrderedDict)


class _Reader(pickle._Unpickler):
    """Python's own pickle machine, which can name nothing but the above."""

    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self.raw = file

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            raise NotDataError(f"it names {f'{module}.{name}'[:MAX_NAME]!r}, which is no plain array")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise NotDataError("it refers to something outside of itself")

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        called = self.stack[-1]
        if not isinstance(arguments, tuple) or not any(called is known for known in _CALLED):
            raise NotDataError("it calls something that makes no array")
        if called is OrderedDict and arguments:
            raise NotDataError("it makes a dictionary in a way that joblib does not")
        try:
            self.stack[-1] = called(*arguments)
        except TypeError:
            raise NotDataError("it makes an array in a way that NumPy does not") from None

    def _newobj(self) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if cls is not _Wrapper or arguments:
            raise NotDataError("it makes an object that is no array")
        self.stack.append(_Wrapper())

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is _DType:
            made.state(state)
        elif type(made) is _Array:
            if not isinstance(state, tuple) or len(state) != 5:
                raise NotDataError("one of its arrays has a state that NumPy does not write")
            _, shape, dtype, fortran, data = state
            made.value = _shaped(data, dtype, shape, bool(fortran))
        elif type(made) is _Wrapper and isinstance(state, Mapping):
            made.value = self._following(state)
        else:
            raise NotDataError("it holds an object that is no array")

    def _following(self, state: Mapping[Any, Any]) -> Any:
        """The array whose bytes follow in the file itself, behind the current frame."""
        dtype, order, align = state.get("dtype"), state.get("order"), state.get("numpy_array_alignment_bytes")
        if state.get("subclass") is not _Array or not isinstance(dtype, _DType) or order not in ("C", "F"):
            raise NotDataError("one of its arrays is of a class or type of its own")
        if align is not None:
            padding = self.raw.read(1)
            self.raw.read(padding[0] if padding else 0)
        length = math.prod(_shape(state.get("shape"))) * dtype.real().itemsize
        return _shaped(_exactly(self.raw, length), dtype, state.get("shape"), order == "F")

    def _bytes(self) -> None:
        """What a file claims is not allocated before it is there."""
        (length,) = struct.unpack("<Q", self.read(8))
        left, parts = length, []
        while left:
            part = self.read(min(left, 1 << 24))  # raises where the file ends
            parts.append(part)
            left -= len(part)
        self.append(bytearray(b"".join(parts)))

    def _refused(self) -> None:
        raise NotDataError("it makes an object that is no array")

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.NEWOBJ[0]] = _newobj
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.BYTEARRAY8[0]] = _bytes
    for _opcode in (pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4):
        dispatch[_opcode[0]] = _refused


def _exactly(file: IO[bytes], length: int) -> bytes:
    """So many bytes, read in parts: what a file claims is not allocated before it is there."""
    parts, left = [], length
    while left:
        part = file.read(min(left, 1 << 24))
        if not part:
            raise NotDataError("it ends in the middle of an array")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def load(file: IO[bytes], limit: int) -> Arrays:
    """Name → array; names are keys and positions, with dots between them.

    Args:
        limit: bytes that a compressed file may unpack to.

    Raises:
        NotDataError: it is or holds anything but arrays in dictionaries and lists.
    """
    loaded = _Reader(_unpacked(file, limit)).load()
    arrays: Arrays = {}
    for name, array in _leaves(loaded):
        if name in arrays:
            raise NotDataError(f"two of its arrays would both be called {name[:MAX_NAME]!r}")
        arrays[name] = array
    return arrays


def _leaves(loaded: Any) -> Iterator[tuple[str, Any]]:
    import numpy

    todo: list[tuple[str, Any, int]] = [("", loaded, 0)]
    count = 0
    while todo:
        name, value, depth = todo.pop()
        count += 1
        if count > MOST_OBJECTS or depth > DEEPEST:
            raise NotDataError("it holds more arrays, or nests them deeper, than any model")
        value = value.value if isinstance(value, _Array | _Wrapper) else value
        if isinstance(value, numpy.ndarray | numpy.generic):
            yield name or "array", numpy.asarray(value)
        elif isinstance(value, Mapping):
            for key in reversed(value):
                if not isinstance(key, str | int) or isinstance(key, bool):
                    raise NotDataError(f"a key in it is {type(key).__name__}, and names nothing")
                todo.append((f"{name}.{key}" if depth else str(key), value[key], depth + 1))
        elif isinstance(value, list | tuple):
            todo += [(f"{name}.{n}" if depth else str(n), v, depth + 1) for n, v in reversed([*enumerate(value)])]
        else:
            raise NotDataError(f"{name[:MAX_NAME]!r} in it is {_called(value)}, not an array")
        if len(todo) > MOST_OBJECTS:
            raise NotDataError("it holds more arrays than any model")


def _called(value: Any) -> str:
    return "no array" if isinstance(value, type) or callable(value) else f"of type {type(value).__name__}"


# what joblib compresses with


def _unpacked(file: IO[bytes], limit: int) -> IO[bytes]:
    """The pickle itself. Raises NotDataError where it unpacks to more than `limit` bytes."""
    import bz2
    import gzip
    import lzma

    head = file.read(6)
    file.seek(0)
    opened: Any
    if head.startswith(b"\x1f\x8b"):
        opened = gzip.GzipFile(fileobj=file)
    elif head.startswith(b"BZh"):
        opened = bz2.BZ2File(file)
    elif head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        opened = lzma.LZMAFile(file)  # noqa: SIM115 - closed below
    elif head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0:
        machine = zlib.decompressobj()
        data = machine.decompress(file.read(), limit + 1)
        return _within(data, limit)
    elif head.startswith(b"\x04\x22\x4d\x18"):
        try:
            import lz4.frame
        except ImportError:
            raise NotDataError("it is compressed with lz4, and the package lz4 is not installed here") from None
        opened = lz4.frame.open(file)
    else:
        return file
    with opened:
        return _within(opened.read(limit + 1), limit)


def _within(data: bytes, limit: int) -> IO[bytes]:
    if len(data) > limit:
        raise NotDataError(f"it unpacks to more than {limit:,} bytes")
    return io.BytesIO(data)
