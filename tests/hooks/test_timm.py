"""timm over a Hub, a folder and files: the real library, with a stand-in for the torchvision that it imports."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import Hub

from nbguard import hooks
from nbguard.errors import LoadBlocked
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from hub_tools import blind, files_below, hostile_zip, paths, push, someone, write
from transformers_tools import Person

NEEDS = Path(__file__).parents[1] / "support" / "standins" / "timm_needs"


def _real_timm() -> Any:
    """timm, imported with a stand-in for torchvision that nothing else gets to see."""
    sys.path.insert(0, str(NEEDS))
    try:
        return importlib.import_module("timm")
    finally:
        sys.path.remove(str(NEEDS))
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


timm = _real_timm()
ARCHITECTURE = "test_resnet"


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    yield from someone(monkeypatch)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What timm itself writes for a Hub."""
    torch.manual_seed(0)
    model = timm.create_model(ARCHITECTURE, num_classes=4)
    folder = tmp_path_factory.mktemp("timm")
    timm.models.save_for_hf(model, folder, model_config={"num_classes": 4}, safe_serialization="both")
    return files_below(folder)


def only_pickle(files: dict[str, bytes], data: bytes | None = None) -> dict[str, bytes]:
    return {"config.json": files["config.json"], "pytorch_model.bin": data or files["pytorch_model.bin"]}


def test_a_model_of_a_hub(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, files)
    model = timm.create_model(f"hf-hub:{repo}", pretrained=True)
    assert model.num_classes == 4
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) == {"config.json", "model.safetensors"}
    timm.create_model(f"hf_hub:{repo}", pretrained=True)
    timm.models.load_state_dict_from_hf(repo)
    assert len(person.asked) == 1


def test_without_weights_only_the_configuration(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    timm.create_model(f"hf-hub:{push(hub, files)}")
    assert paths(person.asked[0]) == {"config.json"}


def test_a_revision_in_the_name(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, files)
    first = hub.store.resolve(repo, "main")
    hub.store.push(repo, only_pickle(files))
    timm.create_model(f"hf-hub:{repo}@{first}", pretrained=True)
    assert person.asked[0].artifact.commit == first


def test_a_model_by_its_name(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    """The weights of timm's own repository for that name; they fit another number of classes."""
    whole = timm.create_model(ARCHITECTURE).state_dict()
    from safetensors.torch import save

    hub.store.push("timm/test_resnet.r160_in1k", {"model.safetensors": save(whole)})
    model = timm.create_model(f"{ARCHITECTURE}.r160_in1k", pretrained=True)
    assert all(torch.equal(v, whole[k]) for k, v in model.state_dict().items())
    assert [r.target for r in person.asked] == ["timm/test_resnet.r160_in1k"]


def test_a_name_without_weights_is_no_question(person: Person) -> None:
    timm.create_model(ARCHITECTURE)
    assert person.asked == []


def test_a_folder(person: Person, files: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, files)
    timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert len(person.asked) == 1
    assert paths(person.asked[0]) == {"config.json", "model.safetensors"}


def test_the_commit_that_was_scanned_is_the_one_that_is_loaded(
    hub: Hub, person: Person, files: dict[str, bytes]
) -> None:
    repo = push(hub, files)
    config = {**json.loads(files["config.json"]), "num_classes": 7}
    person.meanwhile = lambda: hub.store.push(repo, {**files, "config.json": json.dumps(config).encode()})
    assert timm.create_model(f"hf-hub:{repo}", pretrained=True).num_classes == 4


def test_guarded_and_not_the_weights_are_the_same(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, only_pickle(files))
    guarded = timm.create_model(f"hf-hub:{repo}", pretrained=True).state_dict()
    hooks.uninstall()
    plain = timm.create_model(f"hf-hub:{repo}", pretrained=True).state_dict()
    assert all(torch.equal(guarded[k], plain[k]) for k in plain)


@pytest.mark.parametrize("fooled", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_a_hostile_pickle_does_not_run(
    hub: Hub, person: Person, files: dict[str, bytes], tmp_path: Path, marker: Path,
    monkeypatch: pytest.MonkeyPatch, local: bool, fooled: bool,
) -> None:  # fmt: skip
    if fooled:
        blind(monkeypatch)
    else:
        person.choice = "refuse"
    hostile = only_pickle(files, hostile_zip(marker))
    where = f"local-dir:{write(tmp_path / 'model', hostile)}" if local else f"hf-hub:{push(hub, hostile)}"
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever wall or loader stops it
        timm.create_model(where, pretrained=True)
    assert fooled or person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


def test_a_checkpoint_of_a_training(person: Person, training: bytes, tmp_path: Path) -> None:
    (tmp_path / "best.pth.tar").write_bytes(training)
    model = timm.create_model(ARCHITECTURE, num_classes=4)
    timm.models.load_checkpoint(model, str(tmp_path / "best.pth.tar"))
    assert len(person.asked) == 1
    timm.create_model(ARCHITECTURE, num_classes=4, checkpoint_path=str(tmp_path / "best.pth.tar"))
    assert len(person.asked) == 1
    assert timm.models.resume_checkpoint(model, str(tmp_path / "best.pth.tar")) == 4


@pytest.fixture(scope="module")
def training() -> bytes:
    """With the arguments of the run in it, which timm lets torch's restricted machine make."""
    state = timm.create_model(ARCHITECTURE, num_classes=4).state_dict()
    out = io.BytesIO()
    torch.save({"epoch": 3, "version": 2, "args": argparse.Namespace(lr=0.1), "state_dict": state}, out)
    return out.getvalue()


def test_a_hostile_checkpoint(person: Person, marker: Path, tmp_path: Path) -> None:
    person.choice = "refuse"
    (tmp_path / "best.pth.tar").write_bytes(hostile_zip(marker))
    with pytest.raises(LoadBlocked):
        timm.create_model(ARCHITECTURE, checkpoint_path=str(tmp_path / "best.pth.tar"))
    with pytest.raises(LoadBlocked):
        timm.models.load_checkpoint(timm.create_model(ARCHITECTURE), str(tmp_path / "best.pth.tar"), weights_only=False)
    assert {r.verdict for r in person.asked} == {Verdict.DANGER}
    assert not marker.exists()
