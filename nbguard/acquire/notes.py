"""What is written down about a conversion: in the model card, in notes of its own, and as checksums.

    card = with_section(b"---\\nlicense: mit\\n---\\n# A model\\n", section(told))
    checksums({"model.safetensors": "9f86d0…"})         # what `sha256sum -c` reads

Names come from models: in here each is one piece of code in Markdown, and can neither end it nor break the line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nbguard.provenance.checksums import write_manifest

if TYPE_CHECKING:
    from nbguard.acquire.convert import ConvertedFile

NOTES = "CONVERSION.md"
CHECKSUMS = "checksums.sha256"
CARD = "README.md"
TITLE = "Converted to safetensors"
MOST_LEFT_OUT = 20


@dataclass(frozen=True)
class Told:
    """What the notes say."""

    target: str
    commit: str | None
    rules: str
    verdict: str
    files: Sequence[ConvertedFile]
    when: datetime


def now() -> datetime:
    """This moment, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def section(told: Told, *, level: int = 2) -> str:
    """The notes, in Markdown, under a heading of this level."""
    import nbguard

    at = f" at commit {_code(told.commit)}" if told.commit else ""
    lines = [
        f"{'#' * level} {TITLE}",
        "",
        f"Converted from {_code(told.target)}{at} on {told.when:%Y-%m-%d %H:%M} UTC by nbguard {nbguard.__version__}, "
        "in a process of its own, and compared with the original tensor by tensor, bit for bit.",
        f"The original was scanned before, with the rules of {_code(told.rules, 80)}: {told.verdict}. "
        "That says what its files can do, not how good the model is or who made it.",
        "",
        "| original | its SHA-256 | here | its SHA-256 | tensors |",
        "|---|---|---|---|---|",
    ]
    for m in told.files:
        lines.append(
            f"| {_code(m.source, 200)} | `{m.source_sha256}` | {_code(m.path, 200)} | `{m.sha256}` | {m.tensors:,} |"
        )
    lines.append("")
    for m in told.files:
        if m.left_out:
            left = ", ".join(_code(name, 60) for name in m.left_out[:MOST_LEFT_OUT])
            more = f" and {len(m.left_out) - MOST_LEFT_OUT} more" if len(m.left_out) > MOST_LEFT_OUT else ""
            lines.append(f"- Left out of {_code(m.source, 200)}, because it is no weight: {left}{more}.")
    lines += [f"- What held the process that read the original: {held(told.files[0].layers)}.", ""]
    return "\n".join(lines)


def held(layers: Sequence[str]) -> str:
    """The layers in words, those that are missing too."""
    named = {
        "limits": "limits on memory, file size and time",
        "landlock": "Landlock (no other files{tcp})",
        "seccomp": "seccomp (no connections, no programs, no new processes)",
    }
    found = {layer.partition(" ")[0]: layer.partition(" ")[2] for layer in layers}
    version = int(found["landlock"]) if found.get("landlock", "").isdigit() else 0
    said = [text.format(tcp=", no TCP" if version >= 4 else "") for key, text in named.items() if key in found]
    missing = [name for key, name in (("landlock", "Landlock"), ("seccomp", "seccomp")) if key not in found]
    without = f"; this system has no {' and no '.join(missing)}" if missing else ""
    return ", ".join(said) + without


_FRONT_MATTER = re.compile(rb"\s*---[\r\n]+[\S\s]*?[\r\n]+---(?:\r\n|\r|\n|$)")
"""As `huggingface_hub.repocard` finds it."""
_HIDES = re.compile(rb"(?:^|[\r\n])[ \t>]*(?:<|```|~~~)")
"""A line from which Markdown may take everything for a comment, HTML or code, where it knows no front matter."""


def with_section(card: bytes, text: str) -> bytes:
    """A model card with the notes before its text; what stood there stays as it is, its front matter too.

    What the publisher wrote comes after the notes: a comment or piece of code that is never closed would hide what
    follows it. So front matter that could do that comes after them too.
    """
    found = _FRONT_MATTER.match(card)
    front = found[0] if found is not None and not _HIDES.search(found[0]) else b""
    begin = front.rstrip(b"\r\n") + b"\n\n" if front else b""
    rest = card[len(front) :].strip(b"\r\n")
    return begin + text.encode("utf-8") + (b"\n" + rest + b"\n" if rest else b"")


def write_card(folder: Path, told: Told) -> None:
    """Put the notes into the folder's model card, or make one, and write them for themselves."""
    from nbguard.report.escape import terminal

    others = [p for p in folder.iterdir() if p.name.lower() == CARD.lower()]
    place = folder / CARD if not others or (folder / CARD) in others else others[0]
    notes = f"\nThe same stands in `{NOTES}`; `sha256sum -c {CHECKSUMS}` checks the files.\n"
    if place.is_file():
        card = with_section(place.read_bytes(), section(told) + notes)
    else:
        title = terminal(told.target.rstrip("/").rpartition("/")[2], 100) or "Converted model"
        card = f"# {title}\n\n{section(told)}{notes}".encode()
    place.write_bytes(card)
    (folder / NOTES).write_text(section(told, level=1), encoding="utf-8")


def write_checksums(folder: Path) -> None:
    """`checksums.sha256` of everything in the folder."""
    digests = {}
    for place in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != CHECKSUMS):
        with place.open("rb") as file:
            digests[place.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    write_manifest(folder / CHECKSUMS, digests, overwrite=True)


def _code(text: str, limit: int = 300) -> str:
    """A string as one piece of code in Markdown, in a table too."""
    from nbguard.report.escape import terminal

    return "`" + terminal(text, limit).replace("`", "'").replace("|", "¦") + "`"
