"""What a flagged pickle does, as Python source: fickling's decompilation, made in a process of its own.

    facts.findings = decompiled(file, facts, limits)

Evidence only: where it cannot be made in time, the report does without.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from nbguard.artifact.sources import OpenedFile
from nbguard.errors import TargetError
from nbguard.report.model import Finding, Severity
from nbguard.scanners.base import Limits
from nbguard.scanners.facts import Facts

MAX_PROGRAM = 1 << 20
"""Bytes; larger programs are not decompiled."""
MAX_EVIDENCE = 2_000
"""Characters."""
SECONDS = 20.0
_CODE = """
import sys, resource
sys.path += sys.argv[2:]
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
import ast
from fickling.fickle import Pickled
print(ast.unparse(Pickled.load(sys.stdin.buffer.read()).ast)[:4000])
"""


def decompiled(file: OpenedFile, facts: Facts, limits: Limits) -> list[Finding]:
    """The findings, the first severe one of each uncompressed pickle with its source as further evidence."""
    out = list(facts.findings)
    for program in facts.programs:
        if program.compression or program.ranges or program.container in ("nested", "torchscript", "torch-tar"):
            continue
        index = next(
            (i for i, f in enumerate(out) if f.severity >= Severity.HIGH and f.rule.startswith("pickle.")), None
        )
        if index is None or "Decompiled" in out[index].evidence or program.length > MAX_PROGRAM:
            return out
        data = _program(file, program.member, program.offset, program.length)
        source = _decompile(data, limits) if data else ""
        if source:
            text = (
                f"{out[index].evidence}\n\nDecompiled:\n{source}" if out[index].evidence else f"Decompiled:\n{source}"
            )
            out[index] = dataclasses.replace(out[index], evidence=text[:MAX_EVIDENCE])
        return out
    return out


def _program(file: OpenedFile, member: str, offset: int, length: int) -> bytes:
    from nbguard.formats import zip_reader

    try:
        if not member:
            return file.read(offset, length)
        entries = zip_reader.read_directory(file, every=False).entries
        entry = next((e for e in entries if e.name == member), None)
        return zip_reader.read_member(file, entry, limit=16 << 20)[offset : offset + length] if entry else b""
    except (zip_reader.ZipError, TargetError):
        return b""


def _decompile(program: bytes, limits: Limits) -> str:
    from nbguard.scanners.process import search_path

    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CODE, str(limits.memory), *search_path()],
            input=program,
            capture_output=True,
            timeout=min(SECONDS, limits.seconds),
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            check=False,
            start_new_session=True,
        )
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return done.stdout[:8000].decode("utf-8", "replace").strip() if done.returncode == 0 else ""
