"""MessagePack files of plain values and NumPy arrays, as spaCy and thinc write them.

facts = SCANNER.scan(job)

Only a file that is one whole table is taken for it: the first bytes tell nothing. Extension types belong to a program
of its own, so what reading them would do cannot be said.
"""

from __future__ import annotations

import hashlib
import re

from nbguard.formats import msgpack
from nbguard.scanners.base import Job, plain
from nbguard.scanners.facts import Facts

_TABLE = re.compile(rb"[\x80-\x8f\xde\xdf]")
_DTYPE = re.compile(r"[<>|=]?[biufcSU?][0-9]{0,6}")
TIMESTAMP = -1
"""The one extension type that the specification itself gives."""


class MsgpackScanner:
    name = "msgpack"

    def recognise(self, job: Job) -> bool:
        if not _TABLE.match(job.head) or job.suffix == ".msgpack":  # Flax's own extension types: told elsewhere
            return False
        return msgpack.walk(job.view) is not None

    def scan(self, job: Job) -> Facts:
        facts = plain(job, "msgpack")
        found = msgpack.walk(job.view)
        if found is None:
            facts.unverifiable(
                "msgpack.malformed", job.path, job.location, "The MessagePack data does not end as it should."
            )
            return facts
        if own := found.extensions - {TIMESTAMP}:
            facts.unverifiable(
                "msgpack.extension", job.path, job.location,
                f"It holds values of types that a program defines for itself ({', '.join(map(str, sorted(own)[:5]))}).",
            )  # fmt: skip
        if odd := [t for t in sorted(found.arrays) if not _DTYPE.fullmatch(t)]:
            facts.unverifiable(
                "msgpack.array",
                job.path,
                job.location,
                f"It holds arrays of a type that is no number: {odd[0][:40]!r}.",
            )
        facts.counts["values"] = found.values
        if job.size > job.limits.whole:
            facts.marks.append(hashlib.sha256(job.view.read(0, 1 << 20)).hexdigest())
            facts.blocks.append((job.member, 0, job.size, "msgpack"))
        return facts


SCANNER = MsgpackScanner()
