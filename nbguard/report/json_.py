"""Reports as JSON text, in the shape that `report.model.document` fixes.

print(json_.dumps([report]))      # {"schema": "nbguard.report/1", "reports": […]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from nbguard.report.model import Report, document


def dumps(reports: Iterable[Report], *, indent: int | None = 2) -> str:
    """The document as ASCII: names that are not UTF-8 and control characters come out as `\\u` escapes."""
    return json.dumps(document(reports), indent=indent, ensure_ascii=True)
