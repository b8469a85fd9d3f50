"""Checksums of files, as `sha256sum -c` reads them.

text([("model.safetensors", "9f86d0…")])      # "9f86d0…  model.safetensors\\n"
"""

from __future__ import annotations

from collections.abc import Iterable

FILE_NAME = "checksums.sha256"


def line(path: str, sha256: str) -> str:
    """One line; a name with a line feed, a carriage return or a backslash is written as GNU's sha256sum writes it."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{sha256}  {escaped}\n"


def text(files: Iterable[tuple[str, str]], *, before: str = "") -> str:
    """The whole file, by path; lines of `before` about other paths stay."""
    lines = {made[made.index("  ") + 2 :]: made for path, sha256 in files for made in [line(path, sha256)]}
    for old in before.splitlines(keepends=True):
        _, mark, path = old.partition("  ")
        if mark and old.endswith("\n"):
            lines.setdefault(path, old)
    return "".join(lines[path] for path in sorted(lines))
