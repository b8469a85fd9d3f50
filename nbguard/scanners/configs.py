"""JSON, and the code that a configuration tells a library to load.

    facts = judge(job)
    facts.references    # ["py:modeling_x.py", "repo:other/name/modeling_y.py"]

Sources: `transformers/dynamic_module_utils.py` (`auto_map`, `custom_pipelines`, `custom_generate`),
`diffusers` (`model_index.json`), sentence-transformers (`modules.json`).
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

from nbguard.scanners import config_classes, templates
from nbguard.scanners.base import Job, plain, unverifiable
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
        "adapter_config.json",
        "config_sentence_transformers.json",
    }
)
"""Files that libraries look for code references in."""
_GRAPHS = (
    (frozenset({"base_code", "program"}), "nbguard.scanners.kinds.paddle"),
    (frozenset({"nodes", "heads"}), "nbguard.scanners.kinds.mxnet"),
    (frozenset({"itemInfoEntries"}), "nbguard.scanners.kinds.coreml"),
)
"""Names that are in every document of a format that is JSON too, and who judges these (`from_json`)."""
_PERHAPS_GRAPH = re.compile(rb'"(?:base_code|arg_nodes|heads|itemInfoEntries)"\s*:|\\u00[4-7]')
"""In a document that is too large to be taken apart: the names above, or a letter written in a way that hides names."""
_CLASS = re.compile(r"(?:([\w.-]+/[\w.-]+)--)?([A-Za-z_][\w.]*)\.([A-Za-z_]\w*)\Z")
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


def judge(job: Job) -> Facts | None:
    """Facts of a JSON document; None where it is none. Only the known configuration files refer to code."""
    name = job.name.rsplit("/", 1)[-1]
    try:
        value = json.loads(job.view.read(0, job.size))
    except (ValueError, RecursionError):
        if name in NAMES:
            return unverifiable(job, "json", "json.malformed", "The configuration is no JSON that can be read.")
        return None
    facts = plain(job, "json")
    for finding, verdict in config_classes.findings(job.path, value):
        facts.add(finding, verdict)
    for where, source in templates.in_configuration(value):
        templates.judge(job, source, where, facts, pin=False)
    for keys, module in _GRAPHS:
        if isinstance(value, dict) and keys <= value.keys():
            graph = importlib.import_module(module).from_json(job)
            facts.format = "json" if name in NAMES else graph.format
            facts.read_too(graph)
    if name not in NAMES:
        return facts
    folder = job.path.rpartition("/")[0]
    for kind, where in config_classes.own_code(name, value):
        facts.references += [f"{kind}:{folder}/{where}" if folder and kind == "maybe" else f"{kind}:{where}"]
    for reference in _references(name, value):
        match = _CLASS.match(reference) if isinstance(reference, str) else None
        if match is None:
            facts.unverifiable(
                "config.reference",
                job.path,
                "auto_map",
                "It names code in a way that is not understood.",
                evidence=repr(reference)[:200],
            )
            continue
        repository, module, _ = match.groups()
        relative = module.replace(".", "/") + ".py"
        where = (
            f"repo:{repository}/{relative}" if repository else "py:" + (f"{folder}/{relative}" if folder else relative)
        )
        if where not in facts.references and len(facts.references) < _MAX_REFERENCES:
            facts.references.append(where)
    return facts


def _references(name: str, value: Any) -> list[Any]:
    """Everything in the document that libraries would take for the name of a class to import from the repository."""
    if not isinstance(value, dict):
        return []
    found: list[Any] = []
    auto = value.get("auto_map")
    for entry in auto.values() if isinstance(auto, dict) else [auto] if isinstance(auto, str) else []:
        found += [e for e in (entry if isinstance(entry, list) else [entry]) if e is not None]
    pipelines = value.get("custom_pipelines")
    if isinstance(pipelines, dict):
        found += [p.get("impl") for p in pipelines.values() if isinstance(p, dict)]
    for inner in ("vision_config", "text_config", "audio_config"):
        if isinstance(value.get(inner), dict):
            found += _references(name, value[inner])
    return found
