"""What one scanner found out about one file: the pieces that a report is put together from.

    facts = Facts(format="pickle")
    facts.add(Finding("pickle.gadget", Severity.CRITICAL, "model.pkl", "@ 0x2", "…"), Verdict.DANGER)

Facts travel from the worker process to the kernel as JSON, never as a pickle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from nbguard.artifact.model import canonical_digest
from nbguard.report.model import (
    Call,
    CodeFile,
    Finding,
    GlobalUse,
    NotScanned,
    Program,
    Severity,
    Verdict,
)

_IMPORTABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
LEVELS = ("data", "library", "unknown", "gadget")
"""From harmless to worst; merging two uses of one global keeps the worse."""
_RECORDS = ("findings", "programs", "globals", "calls", "code", "native", "not_scanned")
"""Attributes that are lists of flat records."""
MOST = 1000
"""Findings of one file; a hostile one could have millions of the same kind."""
MEANING = "What could not be read may hold anything, so that nobody can say what loading it would do."
REMEDY = "Get the file again from its publisher. If it is the same there, ask for the model as safetensors."


@dataclass
class Facts:
    """Partial results; `merge` adds those of a member, a nested program or another reading of the same bytes."""

    format: str = "unknown"
    verdict: Verdict = Verdict.SAFE
    findings: list[Finding] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    globals: list[GlobalUse] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    code: list[CodeFile] = field(default_factory=list)
    native: list[CodeFile] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)
    containers: dict[str, str] = field(default_factory=dict)
    blocks: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(member, offset, length, validated dtype) of every raw block."""
    effects: list[str] = field(default_factory=list)
    not_scanned: list[NotScanned] = field(default_factory=list)
    regions: dict[str, int] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)
    weights_only: bool = True
    """Holds until a program names a global that torch's restricted machine does not know."""
    sha256: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """What the data is, in numbers: `tensors` and `tensor_bytes`, `arrays` and `array_bytes`."""
    marks: list[str] = field(default_factory=list)
    """What else pins a large file: digests over a zip's directory, check sums included, or over a header."""
    references: list[str] = field(default_factory=list)
    """Code that this file names: `py:relative/path.py` beside it, `repo:org/name/path.py` in another repository."""

    def add(self, finding: Finding, verdict: Verdict) -> None:
        """Record a finding that means at least `verdict`. Beyond `MOST`, only what makes it worse is kept."""
        if len(self.findings) >= MOST and verdict <= self.verdict:
            return
        self.findings.append(finding)
        self.verdict = max(self.verdict, verdict)

    def unverifiable(self, rule: str, file: str, location: str, message: str, **text: str) -> None:
        """Record that something could not be read to the end; `text` may say more than `MEANING` and `REMEDY` do."""
        text = {"meaning": MEANING, "remedy": REMEDY, **text}
        self.add(Finding(rule, Severity.HIGH, file, location, message, **text), Verdict.UNVERIFIABLE)

    @property
    def harms(self) -> bool:
        """Whether a stream that breaks off may have done harm before: it named something harmful that can be imported.

        Words of a text and chance bytes of a picture that stand where a stream names a module name nothing that is
        there: a loader fails on them, and nothing has run.
        """
        harmful = (use for use in self.globals if use.level == "gadget")
        return self.verdict is Verdict.DANGER and any(_IMPORTABLE.match(use.module) for use in harmful)

    def merge(self, other: Facts) -> None:
        """Take over everything that `other` found; the verdict becomes the worse of the two."""
        self.verdict = max(self.verdict, other.verdict)
        for name in (
            "findings",
            "programs",
            "calls",
            "code",
            "native",
            "companions",
            "blocks",
            "effects",
            "not_scanned",
            "summary",
            "references",
            "marks",
        ):
            mine, theirs = getattr(self, name), getattr(other, name)
            mine.extend(x for x in theirs if x not in mine) if len(theirs) < 64 else mine.extend(theirs)
        self.globals = merge_globals([*self.globals, *other.globals])
        self.containers.update(other.containers)
        for kind, size in other.regions.items():
            self.regions[kind] = self.regions.get(kind, 0) + size
        for what, number in other.counts.items():
            self.counts[what] = self.counts.get(what, 0) + number
        self.weights_only = self.weights_only and other.weights_only

    def read_too(self, other: Facts) -> None:
        """Merge another reading of the same bytes: everything counts, and what this one said already is not repeated.

        Two readings put the same harm in different places; the place is all that may differ.
        """
        said = {replace(f, location="") for f in self.findings}
        other.findings = [f for f in other.findings if replace(f, location="") not in said]
        self.merge(other)

    @property
    def layout_digest(self) -> str | None:
        return canonical_digest(sorted(self.blocks)) if self.blocks else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; what is in it is shared, not copied."""
        out = dict(vars(self))
        for name in _RECORDS:
            out[name] = [vars(record) for record in out[name]]
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Facts:
        """Rebuild from a worker's answer. Raises KeyError, TypeError or ValueError where it is malformed."""
        return cls(
            format=str(data["format"]),
            verdict=Verdict(data["verdict"]),
            findings=[Finding(**{**f, "severity": Severity(f["severity"])}) for f in data["findings"]],
            programs=[Program(**{**p, "ranges": _pairs(p["ranges"])}) for p in data["programs"]],
            globals=[GlobalUse(**{**g, "raw": _pairs(g["raw"]), "verbs": tuple(g["verbs"])}) for g in data["globals"]],
            calls=[Call(**c) for c in data["calls"]],
            code=[CodeFile(**c) for c in data["code"]],
            native=[CodeFile(**c) for c in data["native"]],
            companions=[str(c) for c in data["companions"]],
            containers={str(k): str(v) for k, v in data["containers"].items()},
            blocks=[(str(m), int(o), int(n), str(d)) for m, o, n, d in data["blocks"]],
            effects=[str(e) for e in data["effects"]],
            not_scanned=[NotScanned(**n) for n in data["not_scanned"]],
            regions={str(k): int(v) for k, v in data["regions"].items()},
            summary=[str(s) for s in data["summary"]],
            weights_only=bool(data["weights_only"]),
            sha256=data["sha256"],
            counts={str(k): int(v) for k, v in data["counts"].items()},
            marks=[str(m) for m in data["marks"]],
            references=[str(r) for r in data["references"]],
        )


def merge_globals(uses: list[GlobalUse]) -> list[GlobalUse]:
    """One entry for each global: all its spellings, all its verbs, the worse of its levels."""
    merged: dict[tuple[str, str], GlobalUse] = {}
    for use in uses:
        key = (use.module, use.name)
        old = merged.get(key)
        if old is None:
            merged[key] = use
            continue
        worse = max(old, use, key=lambda u: LEVELS.index(u.level))
        merged[key] = GlobalUse(
            use.module,
            use.name,
            tuple(sorted({*old.raw, *use.raw})),
            tuple(sorted({*old.verbs, *use.verbs})),
            worse.level,
            worse.reason,
        )
    return list(merged.values())


def _pairs(rows: Any) -> tuple[tuple[Any, Any], ...]:
    return tuple((a, b) for a, b in rows)
