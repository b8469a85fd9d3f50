"""Whether the tensors that an index promises are in the files that it names.

    compare(opened, facts)          # after every file was judged by itself

Libraries leave a tensor that they do not find as it was made at random, with a warning that is easily overlooked, so
that a model could be something else than its index says.
"""

from __future__ import annotations

from nbguard.artifact.sources import Opened
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.facts import Facts

_NAME = 500
"""Characters of a tensor's name that a layout keeps."""


def compare(opened: Opened, facts: dict[str, Facts]) -> None:
    """Tell of each index what it promises and the safetensors files beside it do not hold."""
    from nbguard.scanners.kinds.weights_index import MAX_INDEX, weight_map

    for file in opened.files:
        found = facts[file.path]
        if "weights-index" not in found.format or file.size > MAX_INDEX:
            continue
        folder = file.path.rpartition("/")[0]
        table = weight_map(file.read(0, file.size)) or {}
        held = {name: _tensors(f"{folder}/{name}" if folder else name, facts) for name in set(table.values())}
        lost = []
        for tensor, name in table.items():
            there = held[name]
            if there is not None and tensor[:_NAME] not in there:
                lost.append(tensor)
        if lost:
            found.add(
                Finding(
                    "index.disagrees",
                    Severity.MEDIUM,
                    file.path,
                    "",
                    f"Of the tensors that it promises, {len(lost)} are not in the files that it names.",
                    evidence=", ".join(ascii(t[:100]) for t in sorted(lost)[:8])[:500],
                    meaning="A library fills them with random numbers, or takes them from another file.",
                    remedy="Ask the publisher for an index that was made with the files.",
                ),
                Verdict.REVIEW,
            )


def _tensors(path: str, facts: dict[str, Facts]) -> set[str] | None:
    """Names of the tensors in a safetensors file that was read; None for anything else."""
    found = facts.get(path)
    if found is None or found.format != "safetensors" or found.verdict is Verdict.UNVERIFIABLE:
        return None
    return {name for name, *_ in found.blocks}
