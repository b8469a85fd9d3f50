"""Weights in other formats made into safetensors, apart from everything, and compared bit for bit.

    made = convert("pytorch_model.bin")                     # model.safetensors beside it
    made = convert("org/name", to="converted/name")         # a folder that from_pretrained loads
    made.path, made.files[0].layers

What is converted is scanned first and has to be *safe*: tensors or arrays and nothing else. It is then read and written
by a process that can open no other file, start no program and connect to nothing, and read again by a second one that
compares every tensor. Nothing is left behind where any of this fails or is killed.
"""

from __future__ import annotations

import json
import os
import posixpath
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbguard.acquire.notes import NOTES, Told, now, section, write_card, write_checksums
from nbguard.acquire.workplace import give_usual_permissions, isolated, workplace
from nbguard.artifact.checkpoints import TORCH_WEIGHTS
from nbguard.errors import NbguardError
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile

OTHERS = (".weights.h5", ".keras", ".h5", ".hdf5", ".joblib", ".npz", ".npy")
"""What is converted of a folder without weights of torch. A single file goes by what it holds, not by its name."""
KINDS = {
    "torch-zip": "torch", "torch-legacy": "torch", "npy": "numpy", "npz": "numpy", "hdf5": "hdf5", "keras-hdf5": "hdf5",
    "keras": "keras", "joblib": "joblib", "pickle": "joblib",
}  # fmt: skip
"""What the scan says of a file → how it is read. A bare pickle may hold plain arrays as joblib's do."""
KEPT = (".json", ".txt", ".model", ".tiktoken", ".jinja", ".md")
"""What is copied beside converted weights: configurations, vocabularies, the model card. No code."""
SECONDS = 1800
MEMORY_FLOOR = 6 << 30
"""Bytes of address space; torch alone maps about 3 GiB."""
TIED, UNPACKED = 4, 20
"""How many times its size a file of torch, and one that may be compressed, can become, and a gigabyte besides."""
MAX_ANSWER = 1 << 20

Progress = Callable[[float, str], None]


class ConversionError(NbguardError):
    """It was not converted, and nothing was written. The message is one sentence.

    Attributes:
        report: what the scan found, where that was the reason.
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class ConvertedFile:
    """One file of weights."""

    source: str
    """Path within the source."""
    source_sha256: str
    path: str
    """Path of the safetensors file, within the destination."""
    sha256: str
    tensors: int
    left_out: tuple[str, ...]
    """Names of what the checkpoint held besides its weights (`optimizer`, `epoch`)."""
    layers: tuple[str, ...]
    """What held the process that read it: `limits`, `landlock 7`, `seccomp`."""


@dataclass(frozen=True)
class Converted:
    """What was made."""

    source: str
    commit: str | None
    path: str
    """The safetensors file, or the folder that holds it."""
    files: tuple[ConvertedFile, ...]


def convert(
    source: str | os.PathLike[str],
    to: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    overwrite: bool = False,
    only: Sequence[str] | None = None,
    private: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Convert a file, or the weights of a folder or Hub repository.

    torch checkpoints, NumPy files, Keras weights and joblib files (or pickles) of plain arrays become safetensors.

    Args:
        to: the file to write (by default beside the source, under the same name with `.safetensors`), or the folder
            (required for a folder or repository).
        only: paths of the weights to convert of a folder or repository; by default all.
        private: for this user's eyes only; by default it gets the permissions that new files have (umask).

    Raises:
        ConversionError: it is not safe, not pure data, or something is there already. Nothing was written.
        TargetError: there is no such source.
    """
    from nbguard.acquire.sources import opened_source
    from nbguard.report.escape import terminal

    told = progress or (lambda share, what: None)

    def needed(opened: Opened) -> set[str]:
        kept = {f.path for f in opened.files if f.path.lower().endswith(KEPT)}
        return kept | {f.path for f in _weights(opened, only)}

    def judged(opened: Opened) -> None:
        _scanned(opened, _weights(opened, only), remote=True)

    with opened_source(os.fspath(source), revision, needed, judged, told) as opened:
        single = opened.kind == "path"
        weights = _weights(opened, only)
        place = _place(opened, to, single=single, overwrite=overwrite)
        names = [place.name] if single else _converted_names(weights)
        told(0.0, "scanning")
        report = _scanned(opened, weights)
        kinds = _kinds(report, weights)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with workplace(place.parent) as own:
                made, moved = [], own / "made"
                moved.mkdir(mode=0o700)
                for number, (file, name) in enumerate(zip(weights, names, strict=True)):
                    told(0.1 + 0.8 * number / len(weights), f"converting {file.path}")
                    made.append(_one(file, kinds[file.path], name, own, moved))
                if not all(file.unchanged() for file in opened.files):
                    raise ConversionError(f"{opened.target} was changed while it was converted; nothing was written.")
                notes = Told(opened.target, opened.commit, report.rules_version, report.verdict.word, made, now())
                if not single:
                    _surroundings(opened, weights, made, moved, whole=only is None)
                    write_card(moved, notes)
                    write_checksums(moved)
                _put(moved, place, notes, single=single, private=private)
        except OSError as error:
            where = f" ({terminal(str(error.filename), 300)})" if error.filename else ""
            raise ConversionError(f"It was not converted: {error.strerror or type(error).__name__}{where}.") from None
        told(1.0, "done")
        return Converted(opened.target, opened.commit, str(place), tuple(made))


def _put(moved: Path, place: Path, notes: Told, *, single: bool, private: bool) -> None:
    """Everything is there: give it its name, as the last step, by a rename."""
    beside = moved / f"{place.name}.{NOTES}"
    if single:
        beside.write_text(section(notes, level=1), encoding="utf-8")
    if not private:
        give_usual_permissions(moved)
    if single:
        os.replace(moved / place.name, place)
        os.replace(beside, place.with_name(beside.name))
        return
    before = moved.with_name("before")
    if place.exists():
        os.replace(place, before)
    try:
        os.replace(moved, place)
    except OSError:
        if before.exists():
            os.replace(before, place)
        raise


# what, and where to


def _weights(opened: Opened, only: Sequence[str] | None) -> list[OpenedFile]:
    if opened.kind == "path":
        return [opened.files[0]]
    if only is not None:
        found = [f for f in opened.files if f.path in set(only)]
        if len(found) != len(set(only)):
            raise ConversionError(f"{opened.target} does not hold all the weights that should be converted.")
    elif any(f.path.lower().endswith(".safetensors") for f in opened.files):
        raise ConversionError(f"{opened.target} has safetensors weights already: load it with use_safetensors=True.")
    else:
        usual = [f for f in opened.files if posixpath.basename(f.path) not in _NO_WEIGHTS]
        found = [f for f in usual if f.path.lower().endswith(TORCH_WEIGHTS)]
        found = found or [f for f in usual if f.path.lower().endswith(OTHERS)]
    if not found:
        raise ConversionError(
            f"{opened.target} holds no weights that can be converted (torch, Keras, NumPy or joblib files)."
        )
    return found


def _kinds(report: Report, weights: list[OpenedFile]) -> dict[str, str]:
    """Path → how the file is read, by what the scan found it to be."""
    from nbguard.report.escape import terminal

    formats = {file.path: file.format for file in report.files}
    kinds = {}
    for file in weights:
        named = formats.get(file.path, "")
        kind = KINDS.get(named.partition("+")[0])  # joblib+zlib
        if kind is None or ("+" in named and kind != "joblib"):
            said = terminal(named or "nothing that is known", 80)
            raise ConversionError(
                f"{terminal(file.path, 200)} is {said}; torch checkpoints, Keras weights, NumPy and joblib files are"
                " what can be converted."
            )
        kinds[file.path] = kind
    return kinds


_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state.pth")
"""What trainers write beside the weights and no model is loaded from."""


def _place(opened: Opened, to: str | os.PathLike[str] | None, *, single: bool, overwrite: bool) -> Path:
    if to is not None:
        place = Path(os.path.abspath(os.path.expanduser(os.fspath(to))))
        if single and place.is_dir():
            place /= Path(opened.files[0].path).with_suffix(".safetensors").name
    elif single and opened.files[0].real_path is not None:
        place = Path(opened.files[0].real_path).with_suffix(".safetensors")
    else:
        raise ConversionError("Say where the converted folder should be written to: to=… (--to on the command line).")
    if place.exists() and not overwrite:
        raise ConversionError(f"{place} is there already; nothing was written.")
    if place.exists() and place.is_dir() is single:
        raise ConversionError(f"{place} is no {'file' if single else 'folder'}; nothing was written.")
    if place.is_dir() and not (place / NOTES).is_file():
        raise ConversionError(f"{place} was not made by a conversion, so it is not replaced; nothing was written.")
    source = None if opened.root is None or single else Path(opened.root)
    if source is not None and (place == source or place in source.parents):
        raise ConversionError(f"{place} holds what is to be converted; nothing was written.")
    return place


def _converted_names(weights: list[OpenedFile]) -> list[str]:
    """`pytorch_model-00001-of-00002.bin` → `model-00001-of-00002.safetensors`, as transformers looks for it."""
    names: dict[str, str] = {}
    for file in weights:
        folder, base = posixpath.split(file.path)
        stem = posixpath.splitext(base)[0]
        if stem.startswith("pytorch_model"):
            stem = stem.removeprefix("pytorch_")
        name = posixpath.join(folder, f"{stem}.safetensors")
        if name in names:
            raise ConversionError(f"{names[name]} and {file.path} would both become {name}; convert them one by one.")
        names[name] = file.path
    return list(names)


def _scanned(opened: Opened, weights: list[OpenedFile], *, remote: bool = False) -> Report:
    """The report, which says safe; `remote`: or that only all the bytes will say. Raises ConversionError."""
    from dataclasses import replace

    from nbguard import settings
    from nbguard.policy import reason_asked
    from nbguard.report.text import brief
    from nbguard.scanners import scan_opened

    report = scan_opened(replace(opened, files=tuple(weights)), loader="nbguard.convert", limits=settings.scan_limits())
    if report.verdict is not Verdict.SAFE and not (remote and report.verdict is Verdict.UNVERIFIABLE):
        raise ConversionError(
            f"It is not converted, because it is not pure data.\n{brief(report, reason=reason_asked(report))}", report
        )
    return report


# one file


def _one(file: OpenedFile, kind: str, name: str, private: Path, moved: Path) -> ConvertedFile:
    work = tempfile.mkdtemp(prefix="work-", dir=private)
    done = _child("convert", kind, file, work)
    checked = _child("compare", kind, file, work)
    if checked.get("compared") != done.get("tensors"):
        raise ConversionError(f"{file.path} was not converted: the copy could not be compared; nothing was written.")
    target = moved / name
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(os.path.join(work, "model.safetensors"), target)
    return ConvertedFile(
        source=file.path,
        source_sha256=file.sha256(),
        path=name,
        sha256=_sha256_of(target),
        tensors=int(done["tensors"]),
        left_out=tuple(str(n) for n in done.get("left_out", ())),
        layers=tuple(str(n) for n in done.get("layers", ())),
    )


def _child(task: str, kind: str, file: OpenedFile, work: str) -> dict[str, Any]:
    """Run the isolated process. Raises ConversionError where it refuses, dies or takes too long."""
    from nbguard.report.escape import terminal

    unpacked = (TIED if kind == "torch" else UNPACKED) * file.size + (1 << 30)
    limits = {"memory": MEMORY_FLOOR + 4 * unpacked, "file_size": unpacked, "seconds": SECONDS}
    command = [*isolated("nbguard.acquire.converter"), task, kind, str(file.fd), work]
    environment = {
        "PATH": os.defpath, "LC_ALL": "C.UTF-8", "TMPDIR": work, "HOME": work, "OMP_NUM_THREADS": "1",
        "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE",  # no filter of HDF5 from elsewhere
    }  # fmt: skip
    try:
        with tempfile.TemporaryFile(dir=work) as said:  # a file, because its length is limited and a pipe's is not
            ended = subprocess.run(
                [*command, json.dumps(limits), str(os.getpid())],
                pass_fds=(file.fd,),
                env=environment,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
            said.seek(0)
            output = said.read(MAX_ANSWER)
    except subprocess.TimeoutExpired:
        raise ConversionError(f"{file.path} was not converted: it took longer than {SECONDS} seconds.") from None
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or ended.returncode != 0:
        raise ConversionError(
            f"{file.path} was not converted: the process that read it ended unexpectedly (code {ended.returncode})."
        )
    if "refused" in answer:
        why = terminal(str(answer["refused"]), 1_000)  # a library's own words, with names out of the file in them
        raise ConversionError(f"{file.path} was not converted: {why}.")
    return answer


# what goes with it


def _surroundings(
    opened: Opened, weights: list[OpenedFile], made: list[ConvertedFile], folder: Path, *, whole: bool
) -> None:
    """Configurations, tokenizers and indexes beside the new weights; names are those of handles, inside the folder."""
    taken = {file.path for file in weights}
    renamed = {posixpath.basename(m.source): posixpath.basename(m.path) for m in made}
    for file in opened.files:
        if file.path in taken or not file.path.lower().endswith(KEPT):
            continue
        name, data = file.path, file.read()
        if name.endswith(".bin.index.json"):
            name = name.replace("pytorch_model", "model").removesuffix(".bin.index.json") + ".safetensors.index.json"
            table = _index(data, renamed, whole=whole)
            if table is None:
                continue
            data = table
        place = folder.joinpath(*name.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _index(data: bytes, renamed: dict[str, str], *, whole: bool) -> bytes | None:
    """The index with the new names; None where it is about shards that were not to be converted."""
    try:
        index = json.loads(data)
        if not whole and not {str(v) for v in index["weight_map"].values()} <= set(renamed):
            return None
        weight_map = {str(k): renamed[str(v)] for k, v in index["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConversionError(f"The index of the shards cannot be read ({type(error).__name__}).") from None
    return json.dumps({**index, "weight_map": weight_map}, indent=2, sort_keys=True).encode("utf-8")


def _sha256_of(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["ConversionError", "Converted", "ConvertedFile", "convert"]
