"""TensorFlow: SavedModels and frozen graphs, as they are or as text.

    facts = SCANNER.scan(job)

A graph is a program: `tf.saved_model.load` runs its initialisers at once and the rest when the model is called, with
operations that compute and, rarely, operations that write files, reach other machines or call Python. The whole of it
is judged by what each operation does and by where the paths come from that it opens.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable

from nbguard.formats import tf_graph, tf_text
from nbguard.formats.protobuf import BYTES, VARINT, Budget, WireError, fields
from nbguard.formats.tf_graph import MetaGraph
from nbguard.formats.view import BytesView
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners import keras_config
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.kinds import onnx
from nbguard.scanners.tables import table
from nbguard.scanners.tf_flow import SAVING, FileUse, file_uses

_AWAY = re.compile(rb"/|~|\\|[a-zA-Z][\w+.-]*://|.*(^|[/\\])\.\.([/\\]|\Z)", re.DOTALL)
_PRINTS = re.compile(rb"(stderr|stdout|log\((info|warning|error)\))?\Z")
_OTHER_FORMS = {"saved_model.cpb": "a SavedModel in several pieces"}
"""What TensorFlow loads in the place of `saved_model.pb` (`tensorflow/cc/saved_model/reader.cc`)."""
_BLANK = rb"(?:\s+|#[^\n]*\n)*+"
_TEXT_GRAPH = re.compile(_BLANK + rb"(?:node|library|versions)" + _BLANK + rb":?" + _BLANK + rb"[{<]")
_TEXT_NODE = re.compile(rb"\bop\s*:\s*[\"']")
_WORDS = (re.compile(rb"\bnode\b"), re.compile(rb"\bop\b"))
_TEXT_MODEL = re.compile(
    _BLANK + rb"(?:saved_model_schema_version[\s:]+\d+\s+)?meta_graphs" + _BLANK + rb":?" + _BLANK + rb"[{<]"
)


class TensorFlowScanner:
    name = "tensorflow"

    def recognise(self, job: Job) -> bool:
        return _which(job) is not None

    def scan(self, job: Job) -> Facts:
        found = _which(job)
        assert found is not None
        format, judge = found
        facts = plain(job, format)
        try:
            judge(job, facts)
        except WireError as error:
            facts.unverifiable("tensorflow.malformed", job.path, job.location, str(error))
        return facts


SCANNER = TensorFlowScanner()
_GRAPHS = (
    "every operation of every function, and where the paths come from that it reads or writes, through calls, joins "
    "and captured constants; assets; Keras' descriptions of its layers"
)
_MEANT = (
    "*safe*; *review* for operations of other libraries and for paths that are given or computed; *unverifiable* where "
    "it cannot be read; *danger* for operations that write, run Python or reach other machines, and for files of the "
    "machine"
)
FORMATS = (
    Format(
        "saved-model",
        "TensorFlow SavedModel",
        ("saved_model.pb", "saved_model.pbtxt"),
        "its name, or the fields of its graph; as text, by `meta_graphs`",
        _GRAPHS,
        "what numbers an operation computes; models in several pieces (`saved_model.cpb`), which are refused",
        _MEANT,
    ),
    Format(
        "tf-graph",
        "TensorFlow frozen graph",
        (".pb", ".pbtxt"),
        "an operation as its first field, or `.pb`; as text, by `node`",
        _GRAPHS,
        "what numbers an operation computes",
        _MEANT,
    ),
    Format(
        "keras-metadata",
        "Keras' descriptions beside a SavedModel",
        ("keras_metadata.pb",),
        "its name",
        "every layer's configuration, as in Keras' own files",
        "nothing",
        "as for Keras",
    ),
    Format(
        "fingerprint",
        "fingerprint of a SavedModel",
        ("fingerprint.pb",),
        "its name and its seven fields",
        "that there is nothing but numbers, a version and an identifier",
        "whether the fingerprint is that of the model",
        "*safe*; *unverifiable* where there is anything else",
    ),
)


def _which(job: Job) -> tuple[str, Callable[[Job, Facts], None]] | None:
    base = job.name.rsplit("/", 1)[-1]
    if base in _OTHER_FORMS:
        return "saved-model", _other_form
    if base == "saved_model.pb":
        return "saved-model", _saved_model
    if base == "saved_model.pbtxt" or _TEXT_MODEL.match(job.head):
        return "saved-model", _saved_model_as_text
    if _is_graph_as_text(job):
        return "tf-graph", _graph_as_text
    if base == "keras_metadata.pb":
        return "keras-metadata", _keras_metadata
    if base == "fingerprint.pb" and _is_fingerprint(job):
        return "fingerprint", _nothing
    if job.head[:1] in (b"\x08", b"\x0a", b"\x12", b"\x1a", b"\x22") and not job.container:
        kind = tf_graph.kind_of(job.view)
        if kind:
            return ("saved-model", _saved_model) if kind == "saved-model" else ("tf-graph", _frozen)
        if job.suffix == ".pb" and not onnx.is_tensor(job):
            return "tf-graph", _frozen
    return None


def _other_form(job: Job, facts: Facts) -> None:
    what = _OTHER_FORMS[job.name.rsplit("/", 1)[-1]]
    facts.unverifiable("tensorflow.form", job.path, job.location, f"This is {what}, which is not read here.")


def _nothing(job: Job, facts: Facts) -> None:
    """A fingerprint: five numbers, of which loading reads none."""


def _is_fingerprint(job: Job) -> bool:
    try:
        return all(
            f.wire == (VARINT if f.number <= 5 else BYTES) and f.number <= 7 and f.length < 200
            for f in fields(job.view, 0, job.size, Budget(20))
        )
    except WireError:
        return False


def _is_graph_as_text(job: Job) -> bool:
    """A graph by its beginning, whatever it is called; a `.pbtxt` by all that is in it, but for label maps."""
    if b"\0" in job.head or job.container or not job.size:
        return False
    if _TEXT_GRAPH.match(job.head) and _TEXT_NODE.search(job.head):
        return True
    if job.suffix not in (".pbtxt", ".textproto", ".txtpb", ".prototxt") or job.size > tf_text.MAX_TEXT:
        return False
    data = job.view.read(0, job.size)
    if not all(word.search(data) for word in _WORDS):
        return False
    try:
        return bool(tf_text.to_wire(data, tf_text.GRAPH))
    except WireError:
        return True  # TensorFlow may read what is not read here


def _as_wire(job: Job, root: tf_text.Message) -> BytesView:
    if job.size > tf_text.MAX_TEXT:
        raise WireError("The text is longer than any real one.")
    return BytesView(tf_text.to_wire(job.view.read(0, job.size), root))


def _saved_model_as_text(job: Job, facts: Facts) -> None:
    _metas(job, facts, tf_graph.read_saved_model(_as_wire(job, tf_text.SAVED_MODEL)))


def _graph_as_text(job: Job, facts: Facts) -> None:
    _one_graph(job, facts, tf_graph.read_graph(_as_wire(job, tf_text.GRAPH)))


def _saved_model(job: Job, facts: Facts) -> None:
    _metas(job, facts, tf_graph.read_saved_model(job.view))


def _metas(job: Job, facts: Facts, metas: list[MetaGraph]) -> None:
    if not metas:
        facts.unverifiable("tensorflow.malformed", job.path, job.location, "There is no graph in it.")
    for meta in metas:
        _graph(job, meta, facts)
        for file in meta.files:
            if file.startswith(("/", "~")) or ".." in file.split("/") or "\\" in file or "\0" in file or ":/" in file:
                _add(
                    job, facts, "tensorflow.asset", file, f"An asset lies outside of the model's folder: {file[:200]}."
                )
        for _, metadata in meta.objects:
            _metadata(job, metadata, facts)
    _pin(job, facts)


def _frozen(job: Job, facts: Facts) -> None:
    _one_graph(job, facts, tf_graph.read_graph(job.view))


def _one_graph(job: Job, facts: Facts, meta: MetaGraph) -> None:
    if not meta.graph.nodes and not meta.functions:
        facts.unverifiable("tensorflow.malformed", job.path, job.location, "There is no graph in it that can be read.")
    _graph(job, meta, facts)
    _pin(job, facts)


def _pin(job: Job, facts: Facts) -> None:
    """A graph is code: the digest of all its bytes, however large it is."""
    digest = hashlib.sha256()
    for at in range(0, job.size, 8 << 20):
        digest.update(job.view.read(at, 8 << 20))
    facts.code.append(CodeFile(job.path, digest.hexdigest(), "tensorflow"))
    facts.marks.append(digest.hexdigest())
    facts.regions = {"code": job.size}


def _keras_metadata(job: Job, facts: Facts) -> None:
    for _, metadata in tf_graph.saved_metadata(job.view):
        _metadata(job, metadata, facts)


def _metadata(job: Job, text: str, facts: Facts) -> None:
    """What Keras 2 stored beside each object: a configuration as JSON, which its loader builds layers from."""
    if not text.strip():
        return
    try:
        keras_config.judge(job, json.loads(text), facts, place="metadata")
    except (ValueError, RecursionError):
        facts.unverifiable("keras.config", job.path, "metadata", "An object's description is no JSON that can be read.")


# what the operations do


def _graph(job: Job, meta: MetaGraph, facts: Facts) -> None:
    rules = table("tensorflow")
    counted: Counter[str] = Counter()
    for name, graph in (("", meta.graph), *meta.functions.items()):
        for node in graph.nodes:
            counted[node.op] += 1
            where = f"{name}/{node.name}"[:300] if name else node.name[:300]
            if node.op in rules["harmful"]["operations"]:
                _harmful(job, facts, node.op, where, [v for k, v in node.texts if k != "_output_shapes"])
            elif node.op == "PrintV2" and (
                "output_stream" in node.left_open
                or any(not _PRINTS.match(v) for k, v in node.texts if k == "output_stream")
            ):
                stream = _shown(node.text("output_stream") or b"")
                _add(job, facts, "tensorflow.writes", where, f"An operation prints into a file: {stream}.")
            elif node.op in rules["debugs"]["operations"] and (
                "debug_urls" in node.left_open or any(v for k, v in node.texts if k == "debug_urls")
            ):
                _add(
                    job, facts, "tensorflow.writes", where, f"The operation {node.op} writes what passes to an address."
                )
            elif node.op in ("DecodeProtoV2", "EncodeProto") and not (node.text("descriptor_source") or b"").startswith(
                (b"local://", b"bytes://")
            ):
                _add(job, facts, "tensorflow.reads", where, "An operation reads a description of messages from a file.")
    _unknown(job, facts, [op for op in counted if op not in meta.functions], rules)
    for use in file_uses(meta):
        _file(job, facts, use, rules)
    facts.counts["operations"] = facts.counts.get("operations", 0) + sum(counted.values())


def _unknown(job: Job, facts: Facts, counted: list[str], rules: dict[str, dict[str, frozenset[str]]]) -> None:
    known = frozenset().union(*(rules[part]["operations"] for part in rules if part != "lite"))
    known |= {"PrintV2", "DecodeProtoV2", "EncodeProto"}
    strange = sorted(op for op in counted if op not in known)
    if strange:
        names = ", ".join(op[:60] for op in strange[:8])
        facts.add(
            Finding(
                "tensorflow.custom-operation",
                Severity.MEDIUM,
                job.path,
                job.location,
                f"It uses operations that TensorFlow itself does not have ({len(strange)}): {names}.",
                meaning="They do whatever the library does that has to be loaded for them.",
                remedy="Load it only with libraries that you installed on purpose.",
            ),
            Verdict.REVIEW,
        )


def _harmful(job: Job, facts: Facts, op: str, where: str, texts: list[bytes]) -> None:
    does = next((sentence for prefix, sentence in _DOES if op.startswith(prefix)), "reaches out of the model")
    evidence = ", ".join(_shown(t) for t in texts[:5])
    _add(job, facts, "tensorflow.operation", where, f"The operation {op} {does}.", evidence)


_DOES = (
    ("WriteFile", "writes a file"),
    ("PyFunc", "runs a Python function of the process that loads it"),
    ("EagerPyFunc", "runs a Python function of the process that loads it"),
    ("Save", "writes files"),
    ("Snapshot", "writes files"),
    ("CreateSummary", "writes files"),
    ("Write", "writes files"),
    ("DataService", "connects to another machine"),
    ("RemoteCall", "runs a function on another machine"),
    ("LoadDataset", "reads files"),
    ("Abort", "ends the whole process"),
)


def _file(job: Job, facts: Facts, use: FileUse, rules: dict[str, dict[str, frozenset[str]]]) -> None:
    """Judge one path of one file operation."""
    saves, restores = use.op in rules["saves"]["operations"], use.op in rules["restores"]["operations"]
    does = "writes" if saves else "reads"
    if use.path is None:
        if use.computed:
            message = f"The operation {use.op} {does} a file whose name is computed."
            _add(job, facts, "tensorflow.writes", use.where, message) if saves else _review(
                job, facts, use.where, message
            )
        elif not saves and not restores:
            message = f"The operation {use.op} reads files whose names the model is given when it is called."
            _review(job, facts, use.where, message)
        return
    if (saves or restores) and SAVING.match(use.path):
        return
    message = f"The operation {use.op} {does} the file {_shown(use.path)}."
    if saves or _AWAY.match(use.path):
        _add(job, facts, f"tensorflow.{does}", use.where, message)
    else:
        _review(job, facts, use.where, message)


def _review(job: Job, facts: Facts, where: str, message: str) -> None:
    finding = Finding("tensorflow.reads", Severity.MEDIUM, job.path, where[:300], message)
    facts.add(finding, Verdict.REVIEW)


def _add(job: Job, facts: Facts, rule: str, where: str, message: str, evidence: str = "") -> None:
    facts.add(
        Finding(
            rule,
            Severity.CRITICAL,
            job.path,
            where[:300],
            message,
            evidence=evidence[:1000],
            meaning="Initialisers run while the model is loaded, everything else when it is called; with your rights.",
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )


def _shown(value: bytes) -> str:
    return ascii(value.decode("utf-8", "backslashreplace")[:200])
