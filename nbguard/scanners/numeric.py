"""What the scanners of models that are nothing but numbers share: whose load it is, and what a checked file is.

    if meant_for(job, "xgboost."): ...
    facts = checked(job, "xgboost-ubj", data, trees=100, numbers=25_000)

The libraries behind these formats are written in C++ and follow what the file says. What does not hold together is
unverifiable: it would not run code by design, but read, write and jump where the file tells it to.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.facts import Facts


def meant_for(job: Job, library: str) -> bool:
    """Whether a loader of `library` (`xgboost.`) was called for exactly these bytes: then they have to be its own."""
    return not job.member and not job.depth and (job.loader or "").startswith(library)


def checked(job: Job, format: str, data: bytes, *, trees: int, numbers: int) -> Facts:
    """Facts of a model that was read to its end, pinned by all of its bytes."""
    facts = plain(job, format)
    facts.marks.append(hashlib.sha256(data).hexdigest())
    facts.counts.update(trees=trees, numbers=numbers)
    return facts


def malformed(job: Job, format: str, error: Exception) -> Facts:
    """Facts of a model that does not hold together; `error` says why in one plain sentence."""
    return unverifiable(
        job,
        format,
        f"{format}.malformed",
        str(error)[:300] or "It cannot be read.",
        meaning="The library that loads it is written in C++ and does what the file says without looking: it would "
        "read, write or jump outside of the model.",
        remedy="Get the file again from its publisher, or have the model saved again by a current version.",
    )


def document(data: bytes) -> Any:
    """A JSON document with no name twice in one object, since readers disagree on which of them counts.

    Raises ValueError with one plain sentence.
    """
    try:
        return json.loads(data, object_pairs_hook=_unique)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("It is no JSON that can be read to its end.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("A name is there twice in one object of the document.")
    return out


def structure(job: Job, blocks: list[tuple[str, int, int, str]]) -> str:
    """Digest of everything but large blocks of numbers, which pins what else a large file says.

    Raises ValueError where the file is cut off meanwhile.
    """
    digest, at = hashlib.sha256(), 0
    for _, offset, size, _ in sorted((b for b in blocks if b[1] and b[2] > 4096), key=lambda b: b[1]):
        while at < offset:
            piece = job.view.read(at, min(1 << 20, offset - at))
            digest.update(piece)
            at += len(piece)
            if not piece:
                raise ValueError("The file was cut off while it was being read.")
        at = max(at, offset + size)
    while piece := job.view.read(at, 1 << 20):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()
