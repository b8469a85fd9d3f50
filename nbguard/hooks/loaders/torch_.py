"""`torch.load`, `torch.jit.load` and `torch.package`.

    torch.load("model.pt", weights_only=False)      # scanned, asked about, then held to the scanned program

torch is handed a `pickle_module` of ours, whose Unpickler looks at the program before the first opcode. Where the file
allows it, that is torch's own restricted machine (`weights_only=True`), otherwise the full one behind the walls. Zips
are read through the handle that was scanned; older containers and TorchScript from a sealed copy.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.artifact.model import LoadRequest
from nbguard.errors import LoadBlocked
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.grants import Grant
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.loaders import torch_machine
from nbguard.hooks.walls import scope

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened, OpenedFile

_TRUE = ("1", "y", "yes", "true")


def guard_load(hooks: Installed, serialization: ModuleType) -> None:
    """Guard `torch.load`."""
    hooks.swap(serialization.load, _load)


def guard_script(hooks: Installed, module: ModuleType) -> None:
    """Guard `torch.jit.load`."""
    hooks.swap(module.load, _load_script)
    if hasattr(module, "jit_module_from_flatbuffer"):
        hooks.swap(module.jit_module_from_flatbuffer, _refuse_flatbuffer)


def guard_package(hooks: Installed, module: ModuleType) -> None:
    """Refuse `torch.package`: it runs code of its own, and no audit event tells of it."""
    hooks.swap(module.PackageImporter.__init__, _refuse_package)


def _load(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    named = bound(original, args, kwargs, defaults=False)
    extra = dict(named.pop("pickle_load_args", {}))
    file = named.pop("f")
    who = caller.find(2)
    restricted = _restricted(named, who)
    outer = grants.current()
    if who.kind == "machinery":
        return original(*args, **kwargs)
    if outer is None and who.kind == "library" and restricted:
        walk.note("load.weights_only", loader="torch.load", target=_label(file), caller=who.module)
        return original(*args, **kwargs)
    if outer is not None:
        outer.still_allowed()
    if _is_path(file) and os.fsdecode(file).endswith(".safetensors"):
        return original(*args, **kwargs)  # read by safetensors whatever is in it, and that runs nothing
    if (running := scope.current()) is not None and not _is_path(file):
        return torch_machine.run(original, file, running, named, extra, restricted)  # a program inside a program
    with ExitStack() as stack:
        opened, stream = _open(stack, file)
        arguments = {"weights_only": named.get("weights_only"), "mmap": named.get("mmap")}
        kind = opened.kind
        request = LoadRequest("torch.load", _label(file), kind, arguments, in_person_code=who.kind == "person")
        grant = walk.admit(request, opened)
        container = _container(grant)
        held = _held(stack, opened, container)
        source: Any = held.load_path()
        after: io.BytesIO | None = None
        if stream is not None and container not in ("torch-zip", "torchscript"):
            source = after = io.BytesIO(held.read())
        with grant:
            if restricted and container == "torchscript":
                raise RuntimeError(
                    "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``."
                )
            if not grant.enforced:
                return original(source, **named, **extra)
            result = torch_machine.run(original, source, grant, named, extra, restricted)
            if not opened.files[0].unchanged():
                raise walk.violation(grant, "the file was changed while it was being loaded.")
        if stream is not None:
            file.seek(stream + after.tell() if after is not None else 0, 0 if after is not None else 2)
        return result


def _load_script(original: Callable[..., Any], f: Any, *args: Any, **kwargs: Any) -> Any:
    who = caller.find(2)
    with ExitStack() as stack:
        opened, _ = _open(stack, f)
        loader = "torch.jit.load"
        request = LoadRequest(loader, _label(f), opened.kind, {}, in_person_code=who.kind == "person")
        running = scope.current() or grants.innermost()
        grant = walk.admit(request, opened)
        if running is not None and running.enforced and "torchscript" not in running.contract.containers.values():
            raise walk.violation(running, "it is TorchScript, and something else was scanned and accepted.")
        held = _held(stack, opened, "torchscript")
        if grant.enforced:
            _same_script(request, grant, opened, held)
        with grant, scope.outside():
            return original(io.BytesIO(held.read()) if not _is_path(f) else held.load_path(), *args, **kwargs)


def _same_script(request: LoadRequest, grant: Grant, opened: Opened, held: OpenedFile) -> None:
    """The copy that is about to be loaded holds the code and the programs that were accepted.

    It was made after the answer, and the file may have been written to in between, its times put back. torch's own
    reader of TorchScript goes through no Unpickler of ours, so the copy is looked at itself.
    """
    from nbguard.artifact.sources import open_bytes

    if held is opened.files[0]:
        return  # sealed before the scan
    with scope.outside(), open_bytes(held.read(), name=held.path) as copy:
        now = walk.scan(request, copy).contract
    then = grant.contract
    same = {c.sha256 for c in now.code} == {c.sha256 for c in then.code} and (
        {p.sha256 for p in now.programs} == {p.sha256 for p in then.programs}
    )
    if not same or not opened.files[0].unchanged():
        raise walk.violation(grant, "the file was changed after it was scanned.")


def _refuse_package(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> None:
    source = _label(args[0] if args else kwargs.get("file_or_buffer"))
    walk.stop(
        "a torch.package archive brings code of its own, which is run in ways that nothing here can hold to a contract",
        "torch.package",
        source,
    )
    original(self, *args, **kwargs)


def _refuse_flatbuffer(original: Callable[..., Any], f: Any, *args: Any, **kwargs: Any) -> Any:
    walk.stop("nbguard cannot read mobile TorchScript files", "torch.jit.jit_module_from_flatbuffer", _label(f))
    return original(f, *args, **kwargs)


def _restricted(named: dict[str, Any], who: caller.Caller) -> bool:
    """Whether torch would use its restricted machine; a call that leaves it open is told so by torch's own default."""
    chosen = named.get("weights_only")
    if os.getenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0").lower() in _TRUE:
        return True
    if chosen is not None:
        return bool(chosen)
    if named.get("pickle_module") is not None:
        return False
    if who.kind == "person":
        warnings.warn(
            "torch.load was called without weights_only; nbguard loads with weights_only=True. Write "
            "weights_only=False to load other objects too: the file is then scanned, and you are asked what it may do.",
            UserWarning,
            stacklevel=5,
        )
    return True


def _open(stack: ExitStack, file: Any) -> tuple[Opened, int | None]:
    """The file opened once, or a sealed copy of what the stream still holds and the position it stood at."""
    from nbguard.artifact.sources import open_bytes, open_path
    from nbguard.hooks.streams import Stream

    with scope.outside():
        if _is_path(file):
            return stack.enter_context(open_path(os.fspath(file))), None
        stream = Stream.of_file(file)
        start = file.tell()
        name = os.path.basename(stream.name or "") or "<stream>"
        return stack.enter_context(open_bytes(stream.rest(), name=name)), start


def _held(stack: ExitStack, opened: Opened, container: str) -> OpenedFile:
    """The handle to load through: the scanned one for zips, whose programs are pinned, else a sealed copy."""
    from nbguard.artifact.sources import seal

    file = opened.files[0]
    if container == "torch-zip" or file.sealed:
        return file
    sealed = seal(file)
    stack.callback(sealed.close)
    return sealed


def _container(grant: Grant) -> str:
    kinds = set(grant.contract.containers.values()) or {p.container for p in grant.contract.programs}
    return kinds.pop() if len(kinds) == 1 else "several"


def _is_path(file: Any) -> bool:
    return isinstance(file, str | os.PathLike)


def _label(file: Any) -> str:
    name = os.fspath(file) if isinstance(file, str | bytes | os.PathLike) else getattr(file, "name", None)
    return os.fsdecode(name) if isinstance(name, str | bytes) else "<stream>"


__all__ = ["LoadBlocked", "guard_load", "guard_package", "guard_script"]
