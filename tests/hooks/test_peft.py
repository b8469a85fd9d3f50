"""peft and the mixins of huggingface_hub: adapters with their base models, in one question."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download, snapshot_download
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from peft import AutoPeftModelForSequenceClassification, LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nbguard import hooks
from nbguard.approvals import AuditLog
from nbguard.errors import LoadBlocked
from nbguard.hooks import walk
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from transformers_tools import Person, blinded, fresh

_numbers = itertools.count(1)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """The guard is on, and somebody is there to answer."""
    someone = Person()
    monkeypatch.setattr(walk, "ask", someone)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    hooks.install()
    yield someone
    hooks.uninstall()


@pytest.fixture(scope="module")
def adapter_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What peft itself writes for a tiny LoRA adapter."""
    folder = tmp_path_factory.mktemp("adapter")
    for name, data in files_of("demo/tiny-bert").items():
        (folder / name).write_bytes(data)
    base = AutoModelForSequenceClassification.from_pretrained(folder)
    config = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"], init_lora_weights=False)
    out = tmp_path_factory.mktemp("saved")
    get_peft_model(base, config).save_pretrained(out)
    return {p.name: p.read_bytes() for p in out.iterdir()}


def push_adapter(hub: Hub, files: dict[str, bytes], base: str, **changed: bytes) -> str:
    config = {**json.loads(files["adapter_config.json"]), "base_model_name_or_path": base}
    repo_id = f"demo/adapter-{next(_numbers)}"
    hub.store.push(repo_id, {**files, "adapter_config.json": json.dumps(config).encode(), **changed})
    return repo_id


def paths(report: Any) -> set[str]:
    return {f.path for f in report.files}


# adapters


def test_a_model_in_memory_and_an_adapter(hub: Hub, person: Person, adapter_files: dict[str, bytes]) -> None:
    base = fresh(hub, "demo/tiny-bert")
    adapter = push_adapter(hub, adapter_files, base)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    assert isinstance(PeftModel.from_pretrained(model, adapter), PeftModel)
    assert len(person.asked) == 2
    assert person.asked[1].verdict is Verdict.SAFE
    assert paths(person.asked[1]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert person.asked[1].artifact.commit == hub.store.resolve(adapter, "main")


def test_the_base_model_is_part_of_the_question(hub: Hub, person: Person, adapter_files: dict[str, bytes]) -> None:
    base = fresh(hub, "demo/tiny-bert")
    adapter = push_adapter(hub, adapter_files, base)
    model = AutoPeftModelForSequenceClassification.from_pretrained(adapter)
    assert isinstance(model, PeftModel)
    assert len(person.asked) == 1
    assert f"hf://{base}/model.safetensors" in paths(person.asked[0])
    AutoTokenizer.from_pretrained(base)  # of the same commit, and accepted with the adapter
    AutoModelForSequenceClassification.from_pretrained(base)
    PeftConfig.from_pretrained(adapter)
    assert len(person.asked) == 1


def test_the_base_model_is_part_of_the_question_in_transformers(
    hub: Hub, person: Person, adapter_files: dict[str, bytes]
) -> None:
    base = fresh(hub, "demo/tiny-bert")
    adapter = push_adapter(hub, adapter_files, base)
    model = AutoModelForSequenceClassification.from_pretrained(adapter)
    assert model.active_adapters() == ["default"]
    assert len(person.asked) == 1
    assert paths(person.asked[0]) >= {"adapter_model.safetensors", f"hf://{base}/model.safetensors"}


def test_an_adapter_on_a_model_of_transformers(hub: Hub, person: Person, adapter_files: dict[str, bytes]) -> None:
    base = fresh(hub, "demo/tiny-bert")
    adapter = push_adapter(hub, adapter_files, base)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    model.load_adapter(adapter, adapter_name="second")
    assert model.active_adapters() == ["second"]
    assert len(person.asked) == 2
    assert paths(person.asked[1]) == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_folder_with_an_adapter(hub: Hub, person: Person, adapter_files: dict[str, bytes], tmp_path: Path) -> None:
    base = fresh(hub, "demo/tiny-bert")
    for name, data in adapter_files.items():
        (tmp_path / name).write_bytes(data)
    config = {**json.loads(adapter_files["adapter_config.json"]), "base_model_name_or_path": base}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert isinstance(AutoPeftModelForSequenceClassification.from_pretrained(str(tmp_path)), PeftModel)
    assert len(person.asked) == 1
    assert f"hf://{base}/config.json" in paths(person.asked[0])


def test_guarded_and_not_the_adapters_weights_are_the_same(
    hub: Hub, person: Person, adapter_files: dict[str, bytes]
) -> None:
    adapter = push_adapter(hub, adapter_files, fresh(hub, "demo/tiny-bert"))
    guarded = AutoPeftModelForSequenceClassification.from_pretrained(adapter).state_dict()
    hooks.uninstall()
    plain = AutoPeftModelForSequenceClassification.from_pretrained(adapter).state_dict()
    assert all(torch.equal(guarded[k], plain[k]) for k in plain)


@pytest.fixture(scope="module")
def pickled(adapter_files: dict[str, bytes]) -> bytes:
    """The adapter's weights as torch pickles them; made before the guard is there, so that it is nobody's own work."""
    from safetensors.torch import load

    out = io.BytesIO()
    torch.save(load(adapter_files["adapter_model.safetensors"]), out)
    return out.getvalue()


def test_an_adapter_as_a_pickle(hub: Hub, person: Person, pickled: bytes, adapter_files: dict[str, bytes]) -> None:
    files = {k: v for k, v in adapter_files.items() if k != "adapter_model.safetensors"}
    files["adapter_model.bin"] = pickled
    adapter = push_adapter(hub, files, fresh(hub, "demo/tiny-bert"))
    AutoPeftModelForSequenceClassification.from_pretrained(adapter)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]


@pytest.mark.parametrize("fooled", [False, True])
def test_a_hostile_pickle_in_an_adapter_does_not_run(
    hub: Hub,
    person: Person,
    adapter_files: dict[str, bytes],
    fooled: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    if fooled:
        honest = walk.scan
        monkeypatch.setattr(walk, "scan", lambda request, opened: blinded(honest(request, opened)))
    else:
        person.choice = "refuse"
    files = {k: v for k, v in adapter_files.items() if k != "adapter_model.safetensors"}
    files["adapter_model.bin"] = files_of("hostile/fast-sentiment")["pytorch_model.bin"]
    base = fresh(hub, "demo/tiny-bert")
    adapter = push_adapter(hub, files, base)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever wall or loader stops it
        AutoPeftModelForSequenceClassification.from_pretrained(adapter)
    if not fooled:
        assert person.asked[0].verdict is Verdict.DANGER
    assert not (tmp_path / "marker").exists()


def test_a_hostile_base_model_is_seen_in_the_adapters_question(
    hub: Hub, person: Person, adapter_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    person.choice = "refuse"
    base = fresh(hub, "hostile/fast-sentiment")
    adapter = push_adapter(hub, adapter_files, base)
    with pytest.raises(LoadBlocked):
        AutoPeftModelForSequenceClassification.from_pretrained(adapter)
    assert len(person.asked) == 1
    assert person.asked[0].verdict is Verdict.DANGER
    assert any(f.file == f"hf://{base}/pytorch_model.bin" for f in person.asked[0].findings)
    assert not (tmp_path / "marker").exists()


def test_another_base_model_under_the_same_adapter_is_asked_about(
    hub: Hub, person: Person, adapter_files: dict[str, bytes]
) -> None:
    """What was accepted of an adapter alone does not cover the model that it draws in."""
    base = fresh(hub, "demo/tiny-bert")
    adapter = push_adapter(hub, adapter_files, base)
    PeftConfig.from_pretrained(adapter)
    AutoPeftModelForSequenceClassification.from_pretrained(adapter)
    assert len(person.asked) == 2


# mixins


class Tiny(nn.Module, PyTorchModelHubMixin):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)


@pytest.fixture(scope="module")
def mixin_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    torch.manual_seed(0)
    saved = tmp_path_factory.mktemp("saved")
    Tiny(3).save_pretrained(saved)
    return {p.name: p.read_bytes() for p in saved.iterdir()}


def push(hub: Hub, files: dict[str, bytes]) -> str:
    repo_id = f"demo/mixin-{next(_numbers)}"
    hub.store.push(repo_id, files)
    return repo_id


def test_a_mixin(hub: Hub, person: Person, mixin_files: dict[str, bytes], tmp_path: Path) -> None:
    repo = push(hub, {**mixin_files, "pytorch_model.bin": b"not opened"})
    model = Tiny.from_pretrained(repo)
    assert model.layer.weight.shape == (3, 3)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) == {"config.json", "model.safetensors"}
    for name, data in mixin_files.items():
        (tmp_path / name).write_bytes(data)
    Tiny.from_pretrained(tmp_path)
    assert len(person.asked) == 2


@pytest.mark.parametrize("fooled", [False, True])
def test_a_hostile_pickle_behind_a_mixin(
    hub: Hub, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fooled: bool
) -> None:
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    if fooled:
        honest = walk.scan
        monkeypatch.setattr(walk, "scan", lambda request, opened: blinded(honest(request, opened)))
    else:
        person.choice = "refuse"
    files = {"pytorch_model.bin": files_of("hostile/fast-sentiment")["pytorch_model.bin"]}
    with pytest.raises(Exception):  # noqa: B017, PT011
        Tiny.from_pretrained(push(hub, files))
    assert person.asked
    assert not (tmp_path / "marker").exists()


def test_what_a_mixins_own_way_of_loading_fetches_is_scanned(
    hub: Hub, person: Person, mixin_files: dict[str, bytes]
) -> None:
    class Own(Tiny):
        @classmethod
        def _from_pretrained(cls, *, model_id: str, revision: str | None, **kwargs: Any) -> Own:
            place = hf_hub_download(model_id, "extra.bin", revision=revision)
            torch.load(place, weights_only=False)
            return cls()

    person.choice = "refuse"
    hostile = files_of("hostile/fast-sentiment")["pytorch_model.bin"]
    with pytest.raises(LoadBlocked):
        Own.from_pretrained(push(hub, {**mixin_files, "extra.bin": hostile}))


# downloads alone


def test_a_download_alone_is_noted_and_not_asked_about(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    hf_hub_download(repo, "config.json")
    snapshot_download(repo, allow_patterns=["*.json"])
    assert person.asked == []
    noted = [e for e in AuditLog().entries() if e.get("event") == "hub.download" and e.get("target") == repo]
    assert [e["loader"] for e in noted] == ["huggingface_hub.hf_hub_download", "huggingface_hub.snapshot_download"]
    assert noted[0]["files"] == "config.json"


def test_a_download_within_a_load_is_held_to_its_commit(
    hub: Hub, person: Person, mixin_files: dict[str, bytes]
) -> None:
    repo = push(hub, mixin_files)
    other = {**mixin_files, "config.json": b'{"width": 7}'}
    person.meanwhile = lambda: hub.store.push(repo, other)
    assert Tiny.from_pretrained(repo).layer.weight.shape == (3, 3)


def test_a_folder_that_a_configuration_names_and_that_is_no_model_is_not_read(
    person: Person, adapter_files: dict[str, bytes], tmp_path: Path
) -> None:
    """An adapter may name any place as its base model: somebody's home, with what lies there."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "diary.txt").write_text("dear diary")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name, data in adapter_files.items():
        (adapter / name).write_bytes(data)
    config = {**json.loads(adapter_files["adapter_config.json"]), "base_model_name_or_path": str(home)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(Exception):  # noqa: B017, PT011 - there is no model there
        AutoPeftModelForSequenceClassification.from_pretrained(str(adapter))
    assert all("diary" not in path for report in person.asked for path in paths(report))
