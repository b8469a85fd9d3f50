"""nbguard stands between a notebook cell and the model it is about to load.

    %load_ext nbguard                      # in a notebook: loads are scanned, asked about, and held to the answer

    import nbguard
    nbguard.install()                      # the same without IPython
    report = nbguard.scan("model.pt")      # only look
    with nbguard.guard():                  # guard one block
        model = torch.load("model.pt")
    model = nbguard.load_transformers("org/name")      # safetensors only, no code of the repository

Importing this package imports nothing else: every public name is resolved when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbguard.acquire.convert import convert
    from nbguard.downloading import download
    from nbguard.errors import ContractViolation, LoadBlocked, TargetError
    from nbguard.hooks import install, uninstall
    from nbguard.hooks.guarding import guard
    from nbguard.provenance.verify import verify
    from nbguard.report.model import Report, Verdict
    from nbguard.safe_loader import UnsafeModelError, load_transformers
    from nbguard.scanning import scan

__version__ = "0.1.0"

__all__ = [
    "ContractViolation",
    "LoadBlocked",
    "Report",
    "TargetError",
    "UnsafeModelError",
    "Verdict",
    "__version__",
    "convert",
    "download",
    "guard",
    "install",
    "load_transformers",
    "scan",
    "uninstall",
    "verify",
]

_HOMES = {
    "ContractViolation": "nbguard.errors",
    "LoadBlocked": "nbguard.errors",
    "Report": "nbguard.report.model",
    "TargetError": "nbguard.errors",
    "UnsafeModelError": "nbguard.safe_loader",
    "Verdict": "nbguard.report.model",
    "convert": "nbguard.acquire.convert",
    "download": "nbguard.downloading",
    "guard": "nbguard.hooks.guarding",
    "install": "nbguard.hooks",
    "load_transformers": "nbguard.safe_loader",
    "scan": "nbguard.scanning",
    "uninstall": "nbguard.hooks",
    "verify": "nbguard.provenance.verify",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nbguard' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext nbguard`: from here on loads in this kernel are guarded, and `%safemodel` is there."""
    from nbguard import hooks, magics

    hooks.install()
    magics.register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext nbguard`: every loader is again what it was, where the site lets that be."""
    from nbguard import magics

    magics.switch_off("%unload_ext nbguard")
    magics.unregister(shell)
