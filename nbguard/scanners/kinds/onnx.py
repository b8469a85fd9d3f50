"""ONNX models: a graph of operators and their tensors, in ONNX's own format.

    facts = SCANNER.scan(job)

What the standard's operators do is computing. What reaches further is said here: data files outside of the model's
folder, addresses in memory, operators of libraries, compiled contexts, operators that call Python.
"""

from __future__ import annotations

import json
import re

from nbguard.formats.expressions import acts
from nbguard.formats.onnx_model import STANDARD, OnnxError, OnnxModel, looks_like, read_model, read_tensor
from nbguard.formats.protobuf import Budget, WireError, fields
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.companions import claim, plain_location
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import structure
from nbguard.scanners.tables import table

MEMORY = "*/_ORT_MEM_ADDR_/*"
"""ONNX Runtime takes the offset of this "file" for an address in the process (`core/framework/tensorprotoutils.h`)."""
ORT_CONFIG = "ort_config"
"""Key of the metadata that ONNX Runtime takes session options from where `ORT_LOAD_CONFIG_FROM_MODEL` is set."""
_CUT_OFF = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x7f][\x20-\x7e]+[\x1a\x22\x3a\x42]")
"""How exporters begin, with the version of the format and their own name: a model even where the rest is not there."""
_LANGUAGE = re.compile(rb"\s*<[^<>]{0,200}\bir_version\s*:")
"""How a model begins in ONNX's own language (`onnx/parser.cc`)."""
_PROTOTXT = re.compile(rb"^[ \t\r]*ir_version\s*:\s*\d", re.MULTILINE)
_GRAPH = re.compile(rb"^[ \t\r]*(?:graph|opset_import)\s*:?\s*\{", re.MULTILINE)
_JSON = re.compile(rb'"(?:irVersion|ir_version|opsetImport|opset_import)"\s*:')
_NAMED = (".onnxtxt", ".onnxtext", ".textproto", ".txtpb", ".prototxt", ".pbtxt")
"""What `onnx.load` takes for a model written as text, by its name (`onnx/serialization.py`)."""
MAX_JSON = 64 << 20
MAX_TENSOR = 256 << 20
_MAX_FINDINGS = 20


class OnnxScanner:
    name = "onnx"

    def recognise(self, job: Job) -> bool:
        begins = job.head[:1] == b"\x08" and not job.container
        whole = (begins and (job.suffix == ".onnx" or bool(_CUT_OFF.match(job.head)))) or looks_like(job.view)
        return whole or _written_as_text(job) or is_tensor(job)

    def scan(self, job: Job) -> Facts:
        if _written_as_text(job):
            return _text_form(job)
        if is_tensor(job):
            return judge(job, "onnx-tensor", read_tensor(job.view))
        try:
            model = read_model(job.view)
        except OnnxError as error:
            return malformed(job, "onnx", error)
        return judge(job, "onnx", model)


SCANNER = OnnxScanner()
FORMATS = (
    Format(
        "onnx",
        "ONNX",
        (".onnx",),
        "the fields of a model, to the last byte",
        "every operator of every graph, function and training step; functions that never end; tensors by type, shape, "
        "size and place; data files beside it, which are opened with it; metadata that programs evaluate. A model "
        "written as text (`.onnxtxt`, `.textproto`, JSON) is recognised and not read",
        "the numbers, and what the operators of other libraries do",
        "*safe*; *review* for operators of libraries and compiled graphs; *unverifiable* where a size lies or it is "
        "written as text; *danger* for data outside of its folder, addresses in memory, operators that call Python, "
        "code in the metadata",
    ),
    Format(
        "onnx-tensor",
        "an ONNX tensor by itself, as test data has it",
        (".pb",),
        "the fields of one tensor, to the last byte",
        "type, shape, size, data in another file",
        "the numbers",
        "*safe*; *unverifiable* where a size lies; *danger* for data outside of its folder",
    ),
)


def is_tensor(job: Job) -> bool:
    """Test data is called `input_0.pb`, as frozen TensorFlow graphs are: a tensor has a type and numbers."""
    if job.suffix != ".pb" or job.container or job.size > MAX_TENSOR or job.head[:1] not in (b"\x08", b"\x0a", b"\x10"):
        return False
    try:
        seen = {f.number for f in fields(job.view, 0, job.size, Budget(100_000))}
        return 2 in seen and bool(seen & {4, 5, 6, 7, 9, 10, 11, 13}) and bool(read_tensor(job.view))
    except OnnxError:
        return False
    except WireError:
        return False


def _written_as_text(job: Job) -> bool:
    """What `onnx.load` parses by the file's name: its own language, Protocol Buffers as text, or JSON."""
    head = job.head
    if job.container or not job.size or b"\0" in head:
        return False
    if head.lstrip()[:1] == b"{":
        return job.size <= MAX_JSON and _is_json(job.view.read(0, job.size))
    if job.suffix in (".onnxtxt", ".onnxtext"):
        return True
    found = bool(_LANGUAGE.match(head) or (_PROTOTXT.search(head) and _GRAPH.search(head)))
    if found or job.suffix not in _NAMED or job.size > MAX_TENSOR:
        return found
    data = job.view.read(0, job.size)
    return b"ir_version" in data or b"opset_import" in data


def _is_json(data: bytes) -> bool:
    if _JSON.search(data) is None and b"\\u00" not in data:
        return False
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    said = value.keys() & {"irVersion", "ir_version", "opsetImport", "opset_import"}
    return bool(said) and isinstance(value.get("graph"), dict)


def _text_form(job: Job) -> Facts:
    return unverifiable(
        job,
        "onnx",
        "onnx.form",
        "This is an ONNX model written as text, which is not read here.",
        meaning="onnx.load takes such a file for a model by its name; what is in it was not looked at.",
        remedy="Have the model saved as .onnx, and scan that.",
    )


def malformed(job: Job, format: str, error: OnnxError) -> Facts:
    """Facts of a model that cannot be read to the end."""
    return unverifiable(
        job,
        format,
        "onnx.malformed",
        str(error),
        meaning="What its loader would make of it cannot be said.",
        remedy="Get the file again from its publisher, or export the model again with a current exporter.",
    )


def judge(job: Job, format: str, model: OnnxModel) -> Facts:
    """What the graph could do, in whichever format it came."""
    facts = plain(job, format)
    facts.blocks = [(name, offset, size, kind) for name, kind, offset, size in model.tensors]
    nbytes = sum(size for _, _, _, size in model.tensors) + sum(e.needed for e in model.external)
    facts.counts.update(tensors=len(model.tensors) + len(model.external), tensor_bytes=nbytes)
    if job.size > job.limits.whole:
        facts.marks.append(structure(job, facts.blocks))
    for rule, sentence in model.problems[:_MAX_FINDINGS]:
        facts.unverifiable(rule, job.path, job.location, sentence)
    _external(job, model, facts)
    _operators(job, model, facts)
    for key in sorted(table("onnx")["evaluated"] & model.metadata.keys()):
        _evaluated(job, key, model.metadata[key], facts)
    if ORT_CONFIG in model.metadata:
        facts.add(
            Finding(
                "onnx.session-options",
                Severity.MEDIUM,
                job.path,
                f"metadata {ORT_CONFIG}",
                "It brings options for ONNX Runtime's session.",
                evidence=model.metadata[ORT_CONFIG][:500],
                meaning="Where ORT_LOAD_CONFIG_FROM_MODEL is set, the model chooses how it is run.",
                remedy="Leave that variable unset.",
            ),
            Verdict.REVIEW,
        )
    return facts


def _evaluated(job: Job, key: str, text: str, facts: Facts) -> None:
    """Names of classes and sizes of pictures stand there as Python literals, which nothing but a literal can be."""
    what = acts(text)
    if what is not None:
        facts.add(
            Finding(
                "onnx.metadata-code",
                Severity.CRITICAL,
                job.path,
                f"metadata {key}",
                f"Where programs look for a list in the metadata, there is Python code: {what}.",
                evidence=text[:500],
                meaning="Some of them evaluate it, as YOLOv5 does, and would run it when the model is opened.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )


def _external(job: Job, model: OnnxModel, facts: Facts) -> None:
    """Data in other files: inside of the model's folder it is opened and pinned too, everything else is told."""
    needed: dict[str, int] = {}
    outside: dict[str, str] = {}
    for one in model.external:
        if one.location == MEMORY:
            facts.add(
                Finding(
                    "onnx.memory-address",
                    Severity.CRITICAL,
                    job.path,
                    one.tensor[:200],
                    "A tensor takes its numbers from an address in the memory of this process.",
                    evidence=f"location {MEMORY}, offset {one.offset}, length {one.length}"[:500],
                    meaning="It would read whatever lies there, keys and tokens included, or crash the kernel.",
                    remedy="Do not load it.",
                ),
                Verdict.DANGER,
            )
            continue
        name = plain_location(one.location)
        if name is None:
            outside.setdefault(one.location[:300], one.tensor)
            continue
        if one.length is not None and one.length != one.needed and one.needed:
            facts.unverifiable(
                "onnx.tensor-size",
                job.path,
                one.tensor[:200],
                "A tensor in another file does not have the size that its shape says.",
            )
        length = one.needed if one.length is None else one.length
        needed[name] = max(needed.get(name, 0), one.offset + length)
    for location, tensor in list(outside.items())[:_MAX_FINDINGS]:
        facts.add(
            Finding(
                "onnx.external-path",
                Severity.CRITICAL,
                job.path,
                tensor[:200],
                "A tensor takes its numbers from a file outside of the model's folder.",
                evidence=f"location {location!r}",
                meaning="It would read a file of yours into the model, from where it can be sent on.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )
    for name, size in needed.items():
        if name in job.companions:
            claim(facts, name, size)
            continue
        facts.add(
            Finding(
                "onnx.external-missing",
                Severity.MEDIUM,
                job.path,
                name[:200],
                f"Its numbers lie in another file, which is not here: {name[:200]}.",
                meaning="Nobody has looked at that file. The model cannot be loaded from this file alone.",
                remedy="Put the file beside the model, and load the model by its path.",
            ),
            Verdict.REVIEW,
        )


def _operators(job: Job, model: OnnxModel, facts: Facts) -> None:
    rules = table("onnx")
    libraries: dict[str, set[str]] = {}
    for domain, operator in model.operators:
        if operator in rules["python"] or domain in rules["python_domains"]:
            _python(job, model, domain, operator, facts)
        elif operator in rules["compiled"] and domain not in STANDARD:
            _context(job, model, domain, operator, facts)
        elif operator in rules["foreign"] or not ((domain, operator) in model.functions or _known(domain, operator)):
            libraries.setdefault(domain, set()).add(operator)
    for domain, operators in list(libraries.items())[:_MAX_FINDINGS]:
        known = domain in rules["extensions"]
        facts.add(
            Finding(
                "onnx.operator",
                Severity.LOW if known else Severity.MEDIUM,
                job.path,
                domain[:200],
                f"It uses operators of {'onnxruntime-extensions' if known else 'a library'} that must be installed.",
                evidence=", ".join(f"{domain}.{o}".lstrip(".")[:200] for o in sorted(operators)[:20]),
                meaning="What they do depends on the library that is registered for them, not on this file.",
                remedy="Make sure that you know the library, and register no library that came with the model.",
            ),
            Verdict.REVIEW,
        )


def _known(domain: str, operator: str) -> bool:
    """Whether the standard or ONNX Runtime itself has the operator."""
    rules = table("onnx")
    named = {"": "standard", "ai.onnx.ml": "ml", "com.microsoft": "microsoft"}.get(domain)
    return operator in rules[named] if named else domain in STANDARD or domain in rules["runtime"]


def _python(job: Job, model: OnnxModel, domain: str, operator: str, facts: Facts) -> None:
    told = [f"{s.name}={s.value[:200]!r}" for s in model.settings if (s.domain, s.operator) == (domain, operator)]
    facts.add(
        Finding(
            "onnx.python",
            Severity.CRITICAL,
            job.path,
            f"{domain}.{operator}"[:200],
            "An operator of it calls Python code by name.",
            evidence=", ".join(told)[:2000],
            meaning="A runtime built for it imports what is named there and runs it when the model is used.",
            remedy="Do not load it, or export the model without such operators.",
        ),
        Verdict.DANGER,
    )


def _context(job: Job, model: OnnxModel, domain: str, operator: str, facts: Facts) -> None:
    """`embed_mode` 0 names a file; 1 (the default) holds the compiled graph itself."""
    settings = [s for s in model.settings if (s.domain, s.operator) == (domain, operator)]
    outside = any(s.name == "embed_mode" and s.value == "0" for s in settings)
    where = [s.value[:200] for s in settings if s.name == "ep_cache_context"] if outside else []
    leads_out = [w for w in where if plain_location(w) is None]
    facts.add(
        Finding(
            "onnx.compiled",
            Severity.CRITICAL if leads_out else Severity.HIGH,
            job.path,
            f"{domain}.{operator}"[:200],
            "It brings a graph that is compiled for one accelerator"
            + (", in a file outside of its folder." if leads_out else ", in another file." if outside else "."),
            evidence=", ".join(repr(w) for w in where)[:500],
            meaning="Compiled graphs are machine code for whoever runs them, and cannot be judged here.",
            remedy="Use the model as it was before it was compiled.",
        ),
        Verdict.DANGER if leads_out else Verdict.UNVERIFIABLE if outside else Verdict.REVIEW,
    )
