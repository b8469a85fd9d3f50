"""What else transformers loads: the arguments of a training, checkpoints of a Trainer, GGUF files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)  # fmt: skip

from nbguard import hooks
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


# trainings


class Words(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": torch.tensor([2, 5 + index, 3]), "labels": torch.tensor(index % 2)}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint that a Trainer wrote while nobody was guarding it."""
    folder = tmp_path_factory.mktemp("training")
    base = write(tmp_path_factory.mktemp("base"), files_of("demo/tiny-bert"))
    _trainer(AutoModelForSequenceClassification.from_pretrained(base), folder).train()
    return folder


def _trainer(model: Any, folder: Path, steps: int = 1) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, save_steps=1, per_device_train_batch_size=2, report_to=[],
        use_cpu=True, disable_tqdm=True, save_strategy="steps",
    )  # fmt: skip
    return Trainer(model=model, args=arguments, train_dataset=Words())


def test_the_arguments_of_a_training(person: Person, training: Path) -> None:
    found = torch.load(training / "checkpoint-1" / "training_args.bin", weights_only=False)
    assert isinstance(found, TrainingArguments)
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    assert {g.level for g in person.asked[0].contract.globals} <= {"data", "library"}


def test_a_training_goes_on_from_its_checkpoint(person: Person, training: Path, tmp_path: Path) -> None:
    """The library unpickles its own states with torch's restricted machine; nothing is asked."""
    model = AutoModelForSequenceClassification.from_pretrained(training / "checkpoint-1")
    asked = len(person.asked)
    trainer = _trainer(model, tmp_path, steps=2)
    trainer.train(resume_from_checkpoint=str(training / "checkpoint-1"))
    assert trainer.state.global_step == 2
    assert len(person.asked) == asked


def test_hostile_arguments_of_a_training(person: Person, marker: Path, tmp_path: Path) -> None:
    person.choice = "refuse"
    (tmp_path / "training_args.bin").write_bytes(hostile_zip(marker))
    with pytest.raises(LoadBlocked):
        torch.load(tmp_path / "training_args.bin", weights_only=False)
    assert person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


@pytest.mark.parametrize("state", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_hostile_state_in_a_checkpoint(
    person: Person, training: Path, tmp_path: Path, marker: Path, state: str
) -> None:
    folder = write(tmp_path / "checkpoint-1", files_below(training / "checkpoint-1"))
    (folder / state).write_bytes(hostile_zip(marker))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with pytest.raises(Exception):  # noqa: B017, PT011 - torch's restricted machine, or a wall
        _trainer(model, tmp_path / "out", steps=2).train(resume_from_checkpoint=str(folder))
    assert not marker.exists()


# GGUF


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny Llama in one GGUF file, as llama.cpp's converter names its tensors."""
    import gguf

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=False,
    )  # fmt: skip
    state = {k: v.float().numpy() for k, v in LlamaForCausalLM(config).state_dict().items()}
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(16)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(32)
    for theirs, ours in {
        "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight", "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
        "model.layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
        "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
        "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
        "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
        "model.layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
        "model.layers.0.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
        "model.layers.0.mlp.up_proj.weight": "blk.0.ffn_up.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
    }.items():  # fmt: skip
        writer.add_tensor(ours, state[theirs])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"tiny.gguf": path.read_bytes()}


def test_a_gguf_file(hub: Hub, person: Person, llama: dict[str, bytes]) -> None:
    repo = push(hub, llama)
    model = AutoModelForCausalLM.from_pretrained(repo, gguf_file="tiny.gguf")
    assert isinstance(model, LlamaForCausalLM)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) == {"tiny.gguf"}


def test_a_gguf_file_that_lies_about_its_size(hub: Hub, person: Person, llama: dict[str, bytes]) -> None:
    with pytest.raises(LoadBlocked):
        AutoModelForCausalLM.from_pretrained(push(hub, {"tiny.gguf": llama["tiny.gguf"][:-64]}), gguf_file="tiny.gguf")


def test_a_pickle_under_the_name_of_a_gguf_file(
    hub: Hub, person: Person, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = push(hub, {"tiny.gguf": hostile_zip(marker)})
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModelForCausalLM.from_pretrained(repo, gguf_file="tiny.gguf")
    blind(monkeypatch)
    person.choice = "once"
    with pytest.raises(Exception):  # noqa: B017, PT011 - the library reads no pickle there
        AutoModelForCausalLM.from_pretrained(repo, gguf_file="tiny.gguf")
    assert not marker.exists()
    hooks.uninstall()
