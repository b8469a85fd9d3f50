"""Which tensor lies in which file: `model.safetensors.index.json`, `pytorch_model.bin.index.json` and their kind.

    facts = SCANNER.scan(job)

transformers, diffusers and accelerate join each name in it to the model's folder and open what is there; whether that
is read as numbers or unpickled, each name's own ending decides (`transformers/modeling_utils.py`, `load_state_dict`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.companions import plain_location
from nbguard.scanners.facts import Facts

MAX_INDEX = 64 << 20
"""Bytes; indices of the largest models have a few megabytes."""
MAX_FINDINGS = 20
ENDING = re.compile(r".*\.index(?:\.[\w-]+)?\.json\Z", re.DOTALL)
"""With a variant's name before its end, as transformers puts it there: `model.safetensors.index.fp16.json`."""
KEY = "weight_map"
_NUMBERS = ".safetensors"


class WeightsIndexScanner:
    name = "weights-index"

    def recognise(self, job: Job) -> bool:
        begins = job.begins == b"{" and not job.name.endswith("weights.json")
        asked = ENDING.match(job.name) is not None
        if not begins or job.size > MAX_INDEX:
            return begins and asked
        data = job.view.read(0, job.size) if asked or b"weight_map" in job.head else b""
        return bool(data) and (asked or weight_map(data) is not None)

    def scan(self, job: Job) -> Facts:
        from nbguard.scanners.other import judge

        if job.size > MAX_INDEX:
            return unverifiable(job, self.name, "index.malformed", "The index is larger than any real one.")
        facts = plain(job, "weights-index")
        data = job.view.read(0, job.size)
        if _parsed(data) is not None:
            facts.read_too(judge(job))
            facts.format = "weights-index"
        if not job.member:
            facts.containers[job.path] = facts.format
        table = weight_map(data)
        if table is None:
            facts.unverifiable(
                "index.malformed", job.path, job.location, "It does not say in one way which file each tensor is in."
            )
            return facts
        _files(job, sorted(set(table.values())), facts)
        return facts


SCANNER = WeightsIndexScanner()
FORMATS = (
    Format(
        "weights-index",
        "the index of a model in several files",
        (".safetensors.index.json", ".bin.index.json"),
        "a JSON object with `weight_map` in it, or its name",
        "every file that it names: whether it lies below the index, is there, and is of the kind that the index's own "
        "name says; in a folder, whether the tensors that it promises are in the safetensors files",
        "which tensors are in files of other kinds; those files are judged by themselves",
        "*safe*; *review* where a file or a tensor is missing, or a file would be unpickled; *unverifiable* where "
        "it is malformed; *danger* for files outside of the model's folder",
    ),
)


def weight_map(data: bytes) -> dict[str, str] | None:
    """Tensor → file, as the index says; None where it does not say so, or says something twice."""
    value = _parsed(data)
    table = value.get(KEY) if isinstance(value, dict) else None
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        return None
    return table


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name is there twice")
    return out


def _files(job: Job, names: list[str], facts: Facts) -> None:
    outside = [n for n in names if plain_location(n) is None]
    for name in outside[:MAX_FINDINGS]:
        _add(
            job, facts, "index.path", Severity.CRITICAL, Verdict.DANGER, name,
            "It takes tensors from a file outside of the model's folder.",
            "A file of yours would be read into the model, or unpickled.", "Do not load it.",
        )  # fmt: skip
    if ENDING.match(job.name) and f"{_NUMBERS}.index" in job.name:
        for name in [n for n in names if not n.endswith(_NUMBERS)][:MAX_FINDINGS]:
            _add(
                job, facts, "index.kind", Severity.HIGH, Verdict.REVIEW, name,
                "An index of safetensors names a file that is none.",
                "Libraries unpickle such a file, though the model is called one of safetensors.",
                "Load it only where the report on that file is good enough for a pickle.",
            )  # fmt: skip
    below = {n: p for n in names if (p := plain_location(n)) is not None}
    here = [p for p in below.values() if p in job.companions]
    facts.companions += [p for p in sorted(here) if p not in facts.companions]
    missing = sorted(n for n, p in below.items() if p not in job.companions)
    if here and missing:
        _add(
            job, facts, "index.missing", Severity.MEDIUM, Verdict.REVIEW, ", ".join(missing[:10]),
            f"Of the files that it names, {len(missing)} are not here.",
            "Nobody has looked at them. The model cannot be loaded from what is here alone.",
            "Fetch the missing files and scan again.",
        )  # fmt: skip


def _add(
    job: Job, facts: Facts, rule: str, severity: Severity, verdict: Verdict, shown: str, message: str, meaning: str,
    remedy: str,
) -> None:  # fmt: skip
    facts.add(
        Finding(rule, severity, job.path, job.location, message, evidence=ascii(shown)[:500], meaning=meaning,
                remedy=remedy),
        verdict,
    )  # fmt: skip


__all__ = ["FORMATS", "SCANNER", "weight_map"]
