"""Tables in columns: Parquet, and Arrow's files and streams (Feather).

facts = SCANNER.scan(job)

They hold numbers and texts. What can do harm: types of a program's own that say in a pickle how to make them, which
pyarrow before 14.0.1 unpickled when it read the schema; columns in other files; and offsets that a reader in C++
follows unseen.
"""

from __future__ import annotations

import hashlib

from nbguard.formats import arrow_ipc, parquet
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.companions import plain_location
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed

PICKLED = "arrow.py_extension_type"
"""The name under which `pyarrow.PyExtensionType` kept pickles."""
MAX_BLOCKS = 10_000
_HARMLESS = ("arrow.", "geoarrow.", "pandas.", "ray.data.arrow_tensor", "huggingface.")
"""Types whose description is plain text: Arrow's own list ("Canonical extension types"), and packages that use JSON."""


class ColumnarScanner:
    name = "columnar"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith((parquet.MAGIC, parquet.ENCRYPTED)) or arrow_ipc.looks_like(job.head)

    def scan(self, job: Job) -> Facts:
        name = "parquet" if job.head.startswith((parquet.MAGIC, parquet.ENCRYPTED)) else "arrow"
        try:
            return _parquet(job) if name == "parquet" else _arrow(job)
        except ValueError as error:
            facts = malformed(job, name, error)
            if PICKLED.encode() in job.head:
                _pickled(job, facts, name, "", b"")
            return facts


def _parquet(job: Job) -> Facts:
    found = parquet.read(job.view)
    facts = plain(job, "parquet")
    if found.encrypted:
        facts.unverifiable(
            "parquet.encrypted", job.path, job.location, "It is encrypted, so that nothing of it is seen."
        )
    if found.schema is not None:
        _extensions(job, facts, "parquet", arrow_ipc.read_schema(found.schema).extensions)
    for path in dict.fromkeys(found.elsewhere[:10_000]):
        _elsewhere(job, facts, path)
    facts.counts.update(arrays=len(found.places), array_bytes=sum(size for _, _, size in found.places))
    facts.marks.append(hashlib.sha256(found.footer).hexdigest())
    if len(found.places) <= MAX_BLOCKS:
        facts.blocks += [(name, at, size, "parquet") for name, at, size in found.places]
    else:
        facts.blocks.append((job.member, 0, job.size, "parquet"))
    return facts


def _arrow(job: Job) -> Facts:
    found = arrow_ipc.read(job.view)
    facts = plain(job, "arrow")
    _extensions(job, facts, "arrow", found.extensions)
    if found.unread:
        facts.unverifiable(
            "arrow.unfollowed",
            job.path,
            job.location,
            f"It has columns of a kind whose insides are not followed: {', '.join(sorted(set(found.unread)))[:100]}.",
        )
    facts.counts.update(arrays=len(found.columns))
    if job.size > job.limits.whole:
        facts.marks.append(hashlib.sha256(job.view.read(0, 1 << 20)).hexdigest())
        facts.marks.append(hashlib.sha256(job.view.read(max(0, job.size - (1 << 20)), 1 << 20)).hexdigest())
        facts.blocks.append((job.member, 0, job.size, "arrow"))
    return facts


def _extensions(job: Job, facts: Facts, format: str, extensions: list[tuple[str, str, bytes]]) -> None:
    for column, name, raw in extensions[:1_000]:
        if name == PICKLED:
            _pickled(job, facts, format, column, raw)
        elif not name.startswith(_HARMLESS):
            facts.add(
                Finding(
                    f"{format}.extension",
                    Severity.LOW,
                    job.path,
                    column[:100],
                    f"A column is of a type that a program defines for itself: {name[:120]}.",
                    evidence=repr(raw[:200]),
                    meaning="A program that knows the type makes it from what stands here. pyarrow itself does not.",
                    remedy="Look which package registers that type before you accept.",
                ),
                Verdict.REVIEW,
            )


def _pickled(job: Job, facts: Facts, format: str, column: str, raw: bytes) -> None:
    from nbguard.scanners.streams import scan_pickles

    inner = scan_pickles(job.inside(raw, member=f"ARROW:extension:metadata of {column[:80]}", container="nested"))
    if inner is not None:
        inner.regions, inner.containers = {}, {}
        facts.merge(inner)
    facts.add(
        Finding(
            f"{format}.pickled-type",
            Severity.CRITICAL,
            job.path,
            column[:100],
            "A column's type is a pickle, which older versions of pyarrow run when they read the file.",
            evidence=repr(raw[:200]),
            meaning="Reading only the schema is enough. pyarrow 14.0.1 and later do so only where they are told to.",
            remedy="Do not load it. Have the table saved again without types of its own.",
        ),
        Verdict.DANGER,
    )


def _elsewhere(job: Job, facts: Facts, path: str) -> None:
    inside = plain_location(path) is not None
    facts.add(
        Finding(
            "parquet.elsewhere",
            Severity.MEDIUM if inside else Severity.CRITICAL,
            job.path,
            job.location,
            f"Its columns lie in another file: {path[:200]}",
            meaning="That file is read in the place of this one"
            + ("." if inside else ", wherever on this machine it is."),
            remedy="Scan that file as well." if inside else "Do not load it.",
        ),
        Verdict.REVIEW if inside else Verdict.DANGER,
    )


SCANNER = ColumnarScanner()
FORMATS = (
    Format(
        "parquet",
        "Parquet",
        (".parquet",),
        "the mark `PAR1` at its start",
        "the description at its end to the last byte: the tree of columns, where each lies, how it is packed; files "
        "elsewhere; types that Arrow would make",
        "the pages of the columns: readers check what they take from them",
        "*safe*; *review* for types and columns of others; *danger* for types that are pickles and for columns outside "
        "of the folder; *unverifiable* where an offset or a length leads nowhere, or encrypted",
    ),
    Format(
        "arrow",
        "Arrow, Feather",
        (".arrow", ".feather", ".ipc"),
        "the mark `ARROW1` at its start, or a stream's first message that is a schema",
        "every message; types that are pickles; of every batch the length of each buffer, and every offset and index",
        "the numbers and texts themselves; unions, runs and views",
        "*safe*; *review* for types of others; *danger* for types that are pickles; *unverifiable* where an offset, an "
        "index or a length leads nowhere, and with kinds of columns that are not followed",
    ),
)
