"""OpenVINO's models: an XML document of layers, and the file of numbers beside it.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import openvino_ir
from nbguard.formats.openvino_ir import OpenVINOModel
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.companions import claim
from nbguard.scanners.facts import Facts
from nbguard.scanners.other import judge as judge_other
from nbguard.scanners.tables import table

_SHOWN = 20


class OpenVINOScanner:
    name = "openvino"

    def recognise(self, job: Job) -> bool:
        return openvino_ir.looks_like(job.head) or (job.suffix == ".xml" and openvino_ir.perhaps(job.head))

    def scan(self, job: Job) -> Facts:
        try:
            model = openvino_ir.read(job.view)
        except openvino_ir.OpenVINOError as error:
            return unverifiable(
                job,
                "openvino",
                "openvino.malformed",
                str(error),
                meaning="What OpenVINO would make of it cannot be said.",
                remedy="Convert the model again with a current OpenVINO.",
            )
        facts = plain(job, "openvino")
        _judge(job, model, facts)
        facts.read_too(_as_text(job))
        return facts


SCANNER = OpenVINOScanner()


def _as_text(job: Job) -> Facts:
    """The same bytes as a text: whatever reads texts by their name reads this one too."""
    facts = judge_other(job)
    facts.regions = {}
    return facts


def _judge(job: Job, model: OpenVINOModel, facts: Facts) -> None:
    data = job.view.read(0, openvino_ir.MAX_SIZE)
    facts.code.append(CodeFile(job.path, hashlib.sha256(data).hexdigest(), "openvino"))
    facts.marks.append(facts.code[0].sha256)
    facts.counts.update(
        operations=sum(model.layers.values()), tensors=model.constants, tensor_bytes=model.constant_bytes
    )
    if model.version not in openvino_ir.VERSIONS:
        model.problems.append(f"Its version is none that OpenVINO reads: {model.version[:20] or '(none)'}.")
    for sentence in model.problems:
        facts.unverifiable(
            "openvino.malformed",
            job.path,
            job.location,
            sentence,
            meaning="What OpenVINO, which is written in C++, would make of it cannot be said.",
        )
    rules = table("openvino")
    known = {name.lower() for name in rules["layers"]}  # `SoftMax` in a document is `Softmax` in the library
    unknown = [f"{s}.{k}" for s, k in model.layers if s not in rules["sets"] or k.lower() not in known]
    if unknown:
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "openvino.layer",
            "It uses layers of a library that must be loaded first.",
            ", ".join(sorted(unknown)[:_SHOWN])[:1000],
            "What they do depends on the library that is registered for them, not on this file.",
            "Make sure that you know the library, and register none that came with the model.",
        )
    if model.paths:
        _add(
            job,
            facts,
            Severity.HIGH,
            "openvino.path",
            "A layer of it names a file or a library.",
            ", ".join(f"{k}: {a}={v!r}" for k, a, v in model.paths[:_SHOWN])[:1000],
            "No layer of OpenVINO itself does that; a library's layer may open whatever is named there.",
            "Do not load it with libraries that you do not know.",
        )
    name = openvino_ir.data_file(job.name.rsplit("/", 1)[-1], job.head)
    if not model.needed:
        return
    if not job.member and name is not None and name in job.companions:
        claim(facts, name, model.needed)
    else:
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "openvino.weights-missing",
            "Its numbers lie in another file, which is not here" + (f": {name[:200]}." if name else "."),
            "",
            "Nobody has looked at that file. The model cannot be loaded from this file alone.",
            "Put the file beside the model, under the same name with .bin.",
        )


def _add(
    job: Job, facts: Facts, severity: Severity, rule: str, message: str, evidence: str, meaning: str, remedy: str
) -> None:
    facts.add(
        Finding(rule, severity, job.path, job.location, message, evidence, meaning, remedy),
        Verdict.REVIEW,
    )


FORMATS = (
    Format(
        "openvino",
        "OpenVINO IR",
        (".xml", ".bin"),
        "an XML document whose first element is `net`; the `.bin` of the same name beside it is its data",
        "every layer by its set and type, the edges between layers, and for each constant that it has the size its "
        "shape says and lies within the `.bin`; entities and document types are refused",
        "notes (`rt_info`), which nothing is loaded from, and what the attributes of a layer say: OpenVINO "
        "checks these when it builds the layer; the `.bin` is taken for numbers and not read",
        "*safe*; *review* for layers of libraries, names of files, or a `.bin` that is not there; *unverifiable* for "
        "other versions, parts that are not known, and places beyond the `.bin`",
    ),
)
