"""Keys of configurations that make a library open a file, load another repository, or import a module.

    for said in judge("adapter_config.json", {"base_model_name_or_path": "org/base"}):
        said.finding, said.verdict, said.elsewhere

Which keys those are, and what reads them, stands in `rules/tables/repository.toml`. They are looked for at any depth:
configurations hold those of their parts under names that each model chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import class_names
from nbguard.scanners.tables import table

MAX_NODES = 2_000_000
"""Values of one document that are looked at; those of the largest configurations have some thousands."""
MAX_FOUND = 60
"""Findings of one document; what is left counts for the verdict."""
_HUB = re.compile(r"(?:hf://)?[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?(?:@[\w./-]{1,100})?", re.ASCII)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SYSTEM = ("/proc/", "/dev/", "/sys/", "\\\\", "//")
"""Files of the system that are more than data, and shares of other machines."""
_PLAIN_NAME = re.compile(r"[\w.+ -]{1,200}")
_ARGUMENTS = re.compile(r"(?:_|^)(?:args|kwargs)\Z")


@dataclass(frozen=True)
class Said:
    """One thing that a configuration asks for."""

    finding: Finding
    verdict: Verdict
    elsewhere: str = ""
    """What would be loaded besides, and is not looked at here; empty where there is nothing."""


class TooMuchError(ValueError):
    """The document holds more than any configuration does."""


def judge(path: str, value: Any) -> list[Said]:
    """What is to be said of a document's keys.

    Args:
        path: of the file; its last part says what some keys mean.
        value: as `json.loads` or a reader of YAML gives it.

    Raises:
        TooMuchError: it holds more than `MAX_NODES` values.
    """
    name = path.rpartition("/")[2].lower()
    found: dict[tuple[str, str, str], Said] = {}
    worst = Verdict.SAFE
    for parents, key, inner in walk(value):
        for said in _judge(path, name, parents, key, inner):
            if len(found) < 10 * MAX_FOUND or said.verdict > worst:
                found.setdefault((said.finding.rule, said.finding.location, said.finding.evidence), said)
                worst = max(worst, said.verdict)
    out = sorted(found.values(), key=lambda said: (-said.verdict, -said.finding.severity))
    return out[:MAX_FOUND]


def walk(value: Any) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """(keys above, key, value) of every entry of every mapping, without recursion; of the keys above the last."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), value)]
    left = MAX_NODES
    seen: set[int] = set()
    while pending:
        parents, part = pending.pop()
        if id(part) in seen or not isinstance(part, dict | list):
            continue
        seen.add(id(part))
        left -= len(part)
        if left < 0:
            raise TooMuchError("It holds more than any configuration does.")
        if isinstance(part, list):
            pending += [(parents, item) for item in part if isinstance(item, dict | list)]
            continue
        for key, inner in part.items():
            yield parents, str(key), inner
            if isinstance(inner, dict | list):
                pending.append(((*parents[-4:], str(key)[:60]), inner))


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """(the key above it, text) of every text in a document, keys too; what stands in it several times, once."""
    pending: list[tuple[str, Any]] = [("", value)]
    seen: set[int] = set()
    left = MAX_NODES
    while pending:
        key, part = pending.pop()
        if isinstance(part, str):
            yield key, part
        elif isinstance(part, dict | list) and id(part) not in seen:
            seen.add(id(part))
            left -= len(part)
            if left < 0:
                raise TooMuchError("It holds more than any configuration does.")
            if isinstance(part, list):
                pending += [(key, item) for item in part]
            else:
                for name, inner in part.items():
                    pending += [(str(name), str(name)), (str(name), inner)]


def leads_out(path: str) -> bool:
    """Whether a path leaves the folder that it is taken from, on any system."""
    parts = path.replace("\\", "/").split("/")
    return path.startswith(("/", "~", "\\")) or ".." in parts or bool(_DRIVE.match(path)) or "\0" in path


def _judge(path: str, name: str, parents: tuple[str, ...], key: str, value: Any) -> Iterator[Said]:
    keys = table("repository")
    where = ".".join((*parents, key))[-100:]
    for kind, decide in _KINDS.items():
        row = keys[kind].get(key)
        if row is not None and ("files" not in row or name in row["files"]):
            for text in _texts(value):
                said = decide(path, where, key, text)
                if said is not None:
                    yield said
    if key in keys["trust"] and value is (key not in ("weights_only",)) and any(_ARGUMENTS.search(p) for p in parents):
        yield _said(
            "config.trust", Severity.HIGH, path, where, f"It sets {key} to {str(value).lower()} by itself.",
            Verdict.REVIEW, meaning="Older releases of the library take that over, and run code of the repository.",
            remedy="Load it with a current release, which asks you instead.",
        )  # fmt: skip
    if key in keys["classes"]["keys"]:
        for text in _texts(value):
            if not _PLAIN_NAME.fullmatch(text) or "__" in text or ".." in text:
                yield _said(
                    "config.name", Severity.MEDIUM, path, where, f"Its {key} is no plain name: {text[:100]}.",
                    Verdict.REVIEW, evidence=f"{key}: {text}",
                    meaning="The library looks that name up among its own classes, and finds something else by it.",
                    remedy="Ask the publisher why.",
                )  # fmt: skip


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value: itself, those of a list, or the values of a flat mapping."""
    items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else (value,)
    yield from (item for item in list(items)[:1000] if isinstance(item, str) and item)


def _kernel(path: str, where: str, key: str, text: str) -> Said | None:
    if "/" not in text:
        return None
    repository = text.removeprefix("paged|")
    trusted = repository.partition("/")[0] in table("repository")["kernels"]["trusted"]
    return _said(
        "code.kernel", Severity.MEDIUM if trusted else Severity.HIGH, path, where,
        f"It takes compiled code for {key} from the repository {repository[:150]}.",
        Verdict.REVIEW if trusted else Verdict.UNVERIFIABLE, evidence=f"{key}: {text}",
        meaning="The library fetches that code and runs it. It was not looked at, and its owner can change it.",
        remedy='Load the model with attn_implementation="sdpa" or "eager".', elsewhere=repository,
    )  # fmt: skip


def _repository(path: str, where: str, key: str, text: str) -> Said | None:
    """Another model. One that was trained on this machine, or on another, is named by its place: that is ordinary, and
    it is looked at when it is loaded."""
    placed = leads_out(text) and not text.startswith(_SYSTEM) and ".." not in text.replace("\\", "/").split("/")
    if placed or (_HUB.fullmatch(text) and ".." not in text):
        return _said(
            "config.repository", Severity.LOW, path, where, f"It is loaded together with another model: {text[:150]}.",
            Verdict.SAFE, evidence=f"{key}: {text}", meaning="What is in that repository was not looked at here.",
            remedy="It is looked at when it is loaded; scan it as well if you want to know before.", elsewhere=text,
        )  # fmt: skip
    return _place(path, where, key, text, Verdict.UNVERIFIABLE, "loads a model from")


def _backbone(path: str, where: str, key: str, text: str) -> Said | None:
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.replace("_", "-") not in ("hf-hub", "local-dir"):
        return None
    if scheme == "local-dir":
        return _place(path, where, key, rest if leads_out(rest) else f"./{rest}", Verdict.DANGER, "loads a model from")
    return _repository(path, where, key, rest)


def _path(path: str, where: str, key: str, text: str) -> Said | None:
    return _place(path, where, key, text, Verdict.DANGER, "opens")


def _place(path: str, where: str, key: str, text: str, above: Verdict, does: str) -> Said | None:
    """A path: below the folder it is fine; one that climbs out of it was made on purpose; one that begins at the root
    of some machine is mostly left over from training, and is told."""
    text = text.removeprefix("file://") if text.startswith("file://") else text
    if _ADDRESS.match(text):
        verdict, what = Verdict.REVIEW, "an address on the network"
    elif text.startswith(_SYSTEM):
        verdict, what = Verdict.DANGER, "a file of the system"
    elif not leads_out(text):
        return None
    elif ".." in text.replace("\\", "/").split("/"):
        verdict, what = above, "a place outside of its folder"
    else:
        verdict, what = Verdict.REVIEW, "a place of its own on the machine"
    return _said(
        "config.outside", Severity.MEDIUM if verdict is Verdict.REVIEW else Severity.HIGH, path, where,
        f"Its {key} {does} {what}: {text[:200]}", verdict, evidence=f"{key}: {text}",
        meaning="What lies there would be loaded in the place of the repository's own files.",
        remedy="Give that file or model yourself, or remove the key.", elsewhere=text,
    )  # fmt: skip


def _import(path: str, where: str, key: str, text: str) -> Said | None:
    if text.startswith(tuple(table("repository")["imports"]["known"])):
        return None
    judged = class_names.judge_class(text if "." in text else f"{text}.x")
    never = judged.level == "never"
    return _said(
        "config.class", Severity.CRITICAL if never else Severity.HIGH, path, where,
        f"It has the library import {text[:150]}.", Verdict.DANGER if never else Verdict.REVIEW,
        evidence=f"{key}: {text}", meaning="Importing a module runs its code.",
        remedy="Ask the publisher why the configuration names it; do not load it otherwise.",
    )  # fmt: skip


_KINDS = {
    "kernel": _kernel, "repository": _repository, "backbone": _backbone, "path": _path, "import": _import,
}  # fmt: skip


def _said(
    rule: str, severity: Severity, path: str, where: str, message: str, verdict: Verdict, *, evidence: str = "",
    meaning: str = "", remedy: str = "", elsewhere: str = "",
) -> Said:  # fmt: skip
    finding = Finding(rule, severity, path, where, message, evidence[:500], meaning, remedy)
    return Said(finding, verdict, elsewhere[:300])


__all__ = ["Said", "TooMuchError", "judge", "leads_out", "texts", "walk"]
