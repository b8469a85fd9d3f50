"""Judging what would be loaded, without loading it.

report = nbguard.scanners.scan("model.pt")
report = nbguard.scanners.scan_opened(opened, loader="torch.load")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbguard.scanners.base import Limits
    from nbguard.scanners.orchestrate import scan, scan_opened

__all__ = ["Limits", "scan", "scan_opened"]


def __getattr__(name: str) -> Any:
    if name == "Limits":
        from nbguard.scanners.base import Limits

        return Limits
    if name in ("scan", "scan_opened"):
        from nbguard.scanners import orchestrate

        return getattr(orchestrate, name)
    raise AttributeError(name)
