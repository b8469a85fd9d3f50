"""XML, gone through once by expat: what it declares, what it asks a reader to fetch, and its elements as they come.

    found = read(view, lambda name, attributes, depth: ...)
    found.external          # [("xxe", "file:///etc/passwd")]: entities that lie elsewhere
    found.root              # "http://www.dmg.org/PMML-4_4 PMML"

Nothing outside of the document is opened, no entity is put in, and reading ends at the first declaration that nobody
should follow. That is what `defusedxml` does too; here the reader goes on to say what it was, and needs no tree.

Source: XML 1.0 (sections 2.8, 4.2), XInclude 1.1, and expat's own manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from nbguard.formats.view import View

MAX_SIZE = 512 << 20
"""Bytes of one document."""
MAX_DEPTH = 3_000
"""Elements within each other; a deep tree of PMML has a few hundred."""
MAX_ELEMENTS = 20_000_000
MAX_ENTITY = 4_096
"""Characters that an entity may become; Illustrator's, which stand for namespaces, have fifty."""
MAX_PUT_IN = 4 << 20
"""Characters that all uses of entities may add to the document."""
MAX_ENTITIES = 256
XINCLUDE = "http://www.w3.org/2001/XInclude"
_PIECE = 1 << 20
_AMPLIFIED = 43
"""expat's own limit on what entities may become (`XML_ERROR_AMPLIFICATION_LIMIT_BREACH`)."""
_USE = re.compile(r"&([^;&\s#]{1,200});")
_PREDEFINED = frozenset({"amp", "lt", "gt", "quot", "apos"})
_BEGIN = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<\?xml[\s]|(?:\xff\xfe)?<\0\?\0x\0m\0l\0|(?:\xfe\xff)?\0<\0\?\0x\0m\0l|\x4c\x6f\xa7\x94"
)
_DECLARES = re.compile(
    rb"\s*(?:<!--(?:(?!-->).)*-->\s*)*<!DOCTYPE\s+(?!html\b)[^>]*(?:\[|\bSYSTEM\b|\bPUBLIC\b)", re.I | re.S
)
_NET = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<net[\s>]", re.DOTALL)
"""OpenVINO's documents, where they declare nothing."""
_ELEMENT = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[A-Za-z_!?]")

Element = Callable[[str, dict[str, str], int], None]


class XMLError(ValueError):
    """No XML that can be read to its end. The message is one plain sentence."""


class _StopError(Exception):
    """Reading ends here; what was found says why."""


@dataclass
class Document:
    """What was found."""

    root: str = ""
    """Namespace, a blank, name; only the name where there is no namespace."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Of the root."""
    doctype: tuple[str, str, str] | None = None
    """Name, system and public identifier of the document type."""
    external: list[tuple[str, str]] = field(default_factory=list)
    """(name, where it lies) of each entity that is to be fetched."""
    parameters: list[str] = field(default_factory=list)
    """Entities that make declarations; what they become is not seen."""
    growing: str = ""
    """An entity that becomes far more than it says."""
    includes: list[str] = field(default_factory=list)
    instructions: list[tuple[str, str]] = field(default_factory=list)
    """(target, text) of processing instructions, at most twenty."""
    elements: int = 0


def looks_like(head: bytes, suffix: str) -> bool:
    """Whether bytes begin as a document of XML; `suffix` decides where an element comes first."""
    if _NET.match(head):  # a format with a reader of its own
        return False
    if _BEGIN.match(head) or _DECLARES.match(head[:8192]):
        return True
    named = suffix in (".xml", ".pmml", ".svg", ".xsl", ".xslt", ".xsd", ".xhtml", ".rdf")
    return (named and _ELEMENT.match(head) is not None) or re.match(rb"\s*<(?:\w+:)?PMML[\s>]", head) is not None


def read(view: View, element: Element | None = None, text: Callable[[str], None] | None = None) -> Document:
    """Go through a document; `element` is told each one's name, attributes and depth, the root's being 0, and `text`
    what stands between them, in pieces.

    Raises:
        XMLError: it is malformed, larger or deeper than is read, or in an encoding that expat does not know. Its
            attribute `seen` is what was found before that.
    """
    reader = _Reader(element, text)
    try:
        if view.size > MAX_SIZE:
            raise XMLError("The document is larger than is read.")
        reader.run(view)
    except _StopError:
        pass
    except expat.ExpatError as error:
        if error.code == _AMPLIFIED:
            reader.out.growing = "entities"
            return reader.out
        raise _with(XMLError(f"It is no XML that can be read: {str(error)[:120]}."), reader.out) from error
    except (ValueError, LookupError) as error:
        if isinstance(error, XMLError):
            raise _with(error, reader.out) from None
        raise _with(XMLError("It is in an encoding that is not read."), reader.out) from error
    return reader.out


def _with(error: XMLError, seen: Document) -> XMLError:
    error.seen = seen  # type: ignore[attr-defined]
    return error


class _Reader:
    def __init__(self, element: Element | None, text: Callable[[str], None] | None) -> None:
        self.out = Document()
        self.element, self.text = element, text
        self.depth = 0
        self.sizes: dict[str, int] = {}
        self.added = self.attributes = self.size = 0

    def run(self, view: View) -> None:
        self.size = view.size
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartDoctypeDeclHandler = self.doctype
        parser.EntityDeclHandler = self.entity
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.ProcessingInstructionHandler = self.instruction
        parser.ExternalEntityRefHandler = lambda *_: 1
        parser.SkippedEntityHandler = self.skipped
        parser.DefaultHandler = self.other  # with it, expat puts no entities into the text
        parser.buffer_text = True
        for at in range(0, view.size, _PIECE):
            parser.Parse(view.read(at, _PIECE), False)
        parser.Parse(b"", True)

    def doctype(self, name: str, system: str | None, public: str | None, _internal: bool) -> None:
        self.out.doctype = (name[:200], (system or "")[:500], (public or "")[:500])

    def entity(
        self, name: str, parameter: bool, value: str | None, _base: str | None, system: str | None,
        public: str | None, _notation: str | None,
    ) -> None:  # fmt: skip
        if system is not None or public is not None or value is None:
            self.out.external.append((name[:200], (system or public or "")[:500]))
            if len(self.out.external) >= 20:
                raise _StopError
            return
        if parameter:
            self.out.parameters.append(name[:200])
            raise _StopError
        size = len(value)
        for used in _USE.findall(value):
            if used not in _PREDEFINED:
                size += self.sizes.get(used, 0) if used in self.sizes else MAX_ENTITY  # used before it is declared
        if "%" in value or size > MAX_ENTITY or len(self.sizes) >= MAX_ENTITIES:
            self.grows(name[:200])
        self.sizes.setdefault(name, size)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.depth and not self.out.root:
            self.out.root, self.out.attributes = name, attributes
        self.out.elements += 1
        if self.out.elements > MAX_ELEMENTS:
            raise XMLError("It has more elements than are looked at.")
        if name.startswith(XINCLUDE) and name.endswith(" include") and len(self.out.includes) < 20:
            self.out.includes.append(attributes.get("href", "")[:500])
        if self.sizes:  # expat itself puts entities into attributes: these may not be more than the whole document
            self.attributes += sum(len(value) for value in attributes.values())
            if self.attributes > self.size + MAX_PUT_IN:
                self.grows("entities that are used again and again")
        if self.element is not None:
            self.element(name, attributes, self.depth)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise XMLError("Its elements lie within each other more deeply than is followed.")

    def end(self, _name: str) -> None:
        self.depth -= 1

    def instruction(self, target: str, text: str) -> None:
        if len(self.out.instructions) < 20:
            self.out.instructions.append((target[:100], text[:500]))

    def other(self, text: str) -> None:
        if self.sizes and text.startswith("&"):
            self.count(self.sizes.get(text[1:-1], 0))
        if self.text is not None:
            self.text(text)

    def skipped(self, name: str, _parameter: bool) -> None:
        self.count(self.sizes.get(name, 0))

    def count(self, more: int) -> None:
        self.added += more
        if self.added > MAX_PUT_IN:
            self.grows("entities that are used again and again")

    def grows(self, what: str) -> NoReturn:
        self.out.growing = what
        raise _StopError


__all__ = ["XINCLUDE", "Document", "XMLError", "looks_like", "read"]
