"""Whether the weights that would be unpickled lie there as safetensors too, told from names alone.

    beside(["pytorch_model.bin"], ["pytorch_model.bin", "model.fp16.safetensors"])
    # Alternative("model.fp16.safetensors", of="pytorch_model.bin", variant="fp16")

Names are hostile and only ever compared. That the two hold the same numbers is not known from their names.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

UNPICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""What torch unpickles."""
_STEMS = {"pytorch_model": "model", "tf_model": "model", "flax_model": "model", "consolidated": "model"}
"""What transformers calls the same weights in another format."""
_NO_WEIGHTS = re.compile(r"training_args\.bin|(optimizer|scheduler|scaler)\.(pt|bin)|rng_state.*\.pth|trainer_state.*")
"""What a trainer leaves beside the weights; no `from_pretrained` opens it."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}\Z")
_VARIANT = r"[A-Za-z0-9_]{1,40}"


@dataclass(frozen=True)
class Alternative:
    """Weights as safetensors, in the place of others."""

    name: str
    """The file, or the index of its parts."""
    of: str
    """The first file that would be unpickled."""
    variant: str | None = None
    """As the `variant` of `from_pretrained`."""


def beside(opened: Iterable[str], names: Collection[str]) -> Alternative | None:
    """The safetensors among `names` in the place of those `opened` files that would be unpickled; None where not all of
    these have one, of one variant."""
    present = set(names)
    files = [f for f in opened if f.lower().endswith(UNPICKLED) and not _NO_WEIGHTS.fullmatch(posixpath.basename(f))]
    for name, variant in _candidates(files[0], present) if files else ():
        if name in present and all(_has(file, variant, present) for file in files[1:]):
            return Alternative(name, files[0], variant)
    return None


def _has(file: str, variant: str | None, present: Collection[str]) -> bool:
    return any(name in present and of == variant for name, of in _candidates(file, present))


def candidates(file: str) -> list[str]:
    """Names in the same folder under which the safetensors of `file` would lie, without those of another variant."""
    return [name for name, _ in _candidates(file, frozenset())]


def _candidates(file: str, present: Collection[str]) -> list[tuple[str, str | None]]:
    folder, base = posixpath.split(file)
    stem = _SHARD.sub("", base.rpartition(".")[0])
    name, dot, last = stem.partition(".")
    variant = last if dot and re.fullmatch(_VARIANT, last) and name in (*_STEMS, *_STEMS.values()) else None
    bare = name if variant is not None else stem
    out: list[tuple[str, str | None]] = []
    for base in dict.fromkeys((_STEMS.get(bare, bare), bare)):
        for wanted in dict.fromkeys((variant, None)):
            middle = f".{wanted}" if wanted else ""
            out += [(f"{base}{middle}.safetensors", wanted), (f"{base}.safetensors.index{middle}.json", wanted)]
    found = [(posixpath.join(folder, name), wanted) for name, wanted in out]
    return [*found, *_variants(folder, _STEMS.get(bare, bare), present)]


def _variants(folder: str, stem: str, present: Collection[str]) -> list[tuple[str, str | None]]:
    """Safetensors of another precision (`model.fp16.safetensors`), which the call would have to ask for."""
    pattern = re.compile(
        rf"{re.escape(posixpath.join(folder, stem))}(?:\.safetensors\.index)?\.({_VARIANT})\.(safetensors|json)"
    )
    found = [(name, match[1]) for name in sorted(present) if (match := pattern.fullmatch(name))]
    return [(n, v) for n, v in found if n.endswith(".safetensors") or ".safetensors.index." in n]
