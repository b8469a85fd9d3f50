"""Which files of a repository a download fetches, told from their names.

    rows = pick(listing.sizes, pickles=False, code=False)
    [row.path for row in rows if row.fetch]       # safetensors, configurations, tokenizers, texts

A name decides only what is fetched; what is in a file is judged by its bytes, before and after.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from nbguard.artifact.checkpoints import OPENED_BY_HAND, OTHER_WEIGHTS, TORCH_WEIGHTS, WEIGHTS

Kind = Literal["safe", "dangerous", "to be checked"]

PICKLES = (*TORCH_WEIGHTS, *OPENED_BY_HAND, ".npy", ".npz", ".nemo", ".t7", ".pyt", ".pckl")
"""Files that unpickling reads, or may read."""
CODE = (".py", ".pyc", ".pyo", ".pyd", ".so", ".dylib", ".dll", ".exe", ".sh", ".bat", ".ps1", ".js", ".ipynb", ".jar",
        ".whl")  # fmt: skip
DATA = (".safetensors", ".json", ".jsonl", ".yaml", ".yml", ".toml")
TEXTS = (".txt", ".md", ".rst", ".jinja")
VOCABULARIES = (".model", ".spm", ".tiktoken", ".vocab", ".bpe", ".vec")
PAPERS = ("license", "licence", "notice", "readme", "copying", "merges", "vocab")


@dataclass(frozen=True)
class Row:
    """One file of the list."""

    path: str
    size: int | None
    fetch: bool
    kind: Kind
    why: str
    """Why it is or is not fetched."""


def pick(
    sizes: Mapping[str, int | None],
    *,
    pickles: bool = False,
    code: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> tuple[Row, ...]:
    """A row for every file, by path.

    Args:
        pickles: pickles and weights in other formats too.
        code: code too.
        include: globs, of which a path has to match one; a file of another kind, neither pickle nor code, is fetched
            too where one matches it.
        exclude: globs of what is not fetched.
    """
    rows = []
    for path in sorted(sizes):
        row = replace(_row(path, pickles, code, bool(include)), size=sizes[path])
        if row.fetch and include and not _matches(path, include):
            row = replace(row, fetch=False, why="not among what was asked for")
        if row.fetch and _matches(path, exclude):
            row = replace(row, fetch=False, why="left out, as asked for")
        rows.append(row)
    return tuple(rows)


def has_weights(rows: Sequence[Row], *, fetched: bool) -> bool:
    """Whether there are weights among them, or among those that are fetched."""
    return any(row.path.lower().endswith((*WEIGHTS, *PICKLES)) and (row.fetch or not fetched) for row in rows)


def _matches(path: str, globs: Sequence[str]) -> bool:
    """As huggingface_hub's own `allow_patterns`: a pattern that ends in `/` means all below it."""
    return any(fnmatchcase(path, glob + "*" if glob.endswith("/") else glob) for glob in globs)


def _row(path: str, pickles: bool, code: bool, named: bool) -> Row:
    lower = path.lower()
    stem, ending = posixpath.splitext(posixpath.basename(lower))
    if any(part.startswith(".") for part in path.split("/")[:-1]):
        return Row(path, None, False, "dangerous", "in a hidden folder, where other programs look for what to run")
    if lower.endswith(CODE):
        return Row(path, None, code, "dangerous", "code, as asked for" if code else "code; fetched with --code only")
    if lower.endswith(PICKLES):
        why = "a pickle, as asked for" if pickles else "a pickle; fetched with --pickles only"
        return Row(path, None, pickles, "dangerous", why)
    if stem.startswith("."):
        why = "asked for by name" if named else "hidden; other programs look there for settings that can run something"
        return Row(path, None, named, "to be checked", why)
    if lower.endswith(DATA):
        return Row(path, None, True, "safe", "weights as plain data" if ending == ".safetensors" else "a configuration")
    if lower.endswith(VOCABULARIES):
        return Row(path, None, True, "to be checked", "a tokenizer")
    if lower.endswith(TEXTS) or (not ending and stem in PAPERS):
        return Row(path, None, True, "safe", "a text")
    if lower.endswith(OTHER_WEIGHTS):
        wanted = pickles or named
        why = "weights in another format" + ("" if wanted else "; fetched with --pickles, or by name with --include")
        return Row(path, None, wanted, "to be checked", why)
    why = "asked for by name" if named else "no part of a model; fetched by name with --include"
    return Row(path, None, named, "to be checked", why)
