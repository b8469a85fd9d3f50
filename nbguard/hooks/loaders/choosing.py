"""Small pieces that the plans of several libraries are made of.

    weights = first(names, ("model.safetensors", "pytorch_model.bin"))
    Choice(files, passed_over(names, files, weights), weights)

Names come from a repository and are hostile: they are compared with the listing, and never joined to a path that is
opened.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Sequence
from typing import Any

from nbguard.artifact.checkpoints import OPENED_BY_HAND, PAPERS, PICTURES, WEIGHTS, Reader, with_variant
from nbguard.artifact.folders import READ_LIMIT
from nbguard.artifact.model import NotScanned


def first(names: Iterable[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The first of `wanted` that is there, alone; nothing where none is."""
    there = set(names)
    return next(((name,) for name in wanted if name in there), ())


def passed_over(names: Sequence[str], files: Iterable[str], weights: Sequence[str] = ()) -> tuple[NotScanned, ...]:
    """What is left out, and why."""
    taken = set(files)
    instead = f"; it would use {posixpath.basename(weights[0])}" if weights else ""
    return tuple(NotScanned(n, f"not opened by this call{instead}") for n in names if n not in taken)


def is_weights(name: str) -> bool:
    """Whether a file holds weights, by its name, in whatever format."""
    return name.lower().endswith((*WEIGHTS, *OPENED_BY_HAND))


def is_aside(name: str) -> bool:
    """Whether a file is written for people: a picture, a licence, a card."""
    return name.lower().endswith((*PICTURES, *PAPERS))


def document(read: Reader, name: str) -> Any:
    """What a JSON file holds; None where it is missing, too large or no JSON."""
    data = read(name)
    if data is None or len(data) > READ_LIMIT:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def table(read: Reader, name: str) -> dict[str, Any]:
    """The object in a JSON file; an empty one where it is none."""
    value = document(read, name)
    return value if isinstance(value, dict) else {}


def checkpoint(
    names: Iterable[str], read: Reader, folder: str, stems: Sequence[str], *, variant: str | None, safe: bool | None
) -> tuple[str, ...]:
    """The weights of one component in `folder`: one file, or an index with its shards; safetensors before pickles.

    Args:
        stems: names without extension, in the library's order (`diffusion_pytorch_model`, `model`, …).
        variant: `fp16`, …: tried first, without it where there is none.
        safe: `use_safetensors` of the call; None takes safetensors where they are there.
    """
    there = set(names)
    kinds = [".safetensors"] if safe is not False else []
    kinds += [".bin"] if not safe else []
    for kind in kinds:
        for chosen in dict.fromkeys((variant, None)):
            for stem in stems:
                single = posixpath.join(folder, with_variant(stem + kind, chosen))
                index = posixpath.join(folder, with_variant(f"{stem}{kind}.index.json", chosen))
                if single in there:
                    return (single,)
                if index in there:
                    return (index, *_shards(there, read, index))
    return ()


def _shards(there: set[str], read: Reader, index: str) -> list[str]:
    rows = table(read, index).get("weight_map")
    named = {v for v in rows.values() if isinstance(v, str)} if isinstance(rows, dict) else set()
    folder = posixpath.dirname(index)
    return sorted(n for n in (posixpath.join(folder, name) for name in named) if n in there)
