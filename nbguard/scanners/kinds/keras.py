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
from nbguard.scanners import keras_config
from nbguard.scanners.base import Job, plain
from nbguard.scanners.facts import Facts

CONFIG = "config.json"
_INDEX = "weights.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz", "metadata.json")
MAX_CONFIG = 256 << 20
"""Bytes; configurations of the largest models are a few megabytes."""
_NAMES_CLASS = re.compile(rb'"class_name"')


class KerasConfigScanner:
    """A configuration as a file of its own. What else a JSON document may be is judged as well."""

    name = "keras-config"

    def recognise(self, job: Job) -> bool:
        if job.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{" or job.size > MAX_CONFIG or job.container == "keras":
            return False
        if job.name.endswith(_INDEX):
            return True
        if _NAMES_CLASS.search(job.head) is None and not _asked_for(job):
            return False
        return _names_objects(_parsed(job.view.read(0, job.size)))

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


def _shards(job: Job, index: dict[str, object], facts: Facts) -> None:
    """The files beside an index that it names; Keras opens whatever name stands there (`ShardedH5IOStore`)."""
    table = index.get("weight_map")
    if not isinstance(table, dict):
        return
    named = [n for v in table.values() for n in (v if isinstance(v, list) else [v])]
    if (first := first_shard(job.name)) in job.companions:
        named.append(first)
    facts.companions = sorted({n for n in named if isinstance(n, str) and n in job.companions})
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
