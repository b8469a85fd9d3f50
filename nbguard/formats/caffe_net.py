"""Caffe's networks: the text that describes one (`.prototxt`) and the binary with its weights (`.caffemodel`).

    net = read_text(data)           # or read_binary(view)
    net.layers, net.python, net.files

The text is Protocol Buffers' text format, taken apart into names and values without its schema. Source:
`src/caffe/proto/caffe.proto` of Caffe 1.0; fields that forks add are passed over, as every other fork does too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

from nbguard.formats.protobuf import BYTES, Budget, WireError, fields, signed
from nbguard.formats.protobuf_walk import Message, messages, numbers, one, schema, text
from nbguard.formats.view import View

SCHEMA = schema("""
NetParameter 1:b 2:V1LayerParameter* 3:b* 4:v* 5:v 6:b 7:v 8:b* 100:LayerParameter*;
LayerParameter 1:b 2:b 7:BlobProto* 100:TransformationParameter 107:DataParameter 112:SourceParameter
113:SourceParameter 115:SourceParameter 116:SourceParameter 129:SourceParameter 130:PythonParameter;
V1LayerParameter 4:b 5:v 6:BlobProto* 11:DataParameter 13:SourceParameter 14:SourceParameter 15:SourceParameter
16:SourceParameter 20:SourceParameter 36:TransformationParameter;
TransformationParameter 4:b; DataParameter 1:b; SourceParameter 1:b; PythonParameter 1:b 2:b 3:b;
BlobProto 1:v 2:v 3:v 4:v 5:f* 6:f* 7:BlobShape 8:d* 9:d*; BlobShape 1:v*
""")
_LENIENT = frozenset(
    {"LayerParameter", "V1LayerParameter", "TransformationParameter", "DataParameter", "SourceParameter", "BlobProto"}
)
MAX_TEXT = 64 << 20
MAX_TOKENS = 2_000_000
MAX_DEPTH = 100
MAX_KEPT = 10_000
_TOKEN = re.compile(
    rb"""\s+|\#[^\n]*|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<word>[A-Za-z_][\w./]*|[-+]?[0-9.][\w.+-]*|-[a-z]+)"""
    rb"""|(?P<mark>[{}<>:;,\[\]])""",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_PATHS = frozenset(
    {"source", "file_name", "mean_file", "root_folder", "label_map_file", "snapshot_prefix", "net", "train_net",
     "test_net", "output_directory", "name_size_file", "save_file", "visualize_param"}
)  # fmt: skip
"""Names of fields that hold paths, in Caffe and in the forks for detection."""
_BEGINS = re.compile(rb"\blayers?\s*+:?\s*+[{<]")


class CaffeError(WireError):
    """No network that can be read to its end. One plain sentence."""


class CaffeSizeError(CaffeError):
    """As far as it was read, it may well be a network. One plain sentence."""


@dataclass
class CaffeNet:
    """What is in a network."""

    layers: Counter[str] = field(default_factory=Counter)
    """By type; those of the first version by the number of theirs."""
    python: list[str] = field(default_factory=list)
    """`module.layer` of layers in Python."""
    files: list[tuple[str, str]] = field(default_factory=list)
    """(field, path) of files that layers or the solver name."""
    blocks: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(layer, offset, bytes, type) of its weights."""
    problems: list[str] = field(default_factory=list)

    def keep(self, rows: list[Any], row: object) -> None:
        if len(rows) < MAX_KEPT:
            rows.append(row)


def looks_like_text(data: bytes) -> bool:
    """Whether there is a layer in it, in the text format."""
    return b"\0" not in data and _BEGINS.search(data) is not None and b"type" in data


def looks_like_binary(view: View) -> bool:
    """Whether the fields on top are those of a network with at least one layer that has a type, to the last byte."""
    known = SCHEMA["NetParameter"]
    layers = []
    names = 0
    try:
        for found in fields(view, 0, view.size, Budget(20_000)):
            kind = known.get(found.number, ("", True))[0]
            if not kind or (kind != "v" and found.wire != BYTES):
                return False
            names += found.number == 1
            if found.number in (2, 100):
                layers.append(found)
        if not layers or names > 1:
            return False
        new = layers[0].number == 100
        layer = one(view, SCHEMA, "LayerParameter" if new else "V1LayerParameter", layers[0], lenient=True)
        return layer.first(2 if new else 5) is not None and layer.first(1 if new else 4) is not None
    except WireError:
        return False


def read_binary(view: View) -> CaffeNet:
    """Walk a `.caffemodel`. Raises CaffeError."""
    net = CaffeNet()
    try:
        for message in messages(view, SCHEMA, "NetParameter", 0, view.size, lenient=_LENIENT):
            _message(view, net, message)
    except CaffeError:
        raise
    except WireError as error:
        raise CaffeError(str(error)) from error
    return net


def _message(view: View, net: CaffeNet, message: Message) -> None:
    match message.name:
        case "LayerParameter":
            net.layers[text(view, message.first(2))[:200]] += 1
        case "V1LayerParameter":
            net.layers[str(message.number(5))] += 1
        case "PythonParameter":
            names = [text(view, message.first(n))[:200] for n in (1, 2)]
            net.keep(net.python, ".".join(names))
        case "TransformationParameter":
            if message.first(4) is not None:
                net.keep(net.files, ("mean_file", text(view, message.first(4))[:300]))
        case "DataParameter" | "SourceParameter":
            if message.first(1) is not None:
                net.keep(net.files, ("source", text(view, message.first(1))[:300]))
        case "BlobProto":
            _blob(view, net, message)


def _blob(view: View, net: CaffeNet, blob: Message) -> None:
    shape = blob.first(7)
    if shape is not None:
        dims = [signed(n) for n in numbers(view, one(view, SCHEMA, "BlobShape", shape).all(1), 64)]
    else:
        dims = [signed(blob.number(n)) for n in (1, 2, 3, 4)]
    for number, size, kind in ((5, 4, "float32"), (8, 8, "float64")):
        parts = blob.all(number)
        stored = sum(f.length for f in parts)
        if parts and (any(d < 0 for d in dims) or prod(dims) * size != stored):
            sentence = "A layer's weights are not as many as their shape says."
            if sentence not in net.problems:
                net.problems.append(sentence)
        for part in parts:
            if part.wire == BYTES:
                if len(net.blocks) >= 1_000_000:
                    raise CaffeError("It holds more weights than are looked at.")
                net.blocks.append(("", part.start, part.length, kind))


def read_text(data: bytes) -> CaffeNet:
    """Take a `.prototxt` apart. Raises CaffeError where it is not in the text format of Protocol Buffers."""
    if len(data) > MAX_TEXT:
        raise CaffeSizeError("The text is larger than any network's.")
    net = CaffeNet()
    names: list[str] = []
    python: list[dict[str, str]] = []
    for kind, name, value in _values(data):
        if kind == "open":
            names.append(name)
            if name == "python_param":
                python.append({})
            continue
        if kind == "close":
            if names.pop() == "python_param":
                inside = python.pop()
                net.keep(net.python, f"{inside.get('module', '?')}.{inside.get('layer', '?')}"[:300])
            continue
        if names and names[-1] in ("layer", "layers") and name == "type":
            net.layers[value[:200]] += 1
        elif python and names[-1] == "python_param":
            python[-1][name] = value
        elif name in _PATHS and value:
            net.keep(net.files, (name, value[:300]))
    return net


def _values(data: bytes) -> Iterator[tuple[str, str, str]]:
    """("open", name, ""), ("close", "", "") and ("value", name, value), as they come."""
    tokens = _tokens(data)
    name, colon, listed = "", False, False
    texts: list[bytes] = []
    depth: list[tuple[bytes, bool, str]] = []
    for kind, token in tokens:
        if texts and kind != "string":
            yield "value", name, b"".join(texts).decode("utf-8", "backslashreplace")
            texts, name, colon = [], name if listed else "", listed
        if kind == "string":
            if not colon:
                raise CaffeError("A text stands where a name should be.")
            texts.append(_unescaped(token))  # texts behind one another are one
        elif kind == "word":
            if name and colon:
                yield "value", name, token.decode("latin-1")
                name, colon = (name, True) if listed else ("", False)
            elif name:
                raise CaffeError("Two names stand behind one another.")
            else:
                name = token.decode("latin-1")
        elif token == b":":
            if not name or colon:
                raise CaffeError("A colon stands where no name is.")
            colon = True
        elif token in b"{<":
            if not name:
                raise CaffeError("A brace stands where no name is.")
            depth.append((token, listed, name))
            if len(depth) > MAX_DEPTH:
                raise CaffeError("Braces are nested more deeply than is followed.")
            yield "open", name, ""
            name, colon, listed = "", False, False
        elif token in b"}>":
            if not depth or name or depth[-1][0] != (b"{" if token == b"}" else b"<"):
                raise CaffeError("Braces do not fit each other.")
            _, listed, outer = depth.pop()
            yield "close", "", ""
            name, colon = (outer, True) if listed else ("", False)
        elif token == b"[":
            if not colon or listed:
                raise CaffeError("A bracket stands where no list can be.")
            listed = True
        elif token == b"]":
            if not listed:
                raise CaffeError("Brackets do not fit each other.")
            name, colon, listed = "", False, False
    if texts:
        yield "value", name, b"".join(texts).decode("utf-8", "backslashreplace")
        name = ""
    if depth or name or listed:
        raise CaffeError("The text ends in the middle.")


def _tokens(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = count = 0
    while at < len(data):
        match = _TOKEN.match(data, at)
        if match is None:
            raise CaffeError("It is not in the text format of Protocol Buffers.")
        count += 1
        if count > MAX_TOKENS:
            raise CaffeSizeError("The text is longer than any network's.")
        at = match.end()
        if match.lastgroup is not None:
            yield match.lastgroup, match[0]


def _unescaped(token: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] == b"x" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 255])
        return _PLAIN.get(code, code)

    return _ESCAPE.sub(plain, token[1:-1])


__all__ = [
    "MAX_TEXT",
    "CaffeError",
    "CaffeNet",
    "CaffeSizeError",
    "looks_like_binary",
    "looks_like_text",
    "read_binary",
    "read_text",
]
