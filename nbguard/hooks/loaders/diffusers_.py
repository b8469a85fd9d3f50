"""diffusers: pipelines, their components, adapters and single checkpoints, and the code that they bring along.

    DiffusionPipeline.from_pretrained("org/name")       # every component of model_index.json, in one question
    pipe.load_lora_weights("org/lora")                  # the one file that it opens

Classes with a `from_pretrained` or `from_single_file` of their own appear whenever a lazy module is imported, so every
module is looked at as it arrives. Code (`custom_pipeline`, component modules, community pipelines, which need no
`trust_remote_code`) is part of the question, and runs only from the scanned bytes (`walls/code.py`).
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from nbguard.hooks import trust, walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.building import arguments, building, hold_constructors, is_source
from nbguard.hooks.loaders.instead import admitted
from nbguard.hooks.loaders.pipelines import component, pipeline, settings
from nbguard.hooks.loaders.repository import current, loading
from nbguard.hooks.swap import FILENAME
from nbguard.scanners.class_names import judge_component

SOURCES = ("pretrained_model_name_or_path", "pretrained_model_or_path", "pretrained_model_name",
           "pretrained_model_link_or_path", "pretrained_model_link_or_path_or_dict")  # fmt: skip
"""What the first argument of these methods is called."""
PIPELINES = frozenset({"DiffusionPipeline", "AutoPipelineForText2Image", "AutoPipelineForImage2Image",
                       "AutoPipelineForInpainting", "AutoPipelineForText2Audio", "ModularPipeline",
                       "FlaxDiffusionPipeline"})  # fmt: skip
MODELS = frozenset({"ModelMixin", "AutoModel", "OnnxRuntimeModel", "FlaxModelMixin"})
LIBRARIES = ("diffusers", "transformers", "onnxruntime")
"""What diffusers takes components from (`LOADABLE_CLASSES`)."""
ONE_FILE = ("load_lora_weights", "lora_state_dict", "load_lora_adapter", "load_ip_adapter", "load_textual_inversion",
            "load_attn_procs")  # fmt: skip
"""Methods that open one file or a few: asked about as each is reached for, through `_get_model_file`."""


def guard(hooks: Installed, module: ModuleType) -> None:
    """Guard what is imported of diffusers now and later."""
    hooks.imports.when_imported_below("diffusers", functools.partial(_guard_module, hooks))


def _guard_module(hooks: Installed, module: ModuleType) -> None:
    beneath: dict[str, dict[str, Callable[..., Any]]] = {
        "diffusers.utils.hub_utils": {"_get_model_file": _get_model_file},
        "diffusers.utils.dynamic_modules_utils": {
            "get_cached_module_file": _get_cached_module_file,
            "get_class_in_module": functools.partial(_get_class_in_module, hooks),
        },
        "diffusers.pipelines.pipeline_loading_utils": {
            "get_class_obj_and_candidates": _get_class_obj_and_candidates,
            "_get_pipeline_class": _get_pipeline_class,
        },
    }
    for name, around in beneath.get(module.__name__, {}).items():
        function = module.__dict__.get(name)
        if inspect.isfunction(function):
            hooks.swap(function, functools.partial(around, inspect.signature(function)))
    _guard_classes(hooks, module)


def _guard_classes(hooks: Installed, module: ModuleType) -> None:
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        for name in ("from_pretrained", "from_single_file", "download", *ONE_FILE):
            method = value.__dict__.get(name)
            function = getattr(method, "__func__", method)  # of a classmethod
            if not inspect.isfunction(function) or function.__code__.co_filename == FILENAME:
                continue
            if name == "download" and not hasattr(value, "from_pretrained"):
                continue
            around = _from_pretrained if name in ("from_pretrained", "download") else _few_files
            hooks.swap(function, functools.partial(around, inspect.signature(function), name))


# what a person calls


def _from_pretrained(
    signature: inspect.Signature, name: str, original: Callable[..., Any], cls: Any, /, *args: Any, **kwargs: Any
) -> Any:
    given = arguments(signature, (cls, *args), kwargs)
    source = next((given[s] for s in SOURCES if s in given), None)
    if not is_source(source) or not isinstance(cls, type):
        return original(cls, *args, **kwargs)
    place = os.fspath(source)
    with loading(f"{cls.__name__}.{name}", given) as load:
        names = {base.__name__ for base in cls.__mro__}
        whole = bool(names & PIPELINES)
        planned = pipeline if whole else component if names & MODELS else settings
        revision = given.get("revision")
        commit, chosen = admitted(
            load,
            f"{cls.__name__}.{name}",
            place,
            given,
            lambda: load.admit(
                place,
                revision=None if revision is None else str(revision),
                plan=planned(given, hub=not os.path.exists(place)),
            ),
        )
        kwargs = {**kwargs, **chosen}
        if commit is not None:
            kwargs = {**kwargs, "revision": commit}
            if kwargs.get("force_download"):
                kwargs["force_download"] = False  # it has just been fetched anew, and that copy was scanned
        return building(original, cls, cls, *args, **kwargs)


def _few_files(
    signature: inspect.Signature, name: str, original: Callable[..., Any], this: Any, /, *args: Any, **kwargs: Any
) -> Any:
    given = arguments(signature, (this, *args), kwargs)
    cls = this if isinstance(this, type) else type(this)
    with loading(f"{cls.__name__}.{name}", given) as load:
        load.configurations_follow = name == "from_single_file"
        source = next((given[s] for s in SOURCES if s in given), None)
        if is_source(source) and os.path.isfile(source):
            load.admit(os.fspath(source))
        return building(original, cls, this, *args, **kwargs)


# what diffusers calls beneath


def _get_model_file(signature: inspect.Signature, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The one way to a single weights file; those of the Hub are held to the load in `hub_files`."""
    load = current()
    given = arguments(signature, args, kwargs)
    source, name = given.get("pretrained_model_name_or_path"), given.get("weights_name")
    if load is None or not is_source(source) or not os.path.exists(source):
        return original(*args, **kwargs)
    below = given.get("subfolder") or ""
    load.admit(os.fspath(source), files=[str(name), f"{below}/{name}".lstrip("/")])
    return original(*args, **kwargs)


def _get_cached_module_file(
    signature: inspect.Signature, original: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Code is scanned and decided on before it is copied to where it is imported from."""
    given = arguments(signature, args, kwargs)
    source, file = given.get("pretrained_model_name_or_path"), given.get("module_file")
    if not is_source(source) or not isinstance(file, str):
        return original(*args, **kwargs)
    place, path = os.fspath(source), "/".join(filter(None, (given.get("subfolder"), file)))
    local = os.path.isfile(os.path.join(place, path))
    with ExitStack() as stack:
        load = current() or stack.enter_context(loading("custom pipeline", {**given, "trust_remote_code": True}))
        if given.get("trust_remote_code") and (local or "/" in place):
            revision = given.get("revision")
            commit = load.admit(place, revision=None if revision is None else str(revision), module=path)
            if commit is not None:
                given |= {"revision": commit, "force_download": False}
        return original(**given)  # a community pipeline comes through `hf_hub_download`


def _get_class_in_module(
    hooks: Installed,
    signature: inspect.Signature,
    original: Callable[..., Any],
    /,
    class_name: str | None,
    module_path: str | os.PathLike[str],
    force_reload: bool = False,
) -> Any:
    from nbguard.hooks.walls import code

    module = code.module_at(module_path, force_reload=force_reload)
    _guard_classes(hooks, module)
    hold_constructors(hooks, module, "DiffusionPipeline")
    if class_name is not None:
        return getattr(module, class_name)
    return original.__globals__["find_pipeline_class"](module)


def _get_class_obj_and_candidates(
    signature: inspect.Signature, original: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """A component comes from diffusers, transformers, accepted code, or a module that is imported already."""
    given = arguments(signature, args, kwargs)
    library, name = str(given.get("library_name")), str(given.get("class_name"))
    if why := judge_component(library, name, installed=trust.origin(library.partition(".")[0]) == "installed"):
        _stop(library, name, why)
    if not given.get("is_pipeline_module") and not _may_be_imported(library, given):
        _stop(library, name, "it is in a module that nobody has imported: import it before, if it is your own")
    found = original(*args, **kwargs)
    if not isinstance(found[0], type):
        _stop(library, name, "it is no class")
    return found


def _may_be_imported(library: str, given: dict[str, Any]) -> bool:
    """A library of components, a module that is there already, or code in the component's folder."""
    if library.partition(".")[0] in LIBRARIES or library in sys.modules:
        return True
    place = os.path.join(str(given.get("cache_dir") or ""), str(given.get("component_name") or ""), f"{library}.py")
    return bool(given.get("cache_dir")) and os.path.isfile(place)


def _get_pipeline_class(
    signature: inspect.Signature, original: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    found = original(*args, **kwargs)
    if not isinstance(found, type) or not {b.__name__ for b in found.__mro__} & PIPELINES:
        _stop("diffusers", ascii(getattr(found, "__name__", found))[:100], "it is no pipeline")
    return found


def _stop(library: str, name: str, why: str) -> None:
    shown = ascii(f"{library}.{name}")[1:-1][:200]
    walk.stop(f"the configuration names the class {shown}, and {why}", "diffusers", shown)
