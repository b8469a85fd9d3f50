"""HDF5: weights, and Keras' older model files, whose configuration stands in attributes.

    facts = SCANNER.scan(job)

Numbers in it cannot run. What can do harm: a configuration with layers that bring code, links and storage that reach
into other files, and filters, which are native code that the library looks for by number.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from nbguard.formats import hdf5
from nbguard.formats.hdf5 import Dataset, Hdf5File
from nbguard.formats.hdf5_blocks import Hdf5Error
from nbguard.formats.hdf5_messages import Attribute
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import keras_config
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts

BOMB = 1 << 30
"""Bytes that a dataset may have in memory whatever it takes on disk; Keras itself stops at four times that."""
EXPANSION = 1000
"""How many times larger than on disk a larger dataset may be."""
MAX_BLOCKS = 10_000
"""Chunks of one dataset that a report lists; of more it holds the digest over their places."""
_SUFFIXES = (".h5", ".hdf5", ".keras", ".he5", ".hdf")
"""Names under which Keras and its like open HDF5; only there a file that begins with something else, and is read
remotely, is worth the requests for a superblock far behind its start."""
CONFIGURATIONS = ("model_config", "training_config")
"""Attributes that Keras parses (`keras/src/legacy/saving/legacy_h5_format.py`)."""


class Hdf5Scanner:
    name = "hdf5"

    def recognise(self, job: Job) -> bool:
        return hdf5.find(job.view, sparing=job.suffix not in _SUFFIXES) is not None

    def scan(self, job: Job) -> Facts:
        try:
            tree = hdf5.read(job.view)
        except Hdf5Error as error:
            return unverifiable(job, "hdf5", "hdf5.malformed", str(error))
        facts = plain(job, "hdf5")
        for where, sentence in tree.problems:
            facts.unverifiable("hdf5.malformed", job.path, _place(job, where), sentence)
        _links(job, tree, facts)
        for dataset in tree.datasets:
            _dataset(job, dataset, facts)
        if tree.start:
            facts.regions = {"data": job.size - tree.start, "unknown": tree.start}
        for path, value in tree.objects:
            _unpickled(job, path, value, facts)
        facts.marks.append(tree.digest)
        for path, attributes in tree.attributes.items():
            for attribute in attributes.values():
                _attribute(job, path, attribute, facts)
        if "model_config" in tree.attributes.get("/", {}):
            facts.format = "keras-hdf5"
            if not job.member:
                facts.containers[job.path] = facts.format
        return facts


SCANNER = Hdf5Scanner()
FORMATS = (
    Format(
        "hdf5",
        "HDF5, weights among it",
        (".h5", ".hdf5", ".weights.h5"),
        "its signature, at the start or behind a block of the user's own",
        "groups, attributes, links, filters, where the data lies and how large it claims to be, by a reader of our "
        "own; pickles in attributes and in the values that PyTables unpickles",
        "the data; references from data to other objects, which lead nowhere but into the same file. Headers that are "
        "kept in a common place, files in several pieces and compressed heaps are refused",
        "*safe*; *review* for filters that are plug-ins; *unverifiable* where it cannot be read or claims too much "
        "memory; *danger* for links, storage and virtual datasets that lead into other files, and for pickles that act",
    ),
    Format(
        "keras-hdf5",
        "Keras model in HDF5",
        (".h5", ".hdf5", ".keras"),
        "HDF5 with an attribute `model_config`",
        "the configuration as in a Keras archive, and all that is looked at in HDF5",
        "the data",
        "as for Keras and HDF5; Keras' `safe_mode` does not hold for such files",
    ),
)


def _links(job: Job, tree: Hdf5File, facts: Facts) -> None:
    for path, link in tree.links:
        if link.kind == "soft":
            continue  # leads to another place in the same file, which is judged there
        file = "another file" if link.kind == "external" else "something that only a program of its own can follow"
        _reaches_out(job, facts, "hdf5.external-link", path, f"It links to {file}: {link.target[:200]}.")


def _dataset(job: Job, dataset: Dataset, facts: Facts) -> None:
    where = dataset.path
    if dataset.external:
        names = ", ".join(dataset.external)[:200]
        _reaches_out(job, facts, "hdf5.external-storage", where, f"Its numbers lie in another file: {names}.")
    if dataset.layout.kind in ("virtual", "other"):
        _reaches_out(job, facts, "hdf5.virtual", where, "It is put together from datasets that may lie in other files.")
    plugins = [n for n in dataset.filters if n not in hdf5.BUILT_IN_FILTERS]
    if plugins:
        numbers = ", ".join(map(str, plugins))
        facts.add(
            Finding(
                "hdf5.filter",
                Severity.MEDIUM,
                job.path,
                _place(job, where),
                f"Its data goes through filters that are no part of HDF5: {numbers[:100]}.",
                meaning="The HDF5 library looks for a plug-in of that number and loads it as native code.",
                remedy="Load it only where the plug-ins come from a package that you installed yourself.",
            ),
            Verdict.REVIEW,
        )
    stored = sum(size for _, size in dataset.blocks)
    if dataset.nbytes > max(BOMB, EXPANSION * (job.size if dataset.layout.indexed else stored)):
        facts.unverifiable(
            "hdf5.size",
            job.path,
            _place(job, where),
            "It claims to be far larger in memory than anything that is stored for it.",
            meaning="Reading it would fill the memory.",
        )
    if len(dataset.blocks) <= MAX_BLOCKS:
        facts.blocks += [(where[:500], offset, size, dataset.kind.name) for offset, size in dataset.blocks]
    else:
        facts.blocks.append((where[:500], dataset.blocks[0][0], stored, dataset.kind.name))
        facts.marks.append(hashlib.sha256(repr(dataset.blocks).encode()).hexdigest())
    facts.counts["tensors"] = facts.counts.get("tensors", 0) + 1
    facts.counts["tensor_bytes"] = facts.counts.get("tensor_bytes", 0) + dataset.nbytes


def _attribute(job: Job, path: str, attribute: Attribute, facts: Facts) -> None:
    """Configurations are judged; other texts only where they are pickles, which PyTables and pandas unpickle."""
    if attribute.name in CONFIGURATIONS:
        _configuration(job, path, attribute, facts)
        return
    for value in attribute.values:
        if value[:1] in (b"\x80", b"(", b"c", b"]", b"}") and b"." in value:
            _maybe_pickle(job, f"{path}@{attribute.name}"[:300], value, facts)


def _configuration(job: Job, path: str, attribute: Attribute, facts: Facts) -> None:
    where = _place(job, f"{path}@{attribute.name}"[:300])
    if len(attribute.values) != 1:
        facts.unverifiable("keras.config", job.path, where, "The model's configuration is no text.")
        return
    try:
        config: Any = json.loads(attribute.values[0].split(b"\0")[0])
        keras_config.judge(job, config, facts, place=where)
    except (ValueError, RecursionError):
        facts.unverifiable("keras.config", job.path, where, "The model's configuration is no JSON that can be read.")


def _maybe_pickle(job: Job, where: str, value: bytes, facts: Facts) -> None:
    from nbguard.scanners.streams import as_pickle_too

    found = as_pickle_too(job.inside(value, member=where, container="nested"))
    if found.programs or found.findings:
        found.regions.clear()
        facts.merge(found)


def _unpickled(job: Job, where: str, value: bytes, facts: Facts) -> None:
    """A value that its reader hands to `pickle.loads` in any case."""
    from nbguard.scanners.streams import run

    inner = job.inside(value, member=where[:300], container="nested")
    found = run(inner, inner.view, container="nested")
    if not found.programs and found.verdict < Verdict.UNVERIFIABLE:
        found.unverifiable("hdf5.object", job.path, _place(job, where), "A value is unpickled, and is no pickle.")
    found.regions.clear()
    found.containers.clear()
    facts.merge(found)


def _reaches_out(job: Job, facts: Facts, rule: str, where: str, message: str) -> None:
    facts.add(
        Finding(
            rule,
            Severity.HIGH,
            job.path,
            _place(job, where),
            message,
            meaning="Loading it would read files of yours, or fail; Keras never writes such a file.",
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )


def _place(job: Job, where: str) -> str:
    return f"{job.member}!{where}"[:400] if job.member else where[:400]
