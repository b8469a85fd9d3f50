"""MessagePack: plain values and NumPy arrays, as spaCy and thinc write them, and Flax's arrays.

facts = SCANNER.scan(job)

Only a file that is one whole table, or that holds what only Flax writes, is taken for it: the first bytes tell nothing.
Other extension types belong to a program of its own, so what reading them would do cannot be said.
"""

from __future__ import annotations

import hashlib
import re

from nbguard.formats import msgpack
from nbguard.formats.msgpack import Walked
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts

_TABLE = re.compile(rb"[\x80-\x8f\xde\xdf]")
_ARRAY = re.compile(rb"(?:\xc7.|\xc8..|\xc9....|[\xd4-\xd8])[\x01\x03]\x93", re.DOTALL)
"""A file that is one array of Flax's, not a table of them."""
_DTYPE = re.compile(r"[<>|=]?[biufcSU?][0-9]{0,6}")
MAX_BLOCKS = 10_000
"""Arrays that a report lists; of more it holds the digest over their places."""
_GAP = 1 << 20
_MEANING = (
    "MessagePack leaves it to the program that reads it what such a value becomes, so that nobody can say what loading "
    "it would do."
)


class MsgpackScanner:
    name = "msgpack"

    def recognise(self, job: Job) -> bool:
        if not (_TABLE.match(job.head) or _ARRAY.match(job.head)):
            return False
        found = msgpack.look(job.view)
        return found.whole or found.flax or (job.suffix == ".msgpack" and b"\0" in job.head)

    def scan(self, job: Job) -> Facts:
        found = msgpack.look(job.view)
        facts = plain(job, "flax" if found.flax else "msgpack")
        if not found.whole:
            facts.unverifiable(
                "msgpack.malformed", job.path, job.location, "The MessagePack data does not end as it should."
            )
        if found.extensions:
            facts.unverifiable(
                "msgpack.extension",
                job.path,
                job.location,
                "It holds values of types that a program defines for itself "
                f"({', '.join(map(str, sorted(found.extensions)[:5]))}).",
                meaning=_MEANING,
            )
        for problem in dict.fromkeys(found.problems[:100]):
            facts.unverifiable("msgpack.array", job.path, job.location, problem)
        if odd := [t for t in sorted(found.arrays) if not _DTYPE.fullmatch(t)]:
            facts.unverifiable(
                "msgpack.array",
                job.path,
                job.location,
                f"It holds arrays of a type that is no number: {odd[0][:40]!r}.",
            )
        facts.counts["values"] = found.values
        if found.flax:
            _pin(job, found, facts)
        elif job.size > job.limits.whole:
            facts.marks.append(hashlib.sha256(job.view.read(0, 1 << 20)).hexdigest())
            facts.blocks.append((job.member, 0, job.size, "msgpack"))
        return facts


def _pin(job: Job, found: Walked, facts: Facts) -> None:
    """The places of the arrays, and a digest over what lies between them: names, shapes and types."""
    facts.counts["tensors"] = len(found.tensors)
    facts.counts["tensor_bytes"] = sum(size for _, size, _ in found.tensors)
    between, at = hashlib.sha256(), 0
    for start, size, _ in found.tensors:
        while at < start:
            part = job.view.read(at, min(_GAP, start - at))
            if not part:
                return
            between.update(part)
            at += len(part)
        at = start + size
    between.update(job.view.read(at, _GAP))
    facts.marks.append(between.hexdigest())
    if len(found.tensors) <= MAX_BLOCKS:
        facts.blocks += [(job.member, start, size, kind) for start, size, kind in found.tensors]
    else:
        facts.marks.append(hashlib.sha256(repr(found.tensors).encode()).hexdigest())
        facts.blocks.append((job.member, 0, job.size, "msgpack"))


SCANNER = MsgpackScanner()
FORMATS = (
    Format(
        "msgpack",
        "MessagePack of plain values and arrays",
        ("spaCy's `model`, `tokenizer`, `vocab` …", ".msgpack"),
        "the whole file is one table",
        "every value to the last byte, and the types of NumPy arrays",
        "the numbers and texts themselves; files of more than six million values",
        "*safe*; *unverifiable* with extension types, arrays that are no numbers, or lengths that lie",
    ),
    Format(
        "flax",
        "Flax (`flax.serialization`)",
        (".msgpack",),
        "MessagePack in which arrays stand as Flax writes them",
        "every value to the last byte; of each array its type, and that its shape needs exactly the bytes that are "
        "there; arrays in pieces",
        "the numbers themselves",
        "*safe*; *unverifiable* with other extension types or types of arrays, or where a length lies",
    ),
)
