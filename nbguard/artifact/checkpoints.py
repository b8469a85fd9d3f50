"""Which files of a repository or folder `from_pretrained` would open, told from their names alone.

    choice = choose(["config.json", "model.safetensors", "pytorch_model.bin"], read=read_json)
    choice.files          # ("config.json", "model.safetensors")
    choice.passed_over    # (NotScanned("pytorch_model.bin", "not downloaded: …"),)

The order of the weights is that of transformers' `modeling_utils._get_resolved_checkpoint_files`: one safetensors file,
sharded safetensors, one `.bin`, sharded `.bin`. Names and indexes come from the repository and are hostile: a name is
only ever compared with the listing, never joined to a path.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nbguard.artifact.folders import READ_LIMIT
from nbguard.artifact.model import NotScanned
from nbguard.errors import TargetError

TORCH_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt")
"""Weights that torch unpickles."""
OTHER_WEIGHTS = (".h5", ".hdf5", ".keras", ".msgpack", ".onnx", ".onnx_data", ".gguf", ".ggml", ".tflite", ".ot",
                 ".mlmodel", ".pb", ".engine", ".nemo", ".npz", ".npy", ".tar", ".zip", ".7z")  # fmt: skip
"""Weights that other loaders than torch's read."""
WEIGHTS = (".safetensors", *TORCH_WEIGHTS, *OTHER_WEIGHTS)
OPENED_BY_HAND = (".pkl", ".pickle", ".joblib", ".dill")
"""Pickles that no `from_pretrained` opens by itself and that people load by name."""
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".ico", ".mp4", ".mov", ".wav", ".mp3", ".flac", ".pdf")
PAPERS = (".md", ".rst", ".gitattributes", ".gitignore", ".ipynb", "license", "license.txt", "notice", "notice.txt")
"""What is written for people and not opened by a loader; listed all the same when a whole repository is scanned."""

Reader = Callable[[str], bytes | None]
"""The bytes of a listed file, or None where there is no such file."""


@dataclass(frozen=True)
class Selection:
    """What a call narrows the choice to; the arguments of `from_pretrained` by the same names."""

    subfolder: str = ""
    variant: str | None = None
    use_safetensors: bool | None = None
    gguf_file: str | None = None
    weights: bool = True
    """False for a configuration, a tokenizer or a processor: they open no weights."""
    code: bool = True
    """False where `trust_remote_code` is not given: then no code of the repository is run."""


@dataclass(frozen=True)
class Further:
    """Another repository or folder that loading this one opens too, and what of it."""

    source: str
    """A repository (`org/name`, `datasets/org/name`) or a folder, as the configuration or the call names it."""
    plan: Plan
    revision: str | None = None
    needs: str = ""
    """A file without which it is not what it is taken for, and nothing of it is opened."""


@dataclass(frozen=True)
class Choice:
    """The files to open, in the order of the listing, and what was left out on purpose."""

    files: tuple[str, ...]
    passed_over: tuple[NotScanned, ...] = ()
    weights: tuple[str, ...] = ()
    """Those of `files` that are the model's weights."""
    base_models: tuple[str, ...] = ()
    """What an adapter names as the model that it belongs to."""
    code_elsewhere: tuple[tuple[str, str], ...] = ()
    """(repository, file) of code that a configuration takes from another repository."""
    further: tuple[Further, ...] = ()
    """Other sources that the same load opens: they belong to the same question."""

    @property
    def not_opened(self) -> tuple[NotScanned, ...]:
        """What was left out on purpose, and the model that an adapter belongs to."""
        why = "the model that this adapter belongs to; it is not part of it"
        return (*self.passed_over, *(NotScanned(base[:200], why) for base in self.base_models))


Plan = Callable[[Sequence[str], Reader], Choice]
"""What one loader would open, among the names of a source."""


def choose(names: Sequence[str], read: Reader, selection: Selection | None = None) -> Choice:
    """What loading would open, among `names`.

    Args:
        read: the bytes of one of `names`; called for configurations and weight indexes only.
        selection: the arguments of one call; None for everything that any call might open.

    Raises:
        TargetError: an index is no JSON, or names a file that the listing does not hold.
    """
    present = set(names)
    picked = selection or Selection()
    weights = [*_weights(present, read, picked), *_adapters(present, picked)] if picked.weights else []
    aside = (*WEIGHTS, *PICTURES) if selection is None else (*WEIGHTS, *PICTURES, *OPENED_BY_HAND, *PAPERS)
    files = {*weights, *(n for n in names if not n.lower().endswith(aside))}
    configs = {n: _json(read(n)) for n in names if posixpath.basename(n) in CONFIGURATIONS}
    if selection is not None:
        files = {n for n in files if not n.endswith(".py")} | (_code(present, read, configs) if picked.code else set())
    passed: list[NotScanned] = []
    for name in names:
        if name in files:
            continue
        if selection is None and not weights and name.lower().endswith(WEIGHTS):
            files.add(name)  # nothing that from_pretrained would take: whoever loads this repository takes it by name
        else:
            passed.append(NotScanned(name, _why_not(name, weights, picked)))
    ordered = tuple(n for n in names if n in files)
    elsewhere = _elsewhere(configs) if picked.code else []
    bases = tuple(_base_models(present, read))
    further = _further(bases, picked) if selection is not None and picked.weights and _adapters(present, picked) else ()
    return Choice(ordered, tuple(passed), tuple(weights), bases, tuple(elsewhere), further)


def _further(bases: Sequence[str], picked: Selection) -> tuple[Further, ...]:
    """The base model of an adapter: transformers loads it in the same call, with the same arguments."""
    selection = replace(picked, subfolder="", gguf_file=None)

    def plan(names: Sequence[str], read: Reader) -> Choice:
        return replace(choose(names, read, selection), further=())  # an adapter of an adapter is asked about by itself

    return tuple(Further(base, plan, needs="config.json") for base in bases[:1])


def _why_not(name: str, weights: Sequence[str], picked: Selection) -> str:
    lower = name.lower()
    if lower.endswith(PICTURES):
        return "not downloaded: a picture, a recording or a document that no loader opens"
    if lower.endswith(PAPERS):
        return "not downloaded: written for people, no loader opens it"
    if lower.endswith(".py"):
        return "no configuration names this code" if picked.code else "not run: trust_remote_code is not set"
    if not picked.weights and lower.endswith(WEIGHTS):
        return "not opened by this call: it loads no weights"
    if weights:
        return f"not downloaded; from_pretrained would use {posixpath.basename(weights[0])}"
    return "not downloaded: from_pretrained would not open it"


def _weights(present: set[str], read: Reader, picked: Selection) -> list[str]:
    below = f"{picked.subfolder.strip('/')}/" if picked.subfolder.strip("/") else ""
    if picked.gguf_file is not None:
        return [n for n in (below + picked.gguf_file,) if n in present]
    explicit = (
        _json(read(below + "config.json")).get("transformers_weights") if below + "config.json" in present else None
    )
    if isinstance(explicit, str):
        named = below + explicit
        return (
            _shards(present, read, named) if explicit.endswith(".index.json") else [n for n in (named,) if n in present]
        )
    kinds = []
    if picked.use_safetensors is not False:
        kinds.append("model.safetensors")
    if not picked.use_safetensors:
        kinds.append("pytorch_model.bin")
    for kind in kinds:
        single = below + with_variant(kind, picked.variant)
        index = below + with_variant(f"{kind}.index.json", picked.variant)
        if single in present:
            return [single]
        if index in present:
            return _shards(present, read, index)
    return []


def _adapters(present: set[str], picked: Selection) -> list[str]:
    """The adapter's weights, which come on top of the model's own or of a base model's."""
    below = f"{picked.subfolder.strip('/')}/" if picked.subfolder.strip("/") else ""
    if below + "adapter_config.json" not in present:
        return []
    kinds = ["adapter_model.safetensors"] if picked.use_safetensors is not False else []
    kinds += ["adapter_model.bin"] if not picked.use_safetensors else []
    return next(([below + kind] for kind in kinds if below + kind in present), [])


def _shards(present: set[str], read: Reader, index: str) -> list[str]:
    if index not in present:
        return []
    table = _json(read(index)).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise TargetError(f"{index} is no index of weights.")
    folder = posixpath.dirname(index)
    shards = sorted({posixpath.join(folder, name) for name in table.values()})
    missing = [name for name in shards if name not in present]
    if missing:
        raise TargetError(f"{index} names {len(missing)} files that are not there, {missing[0][:200]!r} among them.")
    return [index, *shards]


def with_variant(name: str, variant: str | None) -> str:
    """As transformers' `_add_variant`: `model.safetensors.index.json` → `model.safetensors.index.fp16.json`."""
    if variant is None:
        return name
    stem, _, last = name.rpartition(".")
    return f"{stem}.{variant}.{last}"


def _base_models(present: set[str], read: Reader) -> list[str]:
    found = [_json(read(n)).get("base_model_name_or_path") for n in sorted(present) if _is_adapter(n)]
    return list(dict.fromkeys(model for model in found if isinstance(model, str) and model))


def _is_adapter(name: str) -> bool:
    return posixpath.basename(name) == "adapter_config.json"


def _elsewhere(configs: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """What `other/repo--module.Class` means in every configuration."""
    found: list[tuple[str, str]] = []
    for config in configs.values():
        for reference in references(config):
            repository, mark, rest = reference.partition("--")
            if mark:
                found.append((repository, _module_file(rest)))
    return list(dict.fromkeys(found))


def _module_file(reference: str) -> str:
    """`module.Class` → `module.py`; transformers allows exactly one dot."""
    return reference.rpartition(".")[0].replace(".", "/") + ".py"


def _code(present: set[str], read: Reader, configs: dict[str, dict[str, Any]]) -> set[str]:
    """Code that the configurations name, that transformers looks for by itself, and what these import from beside."""
    start = [GENERATE]
    for name, config in configs.items():
        folder = posixpath.dirname(name)
        for reference in references(config):
            if "--" not in reference:
                start += [_module_file(reference), posixpath.join(folder, _module_file(reference))]
    return code_closure(present, read, start)


def code_closure(present: Iterable[str], read: Reader, start: Iterable[str]) -> set[str]:
    """`start` and everything that these files import from beside them, as far as it is among `present`."""
    there = set(present)
    found: set[str] = set()
    pending = [name for name in start if name in there]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        folder = posixpath.dirname(name)
        for module in relative_imports(read(name) or b""):
            base = posixpath.normpath(posixpath.join(folder, module))
            pending += [n for n in (f"{base}.py", f"{base}/__init__.py") if n in there]
    return found


def relative_imports(source: bytes) -> set[str]:
    """Paths, without `.py`, of what a module imports from beside it: by its syntax and by transformers' pattern."""
    found = {m.decode("ascii", "replace").replace(".", "/") for m in _IMPORTS.findall(source)}
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            up = "../" * (node.level - 1)
            base = (node.module or "").replace(".", "/")
            found |= {up + base} if base else set()
            found |= {posixpath.join(up + base, alias.name) for alias in node.names}
    return found


_IMPORTS = re.compile(rb"^[^\S\n]*from\s+\.([\w.]+)\s+import", re.MULTILINE)
"""As `dynamic_module_utils.get_relative_imports`; the syntax alone would miss what stands in text that is run later."""
GENERATE = "custom_generate/generate.py"
"""Run by `from_pretrained` itself where code is trusted (`generation/utils.py`, `load_custom_generate`)."""
CONFIGURATIONS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
                  "video_preprocessor_config.json", "image_processor_config.json", "feature_extractor_config.json",
                  "generation_config.json")  # fmt: skip
"""Files whose `auto_map` transformers follows."""


def references(config: dict[str, Any]) -> list[str]:
    """Every class reference (`module.Class`, `other/repo--module.Class`) that a configuration would have imported."""
    out: list[str] = []
    tables = [config.get("auto_map")]
    pipelines = config.get("custom_pipelines")
    if isinstance(pipelines, dict):
        tables += [{"impl": task.get("impl")} for task in pipelines.values() if isinstance(task, dict)]
    for table in tables:
        values = table.values() if isinstance(table, dict) else table if isinstance(table, list) else [table]
        for value in values:
            out += [v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, str)]
    return out


def _json(data: bytes | None) -> dict[str, Any]:
    """The object in a JSON file; an empty one where it is none, because then transformers loads nothing from it."""
    if data is None or len(data) > READ_LIMIT:
        return {}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
