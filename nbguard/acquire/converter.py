"""The process that converts: it reads one open file, writes one safetensors file, and can do nothing else.

    python -m nbguard.acquire.converter convert torch 3 /private/folder …     # not meant to be started by hand

First argument: `convert` or `compare`; then the kind of file (`torch`, `numpy`, `hdf5`, `keras`, `joblib`), its file
descriptor, the private folder, the limits as JSON, and the id of the process that started it, with which it ends. torch
and safetensors are imported before the process is locked up. It answers with one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbguard.acquire import arrays
from nbguard.acquire.arrays import MAX_NAME, NotDataError
from nbguard.acquire.confine import confine, end_with, first_to_go

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, "torch.Tensor"]

OUT = "model.safetensors"
INSIDE = ("state_dict", "model_state_dict", "model", "module", "weights", "params")
"""Under which key trainers put the weights when a checkpoint holds more than them, in the order they are looked for."""
MOST_NAMED = 100
"""Names in the answer; a hostile file can hold any number."""
HELD = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
    "bool", "complex64",
)  # fmt: skip
"""torch's names of the types that safetensors 0.8 has (safetensors/torch.py, `_SIZE`)."""


def main(arguments: list[str]) -> int:
    task, kind, fd, folder, limits, parent = arguments
    if not end_with(int(parent)):
        return 1  # nobody waits for it any more
    import safetensors.torch  # noqa: F401 - imported while files can still be opened
    import torch

    torch.set_num_threads(1)
    torch.zeros(1).sum()
    if kind != "torch":
        arrays.prepare(kind)
    first_to_go()
    bounds = json.loads(limits)
    layers = confine(folder, _code(), **bounds)
    try:
        tensors, left_out = read(kind, int(fd), bounds["file_size"])
        answer = write(tensors, folder) if task == "convert" else compare(tensors, folder)
        answer["left_out"] = [name[:MAX_NAME] for name in left_out[:MOST_NAMED]]
    except NotDataError as error:
        answer = {"refused": str(error)[:1000]}
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make of a reader: refused
        answer = {"refused": f"it could not be read as pure data ({type(error).__name__}: {str(error)[:500]})"}
    print(json.dumps({**answer, "layers": layers}), flush=True)
    return 0


def _code() -> list[str]:
    """Where Python and the installed packages lie."""
    import sysconfig

    return sorted({os.path.realpath(sysconfig.get_path(k)) for k in ("stdlib", "platstdlib", "purelib", "platlib")})


def read(kind: str, fd: int, limit: int) -> tuple[Tensors, list[str]]:
    """Name → tensor, and the names of what a file holds besides its weights. Raises NotDataError."""
    import torch

    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        if kind == "torch":
            return _tensors(torch.load(file, map_location="cpu", weights_only=True))
        found, left_out = arrays.read(kind, file, limit)
        return {name: _plain(name, _of_array(name, array)) for name, array in found.items()}, left_out


def _of_array(name: str, array: Any) -> torch.Tensor:
    import torch

    try:
        return torch.from_numpy(array.copy(order="C"))
    except TypeError:
        raise NotDataError(
            f"the array {name[:MAX_NAME]!r} holds {array.dtype}, which safetensors has no type for"
        ) from None


def _tensors(loaded: Any) -> tuple[Tensors, list[str]]:
    import torch

    if isinstance(loaded, torch.Tensor):
        return {"tensor": _plain("tensor", loaded)}, []
    if not isinstance(loaded, Mapping):
        raise NotDataError(f"it holds {type(loaded).__name__}, not a set of named tensors")
    if not loaded:
        raise NotDataError("it holds no tensors")
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
    """The tensor, its numbers only. Raises NotDataError, which names it, where safetensors cannot hold it."""
    import torch

    said = f"the tensor {name[:MAX_NAME]!r}"
    if name == "__metadata__":
        raise NotDataError(f"{said} has the name that safetensors keeps for itself")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise NotDataError(f"{said} has a name that is no text") from None
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise NotDataError(f"{said} is of a class of its own ({type(tensor).__name__[:100]})")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        raise NotDataError(f"{said} is not dense, and safetensors cannot hold it")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in HELD:
        raise NotDataError(f"{said} holds {dtype}, which safetensors has no type for")
    if dtype == "float4_e2m1fn_x2" and not tensor.dim():
        raise NotDataError(f"{said} is one pair of 4-bit numbers without a shape, which safetensors cannot hold")
    return tensor.detach().resolve_conj().resolve_neg()


def write(tensors: Tensors, folder: str) -> dict[str, Any]:
    """Write the file. Every name gets bytes of its own, those of tied tensors too.

    `safetensors.torch.save_model` would keep one of the names and put the others into the metadata, where most loaders
    do not look: a model without the head whose weight was kept would come out with embeddings made up at random.
    """
    from safetensors.torch import save_file

    written = {n: _raw(t).view(t.dtype) for n, t in tensors.items()}
    save_file(written, os.path.join(folder, OUT), metadata={"format": "pt"})
    return {"tensors": len(tensors)}


def _raw(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in order, as whole numbers of the same width: no NaN is made quiet and no truth value put right."""
    import torch

    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.view(width).clone(memory_format=torch.contiguous_format)


def compare(tensors: Tensors, folder: str) -> dict[str, Any]:
    """Whether the written file holds exactly these tensors, bit for bit.

    Raises NotDataError naming the first that differs.
    """
    import torch
    from safetensors import safe_open

    with safe_open(os.path.join(folder, OUT), framework="pt") as written:
        if set(written.keys()) != set(tensors):
            raise NotDataError("the written file does not hold the same names")
        for name, tensor in tensors.items():
            other = written.get_tensor(name)
            same = other.dtype == tensor.dtype and other.shape == tensor.shape
            if not same or not torch.equal(_raw(other), _raw(tensor)):
                raise NotDataError(f"the tensor {name[:MAX_NAME]!r} was not written bit for bit")
    return {"compared": len(tensors)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
