"""The exceptions that nbguard raises.

    try:
        torch.load("model.bin")
    except nbguard.LoadBlocked as stopped:
        print(stopped.report.verdict)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.report.model import Report


class NbguardError(Exception):
    """Base of everything that nbguard raises on purpose."""


class TargetError(NbguardError):
    """What should be scanned or loaded cannot be found or read. The message is one plain sentence."""


class LoadBlocked(NbguardError):  # noqa: N818 - the public name that people catch; it reads as what happened
    """A load was stopped. Nothing of it has run.

    Attributes:
        report: what the scan found, or None where the load was stopped before one could be made.
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


class ContractViolation(LoadBlocked):
    """A load that was let through tried something that its contract does not hold."""
