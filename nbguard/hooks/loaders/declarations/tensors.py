"""Tables of tensors: safetensors, and GGUF with its readers."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbguard.hooks.caller import Caller, kind_of
from nbguard.hooks.loaders import declared
from nbguard.hooks.loaders.entry import Call, Loader
from nbguard.hooks.loaders.opening import file_or_bytes

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.grants import Grant

_SPLIT = re.compile(r"(?P<stem>.*-)00001-of-(?P<of>\d{5})(?P<end>\.gguf)\Z", re.S)
"""The first file of a model in several: llama.cpp derives the names of the others (`llama_split_path`)."""
_ADAPTERS = ("lora_path", "lora_base")
_TABLE = "header: types, shapes, places and names of all tensors, no gaps and no overlaps"
_HANDLE = "read through the scanned handle; nothing in the format can run"
_READ = "read through the scanned handle; reading it runs nothing, its chat template runs when a prompt is made"
_GGUF = "metadata, the table of tensors, chat templates beyond the usual words"


def _parts(call: Call) -> Opened | None:
    """A GGUF model with all its parts, and the adapter that is loaded with it."""
    from nbguard.artifact.sources import OpenedFile, open_path
    from nbguard.scanners.companions import open_below

    opened = file_or_bytes(call)
    if opened is None or call.form != "path":
        return opened
    if call.who.module.partition(".")[0] == "llama_cpp":
        call.who = _beyond("llama_cpp")  # Llama.from_pretrained: whoever called that is asked
    folder, name = os.path.split(os.path.abspath(os.fspath(call.source)))
    more: list[OpenedFile] = []
    try:
        if match := _SPLIT.match(name):
            total = min(int(match["of"]), 1000)
            names = [f"{match['stem']}{n:05d}-of-{match['of']}{match['end']}" for n in range(2, total + 1)]
            for part in names:
                if os.path.exists(os.path.join(folder, part)):
                    more.append(open_below(folder, part))
        for argument in _ADAPTERS:
            if call.get(argument):
                adapter = open_path(call.get(argument)).files[0]
                adapter.path = f"{argument}/{adapter.path}"
                more.append(adapter)
    except BaseException:
        for file in (*opened.files, *more):
            file.close()
        raise
    return replace(opened, files=(*opened.files, *more), kind="directory" if more else opened.kind)


def _beyond(package: str) -> Caller:
    """Whoever called into the package that is calling now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "?"))
        if name.partition(".")[0] not in ("nbguard", package):
            return Caller(kind_of(frame), name)
        frame = frame.f_back
    return Caller("library", "?")


def _staged(call: Call, grant: Grant) -> None:
    """Links to the scanned handles, named as llama.cpp derives the names of a model's parts."""
    model = declared.scanned(call, grant)
    declared.stage(call, grant.opened)
    folder = str(call.staged)
    call.set(call.name, os.path.join(folder, model.path))
    for argument in _ADAPTERS:
        there = next((f.path for f in grant.opened.files if f.path.startswith(f"{argument}/")), None)
        if call.get(argument) and there is not None:
            call.notes[argument] = call.get(argument)
            call.set(argument, os.path.join(folder, there))


def _model_again(call: Call, grant: Grant, result: Any) -> Any:
    """The object's own idea of where it comes from: what pickling and copying it would load again."""
    model = call.get("self")
    model.model_path = os.fspath(call.given)
    for argument, given in call.notes.items():
        setattr(model, argument, given)
    return result


def _kept(call: Call, grant: Grant, result: Any) -> Any:
    """The handle stays open for as long as the object lives: it opens the file when it is first used."""
    declared.keep(call, grant, call.get("self"))
    return result


def _safetensors(function: str, module: str, **more: Any) -> Loader:
    return Loader(
        name=f"{module}.{function}",
        module=module,
        function=function,
        passes_library=True,
        enforced=_HANDLE,
        scanned=_TABLE,
        **more,
    )


LOADERS = (
    Loader(
        name="safetensors.safe_open",
        module="safetensors",
        function="safe_open",
        source=("filename",),
        signature=("filename", "framework", "device=", "*", "backend="),
        passes_library=True,
        enforced=_HANDLE,
        scanned=_TABLE,
    ),
    Loader(
        name="safetensors.deserialize",
        module="safetensors",
        function="deserialize",
        source=("bytes",),
        signature=("bytes",),
        asks_about="the bytes",
        passes_library=True,
        enforced=_HANDLE,
        scanned=_TABLE,
    ),
    *(
        loader
        for module in ("safetensors.torch", "safetensors.numpy")
        for loader in (
            _safetensors("load_file", module, source=("filename",)),
            _safetensors("load", module, source=("data",), asks_about="the bytes"),
        )
    ),
    _safetensors("load_model", "safetensors.torch", source=("filename",)),
    Loader(
        name="gguf.GGUFReader",
        module="gguf.gguf_reader",
        function="GGUFReader.__init__",
        source=("path",),
        arguments=("mode",),
        enforced=_READ,
        scanned=_GGUF,
    ),
    Loader(
        name="llama_cpp.Llama",
        module="llama_cpp.llama",
        function="Llama.__init__",
        source=("model_path",),
        opens=_parts,
        hand="same",
        prepare=_staged,
        finish=_model_again,
        arguments=("chat_format", "lora_path"),
        asks_about="the model, all its parts, and the adapter given with it",
        enforced="links to the scanned handles, one for each part and adapter",
        scanned=_GGUF,
        tested="stand-in",
    ),
    Loader(
        name="llama_cpp.llama_chat_format.Llava15ChatHandler",
        module="llama_cpp.llama_chat_format",
        function="Llava15ChatHandler.__init__",
        source=("clip_model_path",),
        finish=_kept,
        asks_about="the model that turns pictures into tokens, for this handler and those built on it",
        enforced=_READ,
        scanned=_GGUF,
        tested="stand-in",
    ),
)
