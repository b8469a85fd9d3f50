"""ExecuTorch's programs (`.pte`) and tensors apart from them (`.ptd`): every index that the runtime would follow.

    program = read_program(view)
    program.operators, program.delegates, program.problems

Source: `schema/program.fbs`, `extension/flat_tensor/serialize/flat_tensor.fbs` and `runtime/executor` of 1.5.
The runtime was found several times to follow such numbers beyond its memory (CVE-2025-30402 and those after it).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from nbguard.formats import flatbuffer
from nbguard.formats.flatbuffer import FlatBufferError, Numbers, Scalar, Table, Tables, Text, Union, Vector
from nbguard.formats.view import View

PROGRAM, TENSORS = (b"ET12",), b"FT01"
"""Identifiers at offset 4."""
HEADER = b"eh00"
TENSOR_HEADER = b"FH01"
MAX_PROGRAM = 1 << 30
"""Bytes of a program without its segments."""
MAX_NAMES = 100_000
_BYTES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 11: 1, 12: 1, 13: 1, 14: 4, 15: 2, 16: 1, 17: 1, 22: 2,
          23: 1, 24: 1, 25: 1, 26: 1, 27: 2, 28: 4, 29: 8}  # fmt: skip
"""`ScalarType` → bytes of one element."""
_MOST = 1 << 46

_BYTE, _INT, _UINT, _LONG, _TEXT, _INTS = Scalar("b"), Scalar("i"), Scalar("I"), Scalar("Q"), Text(), Vector("i")
_KIND = Scalar("B")
_ALLOCATION = Table("AllocationDetails", _UINT, _UINT, _UINT)
_EXTRA = Table("ExtraTensorInfo", _LONG, _TEXT, _BYTE, _BYTE, _BYTE)
_TENSOR = Table(
    "Tensor", _BYTE, _INT, _INTS, Vector("B"), _KIND, _UINT, _ALLOCATION, _BYTE, _BYTE, _EXTRA
)  # fmt: skip
_VALUES = (
    Table("Null"), Table("Int", Scalar("q")), Table("Bool", _KIND), Table("Double", Scalar("d")), _TENSOR,
    Table("String", _TEXT), Table("IntList", Vector("q")), Table("DoubleList", Vector("d")),
    Table("BoolList", Vector("B")), Table("TensorList", _INTS), Table("OptionalTensorList", _INTS),
)  # fmt: skip
"""`KernelTypes`, in their order."""
_CALLS = (
    Table("KernelCall", _INT, _INTS), Table("DelegateCall", _INT, _INTS), Table("MoveCall", _INT, _INT),
    Table("JumpFalseCall", _INT, _INT), Table("FreeCall", _INT),
)  # fmt: skip
"""`InstructionArguments`, in their order."""
_FRAME = Table("Frame", _TEXT, _INT, _TEXT, _TEXT)
_CHAIN = Table(
    "Chain", _INTS, _INTS, Tables(Table("Instruction", _KIND, Union(_CALLS))),
    Tables(Table("FrameList", Tables(_FRAME))),
)  # fmt: skip
_DELEGATE = Table(
    "BackendDelegate", _TEXT, Table("BackendDelegateDataReference", _BYTE, _UINT),
    Tables(Table("CompileSpec", _TEXT, Vector("B"))),
)  # fmt: skip
_PLAN = Table(
    "ExecutionPlan", _TEXT, Table("ContainerMetadata", _TEXT, _TEXT), Tables(Table("EValue", _KIND, Union(_VALUES))),
    _INTS, _INTS, Tables(_CHAIN), Tables(Table("Operator", _TEXT, _TEXT)), Tables(_DELEGATE), Vector("q"),
    Tables(Table("NonConstBufferDevice", _INT, _BYTE, _BYTE)),
)  # fmt: skip
_SEGMENT = Table("DataSegment", _LONG, _LONG)
_OFFSETS = Table("SubsegmentOffsets", _UINT, Vector("Q"))
_BLOB = Table("Buffer", Vector("B"))
_PROGRAM = Table(
    "Program", _UINT, Tables(_PLAN), Tables(_BLOB), Tables(_BLOB), Tables(_SEGMENT), _OFFSETS, Tables(_OFFSETS),
    Tables(Table("NamedData", _TEXT, _UINT)),
)  # fmt: skip
_LAYOUT = Table("TensorLayout", _BYTE, _INTS, Vector("B"))
_TENSORS = Table("FlatTensor", _UINT, Tables(_SEGMENT), Tables(Table("NamedData", _TEXT, _UINT, _LAYOUT)))


@dataclass
class Program:
    """What is in a program."""

    operators: Counter[str] = field(default_factory=Counter)
    """`aten::add` → in how many plans."""
    delegates: Counter[str] = field(default_factory=Counter)
    """Backends by name → how many parts of the model they are given, compiled for them."""
    external: list[str] = field(default_factory=list)
    """Tensors whose numbers come from another file."""
    blocks: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(name, offset in the file, bytes, kind) of constants and segments."""
    tensors: int = 0
    problems: list[str] = field(default_factory=list)
    length: int = 0
    """Bytes of header and program, which everything else lies behind."""

    def doubt(self, sentence: str) -> None:
        if sentence not in self.problems and len(self.problems) < 30:
            self.problems.append(sentence)


def read_program(view: View) -> Program:
    """Read a `.pte`. Raises FlatBufferError where it does not hold together."""
    head = view.read(0, 64)
    size, base, extent = view.size, 0, 0
    if head[8:12] == HEADER:
        if len(head) < 40:
            raise FlatBufferError("It ends within its header.")
        length, size, base = struct.unpack_from("<IQQ", head, 12)
        extent = struct.unpack_from("<Q", head, 32)[0] if length >= 32 else max(0, view.size - base) if base else 0
        if length < 24 or not 0 < size <= view.size or (base and not size <= base <= view.size):
            raise FlatBufferError("Its header gives sizes that lead out of the file.")
        if base + extent > view.size:
            raise FlatBufferError("Its header says that there is more data than the file has.")
    if size > MAX_PROGRAM:
        raise FlatBufferError("The program in it is larger than any real one.")
    data = view.read(0, size)
    version, plans, constants, inline, segments, offsets, mutable, named = flatbuffer.read(data, _PROGRAM)
    program = Program(length=size)
    if version != 0:
        program.doubt("Its version is none that the runtime reads.")
    places = _segments(program, segments or [], base, extent)
    end = max([size, *(offset + length for offset, length in places)])
    if end < view.size and (base or head[8:12] != HEADER):
        program.doubt("Something lies behind everything that it describes.")
    constants = constants or []
    inlined = [(c[0].offset, c[0].count) if c[0] is not None else (0, 0) for c in constants]
    starts = list(offsets[1].values()) if offsets is not None and offsets[1] is not None else []
    if offsets is not None and starts and _segment(program, places, offsets[0]) is None:
        starts = []
    apart = places[offsets[0]] if starts else (0, 0)
    for _, index in named or ():
        _segment(program, places, index)
    for entry in mutable or ():
        _segment(program, places, entry[0])
    for number, (offset, count) in enumerate(inlined):
        if count:
            program.blocks.append((f"constant {number}", offset, count, "constant"))
    changing = [(entry[0], _numbers(entry[1])) for entry in mutable or ()]
    for plan in plans or ():
        _Plan(program, plan, places, len(inline or ()), changing).check(inlined, starts, apart)
    return program


def _segments(program: Program, segments: list[list[int]], base: int, extent: int) -> list[tuple[int, int]]:
    """(offset in the file, bytes) of each segment."""
    found = []
    for number, (offset, size) in enumerate(segments):
        if offset + size > extent or (size and not base):
            program.doubt("A segment of its data lies outside of the file.")
            found.append((0, 0))
            continue
        found.append((base + offset, size))
        program.blocks.append((f"segment {number}", base + offset, size, "segment"))
    return found


def _segment(program: Program, places: list[tuple[int, int]], index: int) -> tuple[int, int] | None:
    if index < len(places):
        return places[index]
    program.doubt("It names a segment of data that is not there.")
    return None


class _Plan:
    """One plan of execution, checked against what the program has."""

    def __init__(
        self,
        program: Program,
        plan: list[Any],
        places: list[tuple[int, int]],
        inline: int,
        mutable: list[tuple[int, list[int]]],
    ) -> None:
        self.program, self.places, self.inline, self.mutable = program, places, inline, mutable
        _, _, values, inputs, outputs, chains, operators, delegates, sizes, devices = plan
        self.values: list[tuple[int, Any]] = [(v[0], v[1]) for v in values or ()]
        self.inputs, self.outputs, self.chains = inputs, outputs, chains or []
        self.operators, self.delegates = operators or [], delegates or []
        self.sizes: list[int] = list(sizes.values()) if sizes is not None else []
        self.devices = devices or []

    def check(self, inlined: list[tuple[int, int]], starts: list[int], apart: tuple[int, int]) -> None:
        program, count = self.program, len(self.values)
        if any(size < 0 for size in self.sizes):
            program.doubt("A part of memory that it asks for has a size that cannot be.")
        for index, _, _ in self.devices:
            self._within([index], len(self.sizes), "a part of memory")
        for name, overload in self.operators:
            program.operators[(name or "")[:200] + (f".{overload[:100]}" if overload else "")] += 1
        for name, place, _ in self.delegates:
            program.delegates[(name or "")[:200]] += 1
            if place is None:
                program.doubt("A backend is given nothing to run.")
            elif place[0] == 1:
                _segment(program, self.places, place[1])
            else:
                self._within([place[1]], self.inline, "a backend")
        if len(program.operators) + len(program.delegates) > MAX_NAMES:
            raise FlatBufferError("It names more operators than there are.")
        for row in (self.inputs, self.outputs):
            self._within(_numbers(row), count, "the plan")
        for kind, value in self.values:
            if kind == 5:
                self._tensor(value, inlined, starts, apart)
            elif kind in (7, 10, 11) and value[0] is not None:  # lists hold numbers of values, not values
                items = (n for n in value[0].values() if kind != 11 or n != -1)
                self._within(items, count, "a list")
        for chain in self.chains:
            self._chain(chain, count)

    def _chain(self, chain: list[Any], count: int) -> None:
        inputs, outputs, instructions, _ = chain
        for row in (inputs, outputs):
            self._within(_numbers(row), count, "a chain")
        instructions = instructions or []
        for kind, call in instructions:
            match kind:
                case 1 | 2:
                    known = self.operators if kind == 1 else self.delegates
                    self._within([call[0]], len(known), "an instruction")
                    self._within(_numbers(call[1]), count, "an instruction")
                case 3:
                    self._within(call, count, "an instruction")
                case 4:
                    self._within([call[0]], count, "an instruction")
                    self._within([call[1]], len(instructions) + 1, "an instruction")
                case 5:
                    self._within([call[0]], count, "an instruction")
                case _:
                    self.program.doubt("An instruction says nothing.")

    def _tensor(
        self, tensor: list[Any], inlined: list[tuple[int, int]], starts: list[int], apart: tuple[int, int]
    ) -> None:
        kind, shift, sizes, order, _, index, allocation, _, dynamism, extra = tensor
        program = self.program
        program.tensors += 1
        dims = _numbers(sizes)
        if kind not in _BYTES or shift:
            program.doubt("A tensor is of a type, or starts at a place, that the runtime does not know.")
            return
        if len(dims) > 64 or any(n < 0 for n in dims) or prod(n or 1 for n in dims) > _MOST:
            program.doubt("A tensor has a shape that cannot be.")
            return
        if order is not None and (len(order) != len(dims) or sorted(order.values()) != list(range(len(dims)))):
            program.doubt("The dimensions of a tensor are in an order that cannot be.")
        if dynamism not in (0, 1, 2):
            program.doubt("A tensor's shape is of a kind that is not known.")
        nbytes = prod(dims) * _BYTES[kind]
        if allocation is not None:
            self._allocated(allocation, nbytes)
        if extra is not None and extra[2] == 1:
            if not extra[1]:
                program.doubt("A tensor comes from another file without a name.")
            elif len(program.external) < MAX_NAMES:
                program.external.append(extra[1][:200])
        elif index and allocation is None:
            place = self._constant(index, inlined, starts, apart)
            if place is not None and nbytes > place[1]:
                program.doubt("A constant tensor's shape asks for more data than there is.")
        elif index:
            which = extra[0] if extra is not None else 0
            if which >= len(self.mutable) or index >= len(self.mutable[which][1]):
                program.doubt("A tensor starts with data that is not there.")
            else:
                segment, offsets = self.mutable[which]
                place = _segment(program, self.places, segment)
                if place is not None and offsets[index] + nbytes > place[1]:
                    program.doubt("A tensor starts with more data than there is.")

    def _constant(
        self, index: int, inlined: list[tuple[int, int]], starts: list[int], apart: tuple[int, int]
    ) -> tuple[int, int] | None:
        if starts:
            if index < len(starts) and starts[index] <= apart[1]:
                return apart[0] + starts[index], apart[1] - starts[index]
        elif index < len(inlined):
            return inlined[index]
        self.program.doubt("A constant tensor's data is not there.")
        return None

    def _allocated(self, allocation: list[int], nbytes: int) -> None:
        memory, low, high = allocation
        if not 0 < memory < max(1, len(self.sizes)) or (high << 32) + low + nbytes > self.sizes[memory]:
            self.program.doubt("A tensor is given a place outside of the memory that the program asks for.")

    def _within(self, numbers: Iterable[int], limit: int, of: str) -> None:
        if any(not 0 <= n < limit for n in numbers):
            self.program.doubt(f"A number in {of} leads to something that is not there.")


def _numbers(row: Numbers | None) -> list[int]:
    return [] if row is None else list(row.values())


def read_tensors(view: View) -> Program:
    """Read a `.ptd`: tensors by name. Raises FlatBufferError."""
    head = view.read(0, 48)
    if len(head) < 48 or head[8:12] != TENSOR_HEADER:
        raise FlatBufferError("It has no header that says where its data lies.")
    length, offset, size, base, extent = struct.unpack_from("<IQQQQ", head, 12)
    if length < 40 or not size or offset + size > view.size or base + extent > view.size or base < offset + size:
        raise FlatBufferError("Its header gives sizes that lead out of the file.")
    if offset + size > MAX_PROGRAM:
        raise FlatBufferError("The table in it is larger than any real one.")
    version, segments, named = flatbuffer.read(view.read(0, offset + size), _TENSORS)
    found = Program(length=offset + size)
    if version != 0:
        found.doubt("Its version is none that the runtime reads.")
    places = _segments(found, segments or [], base, extent)
    if max([offset + size, *(o + n for o, n in places)]) < view.size:
        found.doubt("Something lies behind everything that it describes.")
    for _, index, layout in named or ():
        place = _segment(found, places, index)
        if layout is None:
            continue
        found.tensors += 1
        dims = _numbers(layout[1])
        if layout[0] not in _BYTES or len(dims) > 64 or any(n < 0 for n in dims):
            found.doubt("A tensor has a type or a shape that cannot be.")
        elif place is not None and prod(dims) * _BYTES[layout[0]] > place[1]:
            found.doubt("A tensor's shape asks for more data than there is.")
    return found


__all__ = ["PROGRAM", "TENSORS", "Program", "read_program", "read_tensors"]
