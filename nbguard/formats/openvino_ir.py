"""OpenVINO's models (IR): layers, the edges between them, and where in the file beside them each number lies.

    model = read(view)
    model.layers, model.constants, model.problems

The document is read as a stream and no tree of it is kept; entities and document types are refused (`defusedxml`).
Source: `src/frontends/ir/src/ir_deserializer.cpp` of OpenVINO 2026, which reads it with pugixml.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from nbguard.formats.view import View

MAX_SIZE = 256 << 20
"""Bytes of a document; the numbers are not in it."""
MAX_ELEMENTS = 20_000_000
MAX_DEPTH = 200
MAX_NAMES = 200_000
MAX_ATTRIBUTE = 8 << 20
"""Characters of one attribute."""
VERSIONS = ("10", "11")
"""Of the format; OpenVINO reads no others any more (`src/frontends/ir/src/frontend.cpp`)."""
_PROLOG = rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->)*+"
_BEGINS = re.compile(_PROLOG + rb"<net[\s>/]", re.DOTALL)
_PERHAPS = re.compile(_PROLOG + rb"(?:<!--|<\?|<!DOCTYPE[^>]{0,200}\bnet\b)", re.DOTALL)
_ELEMENTS = frozenset(
    (
        "net", "layers", "layer", "data", "input", "output", "port", "dim", "edges", "edge", "rt_info", "attribute",
        "info", "meta_data", "body", "then_body", "else_body", "port_map", "then_port_map",
        "else_port_map", "back_edges", "statistics", "pre-process",
        "mean", "scale", "quantization_parameters", "cli_parameters", "conversion_parameters", "legacy_frontend",
        "legacy_path", "preprocess", "MO_version", "Runtime_version",
    )
)  # fmt: skip
_BODIES = ("body", "then_body", "else_body")
_FREE = ("rt_info", "meta_data")
"""What stands below these is notes in a form of their own, which nothing is loaded from."""
_PATHS = frozenset(("path", "paths", "file", "filename", "library", "lib", "plugin", "extension", "weights_path"))
_BITS = {
    "boolean": 8, "u1": 1, "u2": 2, "u3": 3, "u4": 4, "u6": 6, "u8": 8, "u16": 16, "u32": 32, "u64": 64, "i4": 4,
    "i8": 8, "i16": 16, "i32": 32, "i64": 64, "f16": 16, "f32": 32, "f64": 64, "bf16": 16, "nf4": 4, "f8e4m3": 8,
    "f8e5m2": 8, "f4e2m1": 4, "f8e8m0": 8,
}  # fmt: skip
"""`element_type` → bits of one element; texts have no fixed size."""


class OpenVINOError(ValueError):
    """No model of OpenVINO that can be read to its end. One plain sentence."""


@dataclass
class OpenVINOModel:
    """What a document says."""

    version: str = ""
    layers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(version, type) → how often: `("opset1", "MatMul")`."""
    constants: int = 0
    needed: int = 0
    """Bytes that the file with the numbers must have."""
    constant_bytes: int = 0
    paths: list[tuple[str, str, str]] = field(default_factory=list)
    """(layer's type, attribute, value) of attributes that name a file."""
    problems: list[str] = field(default_factory=list)

    def doubt(self, sentence: str) -> None:
        if sentence not in self.problems and len(self.problems) < 30:
            self.problems.append(sentence)


def looks_like(head: bytes) -> bool:
    """Whether the document's first element is a `net`."""
    return _BEGINS.match(head) is not None


def perhaps(head: bytes) -> bool:
    """Whether what comes first does not end within `head`, or says that the document is a `net`."""
    return _PERHAPS.match(head) is not None


def data_file(name: str, head: bytes) -> str | None:
    """The file that its numbers lie in: of the same name, with `.bin` (`read_model` of `openvino.Core`)."""
    return name[:-4] + ".bin" if name.lower().endswith(".xml") and looks_like(head) else None


def read(view: View) -> OpenVINOModel:
    """Read the whole document.

    Raises:
        OpenVINOError: it is no XML, has entities or a document type, or is larger than any model.
    """
    if view.size > MAX_SIZE:
        raise OpenVINOError("The document is larger than any model's.")
    target = _Target()
    parser = XMLParser(target=target, forbid_dtd=True)
    try:
        for at in range(0, view.size, 1 << 20):
            parser.feed(view.read(at, 1 << 20))
        parser.close()
    except DefusedXmlException as error:
        raise OpenVINOError("The document brings a document type or entities, which no model has.") from error
    except (ParseError, LookupError, ValueError) as error:
        if isinstance(error, OpenVINOError):
            raise
        raise OpenVINOError("It is no XML that can be read to its end.") from error
    return target.found


class _Target:
    """Told of every element by the parser."""

    def __init__(self) -> None:
        self.found = OpenVINOModel()
        self.open: list[str] = []
        self.free = 0
        """How many of the open elements hold notes."""
        self.elements = 0
        self.layer: tuple[str, str] = ("", "")
        self.scopes: list[tuple[set[str], list[tuple[str, str]]]] = []
        """Of the network and the bodies in it: layers by number, and edges between them."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            raise OpenVINOError("The document has more elements than any model.")
        if any(len(value) > MAX_ATTRIBUTE for value in attributes.values()):
            raise OpenVINOError("An attribute in it is longer than any real one.")
        if not self.open and tag != "net":
            raise OpenVINOError("It is no model of OpenVINO.")
        self.open.append(tag)
        if tag in _FREE or self.free:
            self.free += 1
            return
        if tag not in _ELEMENTS:
            self.found.doubt(f"It has a part that is not known here: {tag[:60]}.")
        if tag == "net" and len(self.open) == 1:
            self.found.version = attributes.get("version", "")
        if tag in _BODIES or (tag == "net" and len(self.open) == 1):
            self.scopes.append((set(), []))
        elif tag == "layer":
            self._layer(attributes)
        elif tag == "edge" and self.scopes:
            self.scopes[-1][1].append((attributes.get("from-layer", ""), attributes.get("to-layer", "")))
        elif tag == "data":
            self._data(attributes)

    def end(self, tag: str) -> None:
        self.open.pop()
        if self.free:
            self.free -= 1
        elif tag in _BODIES or (tag == "net" and not self.open):
            layers, edges = self.scopes.pop()
            if any(number not in layers for edge in edges for number in edge):
                self.found.doubt("An edge leads to a layer that is not there.")

    def data(self, text: str) -> None:
        """Text between elements says nothing."""

    def close(self) -> None:
        """Nothing is left to do."""

    def _layer(self, attributes: dict[str, str]) -> None:
        self.layer = (attributes.get("version", "opset1")[:60], attributes.get("type", "")[:200])
        self.found.layers[self.layer] += 1
        if len(self.found.layers) > MAX_NAMES:
            raise OpenVINOError("It has more kinds of layers than there are.")
        number = attributes.get("id", "")
        if self.scopes:
            if number in self.scopes[-1][0]:
                self.found.doubt("Two layers have the same number.")
            self.scopes[-1][0].add(number)

    def _data(self, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            if name.lower() in _PATHS and len(self.found.paths) < 100:
                self.found.paths.append((self.layer[1], name[:60], value[:300]))
        if self.layer[1] != "Const":
            return
        try:
            offset, size = int(attributes.get("offset", "0")), int(attributes.get("size", "0"))
            shape = [int(n) for n in attributes.get("shape", "").replace(" ", "").split(",") if n]
        except ValueError:
            self.found.doubt("A constant says in something other than numbers where it lies.")
            return
        if len(shape) > 64:
            raise OpenVINOError("A constant has more dimensions than any real one.")
        if not 0 <= offset < 1 << 62 or not 0 <= size < 1 << 62 or any(not 0 <= n < 1 << 62 for n in shape):
            self.found.doubt("A constant says that it lies where no file reaches.")
            return
        bits = _BITS.get(attributes.get("element_type", ""))
        if bits is not None and (prod(shape) * bits + 7) // 8 != size:
            self.found.doubt("A constant does not have the size that its shape says.")
        if bits is None and attributes.get("element_type", "") != "string":
            self.found.doubt("A constant is of a type that OpenVINO does not have.")
        self.found.constants += 1
        self.found.constant_bytes += size
        self.found.needed = max(self.found.needed, offset + size)


__all__ = ["MAX_SIZE", "VERSIONS", "OpenVINOError", "OpenVINOModel", "data_file", "looks_like", "perhaps", "read"]
