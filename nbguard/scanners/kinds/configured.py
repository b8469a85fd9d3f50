"""YAML that makes objects: HyperPyYAML (SpeechBrain), `_target_` (Hydra, NeMo), MLmodel (MLflow), `!!python` tags.

facts = SCANNER.scan(job)

Such a file names functions and classes that loading it calls. Each is judged by its dotted name: harmful ones are
danger, those of known libraries are library objects to be looked at, and a call of anything else is unexplained. Plain
YAML without any of that is left to the reader of texts.

Sources: `hyperpyyaml/core.py` (the tags, `pydoc.locate`), `hydra/_internal/instantiate`, `nemo/core/classes/common.py`
(`target`), `mlflow/pyfunc/__init__.py` and `mlflow/utils/model_utils.py` (`loader_module`, `code`, `data`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nbguard.formats import yaml_nodes
from nbguard.formats.yaml_nodes import Reading, Tag
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.dotted import Judgement, judge
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

_INTERESTING = re.compile(
    rb"!(?:new|name|apply|applyref|module|include|copy|ref|tuple|list)\b|!!python|tag:yaml\.org,2002:python|%TAG|!<"
    rb"|\b(?:_target_|target|loader_module)[\"']?\s*:|^flavors\s*:",
    re.MULTILINE,
)
_SUFFIXES = (".yaml", ".yml", ".hparams")
MLMODEL = "MLmodel"
HYPERPYYAML = "hyperpyyaml.load_hyperpyyaml"
"""The loader that takes any text for such a configuration."""
_ACTS = {"!new": "makes an object of", "!apply": "calls", "!applyref": "calls", "!name": "takes", "!module": "imports"}
_HARMLESS = ("!ref", "!copy", "!tuple", "!list", "!include")
_PATHS = ("code", "data", "model_code_path", "model_config", "pickled_model", "model_data", "python_model", "env")
"""Keys of an MLmodel's flavours that are paths below its folder."""
MOST_FINDINGS = 60


class ConfiguredScanner:
    name = "yaml"

    def recognise(self, job: Job) -> bool:
        base = job.name.rsplit("/", 1)[-1]
        asked = base == MLMODEL or job.loader == HYPERPYYAML
        if not asked and job.suffix not in _SUFFIXES:
            return False
        if b"\0" in job.head or job.size > yaml_nodes.MAX_BYTES:
            return False
        return asked or bool(_INTERESTING.search(job.view.read(0, job.size)))

    def scan(self, job: Job) -> Facts:
        try:
            found = yaml_nodes.read(job.view.read(0, job.size))
        except (ValueError, RecursionError) as error:
            return unverifiable(job, "yaml", "yaml.malformed", f"This configuration cannot be read: {error}.")
        facts = plain(job, "yaml")
        if job.name.rsplit("/", 1)[-1] == MLMODEL:
            facts.format = "mlmodel"
            if not job.member:
                facts.containers[job.path] = "mlmodel"
            _mlmodel(job, found, facts)
        for key in found.twice[:5]:
            facts.unverifiable(
                "yaml.twice",
                job.path,
                job.location,
                f"The key {key[:80]!r} is there twice; readers take different ones.",
            )
        for tag in found.tags[:MOST_FINDINGS]:
            _tag(job, tag, facts)
        for key, name in _targets(found.value)[:MOST_FINDINGS]:
            _add(job, facts, _judged(job, name, True), key, "makes an object of", name, 0)
        if len(found.tags) > MOST_FINDINGS or len(_targets(found.value)) > MOST_FINDINGS:
            rest = [judge(_name(t.name)[1], called=True) for t in found.tags[MOST_FINDINGS:]]
            rest += [judge(name, called=True) for _, name in _targets(found.value)[MOST_FINDINGS:]]
            facts.verdict = max([facts.verdict, *(r.verdict for r in rest)])
        return facts


SCANNER = ConfiguredScanner()


def _tag(job: Job, tag: Tag, facts: Facts) -> None:
    kind, name = _name(tag.name)
    if tag.name.startswith("!!python/") or "python/" in tag.name:
        facts.add(
            Finding(
                "yaml.python",
                Severity.CRITICAL,
                job.path,
                f"line {tag.line}",
                f"It has the tag {tag.name[:120]}, with which YAML calls any function of Python.",
                evidence=tag.name[:500],
                meaning="Reading this file with an unsafe reader, as HyperPyYAML does, runs what it names.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )
    elif kind in _ACTS:
        _add(job, facts, _judged(job, name, kind != "!name"), kind, _ACTS[kind], name, tag.line)
    elif kind == "!include" and not _inside(str(name or tag.value)):
        _outside(job, facts, f"line {tag.line}", "!include", str(name or tag.value))
    elif kind not in _HARMLESS:
        facts.unverifiable(
            "yaml.tag", job.path, f"line {tag.line}", f"It has the tag {tag.name[:120]}, which nobody here knows."
        )


def _judged(job: Job, name: str, called: bool) -> Judgement:
    """As any name; one of a module beside the configuration is one of code that is scanned by itself."""
    found = judge(name, called=called)
    if found.rule == "call" and f"{name.partition('.')[0]}.py" in job.companions:
        return Judgement("own", Severity.MEDIUM, Verdict.REVIEW, ", of the code beside this file.")
    return found


def _name(tag: str) -> tuple[str, str]:
    kind, _, name = tag.partition(":")
    return kind, name


def _add(job: Job, facts: Facts, found: Judgement, key: str, does: str, name: str, line: int) -> None:
    if found.verdict is Verdict.SAFE:
        return
    facts.add(
        Finding(
            f"yaml.{found.rule}",
            found.severity,
            job.path,
            f"line {line}" if line else key[:100],
            f"It {does} {name[:120]}{found.why}",
            evidence=f"{key}: {name}"[:500],
            meaning="Whoever wrote this file chose what is called, and with which arguments.",
            remedy=found.remedy,
        ),
        found.verdict,
    )


def _targets(value: Any) -> list[tuple[str, str]]:
    """(key, dotted name) of everything that Hydra or NeMo would make an object of, each part of the document once."""
    return list(_walk(value, set()))


def _walk(value: Any, seen: set[int]) -> Iterator[tuple[str, str]]:
    pending = [value]
    while pending:
        part = pending.pop()
        if id(part) in seen or not isinstance(part, dict | list):
            continue
        seen.add(id(part))
        if isinstance(part, list):
            pending += part
            continue
        for key, inner in part.items():
            if key == "_target_" or (
                key == "target" and isinstance(inner, str) and re.fullmatch(r"[\w.]+\.\w+", inner)
            ):
                yield key, inner if isinstance(inner, str) else "?"
        pending += part.values()


# MLmodel


def _mlmodel(job: Job, found: Reading, facts: Facts) -> None:
    flavors = found.value.get("flavors") if isinstance(found.value, dict) else None
    if not isinstance(flavors, dict):
        facts.unverifiable("mlmodel.flavors", job.path, "flavors", "It names no way of loading the model.")
        return
    folder = job.path.rpartition("/")[0]
    for flavor, conf in flavors.items():
        if not isinstance(conf, dict):
            facts.unverifiable("mlmodel.flavors", job.path, flavor[:80], "The flavour is no table.")
            continue
        code = conf.get("code")
        if isinstance(code, str) and code not in ("", "null") and _inside(code):
            facts.references.append(f"below:{folder}/{code}" if folder else f"below:{code}")
        own = conf.get("model_code_path")
        if isinstance(own, str) and own:
            facts.references.append(f"py:{folder}/{own.rsplit('/', 1)[-1]}".replace("py:/", "py:"))
        for key in _PATHS:
            path = conf.get(key)
            if key != "model_code_path" and isinstance(path, str) and not _inside(path):
                _outside(job, facts, f"{flavor}.{key}"[:100], key, path)
        _loader(job, facts, flavor, conf, bool(code))


def _loader(job: Job, facts: Facts, flavor: str, conf: dict[str, Any], own_code: bool) -> None:
    name = conf.get("loader_module")
    if name is None or name in table("frameworks")["loaders"]["modules"]:
        return
    facts.add(
        Finding(
            "mlmodel.loader",
            Severity.MEDIUM if own_code else Severity.HIGH,
            job.path,
            f"{flavor}.loader_module"[:100],
            f"The model is loaded by the module {str(name)[:120]!r}, which is none of MLflow's own.",
            meaning="It is imported, and its function _load_pyfunc is called."
            + (" It comes from the code beside the model." if own_code else ""),
            remedy="Read that module before you accept.",
        ),
        Verdict.REVIEW,
    )


def _outside(job: Job, facts: Facts, where: str, key: str, path: str) -> None:
    facts.add(
        Finding(
            "yaml.outside",
            Severity.HIGH,
            job.path,
            where,
            f"Its {key} leads out of the model's folder: {path[:200]}",
            meaning="Other files of this machine would be loaded, or imported, in the place of the model's own.",
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )


def _inside(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return not path.startswith(("/", "~", "\\")) and ".." not in parts and ":" not in parts[0]
