"""What Python's `marshal` wrote: plain values, or code objects, which are shown instruction by instruction.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
from typing import Any

from nbguard.formats.marshal_code import Code, MarshalError, read_values
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import meant_for

MAX_SIZE = 64 << 20
"""Bytes."""
_CODE = (b"\xe3", b"c")
"""How a code object begins: its mark, with and without the flag of a reference."""
_MAX_ALONE = 8 << 20
"""Bytes of a file that is looked at for byte code although nobody called `marshal` for it."""


class MarshalScanner:
    name = "marshal"

    def recognise(self, job: Job) -> bool:
        if meant_for(job, "marshal."):
            return True
        if not job.head.startswith(_CODE) or job.size > _MAX_ALONE:
            return False
        try:
            return isinstance(read_values(job.view.read(0, job.size))[0], Code)
        except MarshalError:
            return False

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_SIZE:
            return unverifiable(job, "marshal", "marshal.size", "The file is larger than is read.")
        data = job.view.read(0, job.size)
        try:
            values = read_values(data)
        except MarshalError as error:
            return unverifiable(
                job,
                "marshal",
                "marshal.malformed",
                str(error),
                meaning="marshal reads what it is given without looking: crafted bytes crash the interpreter.",
                remedy="Ask for the model in a format that is made for data, safetensors first.",
            )
        facts = plain(job, "marshal")
        codes = list(_codes(values))
        if not codes:
            return facts
        facts.regions = {"code": job.size}
        where = f"{job.path}!{job.member}" if job.member else job.path
        facts.code.append(CodeFile(where, hashlib.sha256(data).hexdigest(), "bytecode"))
        names = sorted(set().union(*(code.all_names() for code in codes)))
        facts.add(
            Finding(
                "marshal.code",
                Severity.CRITICAL,
                job.path,
                job.location,
                f"It holds Python byte code, which names {', '.join(names[:8])[:200] or 'nothing'}.",
                evidence="\n".join(code.listing() for code in codes)[:2000],
                meaning="Byte code does what it likes once something runs it, and nothing about it can be enforced.",
                remedy="Do not load it. Ask for the source of the function, and read it.",
            ),
            Verdict.DANGER,
        )
        return facts


def _codes(values: list[Any]) -> list[Code]:
    """The code objects among plain values, at any depth, each once."""
    found: list[Code] = []
    seen: set[int] = set()
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, Code):
            found.append(value)
        elif isinstance(value, tuple) and id(value) not in seen:
            seen.add(id(value))
            pending.extend(value)
    return found


SCANNER = MarshalScanner()
FORMATS = (
    Format(
        "marshal",
        "Python's `marshal`",
        (".marshal", ".bin"),
        "a code object at its start that can be read to its end; any file that is loaded with `marshal`",
        "every value; code objects as the instructions that they are, read without `marshal`",
        "nothing; files of plain values have no mark of their own, and are unknown where `marshal` does not load them",
        "*safe* for plain values; *danger* for code; *unverifiable* where it cannot be read: `marshal` may crash on it",
    ),
)
