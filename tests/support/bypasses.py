"""The ways round other scanners that were ever reported, as files: `tests/advisories/bypasses.toml` and who builds it.

    for bypass in bypasses():
        (folder / bypass.file).write_bytes(bypass.data())      # puts opcodes together; nothing is imported or called

Where one call is the whole trick, `spellings` writes the same call in every way that a pickle can.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import bypass_containers
import bypass_tricks
from pickle_forge import (
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    MARK,
    NEWOBJ,
    NONE,
    OBJ,
    POP,
    PROTO4,
    REDUCE,
    SETITEM,
    STACK_GLOBAL,
    TUPLE,
    call,
    get,
    literal,
    name,
    program,
    put,
    raw,
    stack_name,
    text,
)

LIST = Path(__file__).parents[1] / "advisories" / "bypasses.toml"


@dataclass(frozen=True)
class Bypass:
    """One trick, and the file that plays it."""

    name: str
    ids: tuple[str, ...]
    peers: tuple[str, ...]
    trick: str
    file: str
    published: str
    builder: str
    module: str
    function: str
    arguments: tuple[Any, ...]
    entry: bool

    @property
    def is_call(self) -> bool:
        return bool(self.module)

    def data(self) -> bytes:
        """The file."""
        if self.builder:
            where = bypass_tricks if hasattr(bypass_tricks, self.builder) else bypass_containers
            build: Callable[[], bytes] = getattr(where, self.builder)
            return build()
        return program(call(stack_name(self.module, self.function), *self.operands()), proto=PROTO4)

    def operands(self) -> tuple[bytes, ...]:
        """The opcodes of each argument."""
        return tuple(operand(a) for a in self.arguments)


@cache
def document() -> dict[str, Any]:
    """The whole list as it stands in the file."""
    with LIST.open("rb") as handle:
        return tomllib.load(handle)


@cache
def bypasses() -> tuple[Bypass, ...]:
    """All that have a file."""
    return tuple(_read(row) for row in document()["bypass"])


def _read(row: dict[str, Any]) -> Bypass:
    module, _, function = row.get("call", "").partition(":")
    return Bypass(
        name=row["name"],
        ids=tuple(row["ids"]),
        peers=tuple(row["peers"]),
        trick=row["trick"],
        file=row.get("file", "model.pkl"),
        published=row.get("published", ""),
        builder=row.get("builder", ""),
        module=module,
        function=function,
        arguments=tuple(row.get("arguments", ())),
        entry=row.get("entry", False),
    )


def operand(value: Any) -> bytes:
    """Opcodes that put one argument of the list on the stack."""
    if value == {"none": True}:
        return NONE
    if isinstance(value, dict) and set(value) == {"pickle"}:
        module, _, function = value["pickle"].partition(":")
        return raw(program(call(name(module, function), text("true"))))
    return literal(value)


def spellings(module: str, function: str, *operands: bytes) -> Iterator[tuple[str, bytes]]:
    """(what it is, the program) for one call of one global in every way that opcodes can say it.

    Each of them makes the call; what differs is where a reader of opcodes would have to look for it.
    """
    modern = stack_name(module, function)
    arguments = MARK + b"".join(operands) + TUPLE
    made = modern + arguments + REDUCE
    swapped = text(function) + put(1) + POP + text(module) + put(0) + POP + get(0) + get(1) + STACK_GLOBAL
    yield "STACK_GLOBAL and REDUCE", program(made, proto=PROTO4)
    yield "GLOBAL of protocol 4", program(name(module, function) + arguments + REDUCE, proto=PROTO4)
    yield "names out of the memo", program(swapped + arguments + REDUCE, proto=PROTO4)
    yield "OBJ", program(MARK + modern + b"".join(operands) + OBJ, proto=PROTO4)
    yield "NEWOBJ", program(modern + arguments + NEWOBJ, proto=PROTO4)
    yield "the result is thrown away", program(made + POP + NONE, proto=PROTO4)
    yield "OBJ, thrown away", program(MARK + modern + b"".join(operands) + OBJ + POP + NONE, proto=PROTO4)
    yield "the result is given a state", program(made + literal({"a": 1}) + BUILD, proto=PROTO4)
    yield (
        "the result is a state",
        program(
            stack_name("collections", "OrderedDict")
            + EMPTY_TUPLE
            + REDUCE
            + EMPTY_DICT
            + text("a")
            + made
            + SETITEM
            + BUILD,
            proto=PROTO4,
        ),
    )
    yield "the result is a key", program(EMPTY_DICT + made + NONE + SETITEM, proto=PROTO4)
    yield "without the end", b"\x80\x04" + made
    yield "broken behind", b"\x80\x04" + made + b"X."
    yield "behind another pickle", program(literal({"a": 1})) + program(made, proto=PROTO4)
    yield (
        "inside torch's bytes",
        program(call(stack_name("torch.storage", "_load_from_bytes"), raw(program(made, proto=PROTO4))), proto=PROTO4),
    )
    yield "no protocol", (name(module, function) + arguments + REDUCE + b".")
    yield "INST", MARK + b"".join(operands) + b"i" + f"{module}\n{function}\n".encode() + b"."
    yield "only named", program(modern, proto=PROTO4)
