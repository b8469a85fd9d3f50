"""SQLite's databases: what the schema has SQLite do. The values are whatever a program makes of them.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import re

from nbguard.artifact.model import NotScanned
from nbguard.formats import sqlite_schema
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

_CALL = re.compile(r"(?<!\w)\d*([A-Za-z_]\w*+)\s*\(")
_VIRTUAL = re.compile(r"create\s+virtual\s+table\b.*?\busing\s+[\"'`\[]?(\w+)", re.IGNORECASE | re.DOTALL)
MOST_FINDINGS = 20


class SqliteScanner:
    name = "sqlite"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(sqlite_schema.MAGIC)

    def scan(self, job: Job) -> Facts:
        try:
            found = sqlite_schema.read(job.view)
        except ValueError as error:
            return unverifiable(job, "sqlite", "sqlite.malformed", str(error))
        facts = unverifiable(
            job,
            "sqlite",
            "sqlite.values",
            "This is an SQLite database. Its definitions were read, its values were not.",
            meaning="A program may keep anything in it, pickles too (Python's own shelves do), and run that when it "
            "reads a value.",
            remedy="Ask for the model in a format that is made for data.",
        )
        facts.not_scanned.append(NotScanned(job.path, "the values of an SQLite database"))
        rules = table("data")["sqlite"]
        for kind, name, sql in found.parts:
            if len(facts.findings) > MOST_FINDINGS:
                break
            used = {word.lower() for word in _CALL.findall(sql)} if kind in ("trigger", "view") else set()
            if bad := sorted(used & rules["harmful"]):
                _harmful(job, facts, kind, name, sql, bad)
            module = _VIRTUAL.match(sql.lstrip())
            if module and module[1].lower() not in rules["modules"]:
                _virtual(job, facts, name, module[1], sql)
        return facts


def _harmful(job: Job, facts: Facts, kind: str, name: str, sql: str, bad: list[str]) -> None:
    facts.add(
        Finding(
            "sqlite.harmful",
            Severity.CRITICAL,
            job.path,
            name[:100],
            f"A {kind} in it calls {', '.join(bad)[:100]}.",
            evidence=sql[:1000],
            meaning="SQLite runs it as soon as the table that it belongs to is written or read. With extensions "
            "allowed, that loads native code or reaches files.",
            remedy="Do not open it.",
        ),
        Verdict.DANGER,
    )


def _virtual(job: Job, facts: Facts, name: str, module: str, sql: str) -> None:
    facts.add(
        Finding(
            "sqlite.virtual",
            Severity.MEDIUM,
            job.path,
            name[:100],
            f"A table in it is made by an extension ({module[:60]}).",
            evidence=sql[:500],
            meaning="The extension is native code, and may read elsewhere.",
            remedy="Look which package brings the extension.",
        ),
        Verdict.REVIEW,
    )


SCANNER = SqliteScanner()
FORMATS = (
    Format(
        "sqlite",
        "SQLite",
        (".db", ".sqlite", ".sqlite3"),
        "the mark `SQLite format 3` at its start",
        "every definition of its schema: triggers, views, virtual tables",
        "the values, which programs may take for pickles",
        "*unverifiable* always; *danger* where a trigger or view loads code or reaches files",
    ),
)
