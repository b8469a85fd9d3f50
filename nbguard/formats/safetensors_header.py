"""Headers of safetensors files. Tensor bytes are never read.

    header = read_header(view)
    len(header.tensors), header.nbytes

Source: the format's own description and `safetensors/src/tensor.rs` (`Metadata::validate`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nbguard.formats.view import View

MAX_HEADER = 100_000_000
"""Bytes; the library's own limit."""
MAX_DIMENSIONS = 256
"""Of one tensor; no library that reads the format goes beyond 64."""
METADATA = "__metadata__"
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
_ENTRY = {"dtype", "shape", "data_offsets"}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class SafetensorsError(ValueError):
    """The safetensors library would refuse this file, or should. The message is one plain sentence."""


@dataclass(frozen=True)
class SafetensorsHeader:
    tensors: tuple[tuple[str, str, int, int], ...]
    """(name, type, offset from the start of the file, bytes), by offset."""
    metadata: dict[str, str]
    length: int
    """Bytes of the JSON header."""

    @property
    def nbytes(self) -> int:
        return sum(t[3] for t in self.tensors)


def looks_like(view: View) -> bool:
    """Whether the length in front fits the file and a JSON object follows it."""
    head = view.read(0, 9)
    return len(head) == 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= view.size - 8


def read_header(view: View) -> SafetensorsHeader:
    """Read and check the header as the library does: known types, no gaps, no overlaps, nothing behind.

    Stricter than the library in what nobody writes and readers could take differently: fields of a tensor that the
    format does not have, and anything but blanks behind the JSON.

    Raises:
        SafetensorsError: something does not hold.
    """
    length = int.from_bytes(view.read(0, 8), "little")
    if view.size < 8 or length > MAX_HEADER or length > view.size - 8:
        raise SafetensorsError("The safetensors header is longer than allowed or than the file.")
    value = _parsed(view.read(8, length))
    metadata = value.pop(METADATA, None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise SafetensorsError("The metadata in the safetensors header is not text.")
    tensors = sorted((_tensor(name, entry, 8 + length) for name, entry in value.items()), key=lambda t: (t[2], t[3]))
    at = 8 + length
    for name, _, offset, size in tensors:
        if offset != at:
            raise SafetensorsError(f"The tensor {name[:100]} overlaps another one or leaves a gap.")
        at += size
    if at != view.size:
        raise SafetensorsError("The tensors do not end where the file ends.")
    return SafetensorsHeader(tuple(tensors), metadata, length)


def _parsed(data: bytes) -> dict[str, Any]:
    """The header as UTF-8 and nothing else: Python's reader would take UTF-16, lone surrogates and `NaN` as well."""
    if not data.startswith(b"{"):
        raise SafetensorsError("The safetensors header does not begin with a bracket, as the format demands.")
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        if isinstance(error, SafetensorsError):
            raise
        raise SafetensorsError("The safetensors header is no JSON.") from error
    if not isinstance(value, dict):
        raise SafetensorsError("The safetensors header is no JSON object.")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise SafetensorsError("A name is there twice in the safetensors header.")
    return out


def _no_constant(name: str) -> Any:
    raise SafetensorsError(f"The safetensors header holds {name}, which is no JSON.")


def _tensor(name: str, entry: Any, base: int) -> tuple[str, str, int, int]:
    try:
        kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(shape, list) or not isinstance(entry["data_offsets"], list) or set(entry) != _ENTRY:
            raise ValueError
        if not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, start, end)) or len(shape) > MAX_DIMENSIONS:
            raise ValueError
        bits = BITS[kind] * _elements(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise SafetensorsError(f"The entry of the tensor {name[:100]} is malformed.") from error
    if bits % 8 or end - start != bits // 8:
        raise SafetensorsError(f"The tensor {name[:100]} does not have the size that its shape says.")
    return name, kind, base + start, end - start


def _elements(shape: Iterable[int]) -> int:
    """The product, which the library takes from the left and refuses where it leaves 64 bits, whatever comes then."""
    out = 1
    for n in shape:
        out *= n
        if out >= 1 << 64:
            raise ValueError
    return out
