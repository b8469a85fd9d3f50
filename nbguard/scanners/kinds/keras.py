"""Keras' own files: the `.keras` zip, and the configuration of a model that was saved as a folder.

    facts = SCANNER.scan(job)                   # config.json
    archive(job, directory, facts, member)      # what the scanner of zips asks for

A `.keras` file is a zip of `config.json`, `metadata.json`, `model.weights.h5` (or `.npz`) and `assets/`
(`keras/src/saving/saving_lib.py`); as a folder it is the same files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from nbguard.formats.view import View
from nbguard.formats.zip_reader import ZipDirectory, ZipEntry
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import keras_config
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.companions import plain_location
from nbguard.scanners.facts import Facts

CONFIG = "config.json"
_INDEX = "weights.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz", "metadata.json")
MAX_CONFIG = 256 << 20
"""Bytes; configurations of the largest models are a few megabytes."""
_NAMES_CLASS = re.compile(rb'"class_name"|\\u00[46][0-9a-fA-F]|\\u00[57][0-9aA]|\\u005[fF]')
"""The key itself, or letters of a key in escapes, which nobody writes and every reader of JSON takes."""


class KerasConfigScanner:
    """A configuration as a file of its own. What else a JSON document may be is judged as well."""

    name = "keras-config"

    def recognise(self, job: Job) -> bool:
        if job.begins != b"{" or job.size > MAX_CONFIG or job.container == "keras":
            return False
        if job.name.endswith(_INDEX):
            return True
        data = job.view.read(0, job.size)
        if _NAMES_CLASS.search(data) is None and not _asked_for(job):
            return False
        return _names_objects(_parsed(data))

    def scan(self, job: Job) -> Facts:
        from nbguard.scanners.other import judge

        facts = plain(job, "keras-config")
        facts.read_too(judge(job))
        config = _parsed(job.view.read(0, job.size))
        if config is None:
            facts.unverifiable("keras.config", job.path, job.location, "The configuration is no JSON that can be read.")
        else:
            keras_config.judge(job, config, facts, place=job.member)
        if job.name.endswith(_INDEX) and isinstance(config, dict):
            _shards(job, config, facts)
        return facts


SCANNER = KerasConfigScanner()
_CONFIGURATION = (
    "every class and function that the configuration names, wherever in it they stand; byte code of Lambda layers, "
    "disassembled without `marshal`; torch modules, as the pickles that they are; files and other models that layers "
    "take something from"
)
_MEANT = (
    "*safe*; *review* for classes of your own, of related packages, and for byte code that computes; *unverifiable* "
    "where something cannot be read; *danger* for byte code that reaches further, for functions that are imported, and "
    "for files elsewhere"
)
FORMATS = (
    Format(
        "keras",
        "Keras archive",
        (".keras",),
        "a zip with `config.json` and weights or `metadata.json`",
        _CONFIGURATION + "; the weights, as HDF5 or `.npz`; every other member as what it is",
        "the numbers, and what registered classes of your own do with what the file says",
        _MEANT,
    ),
    Format(
        "keras-config",
        "Keras configuration by itself, and the index of sharded weights",
        (".json", ".weights.json"),
        "an object with `class_name` and `config` anywhere in it, or the name",
        _CONFIGURATION + "; of an index, the files that it names",
        "what registered classes of your own do with what the file says",
        _MEANT,
    ),
)


def _shards(job: Job, index: dict[str, object], facts: Facts) -> None:
    """The files beside an index that it names; Keras opens whatever name stands there (`ShardedH5IOStore`)."""
    table = index.get("weight_map")
    if not isinstance(table, dict):
        return
    named = [n for v in table.values() for n in (v if isinstance(v, list) else [v])]
    if (first := first_shard(job.name)) in job.companions:
        named.append(first)
    facts.companions = sorted({n for n in named if isinstance(n, str) and n in job.companions})
    for name in sorted({n for n in named if isinstance(n, str) and plain_location(n) is None})[:20]:
        facts.add(
            Finding(
                "keras.shard-path",
                Severity.CRITICAL,
                job.path,
                job.location,
                f"It takes weights from a file outside of the model's folder: {name[:200]}.",
                meaning="A file of yours would be read into the model.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )
    missing = sorted({str(n) for n in named if not isinstance(n, str) or n not in job.companions})
    if missing:
        message = f"It names weights that are not beside it: {', '.join(missing)[:200]}."
        facts.unverifiable("keras.shards", job.path, job.location, message)


def first_shard(index: str) -> str:
    """The file that Keras opens before it looks at the index: `m.weights.json` → `m_00000.weights.h5`."""
    stem = index.rsplit("/", 1)[-1].removesuffix(".json").replace(".weights", "")
    return f"{stem}_00000.weights.h5"


def is_archive(names: Sequence[str]) -> bool:
    """Whether `keras.saving.load_model` would take a zip with these entries for a model."""
    return CONFIG in names and any(name in names for name in WEIGHTS)


def archive(
    job: Job,
    directory: ZipDirectory,
    facts: Facts,
    member: Callable[[ZipEntry, str], None],
    read: Callable[[ZipEntry], bytes | View | None],
) -> None:
    """Judge a `.keras` zip: the configuration as one, everything else by what it holds.

    Args:
        member: judges an entry by its content and adds it to `facts`.
        read: the bytes of an entry, None where they cannot be had, which is then in `facts`.
    """
    for entry in directory.entries:
        if entry.name != CONFIG:
            member(entry, "keras")
            continue
        data = read(entry)
        if data is None:
            continue
        raw = data if isinstance(data, bytes) else data.read(0, data.size)
        config = _parsed(raw)
        if config is None:
            facts.unverifiable(
                "keras.config", job.path, CONFIG, "The model's configuration is no JSON that can be read."
            )
            continue
        facts.regions["code"] += len(raw)
        keras_config.judge(job, config, facts, place=CONFIG)


def _asked_for(job: Job) -> bool:
    return (job.loader or "").startswith(("keras.", "tf.keras.")) or job.name.rsplit("/", 1)[-1] == CONFIG


def _names_objects(config: object) -> bool:
    """Whether Keras would build something of it: it takes apart whatever lies around an object, too."""
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "class_name" in node and "config" in node:
                return True
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return False


def _parsed(data: bytes) -> object | None:
    """As Keras parses it: UTF-8, and UTF-16 or UTF-32 where the first bytes say so."""
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value
