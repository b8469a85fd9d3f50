"""MLflow: the folder of a model with its `MLmodel`, whichever flavour loads it.

    mlflow.sklearn.load_model("runs:/…/model")      # fetched by MLflow, scanned as a folder, then loaded from there

MLflow puts the model's `code` folder on `sys.path`, imports the `loader_module` that MLmodel names, runs a
`model_code_path`, and unpickles. It is given a private folder instead: links to the scanned handles, and of everything
small, MLmodel and code among it, copies, which are compared once more after the load. Code in it runs only from scanned
bytes and without effects (`walls/folders.py`), pickles are held to the scanned programs, and a loader module is
MLflow's own or scanned.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nbguard.hooks import walk
from nbguard.hooks.loaders import declared
from nbguard.hooks.loaders.entry import Call
from nbguard.hooks.walls import code, code_effects, folders, scope

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile
    from nbguard.hooks.grants import Grant

MLMODEL = "MLmodel"
SMALL = 1 << 20
"""Bytes up to which a file is copied for the load: what MLflow reads by name, configurations and code."""
SEALED = (MLMODEL, ".py", ".yaml", ".yml", ".json", ".txt", ".cfg", ".toml")
PATHS = ("code", "data", "model_code_path", "pickled_model", "model_data", "python_model", "model_path")
"""Keys of a flavour that MLflow joins to the model's folder."""


def folder_of_model(call: Call) -> Opened | None:
    """Every file of the model's folder. What lies elsewhere is fetched by MLflow first: that is data, nothing runs."""
    from nbguard.artifact.folders import names_below
    from nbguard.artifact.sources import open_files, seal

    uri = call.source
    if not isinstance(uri, str | os.PathLike):
        return None
    root = os.path.realpath(_fetched(call, os.fspath(uri)))
    if not os.path.isfile(os.path.join(root, MLMODEL)):
        return None  # MLflow says by itself that there is no model
    call.form = "path"
    names = list(names_below(root))
    opened = open_files(root, dict.fromkeys(names), target=os.fspath(uri), kind="directory")
    call.stack.callback(opened.close)
    files = []
    for file in opened.files:
        small = file.size <= SMALL and file.path.endswith(SEALED)
        copy = seal(file) if small else file
        if small:
            call.stack.callback(copy.close)
        files.append(copy)
    opened.provenance.update({"source": "folder", "path": root})
    return replace(opened, files=tuple(files))


def prepare(call: Call, grant: Grant) -> None:
    """Check what MLmodel leads to, and give MLflow the private folder."""
    from nbguard.formats import yaml_nodes

    with scope.outside():
        model = next(f for f in grant.opened.files if f.path == MLMODEL)
        try:
            flavors = yaml_nodes.read(model.read()).value["flavors"]
            confs = [(str(name), conf) for name, conf in flavors.items() if isinstance(conf, dict)]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise walk.violation(grant, "its MLmodel cannot be read.") from None
        names = {file.path for file in grant.opened.files}
        for flavor, conf in confs:
            _check(grant, flavor, conf, names)
        staged = declared.stage(call, grant.opened)
        for file in _small(grant):
            _copy(file, os.path.join(staged, *file.path.split("/")))
        call.stack.callback(folders.add(staged, _reach))
        call.stack.callback(_off_the_path, staged)
        code.accept(grant)
        call.set(call.name, staged)
        if call.get("dst_path") is not None:
            call.set("dst_path", None)
    wall = contextlib.ExitStack()
    wall.enter_context(code_effects.constructing(grant))
    call.notes["wall"] = wall
    call.stack.callback(wall.close)


def finish(call: Call, grant: Grant, result: Any) -> Any:
    """The private folder lives as long as the model does: models read their artifacts later."""
    call.notes["wall"].close()
    with scope.outside():
        for file in _small(grant):
            with open(os.path.join(str(call.staged), *file.path.split("/")), "rb") as copy:
                if copy.read() != file.read():
                    raise walk.violation(grant, "the copy of a file was changed while it was being loaded.")
    with contextlib.suppress(TypeError):  # what cannot be watched has read all that it needs
        declared.keep(call, grant, result)
    return result


def _check(grant: Grant, flavor: str, conf: dict[str, Any], names: set[str]) -> None:
    from nbguard.hooks import trust
    from nbguard.scanners.tables import table

    for key in PATHS:
        path = conf.get(key)
        if isinstance(path, str) and key != "model_code_path" and (os.path.isabs(path) or ".." in path.split("/")):
            raise walk.violation(grant, f"the {key} of its MLmodel leads out of its folder.")
    loader = conf.get("loader_module")
    if not isinstance(loader, str) or loader in table("frameworks")["loaders"]["modules"]:
        return
    below = str(conf.get("code") or "").strip("/")
    file = loader.replace(".", "/")
    own = [f"{below}/{file}.py", f"{below}/{file}/__init__.py"] if below else []
    if not any(name in names for name in own) and trust.origin(loader) != "installed":
        raise walk.violation(grant, f"the loader module {ascii(loader)[1:-1][:100]} is not among what was scanned.")


def _fetched(call: Call, uri: str) -> str:
    """A local folder; what MLflow keeps elsewhere is downloaded by its own function."""
    parts = urlsplit(uri)
    if os.path.exists(uri):
        return uri
    if parts.scheme == "file":
        return unquote(parts.path)
    from mlflow.tracking.artifact_utils import _download_artifact_from_uri

    return str(_download_artifact_from_uri(artifact_uri=uri, output_path=call.get("dst_path")))


def _small(grant: Grant) -> list[OpenedFile]:
    return [file for file in grant.opened.files if file.size <= SMALL and file.path.endswith(SEALED)]


def _copy(file: OpenedFile, place: str) -> None:
    """A file in the place of the link: MLflow takes no links that lead out of a folder."""
    os.unlink(place)
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400), "wb") as copy:
        copy.write(file.read())


def _off_the_path(staged: str) -> None:
    """MLflow leaves the code folder on `sys.path`; once it is gone, anybody could put another one in its place."""
    sys.path[:] = [p for p in sys.path if not p.startswith(staged + os.sep)]


def _reach(root: str, name: str) -> None:
    raise code.refuse(os.path.join(root, name), "", "it was not part of what was scanned")
