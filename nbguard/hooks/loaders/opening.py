"""What a call would open: a file, bytes, a stream, files of a folder.

    Loader(..., opens=file_or_bytes)
    Loader(..., opens=folder(lambda names, read: [n for n in names if n.endswith(".json")]))

What is in memory already is left alone; what lies at an address is refused, because it would be fetched after the scan.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nbguard.hooks import walk
from nbguard.hooks.loaders.entry import Call

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

Read = Callable[[str], "bytes | None"]
"""Gives the bytes of a small file by its relative name; None where there is none."""

_LONGEST_PATH = 4096
"""Bytes (`PATH_MAX` on Linux): some libraries take bytes for a path, and those must not be scanned as data."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def file_or_bytes(call: Call) -> Opened | None:
    """One file, bytes-like data, or what a stream still holds. None for any other object: it is in memory already.

    Raises:
        TargetError: there is no such file, or it cannot be read.
        LoadBlocked: the source is an address on a network.
    """
    from nbguard.artifact.sources import open_bytes, open_path
    from nbguard.hooks.streams import Stream

    source = call.source
    if isinstance(source, str | os.PathLike):
        call.form = "path"
        return open_path(_local(call, source))
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        if len(data) < _LONGEST_PATH and b"\0" not in data and os.path.exists(data):
            why = "its bytes are the name of a file here; give the path as text"
            raise walk.blocked(why, call.loader.name, os.fsdecode(data))
        call.form = "bytes"
        return open_bytes(data)
    if callable(getattr(source, "read", None)):
        call.form = "stream"
        stream = Stream.of_file(source) if callable(getattr(source, "readline", None)) else None
        call.start = stream.position if stream is not None and _seekable(source) else None
        data = stream.rest() if stream is not None and call.start is not None else bytes(source.read())
        label = stream.name if stream is not None else None
        return open_bytes(data, name=os.path.basename(label or "") or "<stream>")
    return None


def in_memory(call: Call) -> Opened | None:
    """Bytes or a text that is the model itself, not a path (`Booster(model_str=…)`, `onnx.load_from_string`)."""
    from nbguard.artifact.sources import open_bytes

    source = call.source
    if isinstance(source, str):
        call.form = "bytes"
        return open_bytes(source.encode("utf-8", "surrogatepass"))
    return file_or_bytes(call) if not isinstance(source, os.PathLike) else None


def folder(files: Callable[[Sequence[str], Read], Iterable[str]] | None = None) -> Callable[[Call], Opened | None]:
    """Files of a local folder: those that `files(names, read)` picks of the names in it, or all of them."""

    def opens(call: Call) -> Opened | None:
        from nbguard.artifact.folders import names_below, read_small
        from nbguard.artifact.sources import open_files, open_path

        source = call.source
        if not isinstance(source, str | os.PathLike):
            return None
        place = _local(call, source)
        call.form = "path"
        if files is None or not os.path.isdir(place):
            return open_path(place)
        root = os.path.realpath(place)
        names = tuple(names_below(root))
        chosen = [n for n in files(names, lambda name: read_small(root, name, names)) if n in set(names)]
        opened = open_files(root, dict.fromkeys(chosen), target=os.fspath(place), kind="directory")
        opened.provenance.update({"source": "folder", "path": root})
        return opened

    return opens


def not_installed(call: Call) -> Opened | None:
    """A library that is loaded by its path; None for one that belongs to an installed package."""
    from nbguard.hooks import trust

    source = call.source
    if isinstance(source, str | os.PathLike) and trust.is_installed(os.fsdecode(source)):
        return None
    return file_or_bytes(call)


def _local(call: Call, source: Any) -> str:
    """A local path. An address is refused: what is fetched after the scan is not what was scanned."""
    name = os.fsdecode(source)
    if _ADDRESS.match(name) and not os.path.exists(name):
        raise walk.blocked(
            "it would be fetched from an address after the scan; download it first, then load the file",
            call.loader.name,
            name,
        )
    return name


def _seekable(source: Any) -> bool:
    try:
        return bool(source.seekable())
    except AttributeError:
        return False


__all__ = ["Read", "file_or_bytes", "folder", "in_memory", "not_installed"]
