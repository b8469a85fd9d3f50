"""Keras: what a load would open, `safe_mode`, and what may be looked up while a model is built.

    keras.saving.load_model("model.keras")                      # safe_mode=True, whatever the default is
    keras.saving.load_model("model.keras", safe_mode=False)     # only where a person accepted the code in the report

Three checks stand behind that, in Keras' own functions: a class or function that the configuration names has to be in
the contract or one of Keras' own that compute; byte code has to have a digest that a person accepted; and while the
model is built, a Lambda layer's code has no effects.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.hooks import grants, walk
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.loaders.entry import Call
from nbguard.hooks.loaders.opening import folder
from nbguard.hooks.walls import scope

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.grants import Grant

LOADERS = ("keras.", "tf_keras.")
_HUB = "hf://"
_FILES = ("config.json", "metadata.json", "model.weights.h5", "model.weights.npz")
"""Of a model that is a folder (`keras/src/saving/saving_lib.py`, `_load_model_from_dir`)."""
_SHARDED = "weights.json"
MAX_INDEX = 64 << 20


def model_files(call: Call) -> Opened | None:
    """A file, the files of a folder, or those of a repository on the Hub (`hf://org/name`)."""
    source = call.source
    if isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
        if name.startswith(_HUB):
            call.form = "path"
            return _repository(name.removeprefix(_HUB))
        if name.endswith(_SHARDED) and os.path.isfile(name):
            call.form = "path"
            return _shards(name)
    return folder()(call)


def _repository(name: str) -> Opened:
    """The model's own files of one commit; whatever else a repository holds Keras does not open."""
    from nbguard.artifact.checkpoints import Choice
    from nbguard.artifact.hub import list_repo, open_listing
    from nbguard.artifact.model import NotScanned

    listing = list_repo(name)
    files = tuple(n for n in listing.sizes if n in _FILES or n.startswith("assets/"))
    others = tuple(NotScanned(n, "Keras does not open it") for n in listing.sizes if n not in files)
    return open_listing(listing, Choice(files, others))


def _shards(name: str) -> Opened:
    """An index of weights and the files beside it that it names; what it names elsewhere is not opened."""
    from nbguard.artifact.sources import open_files
    from nbguard.scanners.kinds.keras import first_shard

    root, base = os.path.split(os.path.abspath(name))
    with open(name, "rb") as file:
        raw = file.read(MAX_INDEX)
    try:
        table = json.loads(raw)["weight_map"]
        values = table.values() if isinstance(table, dict) else ()
    except (ValueError, KeyError, TypeError, RecursionError):
        values = ()  # the scan says what is wrong with it
    named = {first_shard(base)} | {n for v in values for n in (v if isinstance(v, list) else [v]) if isinstance(n, str)}
    there = sorted(n for n in named if os.path.basename(n) == n and os.path.isfile(os.path.join(root, n)))
    opened = open_files(root, [base, *there], target=name, kind="path")
    opened.provenance.update({"source": "file", "path": os.path.join(root, base)})
    return opened


def safely(call: Call, grant: Grant) -> None:
    """Have Keras refuse code, but where a person wrote `safe_mode=False` and accepted a report that shows the code."""
    allowed = call.get("safe_mode") is False and grant.accepted_by_person and bool(grant.contract.code)
    unpickles = call.get("safe_mode") is False and grant.accepted_by_person and bool(grant.contract.programs)
    call.set("safe_mode", not (allowed or unpickles))


# the walls, in Keras' own functions


def guard_lookup(hooks: Installed, module: ModuleType) -> None:
    """Hold what `serialization_lib` looks up to the contract."""
    if hasattr(module, "_retrieve_class_or_fn"):
        hooks.swap(module._retrieve_class_or_fn, _looked_up)


def guard_code(hooks: Installed, module: ModuleType) -> None:
    """Hold the byte code that is unmarshalled to the contract."""
    if hasattr(module, "func_load"):
        hooks.swap(module.func_load, _unmarshalled)


def guard_lambda(hooks: Installed, module: ModuleType) -> None:
    """Let a Lambda layer's code have no effects while the model that brought it is built."""
    for name in ("call", "compute_mask", "compute_output_shape"):
        if name in vars(module.Lambda):
            hooks.swap(vars(module.Lambda)[name], _without_effects)


def _ours() -> Grant | None:
    """The Keras load that this context is in, if it is one that is enforced."""
    grant = grants.innermost()
    ours = grant is not None and grant.enforced and grant.request.loader.startswith(LOADERS)
    return grant if ours else None


def _looked_up(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    grant = _ours()
    if grant is not None:
        given = bound(original, args, kwargs)
        name, module = str(given["name"]), str(given.get("module") or "")
        registered = str(given.get("registered_name") or "")
        accepted = {(g.module, g.name) for g in grant.contract.globals}
        known = {(module or "keras", name), (module or "(registered)", name), (module or "(registered)", registered)}
        if not known & accepted and not _of_keras(module, name):
            raise walk.violation(grant, f"its configuration named {ascii(f'{module}.{name}')[:200]}.")
    return original(*args, **kwargs)


def _of_keras(module: str, name: str) -> bool:
    """Whether this is one of Keras' own that compute: layers name such functions as plain words."""
    from nbguard.scanners.tables import table

    rules = table("keras")
    listed: bool = name in rules["classes"] or name in rules["functions"]
    return listed and (module in ("", "builtins") or module.partition(".")[0] in rules["packages"])


def _unmarshalled(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    grant = _ours()
    if grant is not None:
        from nbguard.scanners.keras_config import decoded

        code = bound(original, args, kwargs)["code"]
        text = code[0] if isinstance(code, list | tuple) and code else code
        raw = decoded(text) if isinstance(text, str) else None
        digest = hashlib.sha256(raw or b"").hexdigest()
        if digest not in {c.sha256 for c in grant.contract.code} or not grant.accepted_by_person:
            raise walk.violation(grant, "it brought byte code that nobody accepted.")
    return original(*args, **kwargs)


def _without_effects(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    grant = _ours()
    if grant is None:
        return original(*args, **kwargs)
    with scope.machine(grant):
        return original(*args, **kwargs)
