"""`nbguard.load_transformers`: safetensors, no code of the repository, or a sentence that leads on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loopback_hub.catalogue import files_of

import nbguard
from nbguard import hooks
from nbguard.gate import Answer
from nbguard.hooks import walk


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Somebody accepts; what was asked is kept."""
    asked: list[Any] = []

    def ask(report: Any, decision: Any, request: Any) -> Answer:
        asked.append(report)
        return Answer("once", "tester", "", "terminal")

    monkeypatch.setattr(walk, "ask", ask)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    return asked


def test_safetensors_load_under_guard_and_the_guard_goes_again(hub: Any, person: list[Any]) -> None:
    hub.store.push("demo/safe-one", files_of("demo/tiny-bert"))
    model = nbguard.load_transformers("demo/safe-one", "AutoModelForSequenceClassification")
    assert model.config.model_type == "bert"
    assert [f.path for f in person[0].artifact.files if f.path.endswith(".safetensors")] == ["model.safetensors"]
    assert not hooks.installed()


def test_a_tokenizer_and_a_class_itself_work_too(hub: Any) -> None:
    import transformers

    hub.store.push("demo/safe-two", files_of("demo/tiny-bert"))
    assert nbguard.load_transformers("demo/safe-two", "AutoTokenizer") is not None
    assert nbguard.load_transformers("demo/safe-two", transformers.AutoConfig).model_type == "bert"


def test_pickles_only_is_a_sentence_that_offers_the_conversion(hub: Any, person: list[Any]) -> None:
    hub.store.push("demo/bin-one", files_of("demo/tiny-bert-bin"))
    with pytest.raises(nbguard.UnsafeModelError, match="convert=True") as refused:
        nbguard.load_transformers("demo/bin-one")
    assert "pytorch_model.bin" in str(refused.value)
    assert "nbguard convert demo/bin-one@" in str(refused.value)
    assert "ask the publisher" in str(refused.value)
    assert person == []


def test_the_conversion_loads(hub: Any) -> None:
    hub.store.push("demo/bin-two", files_of("demo/tiny-bert-bin"))
    model = nbguard.load_transformers("demo/bin-two", convert=True)
    assert model.config.model_type == "bert"


def test_a_local_folder_goes_the_same_way(tmp_path: Path) -> None:
    for name, data in files_of("demo/tiny-bert-bin").items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(nbguard.UnsafeModelError):
        nbguard.load_transformers(tmp_path)
    assert nbguard.load_transformers(tmp_path, convert=True).config.model_type == "bert"


def test_a_payload_is_neither_converted_nor_loaded(hub: Any) -> None:
    hub.store.push("demo/bin-three", files_of("hostile/fast-sentiment"))
    with pytest.raises(nbguard.UnsafeModelError) as refused:
        nbguard.load_transformers("demo/bin-three", convert=True)
    assert refused.value.report is not None


def test_code_of_the_repository_is_refused_by_policy(hub: Any) -> None:
    hub.store.push("demo/code-one", files_of("demo/tiny-custom"))
    with pytest.raises(nbguard.UnsafeModelError, match="trust_remote_code"):
        nbguard.load_transformers("demo/code-one", trust_remote_code=True)


@pytest.mark.parametrize("name", ["NoSuchModel", "_private", "os.system", "logging"])
def test_only_classes_with_from_pretrained(name: str) -> None:
    with pytest.raises(ValueError, match="no class"):
        nbguard.load_transformers("demo/x", name)


def test_nothing_is_in_the_cache_before_it_was_accepted(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the configurations that say what would be loaded."""
    from huggingface_hub import constants

    hub.store.push("acme/refused-first", files_of("demo/tiny-bert"))
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    monkeypatch.setattr(walk, "ask", lambda *a: Answer("refuse", "someone", "", "terminal"))
    with pytest.raises(nbguard.LoadBlocked):
        nbguard.load_transformers("acme/refused-first")
    assert not (Path(constants.HF_HUB_CACHE) / "models--acme--refused-first").exists()
