"""What TorchScript code could do besides computing.

    judge(job, "archive/code/__torch__/net.py", source, facts)

TorchScript is a small language of its own without imports, but its operators reach files:
`torch.from_file(shared=True)` maps, and so writes, any file it can open, and `__setstate__` runs while the archive is
loading.
"""

from __future__ import annotations

import re

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts

_FILES = re.compile(rb"\b(?:torch|aten|ops\.aten)\s*\.\s*(from_file|save|load)\s*\(|\b(from_file)\s*\(")
_SETSTATE = re.compile(rb"def\s+__setstate__\b")
_CUSTOM = re.compile(rb"\bops\.(?!aten\b|prim\b|prims\b|quantized\b|_quantized\b|torchvision\b|torchaudio\b)(\w+)\.")


def judge(job: Job, member: str, source: bytes, facts: Facts) -> None:
    """Add what the code of one member could do."""
    for match in _FILES.finditer(source):
        line = _line_number(source, match.start())
        facts.add(
            Finding(
                "torchscript.files",
                Severity.CRITICAL,
                job.path,
                f"{member[:200]} line {line}",
                f"The code calls {(match[1] or match[2]).decode()}, which reads or writes files.",
                evidence=_line(source, match.start()),
                meaning="No model needs that to compute: it can overwrite your files.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )
    if state := _SETSTATE.search(source):
        facts.add(
            Finding(
                "torchscript.setstate",
                Severity.MEDIUM,
                job.path,
                f"{member[:200]} line {_line_number(source, state.start())}",
                "The code has a __setstate__, which runs while the archive is loading.",
                evidence=_line(source, state.start()),
                meaning="Quantised models have one for good reasons; others rarely do.",
                remedy="Read it before accepting.",
            ),
            Verdict.REVIEW,
        )
    if custom := _CUSTOM.search(source):
        facts.add(
            Finding(
                "torchscript.operator",
                Severity.MEDIUM,
                job.path,
                member[:200],
                f"The code uses operators of the library {custom[1].decode()[:60]}, which nbguard does not know.",
                evidence=_line(source, custom.start()),
                meaning="What they do depends on what is installed here.",
                remedy="Make sure that you know this library.",
            ),
            Verdict.REVIEW,
        )


def _line(source: bytes, at: int) -> str:
    start = source.rfind(b"\n", 0, at) + 1
    end = source.find(b"\n", at)
    return source[start : end if end >= 0 else len(source)][:500].decode("utf-8", "backslashreplace").strip()


def _line_number(source: bytes, at: int) -> int:
    return source.count(b"\n", 0, at) + 1
