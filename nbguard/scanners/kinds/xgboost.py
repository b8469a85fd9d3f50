"""XGBoost models: JSON and UBJSON, every index in them followed; the binary format of old versions.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import re

from nbguard.formats import ubjson, xgboost_binary, xgboost_model
from nbguard.formats.xgboost_model import XGBoostError
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import checked, document, malformed, meant_for

MAX_JSON = 256 << 20
"""Bytes; larger models are saved as UBJSON, which is XGBoost's own default."""
MAX_SIZE = 1 << 30
_JSON = re.compile(rb"(\xef\xbb\xbf)?[ \t\r\n]*\{[ \t\r\n]*\"")
_MODEL = re.compile(rb"\"learner\"\s*:\s*\{")


class XGBoostScanner:
    name = "xgboost"

    def recognise(self, job: Job) -> bool:
        return (
            xgboost_binary.looks_like(job.head)
            or (_JSON.match(job.head) is not None and _MODEL.search(job.head) is not None)
            or (ubjson.looks_like(job.head) and job.head.find(b"\x07learner{L") > 0)
            or meant_for(job, "xgboost.")
        )

    def scan(self, job: Job) -> Facts:
        try:
            return _judge(job)
        except ValueError as error:
            return malformed(job, "xgboost", error)


def _judge(job: Job) -> Facts:
    head = job.head
    if ubjson.looks_like(head):
        return _model(job, "xgboost-ubj")
    if _JSON.match(head):
        return _model(job, "xgboost-json")
    if xgboost_binary.looks_like(head):
        return _old(job)
    raise XGBoostError("This is none of XGBoost's models, and XGBoost would take it for one.")


def _model(job: Job, format: str) -> Facts:
    if job.size > (MAX_JSON if format == "xgboost-json" else MAX_SIZE):
        raise XGBoostError("The model is larger than is read. Save it again in XGBoost's own binary format (.ubj).")
    data = job.view.read(0, job.size)
    content = ubjson.read(data) if format == "xgboost-ubj" else document(data)
    if not xgboost_model.looks_like(content):
        raise XGBoostError("It holds no XGBoost model.")
    model = xgboost_model.check(content)
    return checked(job, format, data, trees=model.trees, numbers=model.numbers)


def _old(job: Job) -> Facts:
    if job.size > MAX_SIZE:
        raise XGBoostError("The model is larger than is read.")
    data = job.view.read(0, job.size)
    trees, numbers = xgboost_binary.read(data)
    return checked(job, "xgboost-binary", data, trees=trees, numbers=numbers)


SCANNER = XGBoostScanner()
FORMATS = (
    Format(
        "xgboost-json",
        "XGBoost, JSON",
        (".json",),
        "JSON with a `learner`",
        "every tree, child, feature, category and length; no name twice",
        "the weights themselves: numbers",
        "*safe*; *unverifiable* where one leads nowhere",
    ),
    Format(
        "xgboost-ubj",
        "XGBoost, UBJSON",
        (".ubj",),
        "an object of UBJSON with a `learner`",
        "every tree, child, feature, category and length, to the last byte",
        "the weights themselves: numbers",
        "*safe*; *unverifiable* where one leads nowhere",
    ),
    Format(
        "xgboost-binary",
        "XGBoost before 3.1, binary",
        (".bin", ".model"),
        "the mark `binf`, or the numbers of its head",
        "every tree, child and feature, to the last byte",
        "the weights themselves: numbers",
        "*safe*; *unverifiable* where one leads nowhere",
        untested="no current XGBoost writes it; the samples are put together as version 1.7 does",
    ),
)
