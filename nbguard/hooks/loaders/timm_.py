"""timm: models by name, from a Hub or a folder, and their checkpoints.

    timm.create_model("hf-hub:org/name", pretrained=True)       # config.json and the weights, at one commit
    timm.create_model("resnet50.a1_in1k", pretrained=True)      # the weights of timm's own repository for that name
    timm.models.load_checkpoint(model, "best.pth.tar")          # the file

Weights are read by safetensors, by `torch.load(weights_only=True)` or, those of JAX, by `numpy.load`; those that have
an address come through `torch.hub.load_state_dict_from_url`. The last three are guarded by themselves.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from nbguard.artifact.checkpoints import Choice, Plan, Reader
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.building import arguments, is_source
from nbguard.hooks.loaders.choosing import first, passed_over, table
from nbguard.hooks.loaders.repository import loading

CONFIGURATION = "config.json"
HUB = ("hf-hub", "hf_hub")
FOLDER = "local-dir"
"""What stands before the colon in a model's name (`models/_factory.py`, timm 1.0)."""
PREFERRED = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
             "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
             "open_clip_pytorch_model.pth")  # fmt: skip
EXTENSIONS = (".safetensors", ".pth", ".pth.tar", ".bin")
"""Which file of a folder timm takes (`models/_hub.py`, `load_state_dict_from_path`)."""
SAFE = {"pytorch_model.bin": "model.safetensors", "open_clip_pytorch_model.bin": "open_clip_model.safetensors"}
"""What it takes from a Hub in the place of a pickle (`_get_safe_alternatives`)."""

Around = Callable[..., Any]


def guard_factory(hooks: Installed, module: ModuleType) -> None:
    """Guard `create_model`."""
    _swap(hooks, module, "create_model", _create_model)


def guard_files(hooks: Installed, module: ModuleType) -> None:
    """Guard what loads a checkpoint from a file."""
    for name in ("load_state_dict", "load_checkpoint", "resume_checkpoint"):
        _swap(hooks, module, name, functools.partial(_checkpoint, f"timm.models.{name}"))


def guard_hub(hooks: Installed, module: ModuleType) -> None:
    """Guard what loads from a repository or folder."""
    _swap(hooks, module, "load_state_dict_from_hf", functools.partial(_from_hub, "load_state_dict_from_hf", False))
    _swap(hooks, module, "load_custom_from_hf", functools.partial(_from_hub, "load_custom_from_hf", False))
    _swap(hooks, module, "load_model_config_from_hf", functools.partial(_from_hub, "load_model_config_from_hf", True))
    _swap(hooks, module, "load_state_dict_from_path", _from_folder)


def _swap(hooks: Installed, module: ModuleType, name: str, around: Around) -> None:
    function = module.__dict__.get(name)
    if inspect.isfunction(function):
        hooks.swap(function, functools.partial(around, inspect.signature(function)))


def _create_model(signature: inspect.Signature, original: Around, /, *args: Any, **kwargs: Any) -> Any:
    given = arguments(signature, args, kwargs)
    name, weights = given.get("model_name"), bool(given.get("pretrained"))
    with loading("timm.create_model", given) as load:
        source, _, place = name.partition(":") if isinstance(name, str) else ("", "", "")
        if source.lower() in HUB:
            repository, revision = _split(place)
            load.admit(repository, revision=revision, plan=in_hub(weights), on_hub=True)
        elif source.lower() == FOLDER:
            load.admit(place, plan=in_folder(weights))
        checkpoint = given.get("checkpoint_path")
        if is_source(checkpoint) and os.path.isfile(checkpoint):
            load.admit(os.fspath(checkpoint))
        return original(*args, **kwargs)


def _checkpoint(name: str, signature: inspect.Signature, original: Around, /, *args: Any, **kwargs: Any) -> Any:
    given = arguments(signature, args, kwargs)
    source = given.get("checkpoint_path")
    with loading(name, given) as load:
        if is_source(source) and os.path.isfile(source):
            load.admit(os.fspath(source))
        return original(*args, **kwargs)


def _from_hub(
    name: str, configuration: bool, signature: inspect.Signature, original: Around, /, *args: Any, **kwargs: Any
) -> Any:
    """One file: what it is timm finds out by asking for it, which `hub_files` holds to this load."""
    given = arguments(signature, args, kwargs)
    with loading(f"timm.models.{name}", given) as load:
        source = given.get("model_id")
        if configuration and is_source(source):
            repository, revision = _split(os.fspath(source))
            load.admit(repository, revision=revision, plan=in_hub(False), on_hub=True)
        return original(*args, **kwargs)


def _from_folder(signature: inspect.Signature, original: Around, /, *args: Any, **kwargs: Any) -> Any:
    given = arguments(signature, args, kwargs)
    source = given.get("path")
    with loading("timm.models.load_state_dict_from_path", given) as load:
        if is_source(source):
            load.admit(os.fspath(source), plan=in_folder(True))
        return original(*args, **kwargs)


def _split(name: str) -> tuple[str, str | None]:
    """`org/name@revision`, as timm takes it apart."""
    repository, _, revision = name.partition("@")
    return repository, revision or None


def in_hub(weights: bool) -> Plan:
    """The configuration, and the weights where they are wanted: those that it names, safetensors before a pickle."""

    def plan(names: Sequence[str], read: Reader) -> Choice:
        settings = table(read, CONFIGURATION)
        own = settings.get("pretrained_cfg")
        named = (own if isinstance(own, dict) else settings).get("hf_hub_filename")
        wanted = named if isinstance(named, str) else "pytorch_model.bin"
        other = SAFE.get(wanted, wanted.removesuffix(".bin") + ".safetensors" if wanted.endswith(".bin") else wanted)
        return _choice(names, first(names, (other, wanted)) if weights else ())

    return plan


def in_folder(weights: bool) -> Plan:
    """The configuration, and the one file of weights that timm would take."""

    def plan(names: Sequence[str], read: Reader) -> Choice:
        top = sorted(n for n in names if "/" not in n)
        chosen = first(top, PREFERRED) or next(((n,) for e in EXTENSIONS for n in top if n.endswith(e)), ())
        return _choice(names, chosen if weights else ())

    return plan


def _choice(names: Sequence[str], weights: tuple[str, ...]) -> Choice:
    files = tuple(n for n in names if n == CONFIGURATION or n in weights)
    return Choice(files, passed_over(names, files, weights), weights)
