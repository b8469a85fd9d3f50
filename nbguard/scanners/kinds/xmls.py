"""XML, PMML among it: entities and documents elsewhere, programs and scripts, and what PMML may call.

facts = SCANNER.scan(job)

A reader that follows what a document declares opens files of the machine and addresses of the network while it reads
(XXE), or fills the memory. Which readers do is their own setting, so the document is judged for what it asks.
"""

from __future__ import annotations

import re

from nbguard.formats import xml_document
from nbguard.formats.xml_document import Document, XMLError
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

MOST_FINDINGS = 20
MOST_OF_ONE = 3
"""Elements that are told of for one reason."""
OVERLAP = 256
"""Characters of a text that are looked at again with its next piece."""
_HARMFUL = re.compile(
    r"(?:ldaps?|rmi|iiop|corba|jar|java|javascript|vbscript|jndi|expect|phar|gopher)\s*:"
    r"|data:\s*(?:text/html|application/(?:x-)?java)|\$\{\s*jndi|\bRuntime\s*\.\s*getRuntime|\bProcessBuilder\b"
    r"|\bos\s*\.\s*system\b|\bsubprocess\b|\b__import__\b|\b(?:eval|exec)\s*\(|<\s*script",
    re.IGNORECASE,
)
_JAVA = re.compile(r"(?:java|javax|jdk|sun|com\.sun|org\.apache\.commons|groovy|org\.codehaus|javassist)\.")
_PMML = re.compile(r"http://www\.dmg\.org/PMML-(\d)[_-](\d)(?:_\d)? PMML\Z")
_STYLE = re.compile(r"""href\s*=\s*["']([^"']*)""")
_XXE = (
    "A reader that follows it puts what lies there into the document: files of yours, or what another machine answers."
)
_REMEDY = "Do not load it. No model needs this."


class XMLScanner:
    name = "xml"

    def recognise(self, job: Job) -> bool:
        return xml_document.looks_like(job.head, job.suffix)

    def scan(self, job: Job) -> Facts:
        elements = _Elements()
        problem = ""
        try:
            document = xml_document.read(job.view, elements.take, elements.text)
        except XMLError as error:
            document, problem = error.seen, str(error)  # type: ignore[attr-defined]
        pmml = document.root.rpartition(" ")[2] == "PMML"
        name = "pmml" if pmml else "xml"
        facts = unverifiable(job, name, f"{name}.malformed", problem) if problem else plain(job, name)
        if not document.root and not problem and not (document.external or document.parameters or document.growing):
            facts.unverifiable("xml.malformed", job.path, job.location, "There is no element in the document.")
        told = [*_declared(document), *_instructions(document), *elements.told]
        if pmml:
            told += _pmml(document, elements)
        for rule, severity, verdict, message, evidence, meaning in told[: 2 * MOST_FINDINGS]:
            remedy = _REMEDY if verdict is Verdict.DANGER else "Read that part before you accept."
            facts.add(
                Finding(f"{name}.{rule}", severity, job.path, job.location, message, evidence, meaning, remedy), verdict
            )
        facts.counts["elements"] = document.elements
        return facts


Told = tuple[str, Severity, Verdict, str, str, str]
"""(rule, severity, verdict, message, evidence, meaning)."""


def _danger(rule: str, message: str, evidence: str, meaning: str) -> Told:
    return rule, Severity.CRITICAL, Verdict.DANGER, message, evidence[:500], meaning


def _review(rule: str, message: str, evidence: str, meaning: str) -> Told:
    return rule, Severity.MEDIUM, Verdict.REVIEW, message, evidence[:500], meaning


def _declared(document: Document) -> list[Told]:
    told = [
        _danger("external-entity", f"It has an entity that lies elsewhere: {where[:150]}.", f"{name}: {where}", _XXE)
        for name, where in document.external
    ]
    for name in document.parameters:
        told.append(
            _danger(
                "parameter-entity",
                "It makes declarations out of an entity, and what these are cannot be seen.",
                name,
                f"That is how documents hide that they fetch something. {_XXE}",
            )
        )
    if document.growing:
        told.append(
            _danger(
                "growing-entity",
                "It has entities that become far more text than the file holds.",
                document.growing,
                "A reader that puts them in runs out of memory.",
            )
        )
    told += [
        _danger("include", f"It includes another document: {where[:150]}.", where, _XXE) for where in document.includes
    ]
    if document.doctype is not None and document.doctype[1]:
        told += _doctype(document.doctype[1])
    return told


def _doctype(system: str) -> list[Told]:
    address = re.match(r"https?://([^/:?#]+)(?:/|\Z)", system, re.IGNORECASE)
    if address and address[1].lower() in table("xml")["doctypes"]["hosts"]:
        return []
    if not address and re.fullmatch(r"[\w.-]{1,60}\.dtd", system):
        message = f"Its document type is said to lie beside it: {system}."
        return [_review("doctype", message, system, "A reader may read that file as part of the document.")]
    message = f"Its document type lies elsewhere: {system[:150]}."
    return [_danger("doctype", message, system, f"What lies there may declare anything. {_XXE}")]


def _instructions(document: Document) -> list[Told]:
    told = []
    for target, text in document.instructions:
        where = _STYLE.search(text)
        if target == "xml-stylesheet" and ("css" in text or (where and where[1].startswith("#"))):
            continue
        if target == "xml-stylesheet":
            message, meaning = "It names a program that transforms it.", "A browser or reader may fetch and run it."
        elif target.lower() in ("php", "jsp", "asp", "import", "python"):
            message, meaning = f"It holds a program for {target[:20]}.", "A server or reader of that kind would run it."
        else:
            continue
        told.append(_review("instruction", message, f"<?{target} {text}?>", meaning))
    return told


class _Elements:
    """What is to be said of the elements, as they come."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.functions: set[str] = set()
        self.defined: set[str] = set()
        self.foreign: set[str] = set()
        self.unknown: set[str] = set()
        self.models = 0
        self.path: list[str] = []
        self.home = self.extension = ""
        self.pmml = self.svg = False

    def tell(self, told: Told) -> None:
        if sum(told[0] == other[0] for other in self.told) < MOST_OF_ONE:
            self.told.append(told)

    def take(self, name: str, attributes: dict[str, str], depth: int) -> None:
        namespace, _, local = name.rpartition(" ")
        if not depth:
            self.home, self.pmml, self.svg = namespace, local == "PMML", local == "svg"
            if local == "java" and "class" in attributes:
                self.tell(
                    _danger(
                        "decoder",
                        "It is a program for Java's XMLDecoder.",
                        str(attributes)[:300],
                        "Reading it runs it.",
                    )
                )
        del self.path[depth:]
        self.path.append(local if namespace == self.home else "")
        rules = table("xml")
        if namespace in rules["languages"]["calling"]:
            self.tell(_danger("calls", f"It calls functions of its reader's own language ({local[:50]}).",
                              name, "A processor of XSLT runs them."))  # fmt: skip
        elif namespace in rules["languages"]["programs"]:
            self.tell(_review("program", "It holds a program or a list of objects to make.", name,
                              "A reader of that kind runs it."))  # fmt: skip
        if local in rules["code"]["scripts"] and (self.svg or self.pmml):
            self.tell(_danger("script", "It holds a script.", f"<{local} {str(attributes)[:300]}>",
                              "What shows the picture, or loads the model, may run it."))  # fmt: skip
        for key, value in attributes.items():
            asks = self.pmml or self.svg or key.endswith(("href", "src"))
            if asks and not key.endswith("schemaLocation") and _HARMFUL.search(value):
                self.tell(_danger("reaches", f"An attribute is more than data: {value[:99]}", f'{key}="{value[:300]}"',
                                  "A reader that follows it runs or fetches what it names."))  # fmt: skip
            elif self.svg and key.startswith("on") and len(key) > 3:
                self.tell(
                    _danger(
                        "script", "It holds a script.", f'{key}="{value[:300]}"', "What shows the picture may run it."
                    )
                )
        if self.pmml:
            self.model(local, namespace, attributes, rules["pmml"])

    def text(self, piece: str) -> None:
        """Text of PMML's extensions, which programs of one maker read; it comes in pieces."""
        if not self.pmml or "Extension" not in self.path:
            self.extension = ""
            return
        text = self.extension + piece
        self.extension = text[-OVERLAP:]
        if found := _HARMFUL.search(text):
            around = text[max(0, found.start() - 100) : found.end() + 200]
            self.tell(_danger("reaches", "An extension holds more than data.", around,
                              "A reader that knows the extension runs or fetches what it names."))  # fmt: skip
            self.extension = ""

    def model(self, local: str, namespace: str, attributes: dict[str, str], rules: dict[str, frozenset[str]]) -> None:
        above = self.path[:-1]
        own = "Extension" in above or not rules["tables"].isdisjoint(above)
        if namespace != self.home:
            if not own and len(self.foreign) < 50:
                self.foreign.add(f"{namespace} {local}"[:200])
            return
        if local not in rules["elements"] and not own and len(self.unknown) < 50:
            self.unknown.add(local[:100])
        self.models += local.endswith("Model") or local in ("NeuralNetwork", "Scorecard")
        if local == "DefineFunction" and len(self.defined) < 10_000:
            self.defined.add(attributes.get("name", ""))
        if local == "Apply" and len(self.functions) < 10_000:
            self.functions.add(attributes.get("function", ""))
        if local == "TableLocator":
            self.tell(_review("table", "It takes data from a table elsewhere.", str(attributes)[:300],
                              "A reader may open what it names."))  # fmt: skip


def _pmml(document: Document, elements: _Elements) -> list[Told]:
    rules = table("xml")["pmml"]
    told: list[Told] = []
    version = document.attributes.get("version", "")
    named = _PMML.match(document.root)
    old = document.root == "PMML" and version in ("1.1", "2.0", "2.1")
    if not old and (named is None or version not in rules["versions"] or version[:3] != f"{named[1]}.{named[2]}"):
        told.append(_unclear("version", "Its namespace and its version are none that PMML has.",
                             f"{document.root} {version}"))  # fmt: skip
    if elements.unknown:
        names = ", ".join(sorted(elements.unknown)[:8])
        told.append(_unclear("element", f"It has elements that PMML does not have: {names[:200]}.", names))
    if elements.foreign:
        names = "; ".join(sorted(elements.foreign)[:8])
        told.append(_review("foreign", "It has elements of another language among its own.", names,
                            "Only a program that knows them says what they do."))  # fmt: skip
    for function in sorted(elements.functions - rules["functions"] - elements.defined)[:MOST_FINDINGS]:
        if _JAVA.match(function) or _HARMFUL.search(function):
            told.append(_danger("function", f"It calls {function[:120]}, which is none of PMML's functions.", function,
                                "Readers written in Java load a class by such a name, and call it."))  # fmt: skip
        else:
            told.append(_review("function", f"It calls {function[:99]!r}, which is none of PMML's functions.", function,
                                "Readers look for it among functions of their own, or for a class."))  # fmt: skip
    return told


def _unclear(rule: str, message: str, evidence: str) -> Told:
    return (
        rule,
        Severity.HIGH,
        Verdict.UNVERIFIABLE,
        message,
        evidence[:500],
        "What a reader makes of it cannot be said.",
    )


SCANNER = XMLScanner()
FORMATS = (
    Format(
        "pmml",
        "PMML",
        (".pmml", ".xml"),
        "XML whose root is `PMML`",
        "entities, documents and types elsewhere; namespace, version and names of elements; functions that are called; "
        "what extensions and attributes hold",
        "whether the model computes what it should; the order of elements, which readers check",
        "*safe*; *review* for functions and elements of others; *danger* for entities and documents elsewhere, scripts "
        "and names of Java's classes; *unverifiable* where it is not well-formed or not PMML's",
    ),
    Format(
        "xml",
        "XML, SVG",
        (".xml", ".svg", ".xsl"),
        "an XML declaration, a document type that declares something, or the extension and an element",
        "entities, documents and types elsewhere, entities that grow, scripts, programs for XSLT and Java",
        "what the elements mean to the program that reads them",
        "*safe*; *review* for transformations; *danger* for what fetches, grows or runs; *unverifiable* where it is "
        "not well-formed",
    ),
)
