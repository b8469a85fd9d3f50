"""Several files at once, in the worker: what they do when they are followed together.

entries = together({"modeling_x.py": b"…", "helper.py": b"…"})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbguard.scanners.source.analysis import TooMuchError, follow
from nbguard.scanners.source.telling import finding_of, way_of


def together(sources: Mapping[str, bytes]) -> list[dict[str, Any]] | str:
    """What these files do when they are followed together, as JSON, or why that cannot be said."""
    try:
        acts = follow(sources)
    except TooMuchError as error:
        return str(error)
    except RecursionError:
        return "they are nested too deeply"
    lines = {path: source.splitlines() for path, source in sources.items()}
    out = []
    for act in acts:
        alone, _ = finding_of(act, act.file, lines.get(act.file, []))
        entry = (act.entry[0] or act.file) if act.when != "function" else act.file
        told, verdict = finding_of(act, entry, lines.get(act.file, []), from_line=act.entry[1], way=way_of(act))
        out.append(
            {
                "file": act.file,
                "rule": alone.rule,
                "location": alone.location,
                "message": alone.message,
                "finding": {**vars(told), "severity": int(told.severity)},
                "verdict": int(verdict),
            }
        )
    return out
