"""Pickled weights made into safetensors, apart from everything, and compared bit for bit.

    made = convert("pytorch_model.bin")                     # model.safetensors beside it
    made = convert("org/name", to="converted/name")         # a folder that from_pretrained loads
    made.path, made.files[0].layers

What is converted is scanned first and has to be *safe*: tensors or arrays and nothing else. It is then read and written
by a process that can open no other file, start no program and connect to nothing, and read again by a second one that
compares every tensor. Nothing is left behind where any of this fails.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbguard.artifact.checkpoints import TORCH_WEIGHTS
from nbguard.errors import NbguardError
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile

ARRAYS = (".npz", ".npy")
KEPT = (".json", ".txt", ".model", ".tiktoken", ".jinja", ".md")
"""What is copied beside converted weights: configurations, vocabularies, the model card. No code."""
SECONDS = 1800
MEMORY_FLOOR = 6 << 30
"""Bytes of address space; torch alone maps about 3 GiB."""
MAX_ANSWER = 1 << 20
NOTES = "CONVERSION.md"

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
    progress: Progress | None = None,
) -> Converted:
    """Convert a file, or the weights of a folder or Hub repository.

    Args:
        to: the file to write (by default beside the source, under the same name with `.safetensors`), or the folder
            (required for a folder or repository).

    Raises:
        ConversionError: it is not safe, not pure data, or something is there already. Nothing was written.
        TargetError: there is no such source.
    """
    from nbguard.scanners.targets import open_target

    told = progress or (lambda share, what: None)
    with open_target(os.fspath(source), revision) as opened:
        weights = _weights(opened)
        single = opened.kind == "path"
        place = _place(opened, to, single=single, overwrite=overwrite)
        told(0.0, "scanning")
        report = _scanned(opened, weights)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".nbguard-convert-", dir=place.parent) as private:
            made, moved = [], Path(private) / "made"
            moved.mkdir(mode=0o700)
            for number, file in enumerate(weights):
                told(0.1 + 0.8 * number / len(weights), f"converting {file.path}")
                name = place.name if single else _converted_name(file.path)
                made.append(_one(file, name, private, moved))
            if not all(file.unchanged() for file in opened.files):
                raise ConversionError(f"{opened.target} was changed while it was converted; nothing was written.")
            notes = _notes(opened, report, made)
            if single:
                os.replace(moved / place.name, place)
                place.with_name(f"{place.name}.{NOTES}").write_text(notes, encoding="utf-8")
            else:
                _surroundings(opened, weights, made, moved)
                (moved / NOTES).write_text(notes, encoding="utf-8")
                if place.exists():
                    shutil.rmtree(place)
                os.replace(moved, place)
        told(1.0, "done")
        return Converted(opened.target, opened.commit, str(place), tuple(made))


# what, and where to


def _weights(opened: Opened) -> list[OpenedFile]:
    found = [f for f in opened.files if f.path.lower().endswith((*TORCH_WEIGHTS, *ARRAYS))]
    if opened.kind == "path":
        found = [opened.files[0]]
    elif any(f.path.lower().endswith(".safetensors") for f in opened.files):
        raise ConversionError(f"{opened.target} has safetensors weights already: load it with use_safetensors=True.")
    else:
        found = [f for f in found if posixpath.basename(f.path) not in _NO_WEIGHTS]
    if not found:
        raise ConversionError(f"{opened.target} holds no weights that can be converted (torch or NumPy files).")
    return found


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
    if place.is_dir() and not (place / NOTES).is_file():
        raise ConversionError(f"{place} was not made by a conversion, so it is not replaced; nothing was written.")
    source = None if opened.root is None or single else Path(opened.root)
    if source is not None and (place == source or place in source.parents):
        raise ConversionError(f"{place} holds what is to be converted; nothing was written.")
    return place


def _converted_name(path: str) -> str:
    """`pytorch_model-00001-of-00002.bin` → `model-00001-of-00002.safetensors`, as transformers looks for it."""
    folder, base = posixpath.split(path)
    stem = posixpath.splitext(base)[0]
    if stem.startswith("pytorch_model"):
        stem = stem.removeprefix("pytorch_")
    return posixpath.join(folder, f"{stem}.safetensors")


def _scanned(opened: Opened, weights: list[OpenedFile]) -> Report:
    from dataclasses import replace

    from nbguard import settings
    from nbguard.report.text import brief
    from nbguard.scanners import scan_opened

    report = scan_opened(replace(opened, files=tuple(weights)), loader="nbguard.convert", limits=settings.scan_limits())
    if report.verdict is not Verdict.SAFE:
        raise ConversionError(f"It is not converted, because it is not pure data.\n{brief(report)}", report)
    return report


# one file


def _one(file: OpenedFile, name: str, private: str, moved: Path) -> ConvertedFile:
    work = tempfile.mkdtemp(prefix="work-", dir=private)
    kind = "numpy" if file.path.lower().endswith(ARRAYS) else "torch"
    done = _child("convert", kind, file, work)
    checked = _child("compare", kind, file, work)
    if checked.get("compared") != done.get("tensors"):
        raise ConversionError(f"{file.path} was not converted: the copy could not be compared; nothing was written.")
    target = moved / name
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(os.path.join(work, "model.safetensors"), target)
    return ConvertedFile(
        source=file.path,
        source_sha256=_sha256(lambda at: file.read(at, 1 << 20)),
        path=name,
        sha256=_sha256_of(target),
        tensors=int(done["tensors"]),
        left_out=tuple(str(n) for n in done.get("left_out", ())),
        layers=tuple(str(n) for n in done.get("layers", ())),
    )


def _child(task: str, kind: str, file: OpenedFile, work: str) -> dict[str, Any]:
    """Run the isolated process. Raises ConversionError where it refuses, dies or takes too long."""
    from nbguard.report.escape import terminal

    limits = {
        "memory": MEMORY_FLOOR + 4 * file.size,
        "file_size": 2 * file.size + (64 << 20),
        "seconds": SECONDS,
    }
    command = [sys.executable, "-I", "-m", "nbguard.acquire.converter", task, kind, str(file.fd), work]
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TMPDIR": work, "HOME": work, "OMP_NUM_THREADS": "1"}
    try:
        with tempfile.TemporaryFile(dir=work) as said:  # a file, because its length is limited and a pipe's is not
            ended = subprocess.run(
                [*command, json.dumps(limits)],
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


def _surroundings(opened: Opened, weights: list[OpenedFile], made: list[ConvertedFile], folder: Path) -> None:
    """Configurations, tokenizers and indexes beside the new weights; names are those of handles, inside the folder."""
    taken = {file.path for file in weights}
    renamed = {posixpath.basename(m.source): posixpath.basename(m.path) for m in made}
    for file in opened.files:
        if file.path in taken or not file.path.lower().endswith(KEPT):
            continue
        name, data = file.path, file.read()
        if name.endswith(".bin.index.json"):
            name = name.replace("pytorch_model", "model").removesuffix(".bin.index.json") + ".safetensors.index.json"
            data = _index(data, renamed)
        place = folder.joinpath(*name.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _index(data: bytes, renamed: dict[str, str]) -> bytes:
    try:
        index = json.loads(data)
        weight_map = {str(k): renamed[str(v)] for k, v in index["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConversionError(f"The index of the shards cannot be read ({type(error).__name__}).") from None
    return json.dumps({**index, "weight_map": weight_map}, indent=2, sort_keys=True).encode("utf-8")


def _notes(opened: Opened, report: Report, made: list[ConvertedFile]) -> str:
    from nbguard.report.escape import terminal

    lines = [
        "# How these weights were made",
        "",
        f"Converted by nbguard from `{terminal(opened.target, 300)}`"
        + (f" at commit `{opened.commit}`" if opened.commit else "")
        + ", in a process of its own, and compared with the original tensor by tensor, bit for bit.",
        f"It was scanned before, with the rules of {terminal(report.rules_version, 80)}: {report.verdict.word}.",
        "",
        "| original | its SHA-256 | here | its SHA-256 | tensors |",
        "|---|---|---|---|---|",
    ]
    for m in made:
        names = f"`{terminal(m.source, 200)}` | `{m.source_sha256}` | `{terminal(m.path, 200)}`"
        lines.append(f"| {names} | `{m.sha256}` | {m.tensors:,} |")
        if m.left_out:
            left = ", ".join(f"`{terminal(n, 60)}`" for n in m.left_out[:20])
            lines.append(f"\nLeft out of {terminal(m.source, 200)}, because it is no weight: {left}")
    lines += ["", f"What held the process that read the original: {', '.join(made[0].layers)}.", ""]
    return "\n".join(lines)


def _sha256(read: Callable[[int], bytes]) -> str:
    import hashlib

    digest, at = hashlib.sha256(), 0
    while part := read(at):
        digest.update(part)
        at += len(part)
    return digest.hexdigest()


def _sha256_of(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["ConversionError", "Converted", "ConvertedFile", "convert"]
