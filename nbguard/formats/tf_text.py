"""TensorFlow's graphs and SavedModels as text, put back into the bytes that the reader of graphs takes.

    read_saved_model(BytesView(to_wire(text, SAVED_MODEL)))

Only the fields that the reader looks at are kept; of the others nothing is left. Source: "Text Format Language
Specification" in the Protocol Buffers documentation, and the `.proto` files that `tf_graph` names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nbguard.formats.protobuf import WireError

MAX_TEXT = 256 << 20
"""Bytes."""
MAX_DEPTH = 200
_TOKEN = re.compile(
    rb"(?:[ \t\r\n\v\f]+|#[^\n]*)*+"
    rb"(?:(?P<name>[A-Za-z_][\w.]*)|(?P<text>\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+')"
    rb"|(?P<number>[0-9.][\w.+]*(?:(?<=[eE])-\w+)?)|(?P<mark>[{}<>\[\]:,;/-])|(?P<end>\Z))",
    re.DOTALL,
)
_ESCAPE = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<u>[0-9a-fA-F]{4})"
    rb"|U(?P<U>[0-9a-fA-F]{8})|(?P<one>.))",
    re.DOTALL,
)
_ONE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ENUMS = {b"DT_STRING": 7, b"DT_RESOURCE": 20, b"DT_VARIANT": 21, b"true": 1, b"false": 0, b"True": 1, b"t": 1}
_OTHER = 1
"""Stands for every other name of a type: it makes no difference which."""


@dataclass
class Message:
    """Field's name → (number, what is in it): another message, or `text` or `number`."""

    fields: dict[str, tuple[int, Message | str]] = field(default_factory=dict)


_SHAPE = Message({"dim": (2, Message({"size": (1, "number")}))})
_TENSOR = Message(
    {"dtype": (1, "number"), "tensor_shape": (2, _SHAPE), "tensor_content": (4, "text"), "string_val": (8, "text")}
)
_NAMED = Message({"name": (1, "text")})
_VALUE = Message()
_LIST = Message({"s": (2, "text"), "tensor": (8, _TENSOR), "func": (9, _NAMED)})
_VALUE.fields = {
    "list": (1, _LIST), "s": (2, "text"), "i": (3, "number"), "f": (4, "number"), "b": (5, "number"),
    "type": (6, "number"), "shape": (7, _SHAPE), "tensor": (8, _TENSOR), "placeholder": (9, "text"),
    "func": (10, _NAMED),
}  # fmt: skip
_NODE = Message(
    {
        "name": (1, "text"),
        "op": (2, "text"),
        "input": (3, "text"),
        "attr": (5, Message({"key": (1, "text"), "value": (2, _VALUE)})),
    }
)
_FUNCTION = Message(
    {"signature": (1, Message({"name": (1, "text"), "input_arg": (2, _NAMED)})), "node_def": (3, _NODE)}
)
GRAPH = Message({"node": (1, _NODE), "library": (2, Message({"function": (1, _FUNCTION)}))})
_ASSET = Message({"tensor_info": (1, _NAMED), "filename": (2, "text")})
_ANY = Message({"value": (2, "text")})
_COLLECTION = Message({"key": (1, "text"), "value": (2, Message({"any_list": (5, Message({"value": (1, _ANY)}))}))})
_OUTPUTS = Message({"key": (1, "text"), "value": (2, _NAMED)})
_OBJECT = Message(
    {
        "user_object": (4, Message({"identifier": (1, "text"), "metadata": (3, "text")})),
        "constant": (9, Message({"operation": (1, "text")})),
        "captured_tensor": (12, _NAMED),
    }
)
_OBJECTS = Message(
    {
        "nodes": (1, _OBJECT),
        "concrete_functions": (
            2,
            Message({"key": (1, "text"), "value": (2, Message({"bound_inputs": (2, "number")}))}),
        ),
    }
)
SAVED_MODEL = Message(
    {
        "meta_graphs": (
            2,
            Message(
                {
                    "graph_def": (2, GRAPH),
                    "collection_def": (4, _COLLECTION),
                    "signature_def": (
                        5,
                        Message({"key": (1, "text"), "value": (2, Message({"outputs": (2, _OUTPUTS)}))}),
                    ),
                    "asset_file_def": (6, _ASSET),
                    "object_graph_def": (7, _OBJECTS),
                }
            ),
        )
    }
)


def to_wire(text: bytes, root: Message) -> bytes:
    """The message on the wire. Raises WireError where the text is none that can be read to its end."""
    if len(text) > MAX_TEXT:
        raise WireError("The text is longer than any real one.")
    return _Parser(text).message(root)


class _Parser:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0
        self.kind, self.token = "", b""
        self.next()

    def next(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise WireError("The text holds something that fits nowhere.")
        self.at = found.end()
        self.kind = str(found.lastgroup)
        self.token = found[self.kind]

    def take(self, *marks: bytes) -> bool:
        if self.kind == "mark" and self.token in marks:
            self.next()
            return True
        return False

    def message(self, root: Message) -> bytes:
        """Fields until the text ends. What is known is put together from the inside out."""
        stack: list[tuple[Message | None, bytearray, bytes, int]] = [(root, bytearray(), b"", 0)]
        while True:
            kind, out, close, number = stack[-1]
            if self.kind == "end" and len(stack) == 1:
                return bytes(out)
            if close and self.take(close):
                stack.pop()
                if number:
                    stack[-1][1].extend(_bytes_field(number, bytes(out)))
                self.take(b",", b";")
                continue
            number, inner = self.name(kind)
            colon = self.take(b":")
            if self.kind == "mark" and self.token in (b"{", b"<"):
                if len(stack) > MAX_DEPTH:
                    raise WireError("The text is nested more deeply than is followed.")
                if isinstance(inner, str):
                    raise WireError("A message stands in the text where none can be.")
                end = b"}" if self.token == b"{" else b">"
                self.next()
                stack.append((inner, bytearray(), end, number if inner is not None else 0))
                continue
            if not colon:
                raise WireError("A name in the text has no value.")
            self.values(number, inner, out)
            self.take(b",", b";")

    def name(self, kind: Message | None) -> tuple[int, Message | str | None]:
        """(number, what is in it) of the field that begins here; (0, None) for one that is not looked at."""
        if self.take(b"["):
            raise WireError("The text holds an extension, which TensorFlow does not write.")
        if self.kind != "name":
            raise WireError("The text holds something that fits nowhere.")
        name = self.token.decode("latin-1")
        self.next()
        return kind.fields.get(name, (0, None)) if kind is not None else (0, None)

    def values(self, number: int, inner: Message | str | None, out: bytearray) -> None:
        """One value, or a list of them."""
        if not self.take(b"["):
            self.value(number, inner, out)
            return
        while not self.take(b"]"):
            if self.kind == "mark" and self.token in (b"{", b"<"):
                raise WireError("The text holds a list of messages, which is not read here.")
            self.value(number, inner, out)
            self.take(b",")

    def value(self, number: int, inner: Message | str | None, out: bytearray) -> None:
        negative = self.take(b"-")
        if self.kind == "text":
            parts = []
            while self.kind == "text":
                parts.append(_unescaped(self.token[1:-1]))
                self.next()
            if inner == "text":
                out += _bytes_field(number, b"".join(parts))
            elif inner is not None:
                raise WireError("A text stands where none can be.")
            return
        if self.kind not in ("number", "name"):
            raise WireError("A name in the text has no value.")
        if inner == "number":
            out += _varint(number << 3) + _varint(_number(self.token, negative))
        elif inner is not None:
            raise WireError("A number stands where none can be.")
        self.next()


def _number(token: bytes, negative: bool) -> int:
    """A whole number or a name of a type; what else there is makes no difference to what is looked at."""
    if token in _ENUMS or not token[:1].isdigit():
        return _ENUMS.get(token, _OTHER)
    digits = token[:40]
    try:
        value = int(digits, 8 if re.fullmatch(rb"0[0-7]+", digits) else 0)
    except ValueError:
        return _OTHER  # a fraction
    return (-value if negative else value) & 0xFFFF_FFFF_FFFF_FFFF


def _unescaped(raw: bytes) -> bytes:
    return _ESCAPE.sub(_escape, raw) if b"\\" in raw else raw


def _escape(found: re.Match[bytes]) -> bytes:
    if found["octal"]:
        return bytes([int(found["octal"], 8) & 255])
    if found["hex"]:
        return bytes([int(found["hex"], 16)])
    if found["u"] or found["U"]:
        code = int(found["u"] or found["U"], 16)
        if code > 0x10FFFF:
            raise WireError("The text holds a character that there is not.")
        return chr(code).encode("utf-8", "surrogatepass")
    return _ONE.get(found["one"], found["one"])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


__all__ = ["GRAPH", "SAVED_MODEL", "Message", "to_wire"]
