"""What lies in an archive, judged as what it is, and told as part of the archive.

facts.merge(examine_member(job, view, "data/model.pkl", "tar-member"))
"""

from __future__ import annotations

from nbguard.formats.view import View
from nbguard.report.model import Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts

BESIDE = frozenset({"script", "notebook", "requirements"})
"""Formats that people open and no loader does."""
_NEVER_EMPTY = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".safetensors", ".npy", ".npz", ".ckpt")


def examine_member(job: Job, data: View | bytes, name: str, container: str) -> Facts:
    """Facts of a member; its own picture of bytes and containers is left out, since it is none of the file's."""
    from nbguard.scanners.registry import examine

    if is_marker(name, len(data) if isinstance(data, bytes) else data.size):
        return Facts(format="empty")
    judged = examine(job.inside(data, member=name, container=container))
    judged.regions.clear()
    judged.containers.clear()
    judged.summary.clear()
    return lying_beside(judged)


def lying_beside(judged: Facts) -> Facts:
    """The same; a harmless script or notebook weighs no more in an archive than in a folder, where it is inert."""
    if judged.format in BESIDE and judged.verdict is Verdict.REVIEW:
        judged.verdict = Verdict.SAFE
        judged.code.clear()
    return judged


def is_marker(name: str, size: int) -> bool:
    """Whether a member is an empty file that says something by being there (`py.typed`, `.gitkeep`), and no model."""
    return not size and not name.lower().endswith(_NEVER_EMPTY)
