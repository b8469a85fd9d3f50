"""Files of one repository that import each other, followed together: what one of them sets off in another.

    join(opened, facts, limits)                     # when every file was judged by itself

What they do is worked out by a worker (`follow.py`).

`from .helper import setup; setup()` runs at import what looks, in `helper.py` alone, like a function that nobody calls.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nbguard.artifact.sources import Opened, OpenedFile, open_bytes
from nbguard.errors import TargetError
from nbguard.report.model import Finding, NotScanned, Severity, Verdict
from nbguard.scanners.base import Limits
from nbguard.scanners.facts import Facts
from nbguard.scanners.pool import follow_files
from nbguard.scanners.process import WorkerFailed
from nbguard.scanners.source.modules import IMPORT

MOST_BYTES = 32 << 20
"""Source that is followed together."""
MOST_TOLD = 100
"""Acts of one group of files that are told."""


def join(opened: Opened, facts: Mapping[str, Facts], limits: Limits) -> None:
    """Add a finding to every file that sets off something in another one, or that acts by what it takes from there."""
    if opened.kind in ("path", "stream"):
        return
    files = {f.path: f for f in opened.files if facts[f.path].code and facts[f.path].format == "python"}
    for group in groups(files, facts):
        _together([files[path] for path in group], facts, limits)


def groups(files: Iterable[str], facts: Mapping[str, Facts]) -> list[list[str]]:
    """Files that are connected by imports, each group by itself; files that import none of the others are in none."""
    names = dict.fromkeys(files)
    head = {name: name for name in names}

    def top(name: str) -> str:
        while head[name] != name:
            head[name] = head[head[name]]
            name = head[name]
        return name

    for name in names:
        for other in imported(name, facts[name].references, names):
            head[top(other)] = top(name)
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(top(name), []).append(name)
    return [group for group in found.values() if len(group) > 1]


def imported(path: str, references: Iterable[str], names: Mapping[str, Any]) -> list[str]:
    """Which of the files `names` the one at `path` imports, relatively or by their whole name."""
    out: list[str] = []
    for reference in references:
        kind, _, where = reference.partition(":")
        if kind == "py":
            bases = [where.removesuffix(".py")]
        elif f"{kind}:" == IMPORT:
            bases = [posixpath.join(folder, where.replace(".", "/")) for folder in (posixpath.dirname(path), "")]
        else:
            continue
        for base in bases:
            parts = base.split("/")
            ways = [base, *("/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))]  # packages on the way
            out += [f for w in ways for f in (f"{w}.py", f"{w}/__init__.py") if f in names and f != path]
    return list(dict.fromkeys(out))


def _together(files: list[OpenedFile], facts: Mapping[str, Facts], limits: Limits) -> None:
    first = facts[files[0].path]
    if sum(f.size for f in files) > MOST_BYTES:
        _not_followed(files, facts, "they are larger than what is followed together")
        return
    data, index = bytearray(), []
    for file in files:
        source = file.read(0, file.size)
        index.append((file.path, len(data), len(source)))
        data += source
    try:
        with open_bytes(bytes(data), name="source") as opened:
            entries = follow_files(opened.files[0].fd, index, limits)
    except (WorkerFailed, TargetError) as error:
        _not_followed(files, facts, str(error).rstrip("."))
        return
    if not isinstance(entries, list):
        _not_followed(files, facts, str(entries))
        return
    for entry in entries[:MOST_TOLD]:
        _add(facts, entry)
    if len(entries) > MOST_TOLD:
        first.not_scanned.append(NotScanned(files[0].path, f"{len(entries) - MOST_TOLD} more acts across files"))


def _add(facts: Mapping[str, Facts], entry: Mapping[str, Any]) -> None:
    """Tell it; where the file by itself told it already, the way that leads there from another file."""
    alone = (entry["rule"], entry["location"], entry["message"])
    own = facts.get(entry["file"])
    if own is None:
        return
    finding = Finding(**{**entry["finding"], "severity": Severity(entry["finding"]["severity"])})
    for number, known in enumerate(own.findings):
        if (known.rule, known.location, known.message) == alone:
            if finding.file == known.file and ", from line" in finding.evidence:
                own.findings[number] = replace(known, evidence=finding.evidence)
            return
    if finding.file in facts:
        facts[finding.file].add(finding, Verdict(entry["verdict"]))


def _not_followed(files: list[OpenedFile], facts: Mapping[str, Facts], why: str) -> None:
    for file in files:
        facts[file.path].unverifiable(
            "code.together", file.path, "", f"Nobody can say what these files do together: {why[:200]}."
        )


__all__ = ["groups", "imported", "join"]
