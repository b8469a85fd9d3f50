"""skops files: a zip whose `schema.json` says what to import, make and call.

    judge(job, directory, facts)        # called for a zip with a schema.json

The schema is translated into the pickle program that does the same, and that is judged like any pickle.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from nbguard.formats import zip_reader
from nbguard.formats.skops_schema import MAX_SCHEMA, SCHEMA, Program, SkopsError, translate
from nbguard.formats.view import View
from nbguard.formats.zip_reader import ZipDirectory
from nbguard.report.model import CodeFile, Verdict
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import document, meant_for

MAX_MEMBER = 256 << 20
"""Bytes of one member that is looked into."""


def is_archive(job: Job, directory: ZipDirectory) -> bool:
    """Whether skops takes the zip for its own, and something in it shows that it is, or skops was called for it."""
    if meant_for(job, "skops."):
        return True
    entry = next((e for e in directory.entries if e.name == SCHEMA), None)
    if entry is None or entry.size > MAX_SCHEMA:
        return entry is not None
    try:
        return b'"__loader__"' in zip_reader.read_member(job.view, entry, limit=MAX_SCHEMA)
    except zip_reader.ZipError:
        return True


def judge(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    """Add to `facts` what loading the zip with skops would do."""
    from nbguard.scanners.zip_contents import _member

    try:
        schema, program = program_of(job.view, directory)
    except (ValueError, RecursionError) as error:
        facts.unverifiable("skops.schema", job.path, SCHEMA, str(error)[:300])
        return
    facts.merge(_judged(job, program))
    facts.code.append(CodeFile(f"{job.path}!{SCHEMA}", hashlib.sha256(schema).hexdigest(), "skops"))
    facts.regions["code"] += len(schema)
    present = {entry.name for entry in directory.entries}
    for missing in sorted(program.files - present)[:8]:
        facts.unverifiable(
            "skops.member", job.path, SCHEMA, f"The schema asks for {missing[:100]}, which is not there."
        )
    for entry in directory.entries:
        if entry.name == SCHEMA:
            continue
        if entry.name.endswith(".bin") and entry.name in program.files:
            facts.blocks.append((entry.name, entry.data, entry.size, "bytes"))
        else:
            _member(job, entry, facts)


def program_of(view: View, directory: ZipDirectory) -> tuple[bytes, Program]:
    """The bytes of the schema, and what it would do. Raises ValueError with one plain sentence."""
    entries = {entry.name: entry for entry in directory.entries}
    if SCHEMA not in entries:
        raise SkopsError("There is no schema in the file.")

    def member(name: str) -> bytes | None:
        entry = entries.get(name)
        return zip_reader.read_member(view, entry, limit=MAX_MEMBER) if entry and entry.size <= MAX_MEMBER else None

    schema = zip_reader.read_member(view, entries[SCHEMA], limit=MAX_SCHEMA)
    return schema, translate(document(schema), member)


def _judged(job: Job, program: Program) -> Facts:
    """What the rules say of the program; places in it are places in the schema to a person."""
    from nbguard.scanners.pickle import scan_stream

    judged, _ = scan_stream(program.data, file=job.path, member=SCHEMA, container="skops", many=False)
    judged.findings = [replace(f, location=SCHEMA) for f in judged.findings]
    judged.programs, judged.containers, judged.regions, judged.weights_only = [], {}, {}, False
    judged.calls = [replace(call, program="") for call in judged.calls]
    if judged.verdict < Verdict.REVIEW and any(use.level != "data" for use in judged.globals):
        judged.verdict = Verdict.REVIEW
    return judged


FORMATS = (
    Format(
        "skops",
        "skops",
        (".skops",),
        "a zip with a `schema.json` that says how to load its nodes",
        "every node, as the pickle step that it stands for: names, calls, states, arguments; the nodes of decision "
        "trees; each array beside it",
        "the numbers themselves; what the methods of library objects do when the model is used",
        "*safe* for data; *review* for scikit-learn's objects; *danger* for calls that no rule explains; "
        "*unverifiable* where an id stands for two objects",
    ),
)
