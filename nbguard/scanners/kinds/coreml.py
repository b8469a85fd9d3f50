"""Core ML: models, the weights beside them, the manifest of a package, and compiled models.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import json
from typing import Any

from nbguard.formats import coreml_model
from nbguard.formats.coreml_model import CoreMLModel
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unread, unverifiable
from nbguard.scanners.companions import claim, plain_location
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import document, structure
from nbguard.scanners.tables import table

BESIDE = "@model_path/"
"""How a model says that a file lies in its own folder."""
_SHOWN = 20


class CoreMLScanner:
    name = "coreml"

    def recognise(self, job: Job) -> bool:
        return (
            coreml_model.is_weights(job.head)
            or _is_compiled(job)
            or _is_called_model(job)
            or coreml_model.looks_like(job.view)
        )

    def scan(self, job: Job) -> Facts:
        if coreml_model.is_weights(job.head) and not _is_called_model(job):
            return _weights(job)
        if _is_compiled(job):
            return unread(job, "coreml-compiled", "a part of a compiled Core ML model")
        try:
            model = coreml_model.read(job.view)
        except coreml_model.CoreMLError as error:
            return unverifiable(job, "coreml", "coreml.malformed", str(error), meaning=_NATIVE)
        return _judge(job, model)


SCANNER = CoreMLScanner()
_NATIVE = "What Core ML would make of it cannot be said."


def _is_called_model(job: Job) -> bool:
    """Core ML goes by the name: what is called a model has to be one, whatever else it looks like."""
    return job.suffix == ".mlmodel" and (b"\0" in job.head or job.head[:1] in (b"\x08", b"\x12"))


def _is_compiled(job: Job) -> bool:
    return job.name.endswith("/coremldata.bin") and ".mlmodelc/" in job.name


def _judge(job: Job, model: CoreMLModel) -> Facts:
    facts = plain(job, "coreml")
    facts.blocks = list(model.blocks)
    if job.size > job.limits.whole:
        facts.marks.append(structure(job, facts.blocks))
    facts.counts.update(operations=sum(model.operations.values()), tensors=len(model.blobs) + len(model.blocks))
    for what, name in dict.fromkeys(model.classes[:_SHOWN]):
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "coreml.custom-class",
            f"A {what} of it is code of the app that loads it: the class {name[:100] or '(no name)'}.",
            meaning="Core ML makes an object of that class and lets it compute; what it does is not in this file.",
        )
    for file, search in dict.fromkeys(model.linked[:_SHOWN]):
        outside = any(part and plain_location(part) is None for part in (file, search))
        _add(
            job,
            facts,
            Severity.CRITICAL if outside else Severity.MEDIUM,
            "coreml.linked-model",
            "It loads another model" + (" from outside of its folder." if outside else " by its name."),
            evidence=f"file {file[:200]!r}, search path {search[:200]!r}",
            meaning="What it computes is then not in this file, and nobody has looked at the other one.",
        )
    for kind in dict.fromkeys(model.opaque):
        facts.unverifiable(
            "coreml.opaque", job.path, job.location, f"It holds a {kind}, in a form that only Apple's libraries read."
        )
    unknown = sorted(set(model.operations) - table("coreml")["operations"])
    if unknown:
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "coreml.operation",
            "Its program uses operations that Core ML itself is not known to have.",
            evidence=", ".join(unknown[:_SHOWN])[:1000],
            meaning="What they do depends on who defines them.",
        )
    _beside(job, model, facts)
    return facts


def _beside(job: Job, model: CoreMLModel, facts: Facts) -> None:
    """The files that hold its weights: they have to lie below the model's own folder."""
    needed: dict[str, int] = {}
    for blob in model.blobs:
        name = plain_location(blob.file.removeprefix(BESIDE)) if blob.file.startswith(BESIDE) else None
        if name is None:
            _add(
                job,
                facts,
                Severity.CRITICAL,
                "coreml.outside-path",
                "It takes its numbers from a file outside of its folder.",
                evidence=repr(blob.file[:200]),
                meaning="It would read a file of yours into the model, from where it can be sent on.",
            )
        else:
            needed[name] = max(needed.get(name, 0), blob.offset + 64 + blob.nbytes)
    for name, size in needed.items():
        if name in job.companions and not job.member:
            claim(facts, name, size, known=True)
        else:
            facts.add(
                Finding(
                    "coreml.weights-missing",
                    Severity.LOW,
                    job.path,
                    job.location,
                    f"Its numbers lie in another file, which is not here: {name[:200]}.",
                    meaning="The model cannot be loaded from this file alone. That file holds numbers only.",
                    remedy="Scan the whole package that it belongs to.",
                ),
                Verdict.SAFE,
            )


def _weights(job: Job) -> Facts:
    try:
        blocks = coreml_model.weights(job.view)
    except coreml_model.CoreMLError as error:
        return unverifiable(job, "coreml-weights", "coreml.weights", str(error), meaning=_NATIVE)
    facts = plain(job, "coreml-weights")
    facts.blocks = blocks
    facts.counts.update(tensors=len(blocks), tensor_bytes=sum(b[2] for b in blocks))
    if job.size > job.limits.whole:
        facts.marks.append(structure(job, blocks))
    return facts


def from_json(job: Job) -> Facts:
    """The list of a package's files (`modelpackage/src/ModelPackage.cpp`): each lies below its folder `Data`."""
    facts = Facts(format="coreml-manifest")
    entries: Any = None
    try:
        read = document(job.view.read(0, job.size))
        entries = read.get("itemInfoEntries") if isinstance(read, dict) else None
    except ValueError as error:
        facts.unverifiable("coreml.manifest", job.path, job.location, str(error))
        return facts
    if not isinstance(entries, dict):
        facts.unverifiable("coreml.manifest", job.path, job.location, "It does not list the files of a package.")
        return facts
    paths = [entry.get("path") if isinstance(entry, dict) else None for entry in entries.values()]
    for path in paths:
        if not isinstance(path, str):
            facts.unverifiable("coreml.manifest", job.path, job.location, "It lists a file without its path.")
        elif plain_location(path) is None:
            _add(
                job,
                facts,
                Severity.CRITICAL,
                "coreml.outside-path",
                "The package takes one of its files from outside of its folder.",
                evidence=json.dumps(path)[:300],
                meaning="It would read a file of yours as a part of the model.",
            )
    return facts


def _add(
    job: Job,
    facts: Facts,
    severity: Severity,
    rule: str,
    message: str,
    *,
    evidence: str = "",
    meaning: str,
    remedy: str = "",
) -> None:
    remedy = remedy or (
        "Do not load it." if severity is Severity.CRITICAL else "Load it only where you know that part."
    )
    finding = Finding(rule, severity, job.path, job.location, message, evidence, meaning, remedy)
    if finding not in facts.findings and len(facts.findings) < 4 * _SHOWN:
        facts.add(finding, Verdict.DANGER if severity is Severity.CRITICAL else Verdict.REVIEW)
    elif severity is Severity.CRITICAL:
        facts.verdict = max(facts.verdict, Verdict.DANGER)


FORMATS = (
    Format(
        "coreml",
        "Core ML models",
        (".mlmodel", ".mlpackage/"),
        "the fields of a `Model` message, to the last byte: a version, a description and one kind of model",
        "every field of every message against the published schema; classes of the app, other models and files that it "
        "names, operations of its programs, and that the weights beside it are as long as it says",
        "what the numbers of layers and trees say to each other: Core ML's own compiler checks that first",
        "*safe*; *review* for classes of the app, unknown operations, another model by its name; *unverifiable* for "
        "kinds that only Apple's libraries read and for whatever does not fit the schema; *danger* where it takes a "
        "file from outside of its folder",
    ),
    Format(
        "coreml-weights",
        "Weights of a Core ML package",
        ("weight.bin",),
        "version 2 in its header and the mark of the first piece at byte 64",
        "every piece: type, place and length, to the last byte",
        "the numbers themselves",
        "*safe*; *unverifiable* where a length leads out of the file or over another piece",
    ),
    Format(
        "coreml-manifest",
        "Manifest of a Core ML package",
        ("Manifest.json",),
        "JSON with `itemInfoEntries`",
        "that every file it lists lies below the package",
        "authors and descriptions: text",
        "*safe*; *danger* where a path leads out of the package; *unverifiable* where it lists no files",
    ),
    Format(
        "coreml-compiled",
        "Compiled Core ML models",
        (".mlmodelc/",),
        "by its name, `coremldata.bin` in a folder `.mlmodelc`: the format has neither a mark nor a description",
        "nothing: only Apple's libraries read it",
        "all of it",
        "*unverifiable*",
        untested="Apple's compiler runs on macOS only.",
    ),
)
