"""The process that converts: it reads one open file, writes one safetensors file, and can do nothing else.

    python -I -m nbguard.acquire.converter convert torch 3 /private/folder       # not meant to be started by hand

First argument: `convert` or `compare`; then the kind of file, its file descriptor, the private folder, and the limits
as JSON. torch and safetensors are imported before the process is locked up. It answers with one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbguard.acquire.confine import confine

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, "torch.Tensor"]

OUT = "model.safetensors"
INSIDE = ("state_dict", "model_state_dict", "model", "module", "weights", "params")
"""Under which key trainers put the weights when a checkpoint holds more than them, in the order they are looked for."""
MOST_NAMED = 100
"""Names in the answer; a hostile file can hold any number."""
MAX_NAME = 300


class NotDataError(Exception):
    """Not a plain set of tensors; the message is one sentence."""


def main(arguments: list[str]) -> int:
    task, kind, fd, folder, limits = arguments
    import safetensors.torch  # noqa: F401 - imported while files can still be opened
    import torch

    torch.set_num_threads(1)
    torch.zeros(1).sum()
    if kind == "numpy":
        import numpy.lib.npyio  # noqa: F401
    layers = confine(folder, _code(), **json.loads(limits))
    try:
        tensors, left_out = read(kind, int(fd))
        answer = write(tensors, folder) if task == "convert" else compare(tensors, folder)
        answer["left_out"] = [name[:MAX_NAME] for name in left_out[:MOST_NAMED]]
    except NotDataError as error:
        answer = {"refused": str(error)[:1000]}
    except (MemoryError, OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, AttributeError) as error:
        answer = {"refused": f"it could not be read as pure data ({type(error).__name__}: {str(error)[:500]})"}
    except Exception as error:  # noqa: BLE001 - pickle.UnpicklingError and what hostile bytes make of a reader: refused
        answer = {"refused": f"it could not be read as pure data ({type(error).__name__}: {str(error)[:500]})"}
    print(json.dumps({**answer, "layers": layers}), flush=True)
    return 0


def _code() -> list[str]:
    """Where Python and the installed packages lie."""
    import sysconfig

    return sorted({os.path.realpath(sysconfig.get_path(k)) for k in ("stdlib", "platstdlib", "purelib", "platlib")})


def read(kind: str, fd: int) -> tuple[Tensors, list[str]]:
    """Name → tensor, and the names of what a checkpoint holds besides. Raises NotDataError."""
    import torch

    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        loaded: Any
        if kind == "numpy":
            import numpy

            found = numpy.load(file, allow_pickle=False)
            arrays = {"array": found} if isinstance(found, numpy.ndarray) else {n: found[n] for n in found.files}
            loaded = {name: torch.from_numpy(_native(name, array)) for name, array in arrays.items()}
        else:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    return _tensors(loaded)


def _native(name: str, array: Any) -> Any:
    if array.dtype.hasobject or array.dtype.names or array.dtype.kind not in "biufc":
        raise NotDataError(f"the array {name[:MAX_NAME]!r} holds {array.dtype}, which safetensors has no type for")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _tensors(loaded: Any) -> tuple[Tensors, list[str]]:
    import torch

    if isinstance(loaded, torch.Tensor):
        return {"tensor": _plain("tensor", loaded)}, []
    if not isinstance(loaded, Mapping):
        raise NotDataError(f"it holds {type(loaded).__name__}, not a set of named tensors")
    if not _only_tensors(loaded):
        for key in INSIDE:
            inner = loaded.get(key)
            if isinstance(inner, Mapping) and inner and _only_tensors(inner):
                found = {str(n): _plain(str(n), t) for n, t in inner.items()}
                return found, sorted(str(k) for k in loaded if k != key)
        odd = next(str(k) for k, v in loaded.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor)))
        raise NotDataError(f"{odd[:MAX_NAME]!r} in it is no tensor")
    return {name: _plain(name, tensor) for name, tensor in loaded.items()}, []


def _only_tensors(table: Mapping[Any, Any]) -> bool:
    import torch

    return all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in table.items())


def _plain(name: str, tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        raise NotDataError(f"the tensor {name[:MAX_NAME]!r} is not dense, and safetensors cannot hold it")
    return tensor.detach().resolve_conj().resolve_neg()


def write(tensors: Tensors, folder: str) -> dict[str, Any]:
    """Write the file. Identical views of one storage are written once and named in the metadata, as safetensors'
    own `save_model` does; everything else gets bytes of its own."""
    from safetensors.torch import save_file

    aliases = _aliases(tensors)
    kept = {n: t.clone(memory_format=_contiguous()) for n, t in tensors.items() if n not in aliases}
    save_file(kept, os.path.join(folder, OUT), metadata={"format": "pt", **aliases})
    return {"tensors": len(tensors), "aliases": dict(list(aliases.items())[:MOST_NAMED])}


def _contiguous() -> Any:
    import torch

    return torch.contiguous_format


def _aliases(tensors: Tensors) -> dict[str, str]:
    """Name → the first name of the very same view: same place, type, shape and strides."""
    seen: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        if not tensor.numel():
            continue
        view = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if view in seen and name != "format":
            aliases[name] = seen[view]
        else:
            seen.setdefault(view, name)
    return aliases


def compare(tensors: Tensors, folder: str) -> dict[str, Any]:
    """Whether the written file holds exactly these tensors, bit for bit.

    Raises NotDataError naming the first that differs.
    """
    import torch
    from safetensors import safe_open

    with safe_open(os.path.join(folder, OUT), framework="pt") as written:
        metadata = {k: v for k, v in (written.metadata() or {}).items() if k != "format"}
        names = set(written.keys())
        if names | set(metadata) != set(tensors):
            raise NotDataError("the written file does not hold the same names")
        for name, tensor in tensors.items():
            other = written.get_tensor(name if name in names else metadata[name])
            if (
                other.dtype != tensor.dtype
                or other.shape != tensor.shape
                or not torch.equal(_bits(other), _bits(tensor))
            ):
                raise NotDataError(f"the tensor {name[:MAX_NAME]!r} was not written bit for bit")
    return {"compared": len(tensors)}


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    flat = tensor.clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8) if flat.numel() else flat.to(torch.uint8)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
