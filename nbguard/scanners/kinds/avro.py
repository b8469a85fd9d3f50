"""Avro's files: values by a schema that stands in front. What can do harm is a schema that has Java make objects.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import avro
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed
from nbguard.scanners.tables import table


class AvroScanner:
    name = "avro"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(avro.MAGIC)

    def scan(self, job: Job) -> Facts:
        try:
            found = avro.read(job.view)
        except ValueError as error:
            return malformed(job, "avro", error)
        facts = plain(job, "avro")
        facts.counts["values"] = found.values
        facts.marks.append(hashlib.sha256(job.view.read(0, found.head)).hexdigest())
        facts.blocks.append((job.member, found.head, job.size - found.head, f"avro {found.codec}"))
        for name in sorted(set(found.classes) - table("data")["java"]["classes"])[:20]:
            facts.add(
                Finding(
                    "avro.class",
                    Severity.CRITICAL,
                    job.path,
                    job.location,
                    f"Its schema has a reader written in Java make objects of the class {name[:120]}.",
                    evidence=name[:500],
                    meaning="Versions before 1.11.4 make whatever class is named, which is a way to run code.",
                    remedy="Do not load it. A table needs no classes.",
                ),
                Verdict.DANGER,
            )
        return facts


SCANNER = AvroScanner()
FORMATS = (
    Format(
        "avro",
        "Avro",
        (".avro",),
        "the mark `Obj` and a one at its start",
        "the schema, with the classes that it names, and the length of every block of values",
        "the values themselves: readers check them against the schema",
        "*safe*; *danger* where the schema names classes of Java; *unverifiable* where a length or type leads nowhere",
    ),
)
