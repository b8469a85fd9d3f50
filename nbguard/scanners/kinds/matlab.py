"""MATLAB's files: arrays pass; handles of functions and objects are shown.

facts = SCANNER.scan(job)

Files of version 7.3 are HDF5 and are judged as that.
"""

from __future__ import annotations

import re

from nbguard.formats import mat5
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed
from nbguard.scanners.tables import table

_WORD = re.compile(r"[A-Za-z]\w*")


class MatlabScanner:
    name = "matlab"

    def recognise(self, job: Job) -> bool:
        return mat5.looks_like(job.head)

    def scan(self, job: Job) -> Facts:
        try:
            found = mat5.read(job.view, limit=max(0, job.budget.unpacked))
        except ValueError as error:
            return malformed(job, "matlab", error)
        job.budget.take(found.unpacked)
        facts = plain(job, "matlab")
        facts.counts["values"] = found.elements
        if job.size > job.limits.whole:
            facts.blocks.append((job.member, 0, job.size, "matlab"))
        harmful = table("data")["matlab"]["harmful"]
        for handle in found.handles[:20]:
            bad = sorted(harmful & set(_WORD.findall(handle)))
            facts.add(
                Finding(
                    "matlab.handle",
                    Severity.CRITICAL if bad else Severity.MEDIUM,
                    job.path,
                    job.location,
                    "It holds a function of MATLAB" + (f", which uses {', '.join(bad[:5])}." if bad else "."),
                    evidence=handle[:500],
                    meaning="It runs when the model is used. Readers outside of MATLAB leave it out.",
                    remedy="Do not load it in MATLAB." if bad else "Read the function before you accept.",
                ),
                Verdict.DANGER if bad else Verdict.REVIEW,
            )
        if found.objects:
            names = ", ".join(sorted(set(found.objects))[:6])
            facts.add(
                Finding(
                    "matlab.object",
                    Severity.LOW,
                    job.path,
                    job.location,
                    f"It holds objects of classes: {names[:200]}.",
                    meaning="MATLAB calls what the installed class says about loading. Other readers leave them out.",
                    remedy="Look which package defines the classes.",
                ),
                Verdict.REVIEW,
            )
        return facts


SCANNER = MatlabScanner()
FORMATS = (
    Format(
        "matlab",
        "MATLAB, versions 5 to 7",
        (".mat",),
        "the version and the mark `MI` at byte 124",
        "every element, compressed or not, against the size that it says; indices of sparse arrays; functions; objects",
        "the numbers and texts themselves; what is in objects of newer classes",
        "*safe* for arrays, cells and structures; *review* for functions and objects; *danger* for functions that run "
        "programs; *unverifiable* where a length or an index leads nowhere",
    ),
)
