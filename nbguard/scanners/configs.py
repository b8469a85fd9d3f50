"""JSON, and what a configuration tells a library to load.

    facts = judge(job)
    facts.references    # ["py:modeling_x.py", "repo:other/name/modeling_y.py"]

Sources: `transformers/dynamic_module_utils.py` (`auto_map`, `custom_pipelines`, `custom_generate`),
`diffusers` (`model_index.json`), sentence-transformers (`modules.json`), and what `rules/tables/repository.toml` names.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from typing import Any

from nbguard.artifact.model import NotScanned
from nbguard.scanners import config_classes, config_keys, config_places, templates, tokenizer_json
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts

NAMES = frozenset(
    {
        "config.json",
        "tokenizer_config.json",
        "processor_config.json",
        "preprocessor_config.json",
        "generation_config.json",
        "image_processor_config.json",
        "video_preprocessor_config.json",
        "feature_extractor_config.json",
        "modules.json",
        "model_index.json",
        "modular_model_index.json",
        "adapter_config.json",
        "config_sentence_transformers.json",
    }
)
"""Files that libraries look for code references in: no JSON of such a name may be unreadable."""
_CONFIGURATION = re.compile(r"config|index\.json\Z|speaker_embeddings_path\.json\Z|modules\.json\Z")
"""Names of others that hold such keys too: `scheduler_config.json`, `config.4.0.0.json`, `open_clip_config.json`."""
_GRAPHS = (
    (frozenset({"base_code", "program"}), "nbguard.scanners.kinds.paddle"),
    (frozenset({"nodes", "heads"}), "nbguard.scanners.kinds.mxnet"),
    (frozenset({"itemInfoEntries"}), "nbguard.scanners.kinds.coreml"),
)
"""Names that are in every document of a format that is JSON too, and who judges these (`from_json`)."""
_PERHAPS_GRAPH = re.compile(
    rb'"(?:base_code|arg_nodes|heads|itemInfoEntries|irVersion|ir_version|opsetImport|opset_import)"\s*:|\\u00[4-7]'
)
"""In a document that is too large to be taken apart: the names above, or a letter written in a way that hides names."""
_CLASS = re.compile(r"(?:([\w.-]+/[\w.-]+)--)?([A-Za-z_][\w.]*)\.([A-Za-z_]\w*)\Z")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+\Z", re.ASCII)
_MAX_REFERENCES = 1000
MAX_JSON = 64 << 20
"""Bytes; larger documents are only text."""


def perhaps_graph(job: Job) -> bool:
    """Whether a document that is too large to be taken apart may be a model's."""
    rest = b""
    for at in range(0, job.size, 1 << 22):
        piece = rest + job.view.read(at, 1 << 22)
        if _PERHAPS_GRAPH.search(piece):
            return True
        rest = piece[-32:]
    return False


def is_configuration(name: str) -> bool:
    """Whether libraries look for references in JSON of this name, which a disk may find in other letters too."""
    name = name.rsplit("/", 1)[-1].lower()
    return name.endswith(".json") and (name in NAMES or _CONFIGURATION.search(name) is not None)


def judge(job: Job) -> Facts | None:
    """Facts of a JSON document; None where it is none. Only configuration files refer to code."""
    name = job.name.rsplit("/", 1)[-1].lower()
    try:
        value = json.loads(job.view.read(0, job.size))
    except RecursionError:
        if is_configuration(name):
            return unverifiable(job, "json", "json.malformed", "The configuration is nested more deeply than is read.")
        return None
    except ValueError:
        if name in NAMES:
            return unverifiable(job, "json", "json.malformed", "The configuration is no JSON that can be read.")
        return None
    facts = plain(job, "json")
    path = job.name if job.member else job.path
    for finding, verdict in (
        *config_classes.findings(path, value, job.companions),
        *config_places.findings(path, value),
        *tokenizer_json.findings(path, value),
    ):
        facts.add(finding, verdict)
    for where, source in templates.in_configuration(value):
        templates.judge(job, source, where, facts, pin=False)
    for keys, module in _GRAPHS:
        if isinstance(value, dict) and keys <= value.keys():
            graph = importlib.import_module(module).from_json(job)
            facts.format = "json" if name in NAMES else graph.format
            facts.read_too(graph)
    if not is_configuration(name):
        return facts
    try:
        _keys(path, value, facts)
        _code(job, name, value, facts)
    except config_keys.TooMuchError as error:
        facts.unverifiable("json.size", job.path, "", str(error))
    return facts


def _keys(path: str, value: Any, facts: Facts) -> None:
    for said in config_keys.judge(path, value):
        facts.add(said.finding, said.verdict)
        if said.elsewhere:
            facts.not_scanned.append(
                NotScanned(said.elsewhere, f"{said.finding.location} names it, and it is not here")
            )


def _code(job: Job, name: str, value: Any, facts: Facts) -> None:
    """The code that the document names, as references for `references.resolve`."""
    folder = job.path.rpartition("/")[0]
    seen: set[str] = set()
    odd = 0
    for kind, where in config_classes.own_code(name, value):
        facts.references += [f"{kind}:{folder}/{where}" if folder and kind == "maybe" else f"{kind}:{where}"]
    for reference, other in _references(value):
        match = _CLASS.match(reference) if isinstance(reference, str) and len(reference) <= 500 else None
        odd += match is None
        if match is None and odd <= config_keys.MAX_FOUND:
            facts.unverifiable(
                "config.reference",
                job.path,
                "auto_map",
                "It names code in a way that is not understood.",
                evidence=repr(reference)[:200],
            )
        if match is None:
            continue
        repository, module, _ = match.groups()
        relative = module.replace(".", "/") + ".py"
        if not repository and relative not in job.companions and _REPOSITORY.match(other):
            repository = other
        where = (
            f"repo:{repository}/{relative}" if repository else "py:" + (f"{folder}/{relative}" if folder else relative)
        )
        if where not in seen and len(seen) < _MAX_REFERENCES:
            facts.references.append(where)
        elif where not in seen:
            facts.unverifiable("config.reference", job.path, "auto_map", "It names more code than any model has.")
            return
        seen.add(where)


def _references(value: Any) -> Iterator[tuple[Any, str]]:
    """Everything in the document that libraries would take for the name of a class to import from the repository.

    Code of a part of the configuration comes from the repository that the part itself names
    (`AutoModel.from_config` takes `_name_or_path` in `transformers/models/auto/auto_factory.py`), where it is not here.
    """
    top = [(value, "")] if isinstance(value, dict) else []
    for part, other in (*top, *((p, str(p.get("_name_or_path") or "")) for p in _below(value))):
        auto = part.get("auto_map")
        for entry in auto.values() if isinstance(auto, dict) else auto if isinstance(auto, list) else [auto]:
            yield from ((e, other) for e in (entry if isinstance(entry, list) else [entry]) if e is not None)
        pipelines = part.get("custom_pipelines")
        if isinstance(pipelines, dict):
            yield from ((p.get("impl"), other) for p in pipelines.values() if isinstance(p, dict))


def _below(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping below the top one, that holds a key of code."""
    for _, _, inner in config_keys.walk(value):
        for part in inner if isinstance(inner, list) else (inner,):
            if isinstance(part, dict) and ("auto_map" in part or "custom_pipelines" in part):
                yield part


FORMATS = (
    Format(
        "json",
        "configurations of models (JSON)",
        ("config.json", "tokenizer_config.json", "adapter_config.json", "modules.json", "model_index.json"),
        "The whole file is JSON; its name says what its keys mean.",
        "Every key, at any depth, that makes transformers, peft, sentence-transformers, diffusers, timm or open_clip"
        " import code, fetch kernels, open a file or load another repository; classes that are named to be imported;"
        " folders of parts and names of shards; chat templates; what a tokenizer rewrites.",
        "Whether the values make a working model. Other repositories that are named: they are listed, and are looked at"
        " when they are loaded. Keys that only code of the model itself reads: that code is judged as code.",
        "*safe*; *review* for classes of other packages, kernels of transformers' own publisher and paths of some"
        " machine; *unverifiable* for code and kernels of other repositories; *danger* for classes of Python itself and"
        " for files outside of the repository",
    ),
)
