"""What Python source would do, told from its syntax tree; nothing of it is run.

    found = analyse(source)
    for act in found.acts:
        act.what, act.name, act.when, act.chain      # "runs a command", "os.system", "import", ("setup() line 4",)

Names are followed through imports, aliases, attributes, constant strings and the module's own functions, so that what
counts is what is called, never how it is spelled or what merely stands in a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbguard.scanners.source.acts import Act, When
    from nbguard.scanners.source.analysis import Analysis, analyse

__all__ = ["Act", "Analysis", "When", "analyse"]


def __getattr__(name: str) -> Any:
    """The public names when they are first asked for: most scans have no source to follow (PEP 562)."""
    if name in ("Analysis", "analyse"):
        from nbguard.scanners.source import analysis

        return getattr(analysis, name)
    if name in ("Act", "When"):
        from nbguard.scanners.source import acts

        return getattr(acts, name)
    raise AttributeError(name)
