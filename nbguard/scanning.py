"""Only look: what loading something would do, and what its name says.

report = nbguard.scan("model.pt")
report.verdict, report.summary
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbguard.scanners.orchestrate import Progress
from nbguard.scanners.orchestrate import scan as _scan

if TYPE_CHECKING:
    from nbguard.report.model import Report
    from nbguard.scanners.base import Limits


def scan(
    target: str,
    *,
    revision: str | None = None,
    loader: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judge a path, or a repository on the Hub (`org/name`, `hf://org/name@revision`), without loading anything.

    A repository is judged where it lies; nothing is downloaded (docs/hub.md).

    Args:
        revision: branch, tag or commit of a repository.
        loader: the public name of the loader that it is meant for (`torch.load`); by default, any.
        limits: on time and memory for each file; by default those of `nbguard.scanners.base.Limits`.
        progress: called with the share done (0 to 1) and what is being read.

    Raises:
        TargetError: it cannot be found or read, or it is a folder without a model. One plain sentence.
    """
    from nbguard.errors import TargetError
    from nbguard.hooks.published import published
    from nbguard.provenance import did_you_mean, with_name

    try:
        report = _scan(target, revision=revision, loader=loader, limits=limits, progress=progress, then=published)
    except TargetError as error:
        raise did_you_mean(error, target) from None
    return with_name(report)
