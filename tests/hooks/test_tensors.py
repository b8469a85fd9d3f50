"""safetensors and GGUF: honest tables load through the scanned handle, others are refused; libraries pass."""

from __future__ import annotations

import copy
import json
import pickle
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.hooks import caller, walk

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.int64)}


def overlapping(folder: Path) -> Path:
    header = {n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in ("a", "b")}
    text = json.dumps(header).encode()
    (folder / "bad.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"data")
    return folder / "bad.safetensors"


def duplicated(folder: Path) -> Path:
    entry = '"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}'
    text = f"{{{entry}, {entry}}}".encode()
    (folder / "twice.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"data")
    return folder / "twice.safetensors"


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    safetensors.numpy.save_file(TENSORS, tmp_path / "honest.safetensors", metadata={"format": "pt"})
    return tmp_path / "honest.safetensors"


@pytest.mark.usefixtures("guarded")
class TestSafetensors:
    def test_honest_files_load(self, person: Any, honest: Path) -> None:
        assert (safetensors.numpy.load_file(honest)["a"] == TENSORS["a"]).all()
        assert (safetensors.numpy.load(honest.read_bytes())["b"] == 1).all()
        assert torch.equal(safetensors.torch.load_file(honest)["b"], torch.ones(4, dtype=torch.int64))
        assert safetensors.torch.load(honest.read_bytes())["a"].shape == (2, 3)
        assert len(safetensors.deserialize(honest.read_bytes())) == 2
        assert person.verdicts == ["safe"] * 5
        assert {r.files[0].format for r in person.reports} == {"safetensors"}

    def test_a_model_is_filled(self, person: Any, tmp_path: Path) -> None:
        layer = torch.nn.Linear(3, 2)
        safetensors.torch.save_model(layer, str(tmp_path / "layer.safetensors"))
        other = torch.nn.Linear(3, 2)
        assert safetensors.torch.load_model(other, tmp_path / "layer.safetensors") == (set(), [])
        assert torch.equal(layer.weight, other.weight)
        assert len(person.reports) == 1

    @pytest.mark.parametrize("framework", ["np", "pt"])
    def test_what_is_opened_lazily_stays_readable(self, person: Any, honest: Path, framework: str) -> None:
        with safetensors.safe_open(honest, framework=framework) as file:
            assert isinstance(file, safetensors.safe_open)
            assert sorted(file.keys()) == ["a", "b"]
            assert file.get_slice("a")[1:2].tolist() == [[3.0, 4.0, 5.0]]
        opened = safetensors.safe_open(str(honest), framework, device="cpu")
        honest.unlink()
        assert opened.get_tensor("b").tolist() == [1, 1, 1, 1]
        assert opened.metadata() == {"format": "pt"}

    @pytest.mark.parametrize("forge", [overlapping, duplicated])
    def test_tables_that_readers_disagree_on_are_refused(self, person: Any, tmp_path: Path, forge: Any) -> None:
        place = forge(tmp_path)
        with pytest.raises(LoadBlocked):
            safetensors.numpy.load_file(place)
        with pytest.raises(LoadBlocked):
            safetensors.safe_open(place, framework="np")
        assert set(person.verdicts) <= {"unverifiable"}

    def test_a_pickle_under_that_name_is_refused(self, person: Any, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(pickle.dumps(TENSORS))
        with pytest.raises(LoadBlocked):
            safetensors.torch.load_file(tmp_path / "model.safetensors")

    def test_the_calls_of_libraries_pass(
        self, person: Any, tmp_path: Path, honest: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(caller, "find", lambda *_: caller.Caller("library", "a_library"))
        assert set(safetensors.numpy.load_file(honest)) == {"a", "b"}
        assert person.reports == []


def written(folder: Path, template: str = "{{ messages[0]['content'] }}", **more: Any) -> Path:
    place = folder / f"{more.get('name', 'model')}.gguf"
    writer = gguf.GGUFWriter(place, "llama")
    writer.add_chat_template(template)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{n}" for n in range(100)])
    writer.add_tensor("weights", np.ones((8, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return place


@pytest.mark.usefixtures("guarded")
class TestGguf:
    def test_an_honest_model_loads(self, person: Any, tmp_path: Path) -> None:
        reader = gguf.GGUFReader(written(tmp_path))
        assert reader.tensors[0].name == "weights"
        assert reader.tensors[0].data.sum() == 256
        assert person.verdicts == ["safe"]
        assert [c.kind for c in person.reports[0].contract.code] == ["template"]

    def test_a_template_that_reaches_out_is_danger(self, person: Any, tmp_path: Path) -> None:
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            gguf.GGUFReader(written(tmp_path, "{{ cycler.__init__.__globals__.os.popen('id').read() }}"))
        assert person.verdicts == ["danger"]

    def test_a_table_that_leads_out_of_the_file_is_refused(self, person: Any, tmp_path: Path) -> None:
        place = written(tmp_path)
        data = place.read_bytes()
        place.write_bytes(data.replace(struct.pack("<QQ", 32, 8), struct.pack("<QQ", 32, 8 << 40)))
        with pytest.raises(LoadBlocked):
            gguf.GGUFReader(place)
        assert set(person.verdicts) <= {"unverifiable"}


def small_llama(folder: Path, template: str) -> Path:
    """A model that transformers can build: one layer, sixteen wide."""
    wide, words = 16, 32
    writer = gguf.GGUFWriter(folder / "small.gguf", "llama")
    for add, value in (
        (writer.add_context_length, 64), (writer.add_embedding_length, wide), (writer.add_block_count, 1),
        (writer.add_feed_forward_length, words), (writer.add_head_count, 2), (writer.add_head_count_kv, 2),
        (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_rope_dimension_count, 8), (writer.add_vocab_size, words),
    ):  # fmt: skip
        add(value)
    writer.add_chat_template(template)
    shapes = {"token_embd": (words, wide), "output_norm": (wide,), "output": (words, wide)}
    shapes |= {f"blk.0.{n}": (wide,) for n in ("attn_norm", "ffn_norm")}
    shapes |= {f"blk.0.attn_{n}": (wide, wide) for n in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (words, wide), "blk.0.ffn_up": (words, wide), "blk.0.ffn_down": (wide, words)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.full(shape, 0.5, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "small.gguf"


@pytest.mark.usefixtures("guarded")
class TestTransformersGguf:
    def load(self, folder: Path) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(str(folder), gguf_file="small.gguf")

    def test_an_honest_model_loads(self, person: Any, tmp_path: Path) -> None:
        small_llama(tmp_path, "{{ messages }}")
        assert (self.load(tmp_path).lm_head.weight == 0.5).all()
        (report,) = person.reports
        assert [(f.path, f.format) for f in report.files] == [("small.gguf", "gguf")]

    def test_a_template_that_reaches_out_is_danger(self, person: Any, tmp_path: Path) -> None:
        small_llama(tmp_path, "{{ messages.__class__ }}")
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            self.load(tmp_path)
        assert person.verdicts == ["danger"]

    def test_a_file_of_that_name_in_the_working_folder_does_not_slip_in(
        self, person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """transformers prefers it to the one in the model's folder."""
        honest, other = tmp_path / "honest", tmp_path / "other"
        honest.mkdir()
        other.mkdir()
        small_llama(honest, "{{ messages }}")
        small_llama(other, "{{ messages.__class__ }}")
        monkeypatch.chdir(other)
        with pytest.raises(LoadBlocked):
            self.load(honest)


@pytest.mark.usefixtures("guarded")
class TestWithinAFolder:
    """transformers opens the files of a folder by their names, after the answer."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        from transformers import LlamaConfig, LlamaForCausalLM

        small = LlamaConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
        )
        LlamaForCausalLM(small).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    def load(self, folder: Path) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(str(folder))

    def test_weights_come_from_the_scanned_handle(
        self, person: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from nbguard.hooks.loaders import declared

        handed: list[str] = []
        like = declared._like
        monkeypatch.setattr(declared, "_like", lambda *a: handed.append(like(*a)) or handed[-1])
        assert self.load(folder).config.vocab_size == 8
        assert [h.startswith("/proc/self/fd/") for h in handed] == [True] * len(handed)
        assert handed

    def test_weights_swapped_after_the_answer_stop_the_load(
        self, person: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def swap_then_accept(*asked: Any) -> Any:
            (tmp_path / "other").write_bytes((folder / "model.safetensors").read_bytes())
            (tmp_path / "other").replace(folder / "model.safetensors")
            return person(*asked)

        monkeypatch.setattr(walk, "ask", swap_then_accept)
        with pytest.raises(ContractViolation):
            self.load(folder)


@pytest.fixture
def llama_cpp(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in for llama-cpp-python."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support" / "standins"))
    import llama_cpp

    yield llama_cpp
    for name in [n for n in sys.modules if n.partition(".")[0] == "llama_cpp"]:
        sys.modules.pop(name)


@pytest.mark.usefixtures("guarded")
class TestLlama:
    def test_an_honest_model_loads(self, person: Any, tmp_path: Path, llama_cpp: Any) -> None:
        place = written(tmp_path)
        model = llama_cpp.Llama(str(place), n_ctx=64, verbose=False)
        assert model.mapped == [place.read_bytes()]
        assert model.model_path == str(place)
        assert person.verdicts == ["safe"]
        assert copy.copy(model).mapped == model.mapped

    def test_all_parts_and_the_adapter_are_one_question(self, person: Any, tmp_path: Path, llama_cpp: Any) -> None:
        parts = [written(tmp_path, name=f"big-{n:05d}-of-00003") for n in (1, 2, 3)]
        adapter = written(tmp_path, name="adapter")
        model = llama_cpp.Llama(model_path=str(parts[0]), lora_path=str(adapter))
        assert model.mapped == [p.read_bytes() for p in (*parts, adapter)]
        assert model.lora_path == str(adapter)
        (report,) = person.reports
        assert [f.path for f in report.files] == [*(p.name for p in parts), "lora_path/adapter.gguf"]

    def test_parts_in_the_cache_of_a_hub_are_links(self, person: Any, tmp_path: Path, llama_cpp: Any) -> None:
        blobs = tmp_path / "models--some--model" / "blobs"
        snapshot = tmp_path / "models--some--model" / "snapshots" / ("a" * 40) / "Q4"
        blobs.mkdir(parents=True)
        snapshot.mkdir(parents=True)
        for n in (1, 2):
            part = written(tmp_path, name=f"big-{n:05d}-of-00002")
            part.rename(blobs / str(n))
            (snapshot / part.name).symlink_to(blobs / str(n))
        model = llama_cpp.Llama(str(snapshot / "big-00001-of-00002.gguf"))
        assert model.mapped == [(blobs / "1").read_bytes(), (blobs / "2").read_bytes()]

    def test_a_hostile_part_stops_all(self, person: Any, tmp_path: Path, llama_cpp: Any) -> None:
        first = written(tmp_path, name="big-00001-of-00002")
        written(tmp_path, "{{ ''['__class__'] }}", name="big-00002-of-00002")
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            llama_cpp.Llama(str(first))
        assert person.verdicts == ["danger"]

    def test_a_broken_header_is_refused(self, person: Any, tmp_path: Path, llama_cpp: Any) -> None:
        place = written(tmp_path)
        place.write_bytes(place.read_bytes()[:200])
        with pytest.raises(LoadBlocked):
            llama_cpp.Llama(str(place))

    def test_whoever_calls_from_pretrained_is_asked(
        self, person: Any, tmp_path: Path, llama_cpp: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = written(tmp_path)
        monkeypatch.setattr(caller, "find", lambda *_: caller.Caller("library", "llama_cpp.llama"))
        assert llama_cpp.Llama.from_pretrained(str(tmp_path), place.name).mapped == [place.read_bytes()]
        assert person.verdicts == ["safe"]

    @pytest.mark.parametrize("kind", ["Llava15ChatHandler", "Qwen25VLChatHandler"])
    def test_a_projector_is_read_later_from_its_handle(
        self, person: Any, tmp_path: Path, llama_cpp: Any, kind: str
    ) -> None:
        from llama_cpp import llama_chat_format

        place = written(tmp_path)
        honest = place.read_bytes()
        handler = getattr(llama_chat_format, kind)(clip_model_path=str(place))
        place.unlink()
        assert handler.mapped() == honest
        assert person.verdicts == ["safe"]

    def test_a_hostile_projector_is_refused(self, person: Any, tmp_path: Path, llama_cpp: Any) -> None:
        from llama_cpp import llama_chat_format

        place = written(tmp_path)
        place.write_bytes(place.read_bytes()[:-8])
        with pytest.raises(LoadBlocked):
            llama_chat_format.Llava15ChatHandler(str(place))
