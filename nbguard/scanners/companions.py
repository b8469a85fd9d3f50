"""Data in files of its own beside a model: opened with it, and judged as the numbers that its model takes it for.

    opened = beside(open_path("model.onnx"))        # with "model.onnx_data", if the model names it
    settle(opened, facts)                           # after every file was judged by itself

A scanner says what its file claims with `claim(facts, "model.onnx_data", 4096)`.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import PurePosixPath

from nbguard.artifact.folders import blob_folder
from nbguard.artifact.model import NotScanned
from nbguard.artifact.sources import Opened, OpenedFile, open_files
from nbguard.errors import TargetError
from nbguard.report.model import Verdict
from nbguard.scanners.facts import Facts

MAX_FILES = 5_000
"""Data files of one model."""
_CLAIM, _OWN = "raw", "own"
_HEAD = 64 * 1024


def claim(facts: Facts, path: str, needed: int, *, known: bool = False) -> None:
    """Have the file `path` (relative to this one's folder) taken for raw data of at least `needed` bytes.

    Args:
        known: it is of a format that is read by itself, so that only its length is compared.
    """
    facts.references.append(f"{_OWN if known else _CLAIM}:{needed}:{path}")
    if path not in facts.companions:
        facts.companions.append(path)


def plain_location(location: str) -> str | None:
    """A location as a normal relative path below the model's folder; None where it leads anywhere else."""
    if not location or "\\" in location or "\0" in location or ":" in location or location.startswith(("/", "~")):
        return None
    parts = PurePosixPath(location).parts
    return "/".join(parts) if parts and ".." not in parts else None


def beside(opened: Opened, *, folder: str | None = None) -> Opened:
    """The same, with the data files that a model names below its folder, as far as they are there.

    One that is there and cannot be opened, since it is a link that leads elsewhere, makes the whole unverifiable: a
    loader may follow it.

    Args:
        folder: where the model lies, as its loader sees it; by default, where the opened file lies.
    """
    if opened.kind not in ("path", "stream") or not opened.files:
        return opened
    place = folder if folder is not None else opened.root
    if place is None:
        return opened
    found: list[OpenedFile] = []
    closed: list[NotScanned] = []
    for name in data_files(opened.files[0]):
        try:
            found.append(open_below(place, name))
        except TargetError as error:  # the scan says that it is missing
            if os.path.lexists(os.path.join(place, name)):
                closed.append(NotScanned(name, str(error)))
    if not found and not closed:
        return opened
    return replace(opened, files=(*opened.files, *found), unreachable=(*opened.unreachable, *closed))


def open_below(folder: str, name: str) -> OpenedFile:
    """The file `name` below `folder`, which it may leave for the blobs of a Hub's cache only.

    Raises:
        TargetError: it is missing, unreadable, or leads elsewhere.
    """
    root, below = _root(folder)
    (file,) = open_files(root, [below + name], target=name, kind="path").files
    file.path = name
    return file


def _root(folder: str) -> tuple[str, str]:
    """The folder that data files may lie in, and the way from it to `folder`: of a Hub cache, the whole snapshot, since
    what lies in it are links to the blobs beside it."""
    place = above = os.path.realpath(folder)
    while os.path.dirname(above) != above:
        if blob_folder(above) is not None:
            return above, "" if above == place else os.path.relpath(place, above) + "/"
        above = os.path.dirname(above)
    return place, ""


def data_files(file: OpenedFile) -> list[str]:
    """The files that a model takes its numbers from, those below its folder; none where it is no such model."""
    from nbguard.formats import coreml_model, ncnn_param, onnx_model, openvino_ir
    from nbguard.formats.view import FileView

    view = FileView(file.fd, file.size)
    name = os.path.basename(file.path)
    with contextlib.suppress(ValueError):
        if onnx_model.looks_like(view):
            found = [plain_location(e.location) for e in onnx_model.read_model(view).external]
        elif coreml_model.looks_like(view):
            found = list(coreml_model.WEIGHTS)
        else:
            found = [pair(name, view.read(0, _HEAD)) for pair in (openvino_ir.data_file, ncnn_param.data_file)]
        return [n for n in dict.fromkeys(found) if n is not None and n != name][:MAX_FILES]
    return []


def settle(opened: Opened, facts: dict[str, Facts]) -> None:
    """Take what a model claims for the data that it is.

    What is known as something else stays that, whoever claims it. In a folder, where other loaders open files too, only
    what was read to its end and is known to nobody is taken for data: not what the scanner broke off at.
    """
    alone = opened.kind in ("path", "stream")
    for file in opened.files:
        folder = file.path.rpartition("/")[0]
        for reference in facts[file.path].references:
            kind, _, rest = reference.partition(":")
            if kind not in (_CLAIM, _OWN):
                continue
            needed, _, name = rest.partition(":")
            path = os.path.join(folder, name)
            claimed = opened.file(path)
            if claimed is None or path == file.path:
                continue
            if claimed.size < int(needed):
                facts[file.path].unverifiable(
                    "data.cut-off", file.path, path[:200], "The file with its data is shorter than the model says."
                )
            if (
                kind == _CLAIM
                and facts[path].verdict is Verdict.UNVERIFIABLE
                and (_looked_at(facts[path]) if alone else _only_unknown(facts[path]))
            ):
                facts[path] = Facts(
                    format="raw-data",
                    regions={"data": claimed.size},
                    sha256=facts[path].sha256,
                    containers={path: "raw-data"},
                    blocks=[("", 0, claimed.size, "raw")],
                )


def _looked_at(found: Facts) -> bool:
    return "source.changed" not in {f.rule for f in found.findings}


def _only_unknown(found: Facts) -> bool:
    """Whether that nobody knows the format is all that there is to say."""
    return found.format == "unknown" and {f.rule for f in found.findings} <= {"format.unknown"}


__all__ = ["beside", "claim", "data_files", "open_below", "plain_location", "settle"]
