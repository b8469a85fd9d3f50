"""Protocol Buffers by a description of their messages: everything that is known is followed, anything else is refused.

    SCHEMA = schema("Model 1:v 2:Description 9:Layer*; Description 1:b; Layer 1:b 2:f*")
    for message in messages(view, SCHEMA, "Model", 0, view.size):
        message.name, message.fields

A schema is one text: messages behind one another with a semicolon between them, each its name and its fields. A field
is `number:kind`, with a star where it may come more than once: `v` a number, `f` and `d` four and eight bytes, `b` text
or bytes that are left as they are, otherwise the name of the message in it. Numbers with a star may come packed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nbguard.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, Budget, Field, WireError, fields, varints
from nbguard.formats.view import View

MAX_DEPTH = 100
"""Messages within messages; the readers that Protocol Buffers come with stop there too."""
MAX_FIELDS = 4_000_000
"""Fields of one file that are looked at; payloads of numbers are one field each."""
MAX_TEXT = 1 << 20
"""Bytes of a name or a setting."""
_WIRES = {"v": VARINT, "f": FIXED32, "d": FIXED64, "b": BYTES}

Schema = dict[str, dict[int, tuple[str, bool]]]
"""Message → field number → (kind, whether it may come more than once)."""


def schema(text: str) -> Schema:
    """The schema that `text` describes."""
    found: Schema = {}
    for message in text.split(";"):
        name, *parts = message.split()
        known = found.setdefault(name, {})
        for part in parts:
            number, _, kind = part.partition(":")
            known[int(number)] = (kind.rstrip("*"), kind.endswith("*"))
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """One message and its fields, in their order."""

    name: str
    fields: list[Field]

    def all(self, number: int) -> list[Field]:
        return [f for f in self.fields if f.number == number]

    def first(self, number: int) -> Field | None:
        return next((f for f in self.fields if f.number == number), None)

    def number(self, number: int, default: int = 0) -> int:
        """The value of a field that is a number."""
        found = self.first(number)
        return default if found is None else found.value


def messages(
    view: View,
    known: Schema,
    root: str,
    start: int,
    end: int,
    budget: Budget | None = None,
    *,
    lenient: frozenset[str] = frozenset(),
) -> Iterator[Message]:
    """The message that lies from `start` to `end` and all those in it, outer ones first.

    Args:
        lenient: messages in which fields that are not known are passed over, as every reader does.

    Raises:
        WireError: it breaks off, nests too deeply, says something twice, or has a field that is not described.
    """
    budget = budget or Budget(MAX_FIELDS)
    left = [(root, start, end, 0)]
    while left:
        name, start, end, depth = left.pop()
        if depth > MAX_DEPTH:
            raise WireError("Messages are nested more deeply than is followed.")
        found, inner = _fields(view, name, known[name], start, end, budget, name in lenient)
        yield Message(name, found)
        left += [(kind, f.start, f.start + f.length, depth + 1) for kind, f in reversed(inner) if kind in known]


def one(
    view: View, known: Schema, name: str, field: Field, budget: Budget | None = None, *, lenient: bool = False
) -> Message:
    """The message in `field`, without those in it. Raises WireError."""
    end = field.start + field.length
    return Message(name, _fields(view, name, known[name], field.start, end, budget or Budget(MAX_FIELDS), lenient)[0])


def _fields(
    view: View, name: str, known: dict[int, tuple[str, bool]], start: int, end: int, budget: Budget, lenient: bool
) -> tuple[list[Field], list[tuple[str, Field]]]:
    found: list[Field] = []
    inner: list[tuple[str, Field]] = []
    seen: set[int] = set()
    for field in fields(view, start, end, budget):
        kind, many = known.get(field.number, ("", True))
        if not kind:
            if lenient:
                continue
            raise WireError(f"Its {name} holds a field that is not known here (number {field.number}).")
        wire = _WIRES.get(kind, BYTES)
        if field.wire != wire and not (many and field.wire == BYTES):
            raise WireError(f"A field of its {name} is of another kind than it should be (number {field.number}).")
        if not many:
            if field.number in seen:
                raise WireError(f"Its {name} says something twice (field {field.number}).")
            seen.add(field.number)
        found.append(field)
        if wire == BYTES:
            inner.append((kind, field))
    return found, inner


def text(view: View, field: Field | None) -> str:
    """A text field; empty where it is left out. Raises WireError."""
    if field is None:
        return ""
    if field.length > MAX_TEXT:
        raise WireError("A name in it is longer than any real one.")
    try:
        return view.read(field.start, field.length).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("A name in it is no text.") from error


def numbers(view: View, found: list[Field], most: int = 1 << 16) -> list[int]:
    """The values of a repeated number, packed or not. Raises WireError where there are more than `most`."""
    out: list[int] = []
    for field in found:
        if field.wire != BYTES:
            out.append(field.value)
        elif field.length > 10 * most:
            raise WireError("A list in it is longer than any real one.")
        else:
            out += varints(view.read(field.start, field.length))
    if len(out) > most:
        raise WireError("A list in it is longer than any real one.")
    return out


__all__ = ["Message", "Schema", "messages", "numbers", "one", "schema", "text"]
