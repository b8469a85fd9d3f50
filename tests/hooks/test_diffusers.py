"""diffusers: pipelines of several components in one question, their code and their adapters, in the real library."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from loopback_hub import Hub

from nbguard import hooks
from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from hub_tools import ACTING, blind, files_below, hostile_zip, paths, push, someone, write
from transformers_tools import Person

OWN_PIPELINE = '''
from diffusers import DDPMPipeline


class Mine(DDPMPipeline):
    """A pipeline of its own."""

    def __init__(self, unet, scheduler):
        super().__init__(unet=unet, scheduler=scheduler)
        self.mine = True
'''
OWN_UNET = '''
from diffusers import UNet2DModel


class MyUNet(UNet2DModel):
    """A component of its own."""
'''


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    yield from someone(monkeypatch)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    return tmp_path / "marker"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny pipeline as diffusers saves it."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("pipeline")
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(folder)
    return files_below(folder)


def changed(files: dict[str, bytes], **index: Any) -> dict[str, bytes]:
    """The same with other entries in its index."""
    return {**files, "model_index.json": json.dumps({**json.loads(files["model_index.json"]), **index}).encode()}


def as_pickle(files: dict[str, bytes], data: bytes) -> dict[str, bytes]:
    """The same with pickled weights."""
    out = {k: v for k, v in files.items() if not k.endswith(".safetensors")}
    return {**out, "unet/diffusion_pytorch_model.bin": data}


# one question


def test_a_pipeline_and_its_parts_are_one_question(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, files)
    assert isinstance(DiffusionPipeline.from_pretrained(repo), DDPMPipeline)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) == {
        "model_index.json", "scheduler/scheduler_config.json", "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    UNet2DModel.from_pretrained(repo, subfolder="unet")
    DDPMScheduler.from_pretrained(repo, subfolder="scheduler")
    DDPMPipeline.from_pretrained(repo)
    assert len(person.asked) == 1


def test_a_folder_is_one_question(person: Person, files: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, files)
    DiffusionPipeline.from_pretrained(tmp_path)
    UNet2DModel.from_pretrained(tmp_path, subfolder="unet")
    assert len(person.asked) == 1
    assert person.asked[0].artifact.kind == "directory"


def test_the_weights_are_those_that_are_loaded_without_the_guard(
    hub: Hub, person: Person, files: dict[str, bytes]
) -> None:
    repo = push(hub, files)
    guarded = DiffusionPipeline.from_pretrained(repo).unet.state_dict()
    hooks.uninstall()
    plain = DiffusionPipeline.from_pretrained(repo).unet.state_dict()
    assert all(torch.equal(guarded[k], plain[k]) for k in plain)


def test_the_commit_that_was_scanned_is_the_one_that_is_loaded(
    hub: Hub, person: Person, files: dict[str, bytes]
) -> None:
    repo = push(hub, files)
    other = {**files, "scheduler/scheduler_config.json": b'{"_class_name": "DDPMScheduler", "num_train_timesteps": 7}'}
    person.meanwhile = lambda: hub.store.push(repo, other)
    assert DiffusionPipeline.from_pretrained(repo).scheduler.config.num_train_timesteps == 1000


def test_a_component_that_is_handed_in_is_not_asked_about(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, files)
    unet = UNet2DModel.from_pretrained(repo, subfolder="unet")
    other = push(hub, {k: v for k, v in files.items() if not k.endswith(".safetensors")})
    DiffusionPipeline.from_pretrained(other, unet=unet)
    assert paths(person.asked[1]) == {"model_index.json", "scheduler/scheduler_config.json"}


# pickles


def test_honest_pickles(hub: Hub, person: Person, files: dict[str, bytes], pickled: bytes) -> None:
    repo = push(hub, as_pickle(files, pickled))
    DiffusionPipeline.from_pretrained(repo)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert "unet/diffusion_pytorch_model.bin" in paths(person.asked[0])


@pytest.fixture(scope="module")
def pickled(files: dict[str, bytes]) -> bytes:
    import io

    from safetensors.torch import load

    out = io.BytesIO()
    torch.save(load(files["unet/diffusion_pytorch_model.safetensors"]), out)
    return out.getvalue()


@pytest.mark.parametrize("fooled", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_a_hostile_pickle_does_not_run(
    hub: Hub, person: Person, files: dict[str, bytes], tmp_path: Path, marker: Path,
    monkeypatch: pytest.MonkeyPatch, fooled: bool, local: bool,
) -> None:  # fmt: skip
    if fooled:
        blind(monkeypatch)
    else:
        person.choice = "refuse"
    hostile = as_pickle(files, hostile_zip(marker))
    where = str(write(tmp_path / "pipe", hostile)) if local else push(hub, hostile)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever wall or loader stops it
        DiffusionPipeline.from_pretrained(where)
    assert fooled or person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


# code


@pytest.mark.parametrize("local", [False, True])
def test_code_of_the_pipeline_is_part_of_the_question(
    hub: Hub, person: Person, files: dict[str, bytes], tmp_path: Path, local: bool
) -> None:
    own = {**changed(files, _class_name=["my_pipeline", "Mine"]), "my_pipeline.py": OWN_PIPELINE.encode()}
    where = str(write(tmp_path, own)) if local else push(hub, own)
    pipe = DiffusionPipeline.from_pretrained(where, trust_remote_code=True)
    assert type(pipe).__name__ == "Mine"
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    assert {c.path for c in person.asked[0].contract.code} == {"my_pipeline.py"}


def test_without_trust_no_code_of_the_repository_runs(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path
) -> None:
    own = {**changed(files, _class_name=["my_pipeline", "Mine"]), "my_pipeline.py": (ACTING + OWN_PIPELINE).encode()}
    with pytest.raises(ValueError, match="trust_remote_code"):
        DiffusionPipeline.from_pretrained(push(hub, own))
    assert not marker.exists()


def test_code_of_a_component(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    own = {**changed(files, unet=["my_unet", "MyUNet"]), "unet/my_unet.py": OWN_UNET.encode()}
    pipe = DiffusionPipeline.from_pretrained(push(hub, own), trust_remote_code=True)
    assert type(pipe.unet).__name__ == "MyUNet"
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    assert "unet/my_unet.py" in paths(person.asked[0])


@pytest.mark.parametrize("where", ["pipeline", "component"])
def test_code_that_acts_is_danger_and_does_not_run(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path, where: str
) -> None:
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        DiffusionPipeline.from_pretrained(push(hub, acting(files, where)), trust_remote_code=True)
    assert person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


@pytest.mark.parametrize("where", ["pipeline", "component", "constructor"])
def test_a_blinded_scanner_lets_no_code_act(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind(monkeypatch)
    with pytest.raises(ContractViolation):
        DiffusionPipeline.from_pretrained(push(hub, acting(files, where)), trust_remote_code=True)
    assert not marker.exists()


def acting(files: dict[str, bytes], where: str) -> dict[str, bytes]:
    if where == "component":
        own = changed(files, unet=["my_unet", "MyUNet"])
        return {**own, "unet/my_unet.py": (ACTING + OWN_UNET).encode()}
    own = changed(files, _class_name=["my_pipeline", "Mine"])
    if where == "constructor":
        inside = OWN_PIPELINE.replace("        self.mine = True", f"        {ACTING}")
        return {**own, "my_pipeline.py": inside.encode()}
    return {**own, "my_pipeline.py": (ACTING + OWN_PIPELINE).encode()}


def test_code_in_a_repository_of_its_own(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo, code = push(hub, files), push(hub, {"pipeline.py": OWN_PIPELINE.encode()})
    pipe = DiffusionPipeline.from_pretrained(repo, custom_pipeline=code, trust_remote_code=True)
    assert type(pipe).__name__ == "Mine"
    assert len(person.asked) == 1
    assert f"hf://{code}/pipeline.py" in paths(person.asked[0])


def test_a_community_pipeline_needs_no_trust_and_is_asked_about(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers
    from diffusers.utils import dynamic_modules_utils

    monkeypatch.setattr(dynamic_modules_utils, "get_diffusers_versions", lambda: [diffusers.__version__])
    mirror = "dataset--diffusers/community-pipelines-mirror"
    hub.store.push(mirror, {f"v{diffusers.__version__}/mine.py": OWN_PIPELINE.encode(),
                            f"v{diffusers.__version__}/acts.py": (ACTING + OWN_PIPELINE).encode()})  # fmt: skip
    repo = push(hub, files)
    pipe = DiffusionPipeline.from_pretrained(repo, custom_pipeline="mine")
    assert type(pipe).__name__ == "Mine"
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        DiffusionPipeline.from_pretrained(repo, custom_pipeline="acts")
    assert person.asked[1].verdict is Verdict.DANGER
    assert not marker.exists()


def test_code_changed_in_the_modules_cache_does_not_run(
    person: Person, files: dict[str, bytes], tmp_path: Path, marker: Path
) -> None:
    from diffusers.utils.constants import HF_MODULES_CACHE

    own = {**changed(files, _class_name=["my_pipeline", "Mine"]), "my_pipeline.py": OWN_PIPELINE.encode()}
    folder = write(tmp_path / "pipe", own)
    person.meanwhile = lambda: (folder / "my_pipeline.py").write_text(ACTING + OWN_PIPELINE)
    with pytest.raises(ContractViolation):
        DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    assert not marker.exists()
    assert (Path(HF_MODULES_CACHE) / "diffusers_modules").is_dir()


# names in the index


@pytest.mark.parametrize("named", [["os", "system"], ["subprocess", "Popen"], ["builtins", "exec"]])
def test_the_index_names_what_is_no_component(
    hub: Hub, person: Person, files: dict[str, bytes], named: list[str]
) -> None:
    with pytest.raises((LoadBlocked, ValueError)):
        DiffusionPipeline.from_pretrained(push(hub, changed(files, unet=named)))


def test_uninstalling_gives_everything_back(person: Person) -> None:
    hooks.uninstall()
    before = DiffusionPipeline.from_pretrained.__func__.__code__
    hooks.install()
    assert DiffusionPipeline.from_pretrained.__func__.__code__ is not before
    hooks.uninstall()
    assert DiffusionPipeline.from_pretrained.__func__.__code__ is before
