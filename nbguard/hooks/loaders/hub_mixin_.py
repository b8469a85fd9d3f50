"""`ModelHubMixin.from_pretrained` and `PyTorchModelHubMixin`: classes of anybody's with a model on a Hub.

    class Mine(nn.Module, PyTorchModelHubMixin): ...
    Mine.from_pretrained("org/name")        # config.json and the weights: pinned, scanned, decided on, then loaded

The configuration gives the arguments of the class, and the weights are read by safetensors or by `torch.load`. What a
class of its own kind fetches besides, in its `_from_pretrained`, goes through `hub_files` and is held to the same load.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from nbguard.artifact.checkpoints import Choice, Reader, choose
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.building import building, is_source
from nbguard.hooks.loaders.choosing import first, passed_over
from nbguard.hooks.loaders.repository import loading

CONFIGURATION = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""In the order of `PyTorchModelHubMixin._from_pretrained` (huggingface_hub 2.4)."""


def guard(hooks: Installed, module: ModuleType) -> None:
    """Guard `from_pretrained` of the mixin, which every class with it inherits."""
    hooks.swap(module.ModelHubMixin.from_pretrained.__func__, _from_pretrained)


def _from_pretrained(original: Callable[..., Any], cls: type, /, *args: Any, **kwargs: Any) -> Any:
    source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
    if not is_source(source):
        return original(cls, *args, **kwargs)
    place = os.fspath(source)
    with loading(f"{cls.__name__}.from_pretrained", kwargs) as load:
        torch = any(base.__name__ == "PyTorchModelHubMixin" for base in cls.__mro__)
        commit = load.admit(place, revision=_revision(kwargs), plan=_plan if torch else choose)
        if commit is not None:
            kwargs |= {"revision": commit, "force_download": False}
        return building(original, cls, cls, *args, **kwargs)


def _plan(names: Sequence[str], read: Reader) -> Choice:
    weights = first(names, WEIGHTS)
    files = tuple(n for n in names if n == CONFIGURATION or n in weights)
    return Choice(files, passed_over(names, files, weights), weights)


def _revision(kwargs: dict[str, Any]) -> str | None:
    revision = kwargs.get("revision")
    return None if revision is None else str(revision)
