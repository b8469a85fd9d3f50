"""Which files of a repository diffusers would open, for a pipeline, a component or a scheduler.

    plan = pipeline({"trust_remote_code": True, "custom_pipeline": "mine"}, hub=True)
    plan(names, read).files         # ("model_index.json", "unet/config.json", …)

After diffusers 0.42: `pipelines/pipeline_utils.py`, `pipelines/pipeline_loading_utils.py`, `models/modeling_utils.py`.
What it opens besides is met at the functions beneath, so that a difference costs a second question and not a hole.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nbguard.artifact.checkpoints import Choice, Further, Plan, Reader, code_closure
from nbguard.artifact.hub_listing import DATASETS
from nbguard.hooks.loaders.choosing import checkpoint, is_aside, is_weights, passed_over, table

INDEXES = ("model_index.json", "modular_model_index.json")
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
"""Weights of components, without extension: diffusers' own, then transformers'."""
ONNX = ("model.onnx", "weights.pb", "model.onnx_data")
COMMUNITY = f"{DATASETS}diffusers/community-pipelines-mirror"
"""Where a `custom_pipeline` of one word is fetched from (`COMMUNITY_PIPELINES_MIRROR_ID`); no trust is asked for."""
CODE = "pipeline.py"
"""What the code is called in a repository or folder that is named as `custom_pipeline`."""

Planner = Callable[..., Plan]


def pipeline(given: dict[str, Any], *, hub: bool) -> Plan:
    """The index, every component that is not handed in, and the code that goes with them."""
    code = bool(given.get("trust_remote_code"))

    def plan(names: Sequence[str], read: Reader) -> Choice:
        index = {k: v for name in INDEXES if name in names for k, v in table(read, name).items()}
        parts = {k: v for k, v in index.items() if _is_component(k, v) and given.get(k) is None}
        folders = [k for k in parts if any(n.startswith(f"{k}/") for n in names)]
        weights = _weights(names, read, folders or [""], parts, given, hub=hub)
        files = {
            n for n in names if posixpath.dirname(n) in ("", *folders) or n.startswith(tuple(f"{f}/" for f in folders))
        }
        files = {n for n in files if not is_weights(n) and not is_aside(n) and not n.endswith(".py")} | weights
        own, further = _code(names, read, index, parts, given) if code else (set[str](), _community(given, names))
        files |= own
        chosen = tuple(n for n in names if n in files)
        ordered = tuple(n for n in chosen if n in weights)
        return Choice(chosen, passed_over(names, files, ordered), ordered, further=further)

    return plan


def component(given: dict[str, Any], *, hub: bool) -> Plan:
    """One model: its configuration and weights, in its subfolder or at the root."""
    below = str(given.get("subfolder") or "").strip("/")

    def plan(names: Sequence[str], read: Reader) -> Choice:
        weights = _weights(names, read, [below], {}, given, hub=False)
        files = {n for n in names if posixpath.dirname(n) == below and _is_setting(n)} | weights
        files |= {n for n in INDEXES if n in names}
        if given.get("trust_remote_code"):
            settings = table(read, posixpath.join(below, "config.json")).get("auto_map")
            named = [v for v in settings.values() if isinstance(v, str)] if isinstance(settings, dict) else []
            files |= code_closure(names, read, [posixpath.join(below, v.partition(".")[0] + ".py") for v in named])
        ordered = tuple(n for n in names if n in weights)
        return Choice(tuple(n for n in names if n in files), passed_over(names, files, ordered), ordered)

    return plan


def settings(given: dict[str, Any], *, hub: bool) -> Plan:
    """A scheduler or another part without weights: its configuration."""
    below = str(given.get("subfolder") or "").strip("/")

    def plan(names: Sequence[str], read: Reader) -> Choice:
        files = tuple(n for n in names if posixpath.dirname(n) == below and n.endswith(".json"))
        return Choice(files, passed_over(names, files))

    return plan


def _is_component(name: str, value: Any) -> bool:
    return not name.startswith("_") and isinstance(value, list) and len(value) >= 2 and isinstance(value[0], str)


def _is_setting(name: str) -> bool:
    return not is_weights(name) and not is_aside(name) and not name.endswith(".py")


def _weights(
    names: Sequence[str],
    read: Reader,
    folders: Sequence[str],
    parts: dict[str, Any],
    given: dict[str, Any],
    *,
    hub: bool,
) -> set[str]:
    """The weights of components. From a Hub diffusers takes pickles for all of them where one has nothing else."""
    variant = given.get("variant") if isinstance(given.get("variant"), str) else None
    safe = given.get("use_safetensors")

    def chosen(folder: str, safe: bool | None) -> tuple[str, ...]:
        return checkpoint(names, read, folder, STEMS, variant=variant, safe=safe)

    found = {f: chosen(f, safe) for f in folders}
    if hub and safe is None and any(w and not w[-1].endswith(".safetensors") for w in found.values()):
        found = {f: chosen(f, False) or w for f, w in found.items()}
    onnx = [f for f in folders if given.get("use_onnx") or "OnnxRuntimeModel" in (parts.get(f) or ())]
    there = {posixpath.join(f, name) for f in onnx for name in ONNX}
    return {w for weights in found.values() for w in weights} | (there & set(names))


# code


def _code(
    names: Sequence[str], read: Reader, index: dict[str, Any], parts: dict[str, Any], given: dict[str, Any]
) -> tuple[set[str], tuple[Further, ...]]:
    """Code in the repository itself, and that which the call takes from elsewhere."""
    start = [f"{name}/{value[0]}.py" for name, value in parts.items()]
    kind = index.get("_class_name")
    if isinstance(kind, list) and kind and isinstance(kind[0], str):
        start.append(f"{kind[0]}.py")
    custom = given.get("custom_pipeline")
    if isinstance(custom, str):
        start.append(f"{custom}.py")
    maps = index.get("auto_map")
    start += (
        [f"{v.partition('.')[0]}.py" for v in maps.values() if isinstance(v, str)] if isinstance(maps, dict) else []
    )
    own = code_closure(names, read, start)
    return own, (*_elsewhere(given, names), *_community(given, names))


def _elsewhere(given: dict[str, Any], names: Sequence[str]) -> tuple[Further, ...]:
    """A `custom_pipeline` in a file, a folder or another repository."""
    custom = given.get("custom_pipeline")
    if not isinstance(custom, str) or f"{custom}.py" in names:
        return ()
    if custom.endswith(".py"):
        return (Further(os.path.dirname(os.path.abspath(custom)), _only(os.path.basename(custom))),)
    if os.path.isdir(custom) or custom.count("/") == 1:
        revision = given.get("custom_revision")
        return (Further(custom, _only(CODE), str(revision) if revision else None),)
    return ()


def _community(given: dict[str, Any], names: Sequence[str]) -> tuple[Further, ...]:
    custom = given.get("custom_pipeline")
    if not isinstance(custom, str) or "/" in custom or custom.endswith(".py") or os.path.isdir(custom):
        return ()
    if f"{custom}.py" in names:
        return ()
    try:
        latest = "v" + ".".join(version("diffusers").split(".")[:3])
    except PackageNotFoundError:
        latest = "main"
    asked = str(given.get("custom_revision") or "")
    at = asked if asked in ("", "main") else f"v{asked}"

    def plan(there: Sequence[str], read: Reader) -> Choice:
        wanted = [f"{at or latest}/{custom}.py", *([] if at else [f"main/{custom}.py"])]
        return Choice(next(((w,) for w in wanted if w in there), ()))

    return (Further(COMMUNITY, plan),)


def _only(file: str) -> Plan:
    return lambda names, read: Choice(tuple(sorted(code_closure(names, read, [file]))))
