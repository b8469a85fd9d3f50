"""TensorFlow: which files a SavedModel is loaded from, graphs in memory, native libraries.

    tf.saved_model.load("folder")       # the graph and its assets from sealed copies, variables through their handles

TensorFlow runs graphs in C++, where no wall of Python's stands: what holds is that exactly the graph that was scanned
and accepted is the one that it is given.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbguard.hooks.loaders.entry import Call
from nbguard.hooks.loaders.opening import folder

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.grants import Grant

_INDEX = ".index"
_VARIABLES = re.compile(r".+\.data-\d{5}-of-\d{5}\Z")


def saved_model(call: Call) -> Opened | None:
    """All files of the folder; what is in them but the variables' numbers as copies that nobody can write to."""
    from nbguard.artifact.sources import seal

    opened = folder()(call)
    if opened is None:
        return None
    files = []
    for file in opened.files:
        if _VARIABLES.match(file.path):
            files.append(file)
            continue
        copy = seal(file)
        if copy is not file:
            call.stack.callback(copy.close)
            file.close()
        files.append(copy)
    return replace(opened, files=tuple(files))


def checkpoint(call: Call) -> Opened | None:
    """The index and the data files of a checkpoint, which is named by what their names begin with."""
    from nbguard.artifact.sources import open_files

    source = call.source
    if not isinstance(source, str | os.PathLike) or not os.path.isfile(os.fspath(source) + _INDEX):
        return folder()(call)
    name = os.fspath(source)
    root, base = os.path.split(os.path.abspath(name))
    data = sorted(n for n in os.listdir(root) if n.startswith(f"{base}.data-") and _VARIABLES.match(n))
    call.form = "path"
    opened = open_files(root, [base + _INDEX, *data], target=name, kind="path")
    opened.provenance.update({"source": "file", "path": os.path.join(root, base)})
    return opened


def staged(call: Call, grant: Grant) -> None:
    """Give the loader a private folder of links, and the name in it by which it knows the checkpoint."""
    from nbguard.hooks.loaders.declared import stage

    place = stage(call, grant.opened)
    whole = os.fspath(call.given)
    if grant.opened.files[0].path == os.path.basename(whole) + _INDEX:
        place = place.removesuffix(_INDEX)
    call.set(call.name, place)


def kept(call: Call, grant: Grant, result: Any) -> Any:
    """Keep the folder for as long as the model lives: it names its assets by their paths."""
    from nbguard.hooks.loaders.declared import keep

    keep(call, grant, result)
    return result


def graph(call: Call) -> Opened | None:
    """The bytes of a graph that is in memory as a message."""
    from nbguard.artifact.sources import open_bytes

    serialize = getattr(call.source, "SerializeToString", None)
    return open_bytes(serialize(), name="graph.pb") if callable(serialize) else None


def library(call: Call) -> Opened | None:
    """A native library that is named by its path; a bare name is one that the system has installed."""
    source = call.source
    if not isinstance(source, str | os.PathLike) or not os.path.exists(source):
        return None
    return folder()(call)
