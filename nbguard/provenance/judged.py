"""A repository's name in its report: the finding, the verdict it is never better than, and "did you mean".

report = with_name(report)
report.advice.meant.name      # "meta-llama/Llama-3.1-8B"
report.verdict                # review at least, however harmless the files are
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from nbguard.errors import TargetError
from nbguard.provenance.likeness import CASE
from nbguard.provenance.names import NameRisk, Resemblance, assess, resembles
from nbguard.provenance.publishers import lookalikes
from nbguard.provenance.spelled import NameUnclear, bare_name
from nbguard.report.advice import Meant
from nbguard.report.model import Finding, Report, Severity, Verdict

RULES = {
    "homoglyph": "name.homoglyph",
    "typosquat": "name.typosquat",
    "separators": "name.separators",
    "affix": "name.affix",
    "borrowed name": "name.borrowed",
    "case": "name.case",
    "invisible": "name.invisible",
    "word order": "name.word-order",
    "re-upload": "name.re-upload",
}
NO_NAMESPACE = "name.no-namespace"
ODD = "name.letters"

_IN_CACHE = re.compile(r"/models--([\w.-]{1,200})/(?:snapshots|blobs)/", re.ASCII)
"""How huggingface_hub names the folder of a repository in its cache."""
_FLOOR_FROM = Severity.HIGH
"""Severity of a finding about a name from which the verdict is *review* at least. The policy makes a full question of
lesser ones, from medium on; where nobody can be asked they change nothing: re-uploads are common, and mostly honest."""

_MEANINGS = {
    "affix": "Anybody can register a known name with a word added to it, and publish what they like under it.",
    "borrowed name": "Anybody can publish something under the name of a known model; it may be a copy, or not.",
    "word order": "Anybody can register a known name with its words turned round.",
    "re-upload": "Many people publish models again in another form; whether it is the same model, only its files say.",
    "case": "The Hub takes both for the same name; another server may not.",
}
_MEANING = "Such names are registered so that people who mistype or misread one load something else."


def with_name(report: Report) -> Report:
    """`report` with what the names of its repository, and of those it draws in, say about them; as it is where that is
    nothing, or for local files that come from none."""
    if any(f.rule.startswith("name.") for f in report.findings):
        return report
    own = (report.provenance.get("repo") or report.target) if report.artifact.kind == "hub" else _cached(report)
    if own:
        report = _judged(report, own)
    for name in _drawn_in(report):
        if name != own:
            report = _judged(report, name)
    return report


def did_you_mean(error: TargetError, name: str) -> TargetError:
    """The same error with the well-known name that may have been meant, where there is no such repository."""
    try:
        found = resembles(bare_name(name))
    except NameUnclear:
        return error
    unlikely = not found or (found[0].severity < Severity.HIGH and found[0].how != CASE)
    if unlikely or os.path.exists(name):
        return error
    meant = f"Did you mean {found[0].meant} ({found[0].publisher.organisation})?"
    error.args = (f"{error.args[0]} {meant}", *error.args[1:])
    return error


def _drawn_in(report: Report) -> list[str]:
    """Other repositories that the load opens too: the base model of an adapter, code that a configuration names."""
    words = (key.removeprefix("code from ").removeprefix("also from ") for key in report.provenance)
    return [w for key, w in zip(report.provenance, words, strict=True) if w != key and w.count("/") == 1]


def _cached(report: Report) -> str:
    """The repository that a local file was downloaded from, where it lies in a Hub's cache; empty where it does not."""
    found = _IN_CACHE.search(report.provenance.get("path", ""))
    return found[1].replace("--", "/", 1) if found else ""


def _judged(report: Report, name: str) -> Report:
    found = assess(name)
    if "/" not in name:
        return _without_publisher(report, name, found)
    if found.resemblances:
        return _with(report, found, found.resemblances[0])
    return _flagged(report, _letters(name, found)) if found.odd else report


def _without_publisher(report: Report, name: str, found: NameRisk) -> Report:
    if name in lookalikes().moved:
        meant = Meant(lookalikes().moved[name], "", "moved", "an old name from before the Hub had publishers")
        return replace(report, advice=replace(report.advice, meant=meant))
    finding = Finding(
        NO_NAMESPACE,
        Severity.HIGH,
        name,
        "",
        "The name does not say who published this.",
        meaning="A name without a publisher is from the Hub's first years, or does not come from the Hub.",
        remedy="Find out whose model it is, and load it by its full name (publisher/model).",
    )
    if found.resemblances:
        first = found.resemblances[0]
        meant = Meant(first.meant, first.publisher.organisation, first.how, first.detail)
        report = replace(report, advice=replace(report.advice, meant=meant))
    return _flagged(report, finding)


def _letters(name: str, found: NameRisk) -> Finding:
    return Finding(
        ODD,
        Severity.HIGH,
        name,
        "",
        f"The name is not what it seems: {found.odd}.",
        meaning="A name on the Hub has only Latin letters, digits and - _ . in it; others are there to be misread.",
        remedy="Type the name anew, letter by letter, or copy it from the publisher's own page.",
    )


def _with(report: Report, found: NameRisk, first: Resemblance) -> Report:
    meant = Meant(first.meant, first.publisher.organisation, first.how, first.detail)
    owner = found.repo_id.rpartition("/")[0]
    if first.how in ("borrowed name", "re-upload"):
        message = f"“{first.meant.partition('/')[2]}” is the name of a model of {first.publisher.organisation}: "
        message += f"{first.detail}."
    else:
        message = f"The publisher's name “{owner}” looks like “{first.publisher.name}”"
        message += f" ({first.publisher.organisation}): {first.detail}."
    if first.how == "re-upload":
        message = f"{first.publisher.organisation} publishes models of this name: {first.detail}."
    finding = Finding(
        RULES[first.how],
        first.severity,
        found.repo_id,
        "",
        message,
        evidence=f"given: {found.repo_id}\nmeant: {first.meant}",
        meaning=_MEANINGS.get(first.how, _MEANING),
        remedy=f"If you meant {first.meant}, load that. If not, look at who {owner or 'the publisher'} is first.",
    )
    if report.advice.meant is None and first.how != "re-upload":
        report = replace(report, advice=replace(report.advice, meant=meant))
    return _flagged(report, finding)


def _flagged(report: Report, finding: Finding) -> Report:
    findings = tuple(sorted((finding, *report.findings), key=lambda f: -f.severity))
    summary = (finding.message, *report.summary) if finding.severity >= Severity.MEDIUM else report.summary
    floor = max(report.floor, Verdict.REVIEW) if finding.severity >= _FLOOR_FROM else report.floor
    return replace(report, findings=findings, summary=summary, floor=floor)
