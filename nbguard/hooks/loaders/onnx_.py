"""What the entries for ONNX need: a model with the data files that it names, all from their scanned handles.

    Loader(name="onnx.load", ..., opens=onnx_.model, prepare=onnx_.without_data, finish=onnx_.with_data)

`onnx` and ONNX Runtime look data files up by their names in the model's folder, at a time when these may have changed.
So neither gets to open one: `onnx` is given a model without data, which is filled here, and the runtime is given the
files in memory, or as copies in a private folder where the caller brings session options of their own.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbguard.hooks import walk
from nbguard.hooks.loaders.declared import keep, scanned, stage
from nbguard.hooks.loaders.entry import Call
from nbguard.hooks.loaders.opening import file_or_bytes, in_memory

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile
    from nbguard.hooks.grants import Grant

_BINARY = "protobuf"
_OTHER_FOLDER = "session.model_external_initializers_file_folder_path"


# onnx.load


def model(call: Call) -> Opened | None:
    """The model, and the data files that it names where they are to be read. It is handed over as a stream."""
    from nbguard.artifact.sources import open_bytes
    from nbguard.scanners.companions import beside

    source = call.source
    opened = file_or_bytes(call)
    if opened is None:
        return None
    place = os.fspath(source) if call.form == "path" else getattr(source, "name", None)
    call.notes["data"] = wanted = bool(call.get("load_external_data", True)) and isinstance(place, str)
    form = _format(call, place if call.form == "path" else None)
    call.form = "stream"
    if form != _BINARY:  # in text or JSON: what is scanned, and loaded, is the binary form of what it says
        data = _binary(opened.files[0].read(), form)
        opened.close()
        opened = open_bytes(data, name=opened.files[0].path)
        call.start = None
    return beside(opened, folder=os.path.dirname(os.path.abspath(place))) if wanted and place else opened


def _format(call: Call, path: str | None) -> str:
    from onnx import serialization

    named = call.get("format")
    if named is None and path is not None:
        named = serialization.registry.get_format_from_file_extension(os.path.splitext(path)[1])
    return str(named or _BINARY)


def _binary(data: bytes, form: str) -> bytes:
    import onnx

    parsed = onnx.serialization.registry.get(form).deserialize_proto(data, onnx.ModelProto())
    binary: bytes = parsed.SerializeToString()
    return binary


def text_or_bytes(call: Call) -> Opened | None:
    """A serialized model in memory, in any of onnx's formats."""
    from nbguard.artifact.sources import open_bytes

    opened = in_memory(call)
    if opened is None or (form := _format(call, None)) == _BINARY:
        return opened
    data = _binary(opened.files[0].read(), form)
    opened.close()
    call.set(call.name, b"")  # bytes now, whatever it was
    return open_bytes(data)


def in_binary(call: Call, grant: Grant) -> None:
    """Have what is handed over taken for what it is."""
    call.set("format", _BINARY)


def without_data(call: Call, grant: Grant) -> None:
    """Keep onnx from opening data files by their names."""
    call.notes.setdefault("data", bool(call.get("load_external_data", True)))
    in_binary(call, grant)
    call.set("load_external_data", False)


def with_data(call: Call, grant: Grant, loaded: Any) -> Any:
    """The model with its tensors filled from the scanned files."""
    if call.notes["data"]:
        _fill(loaded, call, grant)
    return loaded


def _beside(grant: Grant, mine: OpenedFile, location: str) -> OpenedFile | None:
    """The scanned data file of this location, counted from the model's folder."""
    from nbguard.scanners.companions import plain_location

    name = plain_location(location)
    folder = mine.path[: len(mine.path) - len(os.path.basename(mine.path))]
    file = grant.opened.file(folder + name) if name is not None else None
    return None if file is mine else file


def _fill(loaded: Any, call: Call, grant: Grant) -> None:
    from onnx import TensorProto, external_data_helper

    mine = scanned(call, grant)
    for tensor in external_data_helper._get_all_tensors(loaded):
        if not external_data_helper.uses_external_data(tensor):
            continue
        info = external_data_helper.ExternalDataInfo(tensor)
        file = _beside(grant, mine, info.location)
        if file is None:
            why = f"the data of the tensor {tensor.name[:100]!r} lies in a file that was not scanned."
            raise walk.violation(grant, why)
        start = info.offset or 0
        length = file.size - start if info.length is None else info.length
        data = file.read(start, length)
        if len(data) != length:
            raise walk.violation(grant, f"the data of the tensor {tensor.name[:100]!r} was cut off after the scan.")
        tensor.raw_data = data
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


# onnx.load_external_data_for_model


def data_of_model(call: Call) -> Opened | None:
    """The data files of a model that is in memory already, and the model as it would be written."""
    from nbguard.artifact.sources import open_bytes
    from nbguard.scanners.companions import beside

    call.form = "bytes"
    opened = open_bytes(call.source.SerializeToString(), name="model.onnx")
    return beside(opened, folder=os.fspath(call.get("base_dir")))


def filled(call: Call, grant: Grant) -> None:
    """Fill the tensors; onnx then finds nothing left to be read."""
    _fill(call.source, call, grant)


# onnxruntime.InferenceSession


def session_model(call: Call) -> Opened | None:
    """The model by its path or its bytes, and the data files that it names."""
    from nbguard.scanners.companions import beside

    source = call.source
    opened = file_or_bytes(call)
    if opened is None or call.form != "path":
        return opened
    return beside(opened, folder=os.path.dirname(os.path.abspath(os.fspath(source))))


def session_data(call: Call, grant: Grant) -> None:
    """Hand over the scanned file, and its data files in memory; all as a private copy where options are given.

    Raises:
        LoadBlocked: a data file is not there; the runtime would look for it by its name, and take what lies there then.
    """
    from nbguard.formats import onnx_model, ort_model
    from nbguard.formats.view import FileView

    mine = scanned(call, grant)
    in_path = isinstance(call.source, str | os.PathLike)
    if in_path and mine.read(4, 4) == ort_model.MAGIC:  # by the end of its name the runtime knows this format
        call.set(call.name, stage(call, replace(grant.opened, files=(mine,), kind="path")))
    elif in_path:
        call.set(call.name, mine.load_path())
    view = FileView(mine.fd, mine.size)
    if not onnx_model.looks_like(view):
        return
    data: dict[str, OpenedFile] = {}
    for location in dict.fromkeys(e.location for e in onnx_model.read_model(view).external):
        file = _beside(grant, mine, location)
        if file is None:
            where = location[:200]
            raise walk.blocked(f"its data file {where!r} was not scanned.", call.loader.name, grant.opened.target)
        data[location] = file
    if data and _other_folder(call.get("sess_options")):
        why = f"its session options take data files from another folder ({_OTHER_FOLDER})"
        raise walk.blocked(f"{why}; put them beside the model", call.loader.name, grant.opened.target)
    if data and call.get("sess_options") is None:
        call.set("sess_options", _options(call, data))
    elif data:
        call.set(call.name, _copied(call, mine, data))


def _other_folder(options: Any) -> bool:
    """Whether the caller's options lead away from the files that were scanned."""
    if options is None:
        return False
    try:
        return bool(options.get_session_config_entry(_OTHER_FOLDER))
    except RuntimeError:  # how the runtime says that it is not set
        return False


def _options(call: Call, data: dict[str, OpenedFile]) -> Any:
    """Session options that hold the contents of the data files, by the names that the model has for them."""
    import onnxruntime  # type: ignore[import-untyped]

    maps = []
    for file in data.values():
        maps.append(mmap.mmap(file.fd, file.size, prot=mmap.PROT_READ) if file.size else b"")
    call.notes["maps"] = maps
    options = onnxruntime.SessionOptions()
    options.add_external_initializers_from_files_in_memory(list(data), maps, [len(m) for m in maps])
    return options


def _copied(call: Call, mine: OpenedFile, data: dict[str, OpenedFile]) -> str:
    """A private folder with a copy of the model and its data files; path of the model in it."""
    folder = tempfile.mkdtemp(prefix="nbguard-")
    call.stack.callback(shutil.rmtree, folder, ignore_errors=True)
    model = os.path.join(folder, os.path.basename(mine.path))
    for place, file in ((model, mine), *((os.path.join(folder, name), file) for name, file in data.items())):
        if not os.path.exists(place):
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            with open(place, "xb") as copy:
                for at in range(0, file.size, 1 << 24):
                    copy.write(file.read(at, 1 << 24))
    return model


def session_kept(call: Call, grant: Grant, result: Any) -> Any:
    """Keep open what the session reads again when its providers are changed."""
    session = call.get("self")
    if maps := call.notes.get("maps"):
        weakref.finalize(session, maps.clear).atexit = False
    keep(call, grant, session)
    return result
