"""Tensors in ONNX models: their types and sizes, and the places of those that lie in other files.

    elements([2, 3]), miscounted(1, 6, {4: (6, 24)})
    external("w", [("location", "w.bin")], 24)

Source: `onnx/onnx-ml.proto` (`TensorProto`), `onnx/external_data_helper.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbguard.formats.protobuf import WireError

MAX_DIMENSIONS = 1024
BITS = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32),
    7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64), 12: ("uint32", 32),
    13: ("uint64", 64), 14: ("complex64", 64), 15: ("complex128", 128), 16: ("bfloat16", 16), 17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8), 19: ("float8e5m2", 8), 20: ("float8e5m2fnuz", 8), 21: ("uint4", 4), 22: ("int4", 4),
    23: ("float4e2m1", 4), 24: ("float8e8m0", 8), 25: ("uint2", 2), 26: ("int2", 2), 27: ("float6e2m3", 6),
    28: ("float6e3m2", 6),
}  # fmt: skip
"""`TensorProto.DataType` → (name, bits of one element)."""

_TYPED = {
    1: (4, 1, 1), 14: (4, 2, 1), 11: (10, 1, 1), 15: (10, 2, 1), 8: (6, 1, 1), 7: (7, 1, 1), 12: (11, 1, 1),
    13: (11, 1, 1), 21: (5, 1, 2), 22: (5, 1, 2), 23: (5, 1, 2), 25: (5, 1, 4), 26: (5, 1, 4), 27: (5, 0, 1),
    28: (5, 0, 1),
}  # fmt: skip
"""Type → (field that holds it where it is not raw, values for one element, elements in one value); all others are in
field 5, one by one. Of those with no number of values nothing is said."""
WIDTHS = {4: 4, 10: 8}
"""Bytes of one value in a packed field of fixed numbers."""
HIGH = bytes(range(0x80, 0x100))
_KEYS = frozenset({"location", "offset", "length", "checksum", "basepath"})
"""What ONNX takes from the description of data in another file (`external_data_helper.py`); any other key set an
attribute of that name in versions before 1.21. ONNX Runtime adds keys of its own that begin with `prepacked`."""
_NUMBER = re.compile(r"[0-9]{0,18}")


class OnnxError(WireError):
    """No ONNX model, or one that cannot be told. The message is one plain sentence."""


@dataclass(frozen=True)
class External:
    """Data of one tensor in another file."""

    tensor: str
    location: str
    """Path, relative to the model's folder. Hostile."""
    offset: int
    length: int | None
    """None: to the end of the file."""
    needed: int
    """Bytes that the tensor's shape and type ask for."""


def elements(dims: list[int]) -> int | None:
    """The product; None where a dimension is below zero, or where it leaves 64 bits on the way."""
    out = 1
    for n in dims:
        out *= n
        if n < 0 or out >= 1 << 64:
            return None
    return out


def miscounted(kind: int, elements: int, typed: dict[int, tuple[int, int]]) -> bool:
    """Whether the values that are not raw are others than the shape asks for, or of another kind."""
    field, values, together = _TYPED.get(kind, (5, 1, 1))
    if not values:
        return False
    held = {number: count for number, (count, _) in typed.items() if count}
    wanted = -(-elements // together) * values
    return held != ({field: wanted} if wanted else {})


def external(name: str, entries: list[tuple[str, str]], needed: int) -> tuple[External, str | None]:
    """Where the data of a tensor lies, and a sentence on what nobody writes there. Raises OnnxError."""
    told = dict(entries)
    if len(told) != len(entries) or not told.get("location"):
        raise OnnxError(f"The tensor {name[:100]} does not say in one way where its data lies.")
    numbers = [told.get(key, "") for key in ("offset", "length")]
    if not all(_NUMBER.fullmatch(n) for n in numbers):
        raise OnnxError(f"The tensor {name[:100]} says where its data lies in something other than numbers.")
    strange = sorted(k for k in told if k not in _KEYS and not k.startswith("prepacked"))
    odd = None
    if strange or told.get("basepath"):
        what = strange[0][:60] if strange else "basepath"
        odd = f"The place of the data of {name[:100]} comes with a key that nobody writes: {what}."
    offset, length = (int(n) if n else None for n in numbers)
    return External(name[:500], told["location"], offset or 0, length, needed), odd
