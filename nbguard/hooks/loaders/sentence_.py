"""sentence-transformers: `SentenceTransformer`, `CrossEncoder`, `SparseEncoder`, `MultiVectorEncoder`.

    SentenceTransformer("org/name")         # every module that modules.json lists, at one commit, in one question

The configurations name classes, and the library imports what they name: a name that begins with `torch.` needs no
`trust_remote_code`, and what it leads to is called. Here such a name may only lead to a module of `torch.nn` or of
sentence-transformers itself; another installed package only where the person was told of it and accepted.
"""

from __future__ import annotations

import functools
import inspect
import os
import posixpath
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from nbguard.artifact.checkpoints import Choice, Plan, Reader, Selection, choose, code_closure
from nbguard.hooks import grants, trust, walk
from nbguard.hooks.installed import Installed
from nbguard.hooks.loaders.building import arguments, building, hold_constructors, is_source
from nbguard.hooks.loaders.choosing import checkpoint, document, first, is_weights, table
from nbguard.hooks.loaders.repository import loading
from nbguard.scanners.class_names import judge_class

RULE = "config.class"
"""The finding that tells of such a name (`scanners/config_classes.py`)."""
SOURCES = ("model_name_or_path", "model_name")
"""What the name is called; the second in CrossEncoder before release 4."""
PASSED_ON = ("model_kwargs", "processor_kwargs", "config_kwargs", "tokenizer_kwargs")
"""Arguments that are handed on to transformers; code can be trusted in each."""
STEMS = ("model", "pytorch_model")
"""Names of a module's weights without extension (`base/modules/module.py`, `load_torch_weights`)."""
ONNX = ("model.onnx", "onnx/model.onnx")
OPENVINO = ("openvino_model.xml", "openvino/openvino_model.xml")
"""Where `optimum` looks when no `file_name` is given."""


def guard(hooks: Installed, module: ModuleType) -> None:
    """Guard the constructors of all classes of a module that load by a name, the one that they inherit among them."""
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        method = value.__dict__.get("__init__")
        if inspect.isfunction(method) and (signature := inspect.signature(method)).parameters.keys() & set(SOURCES):
            hooks.swap(method, functools.partial(_init, signature))


def guard_names(hooks: Installed, module: ModuleType) -> None:
    """Guard the import of classes that configurations name, and the making of a repository's own."""
    hooks.swap(module.import_from_string, _import_from_string)
    if (
        function := getattr(sys.modules.get("sentence_transformers.util.misc"), "import_module_class", None)
    ) is not None:
        hooks.swap(function, functools.partial(_import_module_class, hooks))


def _init(signature: inspect.Signature, original: Callable[..., Any], self: Any, /, *args: Any, **kwargs: Any) -> None:
    given = arguments(signature, (self, *args), kwargs)
    source = next((given[name] for name in SOURCES if name in given), None)
    if not is_source(source):
        original(self, *args, **kwargs)  # made of modules that are in memory
        return
    place = _full_name(type(self), os.fspath(source))
    given["trust_remote_code"] = trusted = any(
        bool(part.get("trust_remote_code")) for part in (given, *(given.get(n) or {} for n in PASSED_ON))
    )
    cache = given.get("cache_folder") or os.getenv("SENTENCE_TRANSFORMERS_HOME")
    more = {**given, "cache_dir": cache, "trust_remote_code": trusted or None}
    with loading(type(self).__name__, more) as load:
        revision = given.get("revision")
        commit = load.admit(place, revision=None if revision is None else str(revision), plan=planned(given))
        if commit is not None and "revision" in signature.parameters:
            kwargs = {**kwargs, "revision": commit}
        building(original, type(self), self, *args, **kwargs)


def _full_name(cls: type, name: str) -> str:
    """The repository that a name of one word stands for, as the library completes it."""
    if os.path.isdir(name) or "/" in name:
        return name
    from sentence_transformers import util

    plain = getattr(util, "ORIGINAL_TRANSFORMER_MODELS", ())
    organisation = getattr(cls, "default_huggingface_organization", None)
    return f"{organisation}/{name}" if organisation and name.lower() not in plain else name


def planned(given: dict[str, Any]) -> Plan:
    """The configurations, every module's weights for the chosen backend, and the code where it is trusted."""
    model: dict[str, Any] = {**(given.get("model_kwargs") or {})}
    code = bool(given.get("trust_remote_code"))
    variant = model.get("variant")
    picked = Selection(
        variant=variant if isinstance(variant, str) else None, use_safetensors=model.get("use_safetensors"), code=code
    )
    backend, named = given.get("backend", "torch"), model.get("file_name")

    def plan(names: Sequence[str], read: Reader) -> Choice:
        rows = document(read, "modules.json") if "modules.json" in names else None
        modules = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        folders = [str(row.get("path", "")).strip("/") for row in modules] or [""]
        whole = choose(names, read, replace(picked, subfolder=folders[0]))
        weights = {w for f in _folders(names, read, folders) for w in _checkpoint(names, read, f, picked)}
        weights |= set(whole.weights)
        if backend != "torch":
            weights = {w for w in weights if posixpath.dirname(w) not in ("", folders[0])}
            weights |= _exported(names, str(backend), named if isinstance(named, str) else None)
        types = [str(row.get("type", "")) for row in modules]
        own = _code(names, read, types) if code else set()
        elsewhere = [(r, _file(rest)) for r, mark, rest in (t.partition("--") for t in types) if mark] if code else []
        files = {n for n in whole.files if not is_weights(n)} | weights | own
        return replace(
            whole,
            files=tuple(n for n in names if n in files),
            passed_over=tuple(n for n in whole.passed_over if n.path not in files),
            weights=tuple(n for n in names if n in weights),
            code_elsewhere=tuple(dict.fromkeys((*whole.code_elsewhere, *elsewhere))),
        )

    return plan


def _folders(names: Sequence[str], read: Reader, listed: Sequence[str]) -> list[str]:
    """The folders of the modules, and those below them that a router leads to."""
    below = [posixpath.join(f, k) for f in listed for c in ("router_config.json", "config.json")
             for k in _types(read, names, posixpath.join(f, c))]  # fmt: skip
    there = {posixpath.dirname(n) for n in names}
    deeper = [d for d in there for f in (*listed, *below) if f and d.startswith(f"{f}/")]
    return list(dict.fromkeys([*listed, *below, *deeper]))


def _types(read: Reader, names: Sequence[str], name: str) -> list[str]:
    types = table(read, name).get("types") if name in names else None
    return [k for k in types if isinstance(k, str)] if isinstance(types, dict) else []


def _checkpoint(names: Sequence[str], read: Reader, folder: str, picked: Selection) -> tuple[str, ...]:
    return checkpoint(names, read, folder, STEMS, variant=picked.variant, safe=picked.use_safetensors)


def _exported(names: Sequence[str], backend: str, named: str | None) -> set[str]:
    """What another backend than torch opens, with the data that lies beside it."""
    usual = ONNX if backend == "onnx" else OPENVINO
    chosen = [n for n in names if n == named or n.endswith(f"/{named}")] if named else first(names, usual)
    beside = {f"{c}_data" for c in chosen} | {c.removesuffix(".xml") + ".bin" for c in chosen if c.endswith(".xml")}
    return {*chosen, *(n for n in names if n in beside)}


def _code(names: Sequence[str], read: Reader, types: Sequence[str]) -> set[str]:
    return code_closure(names, read, [_file(t) for t in types if "--" not in t])


def _file(reference: str) -> str:
    return reference.rpartition(".")[0].replace(".", "/") + ".py"


# classes by name


def _import_from_string(original: Callable[..., Any], dotted_path: str) -> Any:
    """What a configuration names, where it may be named; judged before the import, which runs code, and after it."""
    name = str(dotted_path)
    judged = judge_class(name)
    if judged.level == "package" and trust.origin(name.partition(".")[0]) == "missing":
        raise ImportError(f"There is no package {name.partition('.')[0]}.")
    if judged.level == "never" or (judged.level == "package" and not _told(name)):
        _stop(name, judged.why)
    found = original(dotted_path)
    if not isinstance(found, type) or not any(
        b.__name__ == "Module" and b.__module__ == "torch.nn.modules.module" for b in found.__mro__
    ):
        _stop(name, "it is no module of a network, and the library would call it")
    if judged.level == "free" and found.__module__.partition(".")[0] != name.partition(".")[0]:
        _stop(name, f"it leads to another package ({ascii(found.__module__)[:100]})")
    return found


def _import_module_class(hooks: Installed, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    from nbguard.hooks.walls import code

    found = original(*args, **kwargs)
    if isinstance(found, type) and code.grant_of(found.__module__) is not None:
        hold_constructors(hooks, sys.modules[found.__module__], "Module", ("__init__", "load"))
    return found


def _told(name: str) -> bool:
    """Whether a person accepted a report that told of this very name; only for installed packages."""
    request = grants.current()
    if request is None or trust.origin(name.partition(".")[0]) != "installed":
        return False
    return any(
        not g.enforced
        or (g.accepted_by_person and any(f.rule == RULE and name in f.evidence for f in g.report.findings))
        for g in request.grants
    )


def _stop(name: str, why: str) -> None:
    walk.stop(
        f"a configuration names the class {ascii(name)[1:-1][:200]}, and {why}",
        "sentence_transformers",
        ascii(name)[1:-1][:200],
    )
