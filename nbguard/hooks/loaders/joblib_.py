"""`joblib.load`: opcodes from memory, arrays from the file, compressed streams from a copy.

joblib.load("model.joblib", mmap_mode="r")      # memory maps work as before
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.grants import Grant
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.unpickling import behind_walls, clear_extension_cache
from nbguard.hooks.walls import scope
from nbguard.hooks.walls.composite import Composite, OutOfPlace
from nbguard.hooks.walls.rehearsal import rehearse_file
from nbguard.report.model import Program

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile


def guard(hooks: Installed, joblib: ModuleType) -> None:
    """Guard `joblib.numpy_pickle`."""

    def load(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return _load(joblib, original, bound(original, args, kwargs))

    hooks.swap(joblib.load, load)


def _load(joblib: ModuleType, original: Callable[..., Any], given: dict[str, Any]) -> Any:
    source, mmap_mode = given["filename"], given["mmap_mode"]
    who = caller.find(2)
    native = given.get("ensure_native_byte_order", "auto")
    native = mmap_mode is None if native == "auto" else native
    if who.kind == "machinery" or (native and mmap_mode is not None):
        return original(**given)  # the second is an error, which joblib itself explains
    if (outer := grants.current()) is not None:
        outer.still_allowed()
    with ExitStack() as stack:
        opened, start = _open(stack, source)
        label = opened.target if start is not None else os.fspath(source)
        request = LoadRequest("joblib.load", label, opened.kind, {"mmap_mode": mmap_mode},
                              in_person_code=who.kind == "person")  # fmt: skip
        grant = walk.admit(request, opened)
        with grant:
            if not grant.enforced:
                return original(**given)
            program = _first(grant, opened)
            if program is None:
                return original(**{**given, "filename": io.BytesIO(opened.files[0].read())})
            file = _plain(stack, opened, program)
            place = opened.files[0].real_path or ""
            mapped = mmap_mode if file is opened.files[0] and place else None
            composite = _composite(grant, file, program)
            grant.writable = os.path.realpath(place) if mapped in ("r+", "w+") else None
            result = _run(joblib, composite, grant, place, mapped, native)
            grant.writable = None
            _same(grant, opened, place if mapped else "")
        if start is not None:
            source.seek(start + composite.end if not program.compression else 0, 0 if not program.compression else 2)
        return result


def _run(
    joblib: ModuleType, composite: Composite, grant: Grant, place: str, mmap_mode: str | None, native: bool
) -> Any:
    """Rehearse the program, then run joblib's own machine on it."""
    clear_extension_cache()
    with scope.outside():
        try:
            rehearse_file(composite.opcodes, grant, composite.skip_array)
        except OutOfPlace as problem:
            raise walk.violation(grant, f"{problem}.") from None
    composite.rewind()
    parameters = inspect.signature(joblib.NumpyUnpickler).parameters
    options: dict[str, Any] = {"mmap_mode": mmap_mode}
    if "ensure_native_byte_order" in parameters:
        options["ensure_native_byte_order"] = native
    machine = joblib.NumpyUnpickler(place, composite, **options)
    machine._file_read, machine._file_readline = composite.opcodes.read, composite.opcodes.readline
    machine.nbguard_composite = True
    try:
        return behind_walls(grant, machine.load)
    except OutOfPlace as problem:
        raise walk.violation(grant, f"{problem}.") from None
    except UnicodeDecodeError as problem:
        raise ValueError(
            "You may be trying to read with python 3 a joblib pickle generated with python 2. This feature is not "
            "supported by joblib."
        ) from problem


def _open(stack: ExitStack, source: Any) -> tuple[Opened, int | None]:
    from nbguard.artifact.sources import open_bytes, open_path
    from nbguard.hooks.streams import Stream

    with scope.outside():
        if not hasattr(source, "read"):
            return stack.enter_context(open_path(os.fspath(source))), None
        stream = Stream.of_file(source)
        start = source.tell()
        name = os.path.basename(stream.name or "") or "<stream>"
        return stack.enter_context(open_bytes(stream.rest(), name=name)), start


def _first(grant: Grant, opened: Opened) -> Program | None:
    """The program that joblib would run: the one at the start, read as joblib reads it."""
    name = opened.files[0].path
    found = [p for p in grant.contract.programs if p.file == name and p.offset == 0 and not p.member]
    return max(found, key=lambda p: (p.container == "joblib", len(p.ranges)), default=None)


def _plain(stack: ExitStack, opened: Opened, program: Program) -> OpenedFile:
    """The bytes that the offsets of `program` count in: the file, or what is in its compression up to the end."""
    from nbguard.artifact.sources import open_bytes, seal

    file = opened.files[0]
    if not program.compression:
        return file
    from joblib.numpy_pickle_utils import _validate_fileobject_and_memmap

    sealed = seal(file)
    if sealed is not file:
        stack.callback(sealed.close)
    end = program.offset + program.length + sum(length for _, length in program.ranges)
    with (
        scope.outside(),
        open(sealed.load_path(), "rb") as handle,
        _validate_fileobject_and_memmap(handle, "") as (inner, _),
    ):
        parts, left = [], end
        while left > 0 and (part := inner.read(min(left, 1 << 24))):
            parts.append(part)
            left -= len(part)
    return stack.enter_context(open_bytes(b"".join(parts), name=file.path)).files[0]


def _composite(grant: Grant, file: OpenedFile, program: Program) -> Composite:
    try:
        return Composite.of(file, program)
    except ValueError as problem:
        raise walk.violation(grant, f"{problem}.") from None


def _same(grant: Grant, opened: Opened, place: str) -> None:
    """Nothing was exchanged during the load. A memory map is made by path: the path has to lead to the scanned file."""
    file = opened.files[0]
    if not file.unchanged():
        raise walk.violation(grant, "the file was changed while it was being loaded.")
    if place:
        there, held = os.stat(place), os.fstat(file.fd)
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            raise walk.violation(grant, "another file was put in its place while it was being loaded.")
