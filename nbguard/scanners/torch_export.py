"""Archives of `torch.export.save`: a graph in JSON, raw weights, pickles of inputs and constants, compiled libraries.

    judge(job, directory, facts)

Much of the JSON becomes code: names are printed into a source text that torch compiles, sizes are evaluated by sympy,
conditions on inputs by Python, and operators are looked up in torch by their names. So every string is held to what
torch's own writer puts there. Sources: `torch/export/pt2_archive/_package.py`, `torch/_export/serde/serialize.py`.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from nbguard.artifact.model import NotScanned
from nbguard.formats.expressions import problem
from nbguard.formats.view import View
from nbguard.formats.zip_reader import STORED, ZipDirectory, ZipEntry
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

WEIGHTS, CONSTANTS, MODELS = "data/weights/", "data/constants/", "models/"
COMPILED = ("data/aotinductor/", "data/executorch/", "data/mtia/")
CUSTOM = "custom_obj_"
"""Objects of C++ classes, which torch makes by a machine of its own (`torch._C._pickle_load_obj`)."""
SOURCES = (".cpp", ".h", ".json", ".cu", ".ptx", ".metal")
"""What is text among compiled parts."""
LEGACY = "serialized_exported_program.json"
"""The graph in archives of PyTorch 2.7 and before."""
MAX_GRAPH = 512 << 20
"""Bytes of one graph's JSON."""
MAX_FINDINGS = 25
_NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_PATH = re.compile(r"[\w.@:+/ -]*\Z")
"""Dotted names of parameters and modules; no quotes, brackets or ends of lines, since they are printed into source."""
_RAW = re.compile(r"(?:weight|tensor)_\d+\Z", re.ASCII)
"""How torch calls members with raw numbers; it loads others of these folders as pickles, by their names alone."""
_NAMES = frozenset({"name", "as_name"})
_PATHS = frozenset(
    {"parameter_name", "buffer_name", "tensor_constant_name", "custom_obj_name", "user_input_name", "fqn", "class_fqn",
     "forward_arg_names", "field_names", "verifiers", "torch_version", "type"}
)  # fmt: skip
_TEXT = frozenset({"as_string", "as_strings", "metadata"})
"""Printed with `repr`, or not at all."""
_KEYED = frozenset({"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values"})
_KEYS = frozenset({"range_constraints", "as_string_to_argument", "treespec_namedtuple_fields", "opset_version"})


def judge(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    """Judge every member by what torch does with it."""
    from nbguard.scanners.zip_contents import _member, _read, _torch_names, entry_kind

    if all(e.name != LEGACY for e in directory.entries):
        _torch_names(job, directory, facts)
    facts.weights_only = False
    raw, pickled = _payloads(job, directory, facts)
    tensors = nbytes = 0
    for entry in directory.entries:
        local = _local(entry)
        if entry.name.endswith("/") and not entry.size:
            continue
        if local in raw and local not in pickled and entry.method == STORED:
            tensors, nbytes = tensors + 1, nbytes + entry.size
            facts.blocks.append((entry.name, entry.data, entry.size, entry_kind(entry)))
        elif local.startswith(COMPILED):
            _compiled(job, entry, facts)
        elif local.startswith(MODELS) or local == LEGACY:  # whatever it is called: torch cuts off five characters
            data = _read(job, entry, facts)
            if data is not None:
                _program(job, entry.name, data if isinstance(data, bytes) else data.read(0, data.size), facts)
        elif posixpath.basename(local).startswith(CUSTOM):
            _custom(job, entry, facts)
        else:
            _member(job, entry, facts)
    if tensors:
        facts.counts.update(tensors=tensors, tensor_bytes=nbytes)


def _local(entry: ZipEntry) -> str:
    """The name without the archive's own folder; the older kind has none."""
    return entry.name.partition("/")[2] if not entry.name.startswith("serialized_") else entry.name


def _payloads(job: Job, directory: ZipDirectory, facts: Facts) -> tuple[set[str], set[str]]:
    """Members that the lists of weights and constants call raw numbers, and those that they call pickles."""
    from nbguard.scanners.zip_contents import _read

    raw: set[str] = set()
    pickled: set[str] = set()
    for entry in directory.entries:
        local = _local(entry)
        folder = next((f for f in (WEIGHTS, CONSTANTS) if local.startswith(f)), None)
        if folder is None or not local.endswith("_config.json"):
            continue
        data = _read(job, entry, facts)
        try:
            listed = json.loads(data if isinstance(data, bytes) else b"")["config"]
            for item in listed.values():
                name = item["path_name"]
                if not isinstance(name, str) or type(item["use_pickle"]) is not bool:
                    raise ValueError
                (raw if _RAW.match(name) and not item["use_pickle"] else pickled).add(folder + name)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            facts.unverifiable(
                "torch.export.list", job.path, entry.name[:200], "The list of weights or constants cannot be read."
            )
    return raw, pickled


def _compiled(job: Job, entry: ZipEntry, facts: Facts) -> None:
    """torch unpacks what is here, compiles what is source, and loads what is a library."""
    from nbguard.scanners.zip_contents import _read

    data = _read(job, entry, facts)
    digest = hashlib.sha256()
    for at in range(0, entry.size, 1 << 20):
        if data is None:
            return
        digest.update(data[at : at + (1 << 20)] if isinstance(data, bytes) else data.read(at, 1 << 20))
    facts.native.append(CodeFile(f"{job.path}!{entry.name}"[:500], digest.hexdigest(), "native"))
    facts.regions["code"] += entry.size
    if data is not None:
        _library(job, entry, data, facts)
    if any(f.rule == "torch.export.compiled" for f in facts.findings):
        return
    facts.add(
        Finding(
            "torch.export.compiled",
            Severity.CRITICAL,
            job.path,
            entry.name[:200],
            "It brings code that was compiled for this program, or that torch compiles while loading.",
            meaning="torch loads it as a library into this process: machine code that can do everything you can.",
            remedy="Load it only if you compiled it yourself; else ask for the exported program without it.",
        ),
        Verdict.DANGER,
    )


def _library(job: Job, entry: ZipEntry, data: bytes | View, facts: Facts) -> None:
    """What stands out in a library, or in code for a graphics processor, by the reader of native files."""
    from nbguard.scanners.kinds.native import SCANNER as NATIVE
    from nbguard.scanners.registry import guarded

    inner = job.inside(data, member=entry.name, container="torch-export")
    if NATIVE.recognise(inner):
        judged = guarded(inner, NATIVE.name, NATIVE.scan)
        judged.regions.clear()
        judged.containers.clear()
        facts.merge(judged)
    elif not entry.name.endswith(SOURCES):
        facts.not_scanned.append(NotScanned(f"{job.path}!{entry.name}"[:500], "compiled code of no known format"))


def _custom(job: Job, entry: ZipEntry, facts: Facts) -> None:
    facts.unverifiable(
        "torch.export.custom-object",
        job.path,
        entry.name[:200],
        "It holds an object of a C++ class, which PyTorch makes in ways that cannot be looked into.",
        remedy="Export the program without custom objects.",
    )
    facts.not_scanned.append(NotScanned(f"{job.path}!{entry.name}"[:500], "an object of a C++ class"))


def _program(job: Job, member: str, data: bytes, facts: Facts) -> None:
    facts.code.append(CodeFile(f"{job.path}!{member}"[:500], hashlib.sha256(data).hexdigest(), "torch-export"))
    facts.regions["code"] += len(data)
    if len(data) > MAX_GRAPH:
        facts.unverifiable("torch.export.size", job.path, member[:200], "The graph is larger than any real one.")
        return
    try:
        program = json.loads(data)
        found = list(_look(program, "", "", 0))
    except (ValueError, RecursionError):
        facts.unverifiable("torch.export.graph", job.path, member[:200], "The graph is no JSON that can be read.")
        return
    told: set[tuple[str, str]] = set()
    for verdict, what, where, evidence in found:
        if (what, evidence) in told or len(told) >= MAX_FINDINGS:
            facts.verdict = max(facts.verdict, verdict)
            continue
        told.add((what, evidence))
        if verdict is Verdict.UNVERIFIABLE:
            facts.unverifiable("torch.export.graph", job.path, f"{member} {where}"[:300], what, evidence=evidence[:500])
            continue
        danger = verdict is Verdict.DANGER
        facts.add(
            Finding(
                "torch.export.code" if danger else "torch.export.operator",
                Severity.CRITICAL if danger else Severity.MEDIUM,
                job.path,
                f"{member} {where}"[:300],
                what,
                evidence=evidence[:500],
                meaning="torch makes Python code of it, or evaluates it, while loading or when the model is used."
                if danger
                else "What it does depends on what is installed here.",
                remedy="Do not load it." if danger else "Make sure that you know the library it belongs to.",
            ),
            verdict,
        )


Odd = tuple[Verdict, str, str, str]
"""Verdict, sentence, place, evidence."""


def _look(value: Any, key: str, where: str, depth: int) -> Iterator[Odd]:
    """Everything in the graph that torch's own writer would not put there. `key` is the nearest name above."""
    if depth > 200:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _key(name, key, where)
            below = key if key in _TEXT else "" if key in _KEYED | _KEYS else name
            yield from _look(inner, below, f"{where}.{name}"[-120:], depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _look(inner, key, where, depth + 1)
    elif isinstance(value, str):
        yield from _string(value, key, where)


def _key(name: str, key: str, where: str) -> Iterator[Odd]:
    """Keys are the schema's own words, or names of values; ranges are there for expressions of sizes too."""
    known = _NAME.match(name) or key in _TEXT or (key in _KEYS and _PATH.match(name))
    if key == "range_constraints":
        known = problem(name, functions=table("torch_export")["expressions"]) is None
    if not known:
        yield Verdict.DANGER, "A name in it is no name, and would be printed into code.", where, name


def _string(text: str, key: str, where: str) -> Iterator[Odd]:
    rules = table("torch_export")
    if key in _TEXT:
        return
    if key in _NAMES:
        if text and not _NAME.match(text):
            yield Verdict.DANGER, "A name in it is no name, and would be printed into code.", where, text
    elif key in _PATHS:
        if not _PATH.match(text):
            yield Verdict.DANGER, "A name in it is no name, and would be printed into code.", where, text
    elif key in ("target", "as_operator"):
        yield from _operator(text, where, rules)
    elif key == "expr_str":
        if found := problem(text, functions=rules["expressions"]):
            yield Verdict.DANGER, f"A size in it, which sympy evaluates, holds {found}.", where, text
    elif key == "guards_code":
        found = problem(text, functions=rules["guards"], methods=rules["guard_methods"], subscripts=True)
        if found:
            yield Verdict.DANGER, f"A condition in it, which Python evaluates, holds {found}.", where, text
    elif key in ("in_spec", "out_spec"):
        yield from _tree(text, where, rules)
    else:
        yield Verdict.UNVERIFIABLE, "It says something that is not known here.", where, text


def _operator(text: str, where: str, rules: dict[str, Any]) -> Iterator[Odd]:
    """As torch resolves it: by how it begins, then attribute by attribute."""
    first, *rest = text.split(".")
    if text in rules["functions"]:
        return
    if first == "torch" and rest[:1] == ["ops"] and len(rest) in (3, 4) and all(_NAME.match(r) for r in rest):
        namespace, operator = rest[1], rest[2]
        if operator in rules["files"] and namespace != "higher_order":
            yield Verdict.DANGER, "An operator in it reads or writes files.", where, text
        elif any(r.startswith("__") and r not in rules["underscored"] for r in rest):
            yield Verdict.DANGER, "An operator in it is no operator.", where, text
        elif namespace == "higher_order" and len(rest) == 3:
            if operator not in rules["higher_order"]:
                yield Verdict.REVIEW, "It uses an operator on graphs that is not usual.", where, text
        elif namespace not in rules["namespaces"]:
            yield Verdict.REVIEW, "It uses an operator of a library that nbguard does not know.", where, text
    elif len(rest) == 1 and rest[0] in {"_operator": rules["operators"], "math": rules["mathematics"]}.get(first, ()):
        return
    elif text.startswith(("torch", "_operator", "math")):
        yield Verdict.DANGER, "It calls a function of Python by name that is no operator.", where, text
    else:
        yield Verdict.REVIEW, "It uses an operator of a library that nbguard does not know.", where, text


def _tree(text: str, where: str, rules: dict[str, Any]) -> Iterator[Odd]:
    """The shape of inputs or outputs: known containers, keys that are plain text, nothing that is imported."""
    if not text:
        return
    try:
        nodes = [json.loads(text)[1]]
        while nodes:
            node = nodes.pop()
            nodes += node["children_spec"]
            kind, context = node["type"], node["context"]
            known = kind is None or kind in rules["trees"] or str(kind).rpartition(".")[0] in rules["tree_modules"]
            if not known:
                yield (
                    Verdict.REVIEW,
                    "An input or output of it is of a class that must be known here.",
                    where,
                    str(kind),
                )
            yield from _context(context, where, rules)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        yield Verdict.UNVERIFIABLE, "The description of its inputs cannot be read.", where, text


def _context(context: Any, where: str, rules: dict[str, Any]) -> Iterator[Odd]:
    """The keys of a container, as JSON in text or as they are. Some name a class, which is then imported."""
    if isinstance(context, str) and not _PATH.match(context):
        context = json.loads(context)
    pending = [context]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            module, name = value.get("default_factory_module"), value.get("default_factory_name")
            if "__enum__" in value or ((module, name) != (None, None) and f"{module}.{name}" not in rules["factories"]):
                yield Verdict.DANGER, "Its inputs name a module, which is imported.", where, json.dumps(value)
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and not _PATH.match(value):
            yield Verdict.DANGER, "A key of its inputs would be printed into code.", where, value


FORMATS = (
    Format(
        "torch-export",
        "Programs of `torch.export`, and packages of AOTInductor",
        (".pt2",),
        "a zip with `archive_format`, or graphs in JSON under `models/`",
        "the graph: operators, and every name, size and condition that PyTorch makes code of; pickles of inputs and "
        "constants; raw weights by place; libraries as native files",
        "sources in C++ and code for graphics processors, which are *danger* as a whole; what operators that are "
        "installed here do",
        "*safe*; *review* for operators of other libraries; *danger* for compiled code, and for texts that are more "
        "than names and arithmetic; *unverifiable* for objects of C++ classes",
    ),
)
