"""peft: adapters, and the base models that they name.

    PeftModel.from_pretrained(model, "org/adapter")             # the adapter's configuration and weights
    AutoPeftModelForCausalLM.from_pretrained("org/adapter")     # one question, the base model is part of it

The base model is in memory already where a model is given; where peft fetches it, it is pinned, scanned and shown with
the adapter. `adapter_model.bin` is unpickled by `torch.load`, which is guarded by itself.
"""

from __future__ import annotations

import functools
import inspect
import os
import posixpath
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from nbguard.artifact.checkpoints import Choice, Further, Plan, Reader, Selection, choose
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.building import arguments, building, is_source
from nbguard.hooks.loaders.choosing import first, is_aside, is_weights, passed_over, table
from nbguard.hooks.loaders.repository import loading

CONFIGURATION = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
"""In the order of `peft.utils.save_and_load.load_peft_weights` (peft 0.21)."""

Around = Callable[..., Any]


def guard_models(hooks: Installed, module: ModuleType) -> None:
    """Guard `PeftModel`."""
    hooks.swap(module.PeftModel.from_pretrained.__func__, _around("PeftModel.from_pretrained", "model_id", weights))
    hooks.swap(module.PeftModel.load_adapter, _around("PeftModel.load_adapter", "model_id", weights))


def guard_mixed(hooks: Installed, module: ModuleType) -> None:
    """Guard `PeftMixedModel`."""
    mixed = module.PeftMixedModel
    hooks.swap(mixed.from_pretrained.__func__, _around("PeftMixedModel.from_pretrained", "model_id", weights))
    hooks.swap(mixed.load_adapter, _around("PeftMixedModel.load_adapter", "model_id", weights))


def guard_configurations(hooks: Installed, module: ModuleType) -> None:
    """Guard `PeftConfig.from_pretrained`, which every kind of configuration inherits."""
    method = module.PeftConfigMixin.from_pretrained.__func__
    hooks.swap(method, _around("PeftConfig.from_pretrained", "pretrained_model_name_or_path", configuration))


def guard_auto(hooks: Installed, module: ModuleType) -> None:
    """Guard `AutoPeftModel` and its kin."""
    method = module._BaseAutoPeftModel.from_pretrained.__func__
    hooks.swap(method, _around("", "pretrained_model_name_or_path", with_base_model))


def guard_weights(hooks: Installed, module: ModuleType) -> None:
    """Guard `load_peft_weights`."""
    hooks.swap(module.load_peft_weights, _around("peft.load_peft_weights", "model_id", weights))


def guard_in_transformers(hooks: Installed, module: ModuleType) -> None:
    """Guard `load_adapter` of transformers' own models."""
    hooks.swap(module.PeftAdapterMixin.load_adapter, _around("load_adapter", "peft_model_id", weights))


def _around(name: str, source: str, planned: Callable[[dict[str, Any]], Plan]) -> Around:
    return functools.partial(_load, name, source, planned)


def _load(
    name: str, parameter: str, planned: Callable[[dict[str, Any]], Plan], original: Around, /, *args: Any, **kwargs: Any
) -> Any:
    given = arguments(inspect.signature(original), args, kwargs)
    source = given.get(parameter)
    if not is_source(source):
        return original(*args, **kwargs)  # weights that are in memory already
    cls = args[0] if args and isinstance(args[0], type) else type(args[0]) if args else object
    more = {**given, **(given.get("adapter_kwargs") or {})}
    with loading(name or f"{cls.__name__}.from_pretrained", more) as load:
        revision = more.get("revision")
        commit = load.admit(os.fspath(source), revision=None if revision is None else str(revision), plan=planned(more))
        if commit is not None and parameter != "peft_model_id":  # transformers resolves it through its own function
            kwargs = _with_revision(original, args, kwargs, commit)
        return building(original, cls, *args, **kwargs)


def _with_revision(original: Around, args: tuple[Any, ...], kwargs: dict[str, Any], commit: str) -> dict[str, Any]:
    """The keyword arguments with the pinned commit, where the call does not give a revision by position."""
    names = list(inspect.signature(original).parameters)
    by_position = "revision" in names[: len(args)]
    return kwargs if by_position else {**kwargs, "revision": commit}


def configuration(given: dict[str, Any]) -> Plan:
    """Only the configuration."""
    wanted = posixpath.join(_below(given), CONFIGURATION)

    def plan(names: Sequence[str], read: Reader) -> Choice:
        files = tuple(n for n in names if n == wanted)
        return Choice(files, passed_over(names, files))

    return plan


def weights(given: dict[str, Any]) -> Plan:
    """The configuration and the adapter's weights."""
    below = _below(given)

    def plan(names: Sequence[str], read: Reader) -> Choice:
        kinds = WEIGHTS[1:] if given.get("use_safetensors") is False else WEIGHTS
        chosen = first(names, [posixpath.join(below, name) for name in kinds])
        files = tuple(n for n in names if n == posixpath.join(below, CONFIGURATION) or n in chosen)
        return Choice(files, passed_over(names, files, chosen), chosen)

    return plan


def with_base_model(given: dict[str, Any]) -> Plan:
    """The adapter, the tokenizer beside it, and the base model that its configuration names."""
    below = _below(given)
    adapter = weights(given)
    selection = Selection(
        variant=given.get("variant") if isinstance(given.get("variant"), str) else None,
        use_safetensors=given.get("use_safetensors"),
        code=bool(given.get("trust_remote_code")),
    )

    def base(names: Sequence[str], read: Reader) -> Choice:
        return choose(names, read, selection)

    def plan(names: Sequence[str], read: Reader) -> Choice:
        chosen = adapter(names, read)
        settings = table(read, posixpath.join(below, CONFIGURATION))
        named, revision = settings.get("base_model_name_or_path"), settings.get("revision")
        code = selection.code
        beside = {n for n in names if "/" not in n and not is_weights(n) and not is_aside(n)}
        files = tuple(n for n in names if n in chosen.files or (n in beside and (code or not n.endswith(".py"))))
        at = revision if isinstance(revision, str) else None
        further = (Further(os.fspath(named), base, at, needs="config.json"),) if is_source(named) else ()
        return Choice(files, passed_over(names, files, chosen.weights), chosen.weights, further=further)

    return plan


def _below(given: dict[str, Any]) -> str:
    below = given.get("subfolder")
    return below.strip("/") if isinstance(below, str) else ""
