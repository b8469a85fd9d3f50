"""Every type and every kind of tensor keeps every bit; what safetensors cannot hold is refused by its name."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from nbguard.acquire import arrays, converter
from nbguard.acquire.arrays import NotDataError

BITS = {
    1: [0x00, 0x80, 0x7F, 0xFF, 0x7C, 0x7D, 0xFD, 0x01, 0x81],
    2: [0x0000, 0x8000, 0x7E01, 0xFE02, 0x7D01, 0x7F81, 0x7FC1, 0x0001, 0x8001, 0x7C00],
    4: [0x00000000, 0x80000000, 0x7FC00001, 0xFFC0BEEF, 0x7F800001, 0x00000001, 0x807FFFFF, 0x7F800000],
    8: [0, 1 << 63, 0x7FF8000000000001, 0xFFF8DEADBEEF0001, 0x7FF0000000000001, 1, 0x800FFFFFFFFFFFFF, 0x7FF << 52],
}
"""By width: zeros of both signs, NaNs quiet and signalling with payloads, subnormals, infinity."""


def awkward(dtype: torch.dtype) -> torch.Tensor:
    width = torch.empty(0, dtype=dtype).element_size()
    raw = b"".join(bits.to_bytes(width, "little") for bits in BITS[width])
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).clone().view(dtype)


def bits(tensor: torch.Tensor) -> bytes:
    """The bytes of the numbers in order, taken without any arithmetic."""
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return numpy.ascontiguousarray(tensor.detach().view(width).numpy()).tobytes()


def through(state: dict[str, Any], tmp_path: Path, *, zipped: bool = True) -> dict[str, torch.Tensor]:
    """What the process that converts makes of this, without its walls, and compared by itself as well."""
    path = tmp_path / "m.bin"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with path.open("rb") as file:
        tensors, _ = converter.read("torch", file.fileno(), 1 << 20)
        converter.write(tensors, str(tmp_path))
        assert converter.compare(tensors, str(tmp_path)) == {"compared": len(state)}
    return written(tmp_path)


def written(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / converter.OUT, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary


def test_the_table_of_types_is_that_of_safetensors() -> None:
    assert {f"torch.{name}" for name in converter.HELD} == {str(dtype) for dtype in safetensors.torch._SIZE}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", converter.HELD)
def test_every_type_in_every_form(name: str, zipped: bool, tmp_path: Path) -> None:
    dtype = getattr(torch, name)
    if not zipped and name.startswith(("uint16", "uint32", "uint64", "float8", "float4")):
        pytest.skip("torch's old format has no such type")
    one = awkward(dtype)
    grid = torch.stack([one, one.view(torch.uint8).flip(0).view(dtype)])
    state = {
        "plain": one, "grid": grid, "transposed": grid.t(), "strided": one[::2], "tied": one, "part": one[1:3],
        "overlapping": one[2:5], "expanded": one[:1].expand(6), "scalar": one[0].clone(), "empty": one[:0],
        "empty grid": grid[:, :0], "turned": grid.t()[1:], "parameter": torch.nn.Parameter(one, requires_grad=False),
    }  # fmt: skip
    if name == "float4_e2m1fn_x2":
        with pytest.raises(NotDataError, match="'scalar'"):
            through(state, tmp_path)
        del state["scalar"]
    found = through(state, tmp_path, zipped=zipped)
    assert set(found) == set(state)
    for key, tensor in state.items():
        assert (found[key].dtype, found[key].shape) == (dtype, tensor.shape), key
        assert bits(found[key]) == bits(tensor), key


def test_negated_and_conjugated_views_keep_what_they_stand_for(tmp_path: Path) -> None:
    base = torch.tensor([1 + 2j, float("nan") - 0.0j, -0.0 + 1j], dtype=torch.complex64)
    state = {"conjugated": base.conj(), "imaginary": base.clone().conj().imag, "real": base.real.clone()}
    assert state["conjugated"].is_conj()
    assert state["imaginary"].is_neg()
    tensors, _ = converter._tensors(state)
    converter.write(tensors, str(tmp_path))
    converter.compare(tensors, str(tmp_path))
    found = written(tmp_path)
    for key, tensor in state.items():
        assert bits(found[key]) == bits(tensor.resolve_conj().resolve_neg()), key


def test_truth_values_that_are_neither_keep_their_byte(tmp_path: Path) -> None:
    odd = torch.tensor([0, 1, 2, 255], dtype=torch.uint8).view(torch.bool).reshape(2, 2)
    assert bits(through({"odd": odd.t()}, tmp_path)["odd"]) == bytes([0, 2, 1, 255])


@pytest.mark.parametrize("name", ["format", "", "a\nb", "\u202ereversed", "ключ", "💥", "x" * 2000, "a.b", "../../up"])
def test_names_stay_as_they_are(name: str, tmp_path: Path) -> None:
    one = torch.arange(3.0)
    found = through({name: one, "another": one, "third": one}, tmp_path)
    assert set(found) == {name, "another", "third"}
    assert all(torch.equal(one, tensor) for tensor in found.values())


class Own(torch.Tensor):
    """A class of tensors of one's own."""


REFUSED: dict[str, Any] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(3, device="meta"),
    "subclass": lambda: torch.ones(2).as_subclass(Own),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    "complex128": lambda: torch.ones(2, dtype=torch.complex128),
    "complex32": lambda: torch.ones(2, dtype=torch.complex32),
    "bits8": lambda: torch.ones(2, dtype=torch.uint8).view(torch.bits8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_safetensors_cannot_hold_is_refused_and_named(kind: str) -> None:
    with pytest.raises(NotDataError, match="the tensor 'the culprit'"):
        converter._tensors({"fine": torch.ones(1), "the culprit": REFUSED[kind]()})


@pytest.mark.parametrize("value", [{"w": torch.ones(2), "n": "text"}, [torch.ones(2)], {1: torch.ones(2)}, "text", {}])
def test_what_is_no_set_of_named_tensors_is_refused(value: Any) -> None:
    with pytest.raises(NotDataError):
        converter._tensors(value)


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_are_refused_and_named() -> None:
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    with pytest.raises(NotDataError, match="the tensor 'q' is not dense"):
        converter._tensors({"q": quantized})


@pytest.mark.parametrize(("name", "why"), [("__metadata__", "keeps for itself"), ("\ud800", "no text")])
def test_two_names_cannot_be_written(name: str, why: str) -> None:
    with pytest.raises(NotDataError, match=why):
        converter._tensors({name: torch.ones(1)})


def test_a_copy_that_differs_in_one_bit_is_found(tmp_path: Path) -> None:
    one = awkward(torch.float32)
    converter.write({"w": one}, str(tmp_path))
    other = one.view(torch.int32).clone()
    other[2] ^= 1  # another NaN, which compares as any other does
    with pytest.raises(NotDataError, match="'w' was not written bit for bit"):
        converter.compare({"w": other.view(torch.float32)}, str(tmp_path))
    with pytest.raises(NotDataError, match="the same names"):
        converter.compare({"v": one}, str(tmp_path))


NUMPY = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8", ">f8", ">f4", ">f2", ">i8", ">u2",
         ">c8"]  # fmt: skip


@pytest.mark.parametrize("code", NUMPY)
@pytest.mark.parametrize("how", ["npz", "joblib", "pickle 2", "pickle 5", "hdf5"])
def test_every_type_of_numpy_in_every_order(code: str, how: str, tmp_path: Path) -> None:
    dtype = numpy.dtype(code)
    part = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    raw = b"".join(n.to_bytes(part, "little") for n in BITS[part][:8]) if code != "?" else bytes([0, 1] * 4)
    flat = numpy.frombuffer(raw, dtype=dtype.newbyteorder("<")).copy()
    flat = flat.byteswap().view(dtype) if dtype.byteorder == ">" else flat
    grid = flat.reshape(2, -1)
    state = {"plain": flat, "fortran": numpy.asfortranarray(grid), "scalar": flat[:1].reshape(()), "empty": flat[:0],
             "strided": flat[::2]}  # fmt: skip
    kind, path = save(state, how, tmp_path)
    with path.open("rb") as file:
        found, _ = arrays.read(kind, file, 1 << 20)
    assert set(found) == set(state)
    for key, array in state.items():
        made = converter._of_array(key, found[key])
        plain = array.byteswap().view(array.dtype.newbyteorder("<")) if array.dtype.byteorder == ">" else array
        assert tuple(made.shape) == array.shape, key
        assert bits(made) == plain.tobytes(), key


def save(state: dict[str, Any], how: str, tmp_path: Path) -> tuple[str, Path]:
    import pickle

    import h5py
    import joblib

    path = tmp_path / "file"
    if how == "npz":
        with path.open("wb") as file:
            numpy.savez(file, **state)
        return "numpy", path
    if how == "hdf5":
        with h5py.File(path, "w") as root:
            for key, array in state.items():
                root[key] = array
        return "hdf5", path
    if how == "joblib":
        joblib.dump(state, path)
    else:
        path.write_bytes(pickle.dumps(state, int(how[-1])))
    return "joblib", path


@pytest.mark.parametrize("dtype", ["c16", "g", "U3", "S3", "O", "M8[s]", "V4", [("a", "f4")]], ids=str)
@pytest.mark.parametrize("how", ["npz", "joblib"])
def test_what_no_tensor_can_hold_is_refused(dtype: Any, how: str, tmp_path: Path) -> None:
    kind, path = save({"w": numpy.zeros(2, dtype=dtype)}, how, tmp_path)

    def made() -> None:
        with path.open("rb") as file:
            found, _ = arrays.read(kind, file, 1 << 20)
            converter._plain("w", converter._of_array("w", found["w"]))

    with pytest.raises((NotDataError, ValueError)):
        made()


def test_tied_tensors_are_there_by_every_name_for_loaders_that_know_no_aliases(tmp_path: Path) -> None:
    one = torch.arange(4.0)
    through({"lm_head.weight": one, "transformer.wte.weight": one}, tmp_path)
    found = safetensors.torch.load_file(tmp_path / converter.OUT)
    assert all(torch.equal(found[name], one) for name in ("lm_head.weight", "transformer.wte.weight"))


def test_a_state_dict_of_its_own_class_is_one(tmp_path: Path) -> None:
    found = through(collections.OrderedDict(w=torch.ones(1)), tmp_path)
    assert json.dumps(sorted(found)) == '["w"]'
