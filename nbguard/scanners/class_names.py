"""Which classes a configuration may name for a library to import and make.

    judge_class("torch.nn.modules.activation.Tanh").level         # "free"
    judge_class("torch.utils.collect_env.main").level             # "never": it would be imported and called
    judge_class("pylate.models.Dense").level                      # "package": of another package

sentence-transformers imports what `modules.json`, a `Dense` module's `activation_function` and a CrossEncoder's
`activation_fn` name, and calls it; names that begin with `torch.` need no `trust_remote_code`
(sentence-transformers 6.2, `util/misc.py`, `cross_encoder/model.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from nbguard.scanners.tables import of_python

FREE = ("sentence_transformers.", "torch.nn.", "transformers.activations.")
"""Packages whose network modules are harmless to import and make."""
MAX_NAME = 200
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


@dataclass(frozen=True)
class Judged:
    """What a name means."""

    level: Literal["free", "package", "never"]
    """Harmless; of another package, which importing runs; not to be imported at all."""
    why: str = ""
    """One clause that goes on after "it names the class …, and"; empty where it is harmless."""


def judge_class(name: str) -> Judged:
    """Judge the dotted name of a class that a configuration gives. Imports nothing."""
    if len(name) > MAX_NAME or not _DOTTED.fullmatch(name):
        return Judged("never", "that is no name that an honest configuration holds")
    parts = name.split(".")
    if any(p.startswith("__") for p in parts):
        return Judged("never", "it reaches for what is private to Python")
    if any(of_python(p) or p == "torch" for p in parts[1:-1]) and name.startswith(FREE):
        return Judged("never", "it reaches a module of Python, or all of torch, through a package that may be named")
    if name.startswith(FREE):
        return Judged("free")
    if parts[0] == "torch":
        return Judged("never", "of torch only the modules of torch.nn may be named; this would be called")
    if of_python(parts[0]) or parts[0] == "nbguard":
        return Judged("never", "it is part of Python itself, and would be imported and called")
    return Judged("package", "it is in another package, which would be imported")


def judge_component(library: str, name: str, *, installed: bool) -> str:
    """Why a pair of `model_index.json` (library, class) may not be followed; empty where it may.

    diffusers imports its own modules and transformers, and takes another module only where it has been imported
    already (0.42, `pipeline_loading_utils._get_library_or_raise`); before 0.36 it imported whatever was named.

    Args:
        library: as it stands there; one word without dots is also the name of a module of diffusers' own pipelines or
            of a file in the component's folder.
        installed: whether the top package of that name belongs to the installation.
    """
    parts = [*library.split("."), *name.split(".")]
    if len(library) > MAX_NAME or len(name) > MAX_NAME or not all(p.isidentifier() for p in parts):
        return "that is no name that an honest configuration holds"
    if any(p.startswith("__") and p != "__main__" for p in parts):
        return "it reaches for what is private to Python"
    if installed and (of_python(parts[0]) or parts[0] == "nbguard"):
        return "it is part of Python itself, not a component of a pipeline"
    return ""
