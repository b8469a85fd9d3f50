"""diffusers with parts of transformers, and what is loaded into a pipeline: LoRA, learned words, single checkpoints."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from loopback_hub import Hub
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from nbguard.errors import LoadBlocked
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from hub_tools import blind, files_below, hostile_zip, paths, push, someone, write
from transformers_tools import Person


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    yield from someone(monkeypatch)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion, a LoRA and an embedding for it, as the libraries save them."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    words = ["a", "b", "c", "a</w>", "b</w>", "c</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    write(folder, {"vocab.json": json.dumps({w: i for i, w in enumerate(words)}).encode(),
                   "merges.txt": b"#version: 0.2\na b</w>\n"})  # fmt: skip
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, projection_dim=8, bos_token_id=7, eos_token_id=8, pad_token_id=8,
    ))  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8, norm_num_groups=2, attention_head_dim=2,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",), block_out_channels=(8,),
        latent_channels=4, norm_num_groups=2,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, safety_checker=None,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder / "pipe")
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = get_peft_model_state_dict(unet)
    StableDiffusionPipeline.save_lora_weights(folder / "lora", unet_lora_layers=layers)
    StableDiffusionPipeline.save_lora_weights(folder / "bin", unet_lora_layers=layers, safe_serialization=False)
    (folder / "words").mkdir()
    torch.save({"<cat>": torch.ones(8)}, folder / "words" / "learned_embeds.bin")
    return folder


@pytest.fixture
def pipe(person: Person, saved: Path) -> Any:
    """Loaded and accepted; the questions that follow are counted from here."""
    loaded = StableDiffusionPipeline.from_pretrained(saved / "pipe")
    person.asked.clear()
    return loaded


def test_parts_of_two_libraries_are_one_question(hub: Hub, person: Person, saved: Path) -> None:
    repo = push(hub, files_below(saved / "pipe"))
    StableDiffusionPipeline.from_pretrained(repo)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) >= {
        "text_encoder/model.safetensors", "tokenizer/tokenizer.json", "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    CLIPTokenizer.from_pretrained(repo, subfolder="tokenizer")
    CLIPTextModel.from_pretrained(repo, subfolder="text_encoder")
    AutoencoderKL.from_pretrained(repo, subfolder="vae")
    assert len(person.asked) == 1


def test_pickles_for_all_where_one_part_has_nothing_else(hub: Hub, person: Person, mixed: dict[str, bytes]) -> None:
    """As diffusers does: then it takes no safetensors of the others, where they have pickles."""
    StableDiffusionPipeline.from_pretrained(push(hub, mixed))
    assert paths(person.asked[0]) >= {"vae/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"}
    assert len(person.asked) == 1


@pytest.fixture(scope="module")
def mixed(saved: Path) -> dict[str, bytes]:
    files = files_below(saved / "pipe")
    files["text_encoder/pytorch_model.bin"] = _as_pickle(files.pop("text_encoder/model.safetensors"))
    files["vae/diffusion_pytorch_model.bin"] = _as_pickle(files["vae/diffusion_pytorch_model.safetensors"])
    return files


def _as_pickle(safetensors: bytes) -> bytes:
    from safetensors.torch import load

    return _pickled(load(safetensors))


def _pickled(state: Any) -> bytes:
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


# LoRA


@pytest.mark.parametrize(("kind", "file"), [("lora", "pytorch_lora_weights.safetensors"),
                                            ("bin", "pytorch_lora_weights.bin")])  # fmt: skip
@pytest.mark.parametrize("local", [False, True])
def test_a_lora(hub: Hub, person: Person, pipe: Any, saved: Path, kind: str, file: str, local: bool) -> None:
    where = str(saved / kind) if local else push(hub, files_below(saved / kind))
    pipe.load_lora_weights(where)
    assert pipe.get_active_adapters() == ["default_0"]
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) == {file}


@pytest.mark.parametrize("fooled", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_a_hostile_lora(
    hub: Hub, person: Person, pipe: Any, tmp_path: Path, marker: Path, local: bool, fooled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if fooled:
        blind(monkeypatch)
    else:
        person.choice = "refuse"
    files = {"pytorch_lora_weights.bin": hostile_zip(marker)}
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever wall or loader stops it
        pipe.load_lora_weights(str(write(tmp_path / "lora", files)) if local else push(hub, files))
    assert fooled or person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


def test_a_dictionary_of_weights_is_no_question(person: Person, pipe: Any, saved: Path) -> None:
    from safetensors.torch import load_file

    pipe.load_lora_weights(load_file(saved / "lora" / "pytorch_lora_weights.safetensors"))
    assert {r.target for r in person.asked} <= {str(saved / "lora" / "pytorch_lora_weights.safetensors")}


# textual inversion


@pytest.mark.parametrize("local", [False, True])
def test_a_learned_word(hub: Hub, person: Person, pipe: Any, saved: Path, local: bool) -> None:
    where = str(saved / "words") if local else push(hub, files_below(saved / "words"))
    pipe.load_textual_inversion(where)
    assert "<cat>" in pipe.tokenizer.get_vocab()
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]


@pytest.mark.parametrize("fooled", [False, True])
def test_a_hostile_word(
    hub: Hub, person: Person, pipe: Any, marker: Path, fooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fooled:
        blind(monkeypatch)
    else:
        person.choice = "refuse"
    with pytest.raises(Exception):  # noqa: B017, PT011
        pipe.load_textual_inversion(push(hub, {"learned_embeds.bin": hostile_zip(marker)}))
    assert person.asked
    assert not marker.exists()


# single checkpoints


@pytest.fixture(scope="module")
def checkpoint(saved: Path) -> dict[str, bytes]:
    """The weights of one part in a checkpoint, as trainings save them."""
    from safetensors.torch import load_file

    state = load_file(saved / "pipe" / "vae" / "diffusion_pytorch_model.safetensors")
    return {"vae.ckpt": _pickled({"state_dict": state})}


def test_a_single_checkpoint_and_its_configuration_are_one_question(
    hub: Hub, person: Person, saved: Path, checkpoint: dict[str, bytes], tmp_path: Path
) -> None:
    config = push(hub, {"config.json": (saved / "pipe" / "vae" / "config.json").read_bytes()})
    place = write(tmp_path, checkpoint) / "vae.ckpt"
    assert isinstance(AutoencoderKL.from_single_file(str(place), config=config), AutoencoderKL)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) == {"vae.ckpt"}


def test_a_hostile_checkpoint(person: Person, tmp_path: Path, marker: Path) -> None:
    person.choice = "refuse"
    (tmp_path / "model.ckpt").write_bytes(hostile_zip(marker))
    with pytest.raises(LoadBlocked):
        StableDiffusionPipeline.from_single_file(str(tmp_path / "model.ckpt"))
    assert person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()
