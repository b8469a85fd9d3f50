"""Safetensors in the place of pickled weights, told from names alone."""

from __future__ import annotations

import pytest

from nbguard.artifact.alternatives import beside, candidates


@pytest.mark.parametrize(
    ("opened", "beside_it", "name", "variant"),
    [
        (["pytorch_model.bin"], ["model.safetensors"], "model.safetensors", None),
        (["pytorch_model.bin"], ["model.fp16.safetensors"], "model.fp16.safetensors", "fp16"),
        (["pytorch_model.fp16.bin"], ["model.fp16.safetensors", "model.safetensors"], "model.fp16.safetensors", "fp16"),
        (["pytorch_model.fp16.bin"], ["model.safetensors"], "model.safetensors", None),
        (["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"], ["model.safetensors.index.json"],
         "model.safetensors.index.json", None),
        (["unet/diffusion_pytorch_model.bin"], ["unet/diffusion_pytorch_model.safetensors"],
         "unet/diffusion_pytorch_model.safetensors", None),
        (["adapter_model.bin"], ["adapter_model.safetensors"], "adapter_model.safetensors", None),
        (["model.pt"], ["model.safetensors"], "model.safetensors", None),
        (["model.ckpt", "training_args.bin"], ["model.safetensors"], "model.safetensors", None),
        (["unet/d.bin", "vae/d.bin"], ["unet/d.safetensors", "unet/d.fp16.safetensors", "vae/d.fp16.safetensors"],
         "unet/d.fp16.safetensors", "fp16"),
    ],
)  # fmt: skip
def test_what_lies_beside(opened: list[str], beside_it: list[str], name: str, variant: str | None) -> None:
    found = beside(opened, [*opened, *beside_it])
    assert found is not None
    assert (found.name, found.variant, found.of) == (name, variant, opened[0])


@pytest.mark.parametrize(
    ("opened", "beside_it"),
    [
        (["pytorch_model.bin"], []),
        (["pytorch_model.bin"], ["other.safetensors", "sub/model.safetensors", "model.safetensors.bak"]),
        (["model.safetensors"], ["model.fp16.safetensors"]),
        (["unet/d.bin", "vae/d.bin"], ["unet/d.safetensors"]),
        (["training_args.bin", "optimizer.pt"], ["model.safetensors"]),
        (["model.bin"], ["model.x y.safetensors", "model.../a.safetensors", "model.$(x).safetensors"]),
    ],
)
def test_no_alternative_is_made_up(opened: list[str], beside_it: list[str]) -> None:
    assert beside(opened, [*opened, *beside_it]) is None


def test_candidates_stay_in_the_folder() -> None:
    for file in ("../../etc/model.bin", "/a/b/pytorch_model.bin", "x/..bin", ".bin"):
        folder = file.rpartition("/")[0]
        assert all(c.rpartition("/")[0] == folder for c in candidates(file))
