"""Keras weights, joblib and pickles of plain arrays: read as data, or refused with the reason."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from nbguard.acquire import arrays, plain_pickle
from nbguard.acquire.arrays import NotDataError
from nbguard.acquire.convert import ConversionError, convert

LIMIT = 1 << 20


def read(kind: str, path: Path, limit: int = LIMIT) -> tuple[dict[str, Any], list[str]]:
    with path.open("rb") as file:
        return arrays.read(kind, file, limit)


# Keras


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model, written by Keras in each of its formats; with a layer that runs code, too."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    folder = tmp_path_factory.mktemp("keras")
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(folder / "model.weights.h5")
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    lambdas = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    lambdas.save(folder / "lambda.keras")
    return {path.name: path for path in folder.iterdir()} | {"values": model.get_weights()}


@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras", "model.h5"])
def test_each_of_keras_formats_gives_its_weights(name: str, keras_files: dict[str, Any]) -> None:
    kind = "keras" if name.endswith(".keras") else "hdf5"
    found, left_out = read(kind, keras_files[name])
    wanted = sorted(value.tobytes() for value in keras_files["values"])
    assert sorted(array.tobytes() for array in found.values()) == wanted
    assert not [key for key in found if key.startswith("optimizer")]
    assert any("optimizer" in key for key in left_out)
    assert ("config.json" in left_out) is (kind == "keras")


def test_keras_weights_are_converted_in_isolation(keras_files: dict[str, Any], tmp_path: Path) -> None:
    made = convert(keras_files["model.keras"], tmp_path / "m.safetensors")
    with safe_open(made.path, framework="np") as file:
        names = set(file.keys())
    assert {"layers/dense/vars/0", "layers/dense/vars/1", "layers/batch_normalization/vars/0"} <= names
    assert made.files[0].left_out


def test_a_model_that_brings_code_is_not_converted(keras_files: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="not pure data"):
        convert(keras_files["lambda.keras"], tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def soft_link(root: Any) -> None:
    root["w"] = h5py.SoftLink("/fine")


def external_link(root: Any) -> None:
    root["w"] = h5py.ExternalLink("/etc/passwd", "/x")


def group_in_itself(root: Any) -> None:
    layers = root.create_group("layers")
    layers["again"] = layers


def external_storage(root: Any) -> None:
    root.create_dataset("w", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(root: Any) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    root.create_virtual_dataset("w", layout)


def text(root: Any) -> None:
    root.create_dataset("w", data=["a", "b"])


def references(root: Any) -> None:
    root.create_dataset("w", data=[root["fine"].ref], dtype=h5py.ref_dtype)


def structured(root: Any) -> None:
    root["w"] = numpy.zeros(2, dtype=[("a", "f4"), ("b", "i4")])


def named_type(root: Any) -> None:
    root["w"] = numpy.dtype("f4")


def no_shape(root: Any) -> None:
    root["w"] = h5py.Empty("f4")


def deep(root: Any) -> None:
    root.create_group("/".join(["g"] * 80))


def bomb(root: Any) -> None:
    root.create_dataset("w", (1 << 40,), "u1", chunks=(1 << 20,), compression="gzip")


@pytest.mark.parametrize(
    "trick",
    [soft_link, external_link, group_in_itself, external_storage, virtual, text, references, structured, named_type,
     no_shape, deep, bomb],
    ids=lambda trick: trick.__name__,
)  # fmt: skip
def test_what_leads_out_of_an_hdf5_file_or_is_no_number_is_refused(trick: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as root:
        root["fine"] = numpy.ones(2)
        trick(root)
    with pytest.raises(NotDataError):
        read("hdf5", tmp_path / "m.h5")


def test_a_keras_archive_with_two_weights_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr(arrays.KERAS_WEIGHTS, b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(arrays.KERAS_WEIGHTS, b"2")
    with pytest.raises(NotDataError, match="2 members"):
        read("keras", tmp_path / "m.keras")


def test_what_unpacks_to_more_than_its_bound_is_refused(tmp_path: Path) -> None:
    big = numpy.zeros(1 << 21, dtype="u1")
    numpy.savez_compressed(tmp_path / "m.npz", w=big)
    joblib.dump(big, tmp_path / "m.joblib", compress=3)
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(arrays.KERAS_WEIGHTS, bytes(1 << 21))
    for kind, name in (("numpy", "m.npz"), ("joblib", "m.joblib"), ("keras", "m.keras")):
        with pytest.raises(NotDataError, match="more than"):
            read(kind, tmp_path / name)


# joblib and pickles


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_joblib_in_each_compression(method: str, tmp_path: Path) -> None:
    state = {"layers": [numpy.arange(6.0).reshape(2, 3).T, {"b": numpy.ones(2, ">f4")}], 3: (numpy.float32(1.5),)}
    joblib.dump(state, tmp_path / "m", compress=(method, 3))
    found, _ = read("joblib", tmp_path / "m")
    assert {name: array.tolist() for name, array in found.items()} == {
        "layers.0": [[0, 3], [1, 4], [2, 5]],
        "layers.1.b": [1, 1],
        "3.0": 1.5,
    }


def test_joblib_is_converted_in_isolation_whatever_it_is_called(tmp_path: Path) -> None:
    joblib.dump({"w": numpy.arange(4.0)}, tmp_path / "weights.dat", compress=3)
    made = convert(tmp_path / "weights.dat")
    with safe_open(made.path, framework="np") as file:
        assert file.get_tensor("w").tolist() == [0, 1, 2, 3]
    assert Path(made.path).name == "weights.safetensors"


class Act:
    """What would act when it is loaded."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


TRICKS: dict[str, Any] = {
    "a call": {"w": Act(os.getpid)},
    "eval": Act(eval, "1"),
    "a module's function by numpy": Act(numpy.load, "/etc/passwd"),
    "gigabytes of nothing": Act(bytes, 1 << 40),
    "a number": {"w": numpy.ones(1), "n": 3},
    "text": {"w": "text"},
    "nothing": None,
    "an own class": {"w": Act.__new__(Act)},
    "a key that names nothing": {None: numpy.ones(1)},
    "objects": numpy.array([{}, 1], dtype=object),
    "a matrix": numpy.matrix([[1.0]]),
    "two of one name": {"a": {"b": numpy.ones(1)}, "a.b": numpy.ones(1)},
    "structured": numpy.zeros(2, dtype=[("a", "f4")]),
    "dates": numpy.zeros(2, dtype="M8[s]"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", [joblib.dump, lambda v, p: p.write_bytes(pickle.dumps(v))], ids=["joblib", "pickle"])
@pytest.mark.parametrize("trick", list(TRICKS))
def test_what_is_more_than_plain_arrays_is_refused(trick: str, write: Any, tmp_path: Path) -> None:
    value = TRICKS[trick]
    if trick == "an own class":
        value["w"].call = (object,)
    write(value, tmp_path / "m")
    with pytest.raises(NotDataError):
        read("joblib", tmp_path / "m")


def short(text: bytes) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text


def named(module: str, name: str) -> bytes:
    return short(module.encode()) + short(name.encode()) + b"\x93"


START = b"\x80\x04"
DTYPE = named("numpy", "dtype") + short(b"f4") + b"\x89\x88\x87R"
RAW = {
    "a class given attributes": named("joblib.numpy_pickle", "NumpyArrayWrapper")
    + b"}"
    + short(b"value")
    + b"K\x01sb.",
    "state for a function": named("_codecs", "encode") + b"}b.",
    "a class called": named("numpy", "ndarray") + b")R.",
    "an instance by INST": b"(inumpy\nndarray\n.",
    "the extension registry": b"\x82\x01.",
    "something outside": short(b"x") + b"Q.",
    "a dotted name": named("numpy", "ndarray.__class__") + b".",
    "itself": b"]\x94h\x00a.",
    "a shape that lies": named("numpy._core.multiarray", "scalar") + DTYPE + b"C\x02ab\x86R.",
    "a dictionary made from outside": named("collections", "OrderedDict") + b"]\x85R.",
}


@pytest.mark.parametrize("trick", list(RAW))
def test_programs_that_no_writer_writes_are_refused(trick: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(START + RAW[trick])
    with pytest.raises((NotDataError, pickle.UnpicklingError)):
        read("joblib", tmp_path / "m")
    assert not hasattr(plain_pickle._Wrapper, "__setstate__") or not vars(plain_pickle._Wrapper).get("value")


def test_lists_that_double_are_given_up(tmp_path: Path) -> None:
    program = b"]\x94" + b"".join(b"]\x94(h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(60))
    (tmp_path / "m").write_bytes(START + program + b".")
    with pytest.raises(NotDataError, match="more arrays"):
        read("joblib", tmp_path / "m")


def test_an_array_of_a_claimed_terabyte_takes_no_memory(tmp_path: Path) -> None:
    joblib.dump(numpy.zeros(77, dtype="u1"), tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    assert data.count(b"K\x4d\x85") == 1
    (tmp_path / "m").write_bytes(data.replace(b"K\x4d\x85", b"\x8a\x06" + struct.pack("<Q", 1 << 40)[:6] + b"\x85"))
    with pytest.raises((NotDataError, pickle.UnpicklingError, EOFError)):
        read("joblib", tmp_path / "m")


def _honest() -> bytes:
    out = io.BytesIO()
    joblib.dump({"a": numpy.arange(5.0), "b": [numpy.ones((2, 2), ">i2", order="F")]}, out)
    return out.getvalue()


HONEST = _honest()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(HONEST) - 1), st.binary(min_size=0, max_size=4), st.integers(0, 4))
def test_whatever_is_changed_nothing_but_arrays_comes_out(at: int, put: bytes, over: int) -> None:
    changed = HONEST[:at] + put + HONEST[at + over :]
    try:
        found = plain_pickle.load(io.BytesIO(changed), LIMIT)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the child turns each of them into a refusal
        return
    assert all(isinstance(array, numpy.ndarray) and array.dtype.kind in "biufc" for array in found.values())
