"""What is not as it was locked, in words that name the file and the change.

[str(change) for change in file_changes(report, find, sha256)]
# ["model.safetensors: other bytes than locked", "modeling_x.py changed", "new file extra.py"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nbguard.artifact.model import ArtifactFile
from nbguard.provenance.locked import Entry, LockedFile
from nbguard.report.model import Report

CODE = (".py", ".pyi", ".jinja", ".j2")
MOST_TOLD = 6


@dataclass(frozen=True)
class Change:
    """One difference. Names come from models: escape them where they are shown."""

    file: str
    """Path in the source, or empty where it is about no single file."""
    change: str
    """The whole of it, in a few words."""

    def __str__(self) -> str:
        return self.change

    def to_json(self) -> dict[str, str]:
        return {"file": self.file, "change": self.change}


def file_changes(
    report: Report, find: Callable[[str], LockedFile | None], sha256: Callable[[ArtifactFile], str]
) -> list[Change]:
    """Files that would be opened and are not those of the lock.

    Args:
        find: path in the report → what is locked there.
        sha256: of all bytes of a file; empty where it cannot be told, which is a change.
    """
    found: list[Change] = []
    for file in report.artifact.files:
        if file.inert:
            continue
        known = find(file.path)
        name = file.path[:300]
        if known is None:
            found.append(Change(file.path, f"new file {name}"))
        elif known.size != file.size or known.whole != _whole(file, sha256):
            is_code = file.path.lower().endswith(CODE)
            found.append(Change(file.path, f"{name} changed" if is_code else f"{name}: other bytes than locked"))
    return found


def _whole(file: ArtifactFile, sha256: Callable[[ArtifactFile], str]) -> str:
    return file.pin.removeprefix("sha256:") if file.pin.startswith("sha256:") else file.sha256 or sha256(file)


def gone(entry: Entry, report: Report) -> list[Change]:
    """Files of the lock that are no longer there to be opened."""
    there = {file.path for file in report.artifact.files if not file.inert}
    return [Change(f.path, f"{f.path[:300]} is gone") for f in entry.files if f.path not in there]


def contract_changes(report: Report, entries: Sequence[Entry]) -> list[Change]:
    """What loading may do now that was not in the contract that was locked, and a judgement that is worse."""
    contract, found = report.contract, []
    known = {name for entry in entries for name in entry.globals}
    wider = sorted((g.level == "data", g.dotted) for g in contract.globals if g.dotted not in known)
    found += [Change("", f"new global {name[:200]}") for _, name in wider]
    effects = {name for entry in entries for name in entry.effects}
    found += [Change("", f"new effect {name[:200]}") for name in sorted(set(contract.effects) - effects)]
    modules = {name: digest for entry in entries for name, digest in entry.modules.items()}
    for name, digest in sorted(contract.local_modules.items()):
        if modules.get(name) != digest:
            found.append(Change("", f"your module {name[:200]} {'changed' if name in modules else 'is new'}"))
    verdict = max((entry.verdict for entry in entries), default=report.verdict)
    severity = max((entry.severity for entry in entries), default=report.top_severity)
    if report.verdict > verdict:
        found.append(Change("", f"judged {report.verdict.word} now, and {verdict.word} when it was locked"))
    elif report.top_severity > severity:
        found.append(Change("", f"a finding is {report.top_severity.word} now; the worst was {severity.word} then"))
    return found


def told(changes: Iterable[Change]) -> str:
    """The first of them in one line, and how many more there are."""
    found = list(changes)
    left = len(found) - MOST_TOLD
    return "; ".join(str(change) for change in found[:MOST_TOLD]) + (f"; and {left} more" if left > 0 else "")
