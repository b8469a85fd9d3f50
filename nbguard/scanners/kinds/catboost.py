"""CatBoost's models: the binary `.cbm` and JSON, indices and hash tables followed.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import re

from nbguard.artifact.model import NotScanned
from nbguard.formats import catboost_json, catboost_model
from nbguard.formats.catboost_model import CatBoostError
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import checked, document, malformed, meant_for

MAX_JSON = 256 << 20
"""Bytes; larger models are saved as `.cbm`."""
_JSON = re.compile(rb"(\xef\xbb\xbf)?[ \t\r\n]*\{[ \t\r\n]*\"")
_MODEL = re.compile(rb"\"(features_info|oblivious_trees|ctr_data)\"\s*:")


class CatBoostScanner:
    name = "catboost"

    def recognise(self, job: Job) -> bool:
        return (
            job.head.startswith(catboost_model.MAGIC)
            or (_JSON.match(job.head) is not None and _MODEL.search(job.head) is not None)
            or meant_for(job, "catboost.")
        )

    def scan(self, job: Job) -> Facts:
        try:
            return _judge(job)
        except ValueError as error:
            return malformed(job, "catboost", error)


def _judge(job: Job) -> Facts:
    if job.head.startswith(catboost_model.MAGIC):
        return _binary(job)
    if not _JSON.match(job.head) or job.size > MAX_JSON:
        raise CatBoostError("CatBoost would be given something that is none of its models, or too large a one.")
    data = job.view.read(0, job.size)
    content = document(data)
    if not catboost_json.looks_like(content):
        raise CatBoostError("It holds no CatBoost model.")
    trees, numbers = catboost_json.check(content)
    return checked(job, "catboost-json", data, trees=trees, numbers=numbers)


def _binary(job: Job) -> Facts:
    model = catboost_model.read(job.view)
    facts = checked(job, "catboost", job.view.read(0, job.size), trees=model.trees, numbers=model.numbers)
    if model.unread is not None:
        at, size = model.unread
        names = ", ".join(model.parts)[:200]
        facts.regions = {"data": job.size - size, "unknown": size}
        facts.not_scanned.append(NotScanned(job.path, f"{names}: CatBoost's own reader takes these parts as they are"))
        facts.add(
            Finding(
                "catboost.unread-part",
                Severity.MEDIUM,
                job.path,
                f"@ 0x{at:x}",
                "The model brings parts for text or embeddings whose insides are not followed here.",
                evidence=names,
                meaning="They hold dictionaries and numbers, and nothing in them runs by design. CatBoost's own reader "
                "takes their lengths as they are: a crafted one could make it read or write where it should not.",
                remedy="Load it only from a publisher you trust.",
            ),
            Verdict.REVIEW,
        )
    return facts


SCANNER = CatBoostScanner()
FORMATS = (
    Format(
        "catboost",
        "CatBoost, binary",
        (".cbm",),
        "the mark `CBM1` at its start",
        "trees, features, and the hash tables of categories that CatBoost itself reads unverified",
        "parts for texts and embeddings, which are listed",
        "*safe*; *review* with such parts; *unverifiable* where an index or a length leads nowhere",
    ),
    Format(
        "catboost-json",
        "CatBoost, JSON",
        (".json",),
        "JSON with `features_info`, `oblivious_trees` or `ctr_data`",
        "trees, features, borders, hash tables of categories; no name twice",
        "the weights themselves: numbers",
        "*safe*; *unverifiable* where an index or a length leads nowhere",
    ),
)
