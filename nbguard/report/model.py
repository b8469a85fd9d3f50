"""Findings, the contract, and the report.

report = nbguard.scan("model.pt")
if report.verdict is Verdict.SAFE: ...
report.to_json()["contract"]["globals"]
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbguard.artifact.model import Artifact, canonical_digest
from nbguard.artifact.model import NotScanned as NotScanned
from nbguard.report.advice import Advice

SCHEMA = "nbguard.report/1"
_SAID = "publisher."
"""How rules begin that tell what a Hub says."""


class Verdict(enum.IntEnum):
    """What a load would be, from harmless to worst; the order is the order of the design."""

    SAFE = 0
    """Only explained data."""
    REVIEW = 1
    """Library objects or code that a person should look at; nothing known to be harmful."""
    UNVERIFIABLE = 2
    """Could not be read to the end. Never safe, and no way to accept it."""
    DANGER = 3
    """A known gadget, an unexplained call, code that acts at import."""

    @property
    def word(self) -> str:
        return self.name.lower()


class Severity(enum.IntEnum):
    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One fact. Every string may hold text from the model: escape it where it is shown."""

    rule: str
    """Stable id, `pickle.gadget`, `zip.duplicate-member`, `code.remote`, …"""
    severity: Severity
    file: str
    """Path within the artifact."""
    location: str
    """Where in the file: `data.pkl @ 0x12`, `line 40`, or empty."""
    message: str
    """What it is, in one plain sentence, bounded."""
    evidence: str = ""
    """The literal thing seen: the call with its arguments, the line of code. Bounded to 2,000 characters."""
    meaning: str = ""
    """Why it matters."""
    remedy: str = ""
    """What to do."""

    def to_json(self) -> dict[str, str]:
        return {
            "rule": self.rule,
            "severity": self.severity.word,
            "file": self.file,
            "location": self.location,
            "message": self.message,
            "evidence": self.evidence,
            "meaning": self.meaning,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Program:
    """One pickle program: the opcode bytes that a machine would run, raw arrays and storages left out."""

    file: str
    member: str
    """Path in the container (`archive/data.pkl`), or empty."""
    offset: int
    """Of the first opcode, in bytes from the start of the file or, with a member or a compression, of its
    decompressed bytes."""
    length: int
    """Bytes of opcodes, without the ranges cut out."""
    sha256: str
    """Of exactly those opcode bytes."""
    container: str
    """`pickle`, `torch-zip`, `torch-legacy`, `torch-tar`, `torchscript`, `joblib`, `npy`, `npz`, `nested`."""
    compression: str = ""
    """`gzip`, `zlib`, `bz2`, `xz`, `lzma`, `lz4`, or empty."""
    ranges: tuple[tuple[int, int], ...] = ()
    """(offset, length) of every raw block that lies inside the program's extent and was cut out."""

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "member": self.member,
            "offset": self.offset,
            "length": self.length,
            "sha256": self.sha256,
            "container": self.container,
            "compression": self.compression,
            "ranges": [list(r) for r in self.ranges],
        }


@dataclass(frozen=True)
class GlobalUse:
    """One global that a program names, and everything that is done to it."""

    module: str
    """As Python 3 resolves it, after `_compat_pickle`."""
    name: str
    """Qualified, dots as in the stream."""
    raw: tuple[tuple[str, str], ...]
    """The spellings in the streams (module, name)."""
    verbs: tuple[str, ...]
    """Sorted, of `named`, `newobj`, `reduce`, `build`, `mutated`."""
    level: str
    """`data`, `library`, `unknown` (to be looked at), `gadget` (known harmful or an unexplained call)."""
    reason: str = ""
    """Why it is on that level; the allowlist's own reason where it has one."""

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def makes_objects(self) -> bool:
        """Whether it is used as a class: for making objects, or for what they are filled with."""
        return bool({"newobj", "build", "mutated"} & set(self.verbs))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.dotted,
            "module": self.module,
            "qualname": self.name,
            "raw": [list(r) for r in self.raw],
            "verbs": list(self.verbs),
            "level": self.level,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Call:
    """A call whose literal arguments had to be checked, or that is not explained."""

    target: str
    """Dotted name of what is called."""
    arguments: str
    """Bounded `repr` of the literal arguments."""
    program: str
    """sha256 of the program it is in."""

    def to_json(self) -> dict[str, str]:
        return {"target": self.target, "arguments": self.arguments, "program": self.program}


@dataclass(frozen=True)
class CodeFile:
    """Source (or TorchScript, fx, template) that loading would execute, by digest of the bytes to be executed."""

    path: str
    sha256: str
    kind: str = "python"

    def to_json(self) -> dict[str, str]:
        return {"path": self.path, "sha256": self.sha256, "kind": self.kind}


@dataclass(frozen=True)
class Contract:
    """What loading may do. Enforced at load time in the order bytes, names, effects."""

    programs: tuple[Program, ...] = ()
    globals: tuple[GlobalUse, ...] = ()
    calls: tuple[Call, ...] = ()
    code: tuple[CodeFile, ...] = ()
    native: tuple[CodeFile, ...] = ()
    companions: tuple[str, ...] = ()
    """Files beside the main one that it may open (joblib's `.npy` companions), relative."""
    containers: Mapping[str, str] = field(default_factory=dict)
    """File → the one container kind that was scanned; a load that takes it for another kind is stopped."""
    layout: Mapping[str, str] = field(default_factory=dict)
    """File → sha256 over (offset, length, validated dtype) of every raw block."""
    effects: tuple[str, ...] = ()
    """Audit events that may happen; empty unless a person accepted a known effect."""
    local_modules: Mapping[str, str] = field(default_factory=dict)
    """Module of the person's own (`utils`, `__main__`) → digest of its code, where a program names one."""

    def body(self) -> dict[str, Any]:
        """Everything but the digest, in canonical order."""
        return {
            "programs": [p.to_json() for p in self.programs],
            "globals": [g.to_json() for g in sorted(self.globals, key=lambda g: (g.module, g.name))],
            "calls": [c.to_json() for c in self.calls],
            "code": [c.to_json() for c in sorted(self.code, key=lambda c: c.path)],
            "native": [c.to_json() for c in sorted(self.native, key=lambda c: c.path)],
            "companions": sorted(self.companions),
            "containers": dict(sorted(self.containers.items())),
            "layout": dict(sorted(self.layout.items())),
            "effects": sorted(self.effects),
            "local_modules": dict(sorted(self.local_modules.items())),
        }

    @property
    def digest(self) -> str:
        return canonical_digest(["nbguard.contract/1", self.body()])

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, **self.body()}


@dataclass(frozen=True)
class FileReport:
    """The verdict on one file."""

    path: str
    size: int
    format: str
    verdict: Verdict
    inert: bool = False
    sha256: str | None = None
    pin: str = ""
    """See `ArtifactFile.pin`."""
    regions: Mapping[str, int] = field(default_factory=dict)
    """Bytes by what they are: `data`, `code` (pickle programs and source), `unknown`. For the small picture."""

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "path": self.path,
            "size": self.size,
            "format": self.format,
            "verdict": self.verdict.word,
            "inert": self.inert,
            "pin": self.pin,
            "regions": dict(self.regions),
        }
        if self.sha256:
            out["sha256"] = self.sha256
        return out


@dataclass(frozen=True)
class Report:
    """artifact + findings + contract (+ provenance): the one thing that every face renders."""

    target: str
    """As the person gave it."""
    artifact: Artifact
    files: tuple[FileReport, ...]
    findings: tuple[Finding, ...] = ()
    contract: Contract = field(default_factory=Contract)
    not_scanned: tuple[NotScanned, ...] = ()
    summary: tuple[str, ...] = ()
    """Plain sentences of what loading would do. Hostile text in them is bounded, not escaped."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Where it came from: `source`, `commit`, `publisher`, `path`, `modified`, …"""
    rules_version: str = ""
    weights_only: bool = False
    """Every program is one that torch's own restricted machine (`weights_only=True`) can run."""
    seconds: float = 0.0
    """Wall time of the scan."""
    floor: Verdict = Verdict.SAFE
    """What is judged no better, whatever its files hold: a name that was made to be taken for another one."""
    advice: Advice = field(default_factory=Advice)
    """The name that was meant, what changed, better ways to load. Decides nothing."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the files that a loader would open; no such file at all is unverifiable."""
        found = worst(f.verdict for f in self.files if not f.inert)
        return found if found is Verdict.UNVERIFIABLE else max(found, self.floor)

    @property
    def false_name(self) -> Finding | None:
        """The finding that says that its name was made to be taken for another one; None where there is none."""
        return next((f for f in self.findings if f.rule.startswith("name.") and f.severity >= Severity.CRITICAL), None)

    @property
    def top_severity(self) -> Severity:
        """The worst of what was found, as an approval counts it. What a Hub says of a publisher or not, as it likes and
        is reached, counts from *high* on: what was approved does not have to be approved again for less."""
        counted = (f.severity for f in self.findings if f.severity >= Severity.HIGH or not f.rule.startswith(_SAID))
        return max(counted, default=Severity.INFO)

    def to_json(self) -> dict[str, Any]:
        artifact: dict[str, Any] = {"digest": self.artifact.digest, "kind": self.artifact.kind}
        if self.artifact.commit:
            artifact["commit"] = self.artifact.commit
        return {
            "target": self.target,
            "verdict": self.verdict.word,
            "artifact": artifact,
            "files": [f.to_json() for f in self.files],
            "findings": [f.to_json() for f in self.findings],
            "contract": self.contract.to_json(),
            "not_scanned": [n.to_json() for n in self.not_scanned],
            "summary": list(self.summary),
            "provenance": dict(self.provenance),
            "rules_version": self.rules_version,
            "seconds": round(self.seconds, 4),
            **self.advice.to_json(),
        }


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst verdict; of nothing at all, unverifiable: nothing was shown to be harmless."""
    return max(verdicts, default=Verdict.UNVERIFIABLE)


def document(reports: Iterable[Report]) -> dict[str, Any]:
    """The JSON document that `nbguard scan --format json` prints."""
    return {"schema": SCHEMA, "reports": [r.to_json() for r in reports]}
