"""Checksums of files, as `sha256sum -c` reads them.

text([("model.safetensors", "9f86d0…")])      # "9f86d0…  model.safetensors\\n"
"""

from __future__ import annotations

from collections.abc import Iterable

from nbguard.provenance.checksums import manifest_line

FILE_NAME = "checksums.sha256"


def text(files: Iterable[tuple[str, str]], *, before: str = "") -> str:
    """The whole file, by path; lines of `before` about other paths stay."""
    lines = {made[made.index("  ") + 2 :]: made for path, sha256 in files for made in [manifest_line(path, sha256)]}
    for old in before.splitlines(keepends=True):
        _, mark, path = old.partition("  ")
        if mark and old.endswith("\n"):
            lines.setdefault(path, old)
    return "".join(lines[path] for path in sorted(lines))
