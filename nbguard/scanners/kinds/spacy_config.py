"""`config.cfg` of a spaCy pipeline: which registered functions loading it calls.

facts = SCANNER.scan(job)

spaCy fills a configuration in by calling functions that are registered under the names in it (`@architectures =
"spacy.HashEmbedCNN.v2"`), in the blocks of the language and its components; training and its corpora are not filled in
when a pipeline is loaded. Those of spaCy itself build layers and read the pipeline's own files. A name of any other
package is code that this package registered, and functions that copy from, or read, other places are shown.

Source: `spacy/util.py` (`load_model_from_config`, `load_model_from_path`) and `confection`.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.other import MAX_TEXT
from nbguard.scanners.tables import table

MAX_BYTES = 4 << 20
_NLP = re.compile(rb"^\[nlp\]\s*$", re.MULTILINE)
_FILLED = re.compile(r"(?:nlp|components)(?:\.|$)")
"""Blocks that are filled in when a pipeline is loaded."""
_BLOCK = re.compile(r"\$\{\s*([\w.@-]{1,200})\s*\}")
MOST_BLOCKS = 1_000
_FACTORY = re.compile(r"[a-z][a-z0-9_]*")


class SpacyConfigScanner:
    name = "spacy-config"

    def recognise(self, job: Job) -> bool:
        return job.suffix == ".cfg" and job.size <= MAX_TEXT and bool(_NLP.search(job.view.read(0, job.size)))

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_BYTES:
            return unverifiable(job, self.name, "spacy.config", "The configuration is larger than any real one.")
        parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        try:
            parser.read_string(job.view.read(0, job.size).decode("utf-8"))
        except (configparser.Error, UnicodeDecodeError) as error:
            return unverifiable(
                job, "spacy-config", "spacy.config", f"The configuration cannot be read: {str(error)[:150]}."
            )
        facts = plain(job, "spacy-config")
        taken = _taken(parser)
        for section in parser.sections():
            filled = _FILLED.match(section) is not None or any(
                section == block or section.startswith(f"{block}.") for block in taken
            )
            for key, raw in parser.items(section):
                for registry, name in _promises(key, raw) if filled else ():
                    _registered(job, facts, section, registry, name)
                if key.startswith("@"):
                    continue
                if key in ("factory", "source") and section.startswith("components."):
                    _component(job, facts, section, key, _text(raw))
        return facts


SCANNER = SpacyConfigScanner()
FORMATS = (
    Format(
        "spacy-config",
        "spaCy's `config.cfg`",
        ("config.cfg",),
        "the extension `.cfg` and a section `[nlp]`",
        "the registered functions that loading the pipeline calls, components taken from elsewhere",
        "what the functions of spaCy itself do with their arguments; blocks that are for training only",
        "*safe*; *review* for functions of other packages, or that read elsewhere; *unverifiable* where it cannot be "
        "read",
    ),
)


def _taken(parser: configparser.ConfigParser) -> set[str]:
    """Blocks that others take over as a whole (`model = ${vars.tok2vec}`): they are filled in where these are.

    All that is named counts, wherever: a block may be taken by way of one that is not filled in itself.
    """
    values = [raw for section in parser.sections() for _, raw in parser.items(section)]
    return {name for raw in values for name in _BLOCK.findall(raw)[:MOST_BLOCKS]}


def _promises(key: str, raw: str) -> Iterator[tuple[str, str]]:
    """(registry, name) of every function that a value has called: `@key = name`, or within a value that is JSON."""
    if key.startswith("@"):
        yield key[1:], _text(raw)
    if "@" not in raw and "\\u" not in raw:
        return
    try:
        pending = [json.loads(raw)]
    except (ValueError, RecursionError):
        return
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            yield from ((str(k)[1:], str(v)) for k, v in part.items() if str(k).startswith("@"))
            pending += part.values()
        elif isinstance(part, list):
            pending += part


def _text(raw: str) -> str:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return raw.strip()
    return value if isinstance(value, str) else raw.strip()


def _registered(job: Job, facts: Facts, section: str, registry: str, name: str) -> None:
    words = table("frameworks")["registered"]
    own = any(name == p or (p.endswith(".") and name.startswith(p)) for p in words["prefixes"])
    if own and (registry not in words["acting"] or name in words["harmless"]):
        return
    acting = registry in words["acting"]
    facts.add(
        Finding(
            "spacy.registered",
            Severity.HIGH if not own else Severity.MEDIUM,
            job.path,
            f"[{section[:80]}] @{registry[:30]}",
            f"It calls {name[:100]!r}, "
            + ("which reads or runs what its arguments say." if own else "a function that another package registered."),
            evidence=f"@{registry} = {name}"[:300],
            meaning="It is called with the arguments in this file while the pipeline is loaded."
            if acting or not own
            else "",
            remedy="Look which installed package registers that name before you accept.",
        ),
        Verdict.REVIEW,
    )


def _component(job: Job, facts: Facts, section: str, key: str, name: str) -> None:
    if key == "source" and name not in ("", "null"):
        facts.add(
            Finding(
                "spacy.source", Severity.HIGH, job.path, f"[{section[:80]}] source",
                f"It takes a component from another pipeline: {name[:150]}",
                meaning="That pipeline is loaded too, and was not looked at here.",
                remedy="Scan the other pipeline as well.",
            ),
            Verdict.REVIEW,
        )  # fmt: skip
    elif key == "factory" and not _FACTORY.fullmatch(name):
        facts.add(
            Finding(
                "spacy.factory", Severity.MEDIUM, job.path, f"[{section[:80]}] factory",
                f"Its component {name[:100]!r} is none of spaCy's own.",
                meaning="Code that an installed package registered makes it.",
                remedy="Look which installed package registers that name before you accept.",
            ),
            Verdict.REVIEW,
        )  # fmt: skip


FORMATS = (
    Format(
        "spacy-config",
        "spaCy's pipelines",
        ("config.cfg",),
        "The extension `.cfg` and a block `[nlp]`.",
        "Every registered function of the blocks that are filled in when a pipeline is loaded; factories and sources of"
        " components.",
        "The blocks for training, which a load does not fill in. Arguments of functions of spaCy's own.",
        "*safe* for spaCy's own functions; *review* for those of other packages, for those that read files or run at"
        " once, and for other pipelines; *unverifiable* where the text is read in different ways",
    ),
)
