"""Compiled Python files: what they reach for, and whether they belong to the source beside them.

facts = SCANNER.scan(job)
settle(opened, facts)           # after every file was judged by itself
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from nbguard.artifact.sources import Opened
from nbguard.formats.marshal_code import Code, MarshalError, read
from nbguard.formats.pyc import MARK, MAX_HASHED, Header, PycError, read_header, source_hash, source_of
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners import bytecode
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts

MAX_SIZE = 32 << 20
"""Bytes; no module comes near."""
MAX_SOURCE = 8 << 20
_CODE = (b"\xe3", b"c")
_OLD = {"2": 8, "3.0-3.7": 12}
HARM = "pyc.harm"
AT_ONCE = "<module>"
"""The code of a module itself, which runs when it is imported."""
MOST = 20
"""Findings of harm in one file."""


class PycScanner:
    name = "pyc"

    def recognise(self, job: Job) -> bool:
        head = job.head
        if head[2:4] != MARK:
            return False
        if job.suffix in (".pyc", ".pyo"):
            return True
        return bytecode.version_of(int.from_bytes(head[:2], "little")) != "" and any(
            head[at : at + 1] in _CODE for at in (16, 12, 8)
        )

    def scan(self, job: Job) -> Facts:
        facts = plain(job, "pyc", "code")
        data = job.view.read(0, min(job.size, MAX_SIZE))
        where = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(where[:500], hashlib.sha256(data).hexdigest(), "bytecode"))
        if job.size > MAX_SIZE:
            return _unread(job, facts, "pyc.size", "The file is larger than any compiled module.")
        number = int.from_bytes(data[:2], "little")
        version = bytecode.version_of(number)
        dialect = bytecode.dialect_of(number)
        try:
            header = read_header(data, length=_OLD.get(version, 16))
        except PycError as error:
            return _unread(job, facts, "pyc.header", str(error))
        if dialect is None:
            named = f"Python {version}, whose" if version else "a version that is not known here, and its"
            return _unread(job, facts, "pyc.version", f"It was compiled by {named} instructions cannot be read.")
        try:
            code = read(data[header.length :])
            harms = bytecode.harms(code, dialect)
            crafted = code.crafted(dialect)
        except MarshalError as error:
            return _unread(job, facts, "pyc.malformed", str(error))
        listing = code.listing(dialect)
        facts.add(_what_it_is(job, version, header, code, listing), Verdict.REVIEW)
        if crafted:
            _danger(job, facts, "pyc.crafted", f"No compiler wrote this byte code: {crafted}.", listing)
        for harm in harms[:MOST]:
            at_once = "as soon as it is imported" if harm.where == AT_ONCE else f"in its function {harm.where}"
            sentence = f"The compiled code {harm.what} ({harm.name}) {at_once}."
            _danger(job, facts, HARM, sentence, "\n".join(_around(listing, harm.name)), harm.where)
        return facts


SCANNER = PycScanner()


def _unread(job: Job, facts: Facts, rule: str, sentence: str) -> Facts:
    found = unverifiable(
        job,
        "pyc",
        rule,
        sentence,
        meaning="What it does when it is imported cannot be said.",
        remedy="Delete it: Python compiles it again from the source, if there is one.",
    )
    found.code = facts.code
    return found


def _what_it_is(job: Job, version: str, header: Header, code: Code, listing: str) -> Finding:
    sentence = f"This is Python code, compiled by Python {version}."
    if header.hashed and not header.checked:
        sentence += " It says that Python is not to compare it with its source."
    return Finding(
        "pyc.code",
        Severity.HIGH if header.hashed and not header.checked else Severity.MEDIUM,
        job.path,
        job.location,
        sentence,
        evidence=f"names: {', '.join(sorted(code.all_names())[:60])}"[:800] + "\n" + listing[:1000],
        meaning="Importing it runs it with all your rights, and hardly anybody can read it.",
        remedy="Delete it: Python compiles it again from the source. Without a source, ask for one.",
    )


def _around(listing: str, name: str) -> list[str]:
    last = name.rstrip(".").rpartition(".")[2]
    lines = listing.splitlines()
    at = next((n for n, line in enumerate(lines) if line.endswith(f" {last}")), 0)
    return [line[:160] for line in lines[max(0, at - 3) : at + 5]]


def _danger(job: Job, facts: Facts, rule: str, sentence: str, evidence: str, where: str = "") -> None:
    facts.add(
        Finding(
            rule,
            Severity.CRITICAL,
            job.path,
            f"{job.location} {where}".strip(),
            ascii(sentence)[1:-1][:400],
            evidence=evidence[:1500],
            meaning="Of 1,695 honest model files that were looked at, none does that.",
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )


def settle(opened: Opened, facts: dict[str, Facts]) -> None:
    """Compare each compiled file with the source that lies beside it: Python takes the compiled one."""
    for file in opened.files:
        found = facts[file.path]
        if "pyc" not in found.format.split("+") or file.size > MAX_SIZE:
            continue
        source = next((f for path in source_of(file.path) if (f := opened.file(path)) is not None), None)
        if source is None:
            found.add(_alone(file.path), Verdict.REVIEW)
        elif source.size <= MAX_SOURCE:
            try:
                _compare(file.path, file.read(0, file.size), source.path, source.read(0, source.size), found)
            except (PycError, MarshalError, OSError):
                continue  # its own scan has said so


def _alone(path: str) -> Finding:
    return Finding(
        "pyc.no-source",
        Severity.HIGH,
        path,
        "",
        "Its source is not there.",
        meaning="Nobody can read what it was compiled from.",
        remedy="Ask the publisher for the source.",
    )


def _compare(path: str, data: bytes, name: str, source: bytes, found: Facts) -> None:
    number = int.from_bytes(data[:2], "little")
    version = bytecode.version_of(number)
    header = read_header(data, length=_OLD.get(version, 16))
    text = source.decode("utf-8", "replace")
    odd = bytecode.strangers(read(data[header.length :]), text) if version not in ("", "2") else []
    if odd:
        found.add(
            Finding(
                "pyc.swapped",
                Severity.CRITICAL,
                path,
                "",
                f"It was not compiled from {ascii(name)[1:-1][:150]}: that source has no {', '.join(odd[:5])[:200]}.",
                evidence=", ".join(odd)[:1000],
                meaning="Who reads the source sees something else than what Python runs.",
                remedy="Do not load it. Delete the compiled file.",
            ),
            Verdict.DANGER,
        )
    elif _stale(header, version, source):
        found.add(
            Finding(
                "pyc.stale",
                Severity.HIGH,
                path,
                "",
                f"It was compiled from another state of {ascii(name)[1:-1][:150]}.",
                meaning="Python may run what was compiled and not what stands in the source.",
                remedy="Delete the compiled file.",
            ),
            Verdict.REVIEW,
        )
    else:
        _as_its_source(found)


def _as_its_source(found: Facts) -> None:
    """What stands in functions of a source that people can read is no more harm in compiled form: it is judged there.

    What runs as soon as it is imported stays harm, and so does everything else that was found.
    """
    worst = [f for f in found.findings if f.severity is Severity.CRITICAL]
    if found.verdict is not Verdict.DANGER or any(f.rule != HARM or f.location == AT_ONCE for f in worst):
        return
    lesser = {id(f): replace(f, severity=Severity.HIGH, remedy="Read that function in the source.") for f in worst}
    found.findings = [lesser.get(id(f), f) for f in found.findings]
    found.verdict = Verdict.REVIEW


def _stale(header: Header, version: str, source: bytes) -> bool:
    if not header.hashed:
        return header.size is not None and header.size != len(source) & 0xFFFFFFFF
    rounds = 2 if version in ("3.0-3.7", "3.8", "3.9", "3.10") else 1
    return len(source) <= MAX_HASHED and source_hash(header.number, source, rounds=rounds) != header.digest


FORMATS = (
    Format(
        "pyc",
        "Compiled Python",
        (".pyc", ".pyo"),
        "the number of a Python version and `\\r\\n` at its start",
        "the header; every instruction of Python 3.8 to 3.14: what it imports, calls and reaches for, and whether a "
        "compiler wrote it; the source beside it: its size or hash, and whether it names what the code names",
        "what the code computes; names that it puts together while it runs, where nothing gives them away; the time of "
        "the source, which copying changes",
        "*review*; *danger* where it reaches for what no model needs, was written by no compiler, or was not compiled "
        "from its source; *unverifiable* for other versions and where it cannot be read",
    ),
)
