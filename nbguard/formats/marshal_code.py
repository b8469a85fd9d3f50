"""Python byte code as `marshal` wrote it, read without `marshal`, which crashes the interpreter on crafted bytes.

    code = read(base64.b64decode(text))
    code.all_names()            # {"os", "system"}
    code.listing()              # "LOAD_GLOBAL os\\nLOAD_ATTR system\\n…"

Code objects of Python 3.0 to 3.14 are read; their layout tells them apart. Nothing is executed, and no code object is
made. Source: CPython's `Python/marshal.c` (`r_object`) of these versions.
"""

from __future__ import annotations

import dis
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_OBJECTS = 200_000
MAX_DEPTH = 100
MAX_LINES = 400
"""Instructions of a listing."""
_NOTHING = object()


class MarshalError(ValueError):
    """These bytes hold no code object that can be read. The message is one plain sentence."""


@dataclass(frozen=True)
class Code:
    """What can be told of a code object without making one."""

    name: str
    version: str
    """`3.0-3.7`, `3.8-3.10` or `3.11+`: versions that lay code objects out in the same way."""
    bytecode: bytes
    consts: tuple[Any, ...]
    names: tuple[str, ...]
    variables: tuple[str, ...]

    def inner(self) -> Iterator[Code]:
        """The code objects among the constants, at any depth."""
        yield from (value for value in _all_in(self.consts) if isinstance(value, Code))

    def all_names(self) -> set[str]:
        """Globals and attributes that it names, and the functions inside it too."""
        return set(self.names).union(*(set(code.names) for code in self.inner()))

    def all_texts(self) -> list[str]:
        """Every text and every run of bytes among the constants."""
        values: list[bytes | str] = [v for v in _all_in(self.consts) if isinstance(v, bytes | str)]
        return [v.decode("latin-1") if isinstance(v, bytes) else v for v in values]

    def crafted(self, dialect: Dialect | None = None) -> str | None:
        """Why no compiler wrote this: an instruction that names a constant or a name that is not there. None if fine.

        Args:
            dialect: the instructions of the version that wrote it; by default those of the running Python, and nothing
                is said of code that another version laid out.
        """
        dialect = dialect or self._running()
        if dialect is None:
            return None
        for code in (self, *self.inner()):
            if len(code.bytecode) % 2:
                return f"half an instruction in {code.name[:80]}"
            for name, argument in code.instructions(dialect):
                most = code._most(name, dialect)
                if name.startswith("<") or (most is not None and not 0 <= argument < most):
                    return f"{name} {argument} in {code.name[:80]}"
        return None

    def _running(self) -> Dialect | None:
        """This Python's own list of instructions, where it may fit."""
        fits = self.version == "3.11+" and sys.version_info >= (3, 11)
        return Dialect(sys.version_info[1], dict(enumerate(dis.opname))) if fits else None

    def listing(self, dialect: Dialect | None = None) -> str:
        """The instructions with their names and constants, as far as they are known; bounded."""
        dialect = dialect or self._running()
        lines: list[str] = []
        for code in (self, *self.inner()):
            if dialect is None:
                lines.append(f"{code.name}: names {', '.join(code.names)}; constants {_shown(code.consts)}")
                continue
            lines.append(f"{code.name}:")
            for name, argument in code.instructions(dialect):
                lines.append(f"  {name} {code._meant(name, argument, dialect)}".rstrip())
                if len(lines) > MAX_LINES:
                    return "\n".join(lines)
        return "\n".join(lines)

    def instructions(self, dialect: Dialect) -> Iterator[tuple[str, int]]:
        """Every instruction and its argument. The room that some leave behind them holds zeros, and no instructions:
        it is looked at all the same, since a jump could lead there."""
        extended = 0
        for at in range(0, len(self.bytecode) - 1, 2):
            opcode, argument = self.bytecode[at], self.bytecode[at + 1] | extended
            name = dialect.names.get(opcode, f"<{opcode}>")
            extended = argument << 8 & 0xFFFFFFFF if name == "EXTENDED_ARG" else 0
            if name != "EXTENDED_ARG" and not (opcode == 0 and dialect.minor >= 11):
                yield name, argument

    def named(self, name: str, argument: int, dialect: Dialect) -> str | None:
        """The global, attribute, module or variable that an instruction means; None where it means none."""
        table = self.names if name in _NAMING else self.variables if name.endswith(_VARIABLES) else None
        if table is None or name in _PAIRS or (dialect.minor < 11 and name.endswith(("DEREF", "CLOSURE"))):
            return None  # before 3.11, what functions share had a table of its own
        index = argument >> _shift(name, dialect)
        return table[index] if 0 <= index < len(table) else None

    def _most(self, name: str, dialect: Dialect) -> int | None:
        if name in _CONSTANT:
            return len(self.consts)
        if name in _NAMING:
            return len(self.names) << _shift(name, dialect)
        if name in _PAIRS:
            return 256 if self.variables else 0
        if name.endswith(_VARIABLES):
            return len(self.variables)
        return None

    def _meant(self, name: str, argument: int, dialect: Dialect) -> str:
        if name in _CONSTANT:
            value = self.consts[argument] if argument < len(self.consts) else "?"
            return f"code {value.name}" if isinstance(value, Code) else _shown(value)
        text = self.named(name, argument, dialect)
        return text if text is not None else str(argument) if argument else ""


_CONSTANT = frozenset({"LOAD_CONST", "RETURN_CONST", "KW_NAMES"})
_NAMING = frozenset(
    {"LOAD_NAME", "STORE_NAME", "DELETE_NAME", "LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_ATTR",
     "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD", "IMPORT_NAME", "IMPORT_FROM", "LOAD_SUPER_ATTR",
     "LOAD_FROM_DICT_OR_GLOBALS"}
)  # fmt: skip
_VARIABLES = ("_FAST", "_DEREF", "_CLOSURE", "_FAST_CHECK", "_FAST_AND_CLEAR", "_FAST_BORROW", "MAKE_CELL",
              "_CLASSDEREF")  # fmt: skip
_PAIRS = frozenset(
    {"LOAD_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"}
)
"""Two variables in one argument."""


@dataclass(frozen=True)
class Dialect:
    """The instructions of one version of Python."""

    minor: int
    """11 for 3.11."""
    names: Mapping[int, str]
    """By their numbers; what is not there, no compiler of that version writes."""


def _shift(name: str, dialect: Dialect) -> int:
    """Bits of the argument that say something else than which name (`dis`: "Changed in version")."""
    if name == "LOAD_GLOBAL":
        return int(dialect.minor >= 11)
    if name == "LOAD_ATTR":
        return int(dialect.minor >= 12)
    return 2 if name == "LOAD_SUPER_ATTR" else 0


def read(data: bytes) -> Code:
    """Read one code object, and everything in it.

    Raises:
        MarshalError: it is something else, cut off, or followed by more bytes.
    """
    reader = _Reader(data)
    value = reader.object()
    if not isinstance(value, Code):
        raise MarshalError("The byte code is no code object.")
    if reader.at != len(data):
        raise MarshalError("More bytes follow the byte code than it holds.")
    return value


def read_values(data: bytes) -> list[Any]:
    """Everything that was written one behind the other: plain values, sequences as tuples, code objects as `Code`.

    Raises:
        MarshalError: something is cut off, or is none of what Python writes.
    """
    reader = _Reader(data)
    values: list[Any] = []
    while reader.at < len(data) or not values:
        reader.refs = []
        value = reader.object()
        if value is _NOTHING:
            raise MarshalError("The byte code holds something that Python does not write.")
        values.append(value)
    return values


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.refs: list[Any] = []
        self.depth = self.count = 0

    def take(self, length: int) -> bytes:
        part = self.data[self.at : self.at + length]
        if length < 0 or len(part) != length:
            raise MarshalError("The byte code is cut off.")
        self.at += length
        return part

    def long(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def object(self) -> Any:
        self.count += 1
        self.depth += 1
        if self.count > MAX_OBJECTS or self.depth > MAX_DEPTH:
            raise MarshalError("The byte code is nested more deeply, or is longer, than what is read.")
        flagged = self.take(1)[0]
        kind, slot = chr(flagged & 0x7F), -1
        if flagged & 0x80:
            slot = len(self.refs)
            self.refs.append(_NOTHING)
        value = self.value(kind)
        if slot >= 0:
            self.refs[slot] = value
        self.depth -= 1
        return value

    def value(self, kind: str) -> Any:
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == "i":
            return self.long()
        if kind == "I":
            return int(struct.unpack("<q", self.take(8))[0])
        if kind == "l":
            return self.big()
        if kind == "g":
            return float(struct.unpack("<d", self.take(8))[0])
        if kind == "y":
            return complex(*struct.unpack("<2d", self.take(16)))
        if kind == "f":
            return self.take(self.take(1)[0]).decode("ascii", "replace")
        if kind == "x":
            return (self.value("f"), self.value("f"))
        if kind == "s":
            return self.take(self.long())
        if kind in "tuaA":
            return self.take(self.long()).decode("utf-8", "backslashreplace")
        if kind in "zZ":
            return self.take(self.take(1)[0]).decode("latin-1")
        if kind == ")":
            return tuple(self.object() for _ in range(self.take(1)[0]))
        if kind in "([<>":
            return tuple(self.object() for _ in range(self.length()))
        if kind == "{":
            return self.pairs()
        if kind == ":":
            return tuple(self.object() for _ in range(3))
        if kind == "r":
            return self.ref()
        if kind == "c":
            return self.code()
        raise MarshalError("The byte code holds something that Python does not write.")

    def length(self) -> int:
        number = self.long()
        if not 0 <= number <= len(self.data):
            raise MarshalError("The byte code is cut off.")
        return number

    def big(self) -> int:
        digits = self.long()
        raw = self.take(2 * abs(digits))
        number = 0
        for i, (digit,) in enumerate(struct.iter_unpack("<H", raw)):
            number |= int(digit) << 15 * i
        return -number if digits < 0 else number

    def pairs(self) -> tuple[Any, ...]:
        found: list[Any] = []
        while True:
            key = self.object()
            if key is _NOTHING:
                return tuple(found)
            found.append((key, self.object()))

    def ref(self) -> Any:
        index = self.long()
        if not 0 <= index < len(self.refs) or self.refs[index] is _NOTHING:
            raise MarshalError("The byte code refers to something that is not there yet.")
        return self.refs[index]

    def bytes_follow(self) -> bool:
        """Whether a run of bytes comes next, and no further number (3.8 to 3.10), which may begin as one does."""
        mark, number = self.data[self.at : self.at + 1], int.from_bytes(self.data[self.at + 1 : self.at + 5], "little")
        if mark == b"r":
            return number < len(self.refs) and isinstance(self.refs[number], bytes)
        return mark in (b"s", b"\xf3") and number <= len(self.data) - self.at - 5

    def code(self) -> Code:
        for _ in range(5):
            self.long()
        version = ""
        if not self.bytes_follow():
            self.long()
            version = "3.8-3.10"
        bytecode, consts, names, variables = (self.object() for _ in range(4))
        fifth = self.object()
        if not version:
            version = "3.11+" if isinstance(fifth, bytes) else "3.0-3.7"
        if version == "3.11+":
            self.object()  # file name
            name = self.object()
            self.object()  # qualified name
        else:
            variables = (*_texts(variables), *_texts(fifth), *_texts(self.object()))
            self.object()
            name = self.object()
        self.long()
        for _ in range(2 if version == "3.11+" else 1):
            self.object()
        if not isinstance(bytecode, bytes) or not isinstance(consts, tuple):
            raise MarshalError("The byte code is no code object.")
        return Code(str(name)[:200], version, bytecode, consts, _texts(names), _texts(variables))


_CONSTANTS: dict[str, Any] = {"0": _NOTHING, "N": None, "F": False, "T": True, "S": StopIteration, ".": ...}


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
        raise MarshalError("The byte code is no code object.")
    return value


def _all_in(consts: tuple[Any, ...]) -> Iterator[Any]:
    """Everything among the constants, each object once: references can fold a bomb into a few bytes."""
    pending: list[Any] = list(reversed(consts))
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, tuple | Code):
            if id(value) in seen:
                continue
            seen.add(id(value))
            pending += reversed(value.consts if isinstance(value, Code) else value)
        yield value


def _shown(value: Any, depth: int = 0) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(v, depth + 1) for v in value[:20]) + ")" if depth < 2 else "(...)"
    if isinstance(value, int) and value.bit_length() > 4096:
        return "a number of many digits"
    return (
        f"code {value.name}"
        if isinstance(value, Code)
        else ascii(value[:200] if isinstance(value, str | bytes) else value)[:200]
    )
