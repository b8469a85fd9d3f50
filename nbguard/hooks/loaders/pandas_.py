"""`pandas.read_pickle`: read once, with pandas' own decompression, then unpickled from that copy.

pandas.read_pickle("frame.pkl.gz")

pandas tries a second machine when the first one raises. What it reads is recognised there too, and a refusal is none of
the errors that it catches.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.walls import scope


def guard(hooks: Installed, module: ModuleType) -> None:
    """Guard `pandas.read_pickle`."""
    hooks.swap(module.read_pickle, _read_pickle)


def _read_pickle(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    named = bound(original, args, kwargs)
    source, compression = named["filepath_or_buffer"], named["compression"]
    who = caller.find(2)
    if who.kind == "machinery":
        return original(*args, **kwargs)
    if (outer := grants.current()) is not None:
        outer.still_allowed()
    from nbguard.artifact.sources import open_bytes, open_path, seal
    from nbguard.hooks.streams import Stream

    with ExitStack() as stack:
        copy: io.BytesIO | None = None
        start = 0
        with scope.outside():
            if hasattr(source, "read"):
                stream = Stream.of_file(source)
                start = source.tell() if _seekable(source) else 0
                label = stream.name or "<stream>"
                opened = stack.enter_context(open_bytes(stream.rest(), name=os.path.basename(label) or "<stream>"))
                held = opened.files[0]
            elif _is_local(source):
                label = os.fspath(source)
                opened = stack.enter_context(open_path(label))
                held = seal(opened.files[0]) if opened.kind == "path" else opened.files[0]
                stack.callback(held.close)
            else:
                label = str(source)
                data = _drained(source, compression, named["storage_options"])
                compression = None
                opened = stack.enter_context(open_bytes(data, name=os.path.basename(label) or "<stream>"))
                held = opened.files[0]
        request = LoadRequest("pandas.read_pickle", str(label), opened.kind, {}, in_person_code=who.kind == "person")
        grant = walk.admit(request, opened)
        with grant:
            if not grant.enforced:
                return original(*args, **kwargs)
            method = _method(label, compression) if not hasattr(source, "read") else compression
            copy = io.BytesIO(_unpacked(held.read(), method))
            result = original(copy, compression=None)
            if not opened.files[0].unchanged():
                raise walk.violation(grant, "the file was changed while it was being loaded.")
        if hasattr(source, "read") and _seekable(source) and method in (None, "infer"):
            source.seek(start + copy.tell())
        return result


def _is_local(source: Any) -> bool:
    if not isinstance(source, str | os.PathLike):
        return False
    from pandas.io.common import is_fsspec_url, is_url

    name = os.fspath(source)
    return not (is_url(name) or is_fsspec_url(name))


def _method(label: Any, compression: Any) -> Any:
    from pandas.io.common import infer_compression

    if isinstance(compression, dict) and compression.get("method") == "infer":
        return {**compression, "method": infer_compression(str(label), "infer")}
    return infer_compression(str(label), "infer") if compression == "infer" else compression


def _unpacked(data: bytes, compression: Any) -> bytes:
    """`data` as pandas decompresses it."""
    return _drained(io.BytesIO(data), None if compression == "infer" else compression, None)


def _drained(source: Any, compression: Any, storage_options: Any) -> bytes:
    from pandas.io.common import get_handle

    with get_handle(source, "rb", compression=compression, is_text=False, storage_options=storage_options) as handles:
        data: bytes = handles.handle.read()
        return data


def _seekable(source: Any) -> bool:
    try:
        return bool(source.seekable())
    except AttributeError:
        return False
