"""TensorFlow's checkpoints: an index of what lies where, and the data files that it is about.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import re

from nbguard.formats import tf_bundle, tf_graph
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.companions import claim
from nbguard.scanners.facts import Facts

_DATA = re.compile(r"(.+)\.data-\d{5}-of-\d{5}\Z")
_SHARD = re.compile(r"\.data-(\d{5})-of-\d{5}\Z")


class CheckpointScanner:
    name = "tf-checkpoint"

    def recognise(self, job: Job) -> bool:
        return tf_bundle.looks_like(job.view) or _is_data(job)

    def scan(self, job: Job) -> Facts:
        if not tf_bundle.looks_like(job.view):
            facts = plain(job, "tf-checkpoint-data")
            facts.blocks.append(("", 0, job.size, "raw"))
            return facts
        facts = plain(job, "tf-checkpoint")
        _index(job, facts)
        return facts


SCANNER = CheckpointScanner()
FORMATS = (
    Format(
        "tf-checkpoint",
        "TensorFlow checkpoint, its index",
        (".index",),
        "the mark of LevelDB's tables at its end",
        "what lies where: sizes against shapes and types, and against the data files beside it",
        "check sums. Indices that are compressed, which TensorFlow does not write, are refused",
        "*safe*; *review* for objects that only their own operations read, and where a data file is missing; "
        "*unverifiable* where a size or a place lies",
    ),
    Format(
        "tf-checkpoint-data",
        "TensorFlow checkpoint, its data",
        (".data-00000-of-00001",),
        "its name, beside an index of the same name",
        "that it is as long as the index says, and no pickle",
        "the numbers",
        "*safe*; *unverifiable* where it is cut off",
    ),
)


def _is_data(job: Job) -> bool:
    data = _DATA.match(job.name.rsplit("/", 1)[-1])
    return data is not None and f"{data[1]}.index" in job.companions


def _index(job: Job, facts: Facts) -> None:
    try:
        entries = tf_bundle.read(job.view)
    except tf_bundle.BundleError as error:
        facts.unverifiable("tensorflow.checkpoint", job.path, job.location, str(error))
        return
    odd = [e for e in entries if e.kind in (tf_graph.RESOURCE, tf_graph.VARIANT)]
    if odd:
        name = odd[0].name[:100]
        _review(job, facts, f"{len(odd)} of its values are objects that only their own operations read: {name}.")
    stem = job.name.rsplit("/", 1)[-1].removesuffix("index")
    shards = {m[1]: c for c in job.companions if c.startswith(stem) and (m := _SHARD.search(c))}
    needed: dict[int, int] = {}
    for entry in entries:
        needed[entry.shard] = max(needed.get(entry.shard, 0), entry.offset + entry.size)
    missing = [shard for shard in needed if f"{shard:05}" not in shards]
    if missing and shards:
        _review(job, facts, f"The data file number {missing[0]} that it names is not beside it.")
    for shard, size in needed.items():
        name = shards.get(f"{shard:05}", "")
        if name:
            claim(facts, name, size)
    facts.companions = sorted({*facts.companions, *shards.values()})
    facts.marks.append(tf_bundle.digest(entries))
    facts.counts.update(tensors=len(entries), tensor_bytes=sum(e.size for e in entries))


def _review(job: Job, facts: Facts, message: str) -> None:
    facts.add(Finding("tensorflow.checkpoint", Severity.MEDIUM, job.path, job.location, message), Verdict.REVIEW)
