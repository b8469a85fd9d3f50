"""TensorFlow Lite: operations by what they do, and every number that the runtime would follow unchecked.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import tf_graph, tflite
from nbguard.formats.flatbuffer import FlatBufferError
from nbguard.formats.protobuf import WireError
from nbguard.formats.tflite import Operation
from nbguard.formats.view import BytesView
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

_FLEX = "Flex"


class TfliteScanner:
    name = "tflite"

    def recognise(self, job: Job) -> bool:
        return job.head[4:8] == tflite.IDENTIFIER

    def scan(self, job: Job) -> Facts:
        data = job.view.data if isinstance(job.view, BytesView) else job.view.read(0, job.size)
        try:
            model = tflite.read(data)
        except FlatBufferError as error:
            return unverifiable(job, "tflite", "tflite.malformed", str(error))
        facts = plain(job, "tflite")
        for sentence in model.problems:
            facts.unverifiable(
                "tflite.bounds",
                job.path,
                job.location,
                sentence,
                meaning="The runtime follows such numbers unchecked, into memory that is not the model's.",
            )
        if model.external:
            names = ", ".join(model.external)[:200]
            _add(job, facts, Severity.HIGH, "tflite.external", f"It takes its numbers from other files: {names}.")
        for operation in model.operations:
            if operation.name.startswith(_FLEX):
                _flex(job, facts, operation)
            elif operation.name and operation.name not in table("tensorflow")["lite"]["operations"]:
                message = f"It uses the operation {operation.name[:100]}, which TensorFlow Lite itself does not have."
                _add(job, facts, Severity.MEDIUM, "tflite.custom-operation", message)
        facts.code.append(CodeFile(job.path, hashlib.sha256(data).hexdigest(), "tflite"))
        facts.blocks = list(model.blocks)
        facts.counts.update(
            tensors=model.tensors, tensor_bytes=sum(b[2] for b in model.blocks), operations=len(model.operations)
        )
        facts.marks.append(facts.code[0].sha256)
        return facts


SCANNER = TfliteScanner()
FORMATS = (
    Format(
        "tflite",
        "TensorFlow Lite, and LiteRT",
        (".tflite", ".lite"),
        "the mark `TFL3` at its fifth byte",
        "every table of the buffer; every index that the runtime follows; subgraphs that run each other; tensors by "
        "size and place, texts by their own places; Flex operations by the definition that they bring; files packed "
        "behind it",
        "what an operation's options say besides the subgraphs that it runs: its own kernel checks them",
        "*safe*; *review* for custom operations and Flex operations that read; *unverifiable* where an index leads out "
        "of the model; *danger* for Flex operations that write or run Python, and for numbers in other files",
    ),
)


def _flex(job: Job, facts: Facts, operation: Operation) -> None:
    """An operation of TensorFlow in a Lite model: what it is called, and what the description in it says it is."""
    try:
        name, definition, *_ = tflite.flex_texts(operation.options)
        node = tf_graph.read_node(definition)
    except (FlatBufferError, WireError, ValueError) as error:
        facts.unverifiable("tflite.flex", job.path, job.location, f"The operation {operation.name[:100]}: {error}")
        return
    rules = table("tensorflow")
    for op in dict.fromkeys((operation.name.removeprefix(_FLEX), name.decode("utf-8", "backslashreplace"), node.op)):
        if op in rules["computes"]["operations"]:
            continue
        if any(op in rules[part]["operations"] for part in ("harmful", "saves", "debugs")) or op == "PrintV2":
            message = f"The operation {op[:100]} writes, runs Python, or reaches out of the model."
            _add(job, facts, Severity.CRITICAL, "tensorflow.operation", message)
        else:
            does = "reads files" if any(op in rules[p]["operations"] for p in ("reads", "restores")) else "is not known"
            _add(job, facts, Severity.MEDIUM, "tflite.flex", f"The operation {op[:100]} of TensorFlow {does}.")


def _add(job: Job, facts: Facts, severity: Severity, rule: str, message: str) -> None:
    finding = Finding(
        rule,
        severity,
        job.path,
        job.location,
        message,
        meaning="It does whatever the library does that is registered for it, when the model is called.",
        remedy="Do not load it." if severity > Severity.MEDIUM else "Load it only with libraries that you trust.",
    )
    if finding not in facts.findings:
        facts.add(finding, Verdict.REVIEW if severity is Severity.MEDIUM else Verdict.DANGER)
