"""Zarr: arrays in many small files. What can do harm is how these are packed: one way of doing so is a pickle.

facts = SCANNER.scan(job)

Only the descriptions are files of this kind (`.zarray`, `.zgroup`, `.zmetadata`, `zarr.json`). The pieces beside them
are taken for the data that they are said to be, as far as nothing else is known of them.
"""

from __future__ import annotations

import re
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.companions import claim
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import document
from nbguard.scanners.tables import table

MAX_BYTES = 64 << 20
MAX_CODECS = 10_000
MAX_PIECES = 100_000
_NAMES = (".zarray", ".zgroup", ".zmetadata", "zarr.json")
_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{")
_PIECE = re.compile(r"(?:c/)?\d+(?:[./]\d+)*|c/?")
"""Names of pieces: places in the grid, with dots or slashes between them."""


class ZarrScanner:
    name = "zarr"

    def recognise(self, job: Job) -> bool:
        named = job.name.rsplit("/", 1)[-1] in _NAMES  # readers open nothing else
        return _BEGIN.match(job.head) is not None and (named or b'"zarr_format"' in job.head)

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_BYTES:
            return unverifiable(job, "zarr", "zarr.size", "The description is larger than is read.")
        try:
            value = document(job.view.read(0, job.size))
        except ValueError as error:
            return unverifiable(job, "zarr", "zarr.malformed", str(error))
        facts = plain(job, "zarr")
        if not isinstance(value, dict):
            facts.unverifiable("zarr.malformed", job.path, job.location, "The description is no object.")
            return facts
        codecs = list(_codecs(value))
        if len(codecs) > MAX_CODECS:
            facts.unverifiable("zarr.malformed", job.path, job.location, "It has more arrays than are looked at.")
        for name in sorted({str(name)[:200] for name in codecs[:MAX_CODECS]}):
            _codec(job, name, facts)
        if value.get("node_type", "array") == "array" and "shape" in value:
            for path in sorted(job.companions)[:MAX_PIECES]:
                if _PIECE.fullmatch(path):
                    claim(facts, path, 0)
        return facts


def _codecs(value: Any) -> list[Any]:
    """The names of everything that packs or converts, wherever in the description."""
    found: list[Any] = []
    pending = [value]
    while pending and len(found) <= MAX_CODECS:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            for key, inner in part.items():
                if key in ("compressor", "filters", "codecs", "index_codecs", "storage_transformers"):
                    listed = inner if isinstance(inner, list) else [inner]
                    found += [
                        c.get("id", c.get("name", "?")) if isinstance(c, dict) else c for c in listed if c is not None
                    ]
            if "attributes" in part and "node_type" in part:  # version 3 keeps a user's own words here
                part = {k: v for k, v in part.items() if k != "attributes"}
            pending += part.values()
    return found


def _codec(job: Job, name: str, facts: Facts) -> None:
    rules = table("data")["zarr"]
    short = name.removeprefix("numcodecs.").removeprefix("https://zarr.dev/numcodecs/")
    if short in rules["codecs"]:
        return
    pickled = short in rules["pickles"]
    facts.add(
        Finding(
            "zarr.pickle" if pickled else "zarr.codec",
            Severity.CRITICAL if pickled else Severity.MEDIUM,
            job.path,
            job.location,
            "Its values are packed as pickles, which are run when they are read."
            if pickled
            else f"Its values are packed in a way that nobody here knows: {name[:100]}.",
            evidence=name,
            meaning="Whoever wrote the pieces chose what that runs."
            if pickled
            else "Zarr asks the installed packages for it, and runs the one that answers.",
            remedy="Do not load it." if pickled else "Look which package that is before you accept.",
        ),
        Verdict.DANGER if pickled else Verdict.REVIEW,
    )


SCANNER = ZarrScanner()
FORMATS = (
    Format(
        "zarr",
        "Zarr",
        (".zarray", ".zgroup", ".zmetadata", "zarr.json"),
        "JSON with a `zarr_format`, or with one of these names",
        "every way of packing that the descriptions name",
        "the pieces with the values, which readers unpack with libraries of their own",
        "*safe*; *review* for ways of packing that nobody knows; *danger* for pickles; *unverifiable* where the "
        "description cannot be read",
    ),
)
