"""YAML that makes objects: HyperPyYAML (SpeechBrain), `_target_` (Hydra, NeMo), `!!python` tags, text that is run.

facts = SCANNER.scan(job)

Such a file names functions and classes that loading it calls. Each is judged by its dotted name: harmful ones are
danger, those of known libraries are library objects to be looked at, and a call of anything else is unexplained. Plain
YAML without any of that is left to the reader of texts. Text in it that is evaluated is for `yaml_words`, MLflow's own
file for `mlmodel`.

Sources: `hyperpyyaml/core.py` (the tags, `pydoc.locate`), `hydra/_internal/instantiate`, `nemo/core/classes/common.py`
(`target`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nbguard.formats import yaml_nodes
from nbguard.formats.yaml_nodes import Tag
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import mlmodel, yaml_words
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.config_keys import TooMuchError, leads_out
from nbguard.scanners.dotted import Judgement, judge
from nbguard.scanners.facts import Facts
from nbguard.scanners.other import MAX_TEXT

_INTERESTING = re.compile(
    rb"!(?:new|name|apply|applyref|module|include|copy|ref|tuple|list)\b|!!python|tag:yaml\.org,2002:python|%TAG|!<"
    rb"|\b(?:_target_|target|loader_module)[\"']?\s*:|^flavors\s*:",
    re.MULTILINE,
)
_SPELT = re.compile(
    rb"\\(?:[xuU][0-9A-Fa-f]{2}|\r?\n)|!\S{0,200}%[0-9A-Fa-f]{2}|(?:^|[{,\[-])[ \t]*\?\s|[{,\s]\*[^\s,\[\]{}]+\s*:",
    re.MULTILINE,
)
"""Ways to spell a key or a tag otherwise: escapes, a key behind `?` with a comment behind it, an alias as a key."""
_SUFFIXES = (".yaml", ".yml", ".hparams")
HYPERPYYAML = "hyperpyyaml.load_hyperpyyaml"
"""The loader that takes any text for such a configuration."""
_ACTS = {"!new": "makes an object of", "!apply": "calls", "!applyref": "calls", "!name": "takes", "!module": "imports"}
_HARMLESS = ("!ref", "!copy", "!tuple", "!list", "!include")
MOST_FINDINGS = 60
_PIECE, _OVERLAP = 4 << 20, 1 << 12


class ConfiguredScanner:
    name = "yaml"

    def recognise(self, job: Job) -> bool:
        asked = mlmodel.is_one(job.name) or job.loader == HYPERPYYAML
        if not asked and job.suffix not in _SUFFIXES:
            return False
        if b"\0" in job.head or job.size > MAX_TEXT:
            return False
        return asked or _has(job, (_INTERESTING, _SPELT, yaml_words.INTERESTING))

    def scan(self, job: Job) -> Facts:
        try:
            found = yaml_nodes.read(job.view.read(0, min(job.size, yaml_nodes.MAX_BYTES + 1)))
        except (ValueError, RecursionError) as error:
            return unverifiable(job, "yaml", "yaml.malformed", f"This configuration cannot be read: {error}.")
        facts = plain(job, "yaml")
        if mlmodel.is_one(job.name):
            facts.format = "mlmodel"
            if not job.member:
                facts.containers[job.path] = "mlmodel"
            mlmodel.judge(job, found, facts)
        for key in found.twice[:5]:
            facts.unverifiable(
                "yaml.twice",
                job.path,
                job.location,
                f"The key {key[:80]!r} is there twice; readers take different ones.",
            )
        try:
            _words(job, found.value, facts)
        except TooMuchError as error:
            facts.unverifiable("yaml.size", job.path, job.location, str(error))
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


def _has(job: Job, wanted: tuple[re.Pattern[bytes], ...]) -> bool:
    """Whether one of these stands in it, piece by piece: what is too large to be taken apart is no text for that."""
    for at in range(0, job.size, _PIECE):
        data = job.view.read(at, _PIECE + _OVERLAP)
        if any(pattern.search(data) for pattern in wanted):
            return True
    return False


def _words(job: Job, value: Any, facts: Facts) -> None:
    """Text that is evaluated or imported."""
    for word in yaml_words.judge(value):
        finding = Finding(
            word.rule,
            word.severity,
            job.path,
            word.where,
            word.message,
            evidence=word.evidence[:500],
            meaning=word.meaning,
            remedy="Do not load it." if word.verdict is Verdict.DANGER else "Read what it does before you accept.",
        )
        facts.add(finding, word.verdict)


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
    elif kind == "!include" and leads_out(str(name or tag.value)):
        mlmodel.outside(job, facts, f"line {tag.line}", "!include", str(name or tag.value))
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


FORMATS = (
    Format(
        "yaml",
        "configurations that make objects (HyperPyYAML, Hydra, NeMo, Ultralytics, fairseq, BentoML)",
        ("hyperparams.yaml", "config.yaml", "model_config.yaml", "*.yml"),
        "A YAML document with a tag or a key that makes something, or text that a framework evaluates; HyperPyYAML's"
        " own loader takes any text for one.",
        "Every tag and every `_target_` and `target`, each by its dotted name; resolvers of OmegaConf; layers that"
        " Ultralytics evaluates; folders and modules whose code is imported; paths that leave the folder; keys that are"
        " there twice.",
        "The arguments of what is called. Plain YAML is text. Resolvers are judged by their names: what a program has"
        " registered under them is not known.",
        "*safe*; *review* for parts of known libraries, code beside the file and unknown resolvers; *danger* for"
        " harmful names, `!!python` tags, calls that nothing explains and text that is run as Python; *unverifiable*"
        " for unknown tags and for what readers take in different ways",
    ),
)
