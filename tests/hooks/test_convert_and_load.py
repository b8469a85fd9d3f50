"""The answer *convert*: pickled weights are converted while the cell waits, and the copy is what is loaded."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from transformers import AutoModel, AutoTokenizer, BertModel, pipeline  # bound before the guard

from nbguard import hooks, settings
from nbguard.errors import LoadBlocked
from nbguard.hooks import converting, walk
from nbguard.report.advice import Way
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from transformers_tools import Person, fresh


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """The guard is on, and somebody is there who wants it converted."""
    someone = Person()
    someone.choice = "convert"
    monkeypatch.setattr(walk, "ask", someone)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    hooks.install()
    yield someone
    hooks.uninstall()


def offered(person: Person) -> Way | None:
    return person.asked[-1].advice.way("convert")


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_repository_with_pickles_only_is_loaded_from_the_converted_copy(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert-bin")
    person.choice = "once"
    before = weights_of(AutoModel.from_pretrained(repo))
    hooks.uninstall()
    hooks.install()  # nothing is settled any more
    person.choice, person.asked = "convert", []
    model = AutoModel.from_pretrained(repo, revision="main")
    assert isinstance(model, BertModel)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(model).items())
    assert len(person.asked) == 1, "what was made is data, and needs no second question"
    way = offered(person)
    assert way is not None
    assert f'nbguard.load_transformers("{repo}", convert=True)' in way.line
    made = list((settings.data_dir() / "converted").glob("demo--tiny-bert-bin*"))
    assert [p for p in made if (p / "model.safetensors").is_file()]
    assert (settings.data_dir() / "converted").stat().st_mode & 0o077 == 0
    assert Path(model.name_or_path).parent == settings.data_dir() / "converted"


def test_a_folder_goes_the_same_way_shows_its_progress_and_is_audited(
    tmp_path: Path, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.approvals import AuditLog

    told: list[str] = []

    @contextlib.contextmanager
    def progress(title: str) -> Iterator[Any]:
        told.append(title)
        yield lambda share, what: told.append(what)

    monkeypatch.setattr("nbguard.gate.progress", progress)

    for name, data in files_of("demo/tiny-bert-bin").items():
        (tmp_path / name).write_bytes(data)
    assert isinstance(BertModel.from_pretrained(pretrained_model_name_or_path=str(tmp_path)), BertModel)
    assert 'model_class="BertModel"' in (offered(person) or Way("convert", "", "")).line
    events = [e["event"] for e in AuditLog().entries() if str(tmp_path) in str(e.get("target"))]
    assert events.index("load.convert") < events.index("model.converted")
    begun = told.index(f"Converting {tmp_path} to safetensors")
    assert told[begun + 1 : begun + 4] == ["scanning", "converting pytorch_model.bin", "done"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files_of("demo/tiny-bert-bin"))


def test_what_is_no_data_is_not_offered_and_the_question_says_why(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "hostile/fast-sentiment")
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo)
    way = offered(person)
    assert person.asked[-1].verdict is Verdict.DANGER
    assert way is not None
    assert (way.line, way.arguments) == ("", ())
    assert "cannot be converted" in way.why


def test_a_conversion_that_fails_is_a_refusal_that_says_why(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> str:
        from nbguard.acquire.convert import ConversionError

        raise ConversionError("The tensor 'w' is not dense.")

    monkeypatch.setattr("nbguard.safe_loader.converted_folder", fails)
    with pytest.raises(LoadBlocked, match=r"was not converted, and nothing was loaded\. The tensor 'w' is not dense"):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-bert-bin"))


def test_the_copy_is_scanned_too(hub: Hub, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the action returns is believed no more than any other folder."""
    made = tmp_path / "made"
    made.mkdir()
    for name, data in files_of("hostile/fast-sentiment").items():
        (made / name).write_bytes(data)
    monkeypatch.setattr("nbguard.safe_loader.converted_folder", lambda *_, **__: str(made))
    with pytest.raises((LoadBlocked, OSError)):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-bert-bin"))
    assert len(person.asked) <= 2


def test_where_code_is_needed_or_the_loader_cannot_go_on_nothing_is_offered(hub: Hub, person: Person) -> None:
    person.choice = "once"
    AutoTokenizer.from_pretrained(fresh(hub, "demo/tiny-bert-bin"))
    assert offered(person) is None
    pipeline("text-classification", fresh(hub, "demo/tiny-bert-bin"))
    assert offered(person) is None
    AutoModel.from_pretrained(fresh(hub, "demo/tiny-bert"))
    assert offered(person) is None


def test_shards_are_converted_with_their_index(tmp_path: Path, person: Person) -> None:
    files = files_of("demo/tiny-bert-bin")
    (tmp_path / "whole.bin").write_bytes(files["pytorch_model.bin"])
    person.choice = "once"
    state = torch.load(tmp_path / "whole.bin", weights_only=True)
    person.choice = "convert"
    (tmp_path / "whole.bin").unlink()
    names = sorted(state)
    halves = {f"pytorch_model-0000{n + 1}-of-00002.bin": names[n::2] for n in (0, 1)}
    for name, data in files.items():
        if name != "pytorch_model.bin":
            (tmp_path / name).write_bytes(data)
    for name, keys in halves.items():
        torch.save({key: state[key] for key in keys}, tmp_path / name)
    weight_map = {key: name for name, keys in halves.items() for key in keys}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    model = AutoModel.from_pretrained(tmp_path)
    found = model.state_dict()
    told = {n.removeprefix("bert."): t for n, t in state.items()}
    assert set(found) & set(told)
    assert all(torch.equal(told[n], t) for n, t in found.items() if n in told)


def test_what_was_converted_is_taken_again_as_long_as_nothing_changed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.acquire import convert as converter
    from nbguard.artifact.hub import list_repo
    from nbguard.safe_loader import converted_folder

    made: list[str] = []
    convert = converter.convert
    monkeypatch.setattr(converter, "convert", lambda *a, **k: (made.append(str(a[0])), convert(*a, **k))[1])
    for name, data in files_of("demo/tiny-bert-bin").items():
        (tmp_path / name).write_bytes(data)
    only = ["pytorch_model.bin"]
    folder = Path(converted_folder(str(tmp_path), None, only=only))
    inode = folder.stat().st_ino
    assert converted_folder(str(tmp_path), None, only=only) == str(folder)
    assert (len(made), folder.stat().st_ino) == (1, inode)
    (folder / "model.safetensors").write_bytes(b"another")
    converted_folder(str(tmp_path), None, only=only)
    (folder / "more.json").write_text("{}")
    converted_folder(str(tmp_path), None, only=only)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + "\n")
    converted_folder(str(tmp_path), None, only=only)
    assert len(made) == 4
    repo = fresh(hub, "demo/tiny-bert-bin")
    commit = list_repo(repo).commit
    assert converted_folder(repo, commit, only=only) == converted_folder(repo, commit, only=only)
    assert len(made) == 5


def test_the_action_is_there() -> None:
    import importlib

    module, _, name = converting.ACTION.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
