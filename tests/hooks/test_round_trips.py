"""What honest people load comes out as it was saved, through every loader, after one question."""

from __future__ import annotations

import bz2
import datetime
import fractions
import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import Asker

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
joblib = pytest.importorskip("joblib")
pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from joblib import load as early_joblib_load  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from torch import load as early_torch_load  # noqa: E402

from nbguard.errors import LoadBlocked  # noqa: E402

pytestmark = pytest.mark.usefixtures("guarded")

X = np.arange(60, dtype="f8").reshape(20, 3)
Y = (X[:, 0] > 20).astype(int)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


@pytest.fixture
def frame() -> Any:
    return pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": ["x", "y", "z"],
            "t": pd.date_range("2020-01-01", periods=3, tz="UTC"),
            "c": pd.Categorical(["u", "v", "u"]),
        }
    )


WEIGHTS = {"w": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.bfloat16), "epoch": 3}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("weights_only", [True, False])
def test_torch_tensors(tmp_path: Path, person: Asker, new: bool, weights_only: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=new)
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        loaded = early_torch_load(source, weights_only=weights_only)
        assert torch.equal(loaded["w"], WEIGHTS["w"])
        assert loaded["epoch"] == 3
    assert person.verdicts == ["safe"]  # explained data, loaded again at the same line, is one question


def test_torch_memory_map(tmp_path: Path, person: Asker) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt")
    loaded = torch.load(tmp_path / "w.pt", mmap=True, weights_only=True, map_location="cpu")
    assert torch.equal(loaded["w"], WEIGHTS["w"])


def test_torch_says_how_to_load_more(tmp_path: Path, person: Asker) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with pytest.warns(UserWarning, match="weights_only=False"), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "m.pt")


def test_torch_whole_module(tmp_path: Path, person: Asker) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4))
    torch.save(model, tmp_path / "m.pt")
    loaded = torch.load(tmp_path / "m.pt", weights_only=False)
    assert torch.equal(loaded[0].weight, model[0].weight)
    assert person.verdicts == ["review"]


def test_torch_optimizer_state(tmp_path: Path, person: Asker) -> None:
    model = torch.nn.Linear(3, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    loaded = torch.load(tmp_path / "c.pt", weights_only=True)
    optimizer.load_state_dict(loaded["optimizer"])
    assert person.verdicts == ["safe"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(tmp_path: Path, person: Asker) -> None:
    script = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(script, str(tmp_path / "s.pt"))
    for loaded in (
        torch.jit.load(str(tmp_path / "s.pt")),
        torch.jit.load(io.BytesIO((tmp_path / "s.pt").read_bytes())),
    ):
        assert torch.equal(loaded.weight, script.weight)
    assert person.verdicts == ["review"] * 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*TorchScript:UserWarning")
def test_torchscript_through_torch_load(tmp_path: Path, person: Asker) -> None:
    script = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(script, str(tmp_path / "s.pt"))
    loaded = torch.load(tmp_path / "s.pt", weights_only=False)
    assert torch.equal(loaded.weight, script.weight)
    assert person.verdicts == ["review"]


def test_a_pickled_tensor(person: Asker) -> None:
    tensor = torch.arange(3.0)
    assert torch.equal(pickle.loads(pickle.dumps({"t": tensor}))["t"], tensor)
    assert person.verdicts == ["safe"]


@pytest.mark.parametrize("compress", [0, 3, "zlib", "gzip", "bz2", "lzma", "xz", "lz4"])
def test_joblib_pipeline(tmp_path: Path, person: Asker, pipeline: Pipeline, compress: Any) -> None:
    joblib.dump(pipeline, tmp_path / "p.joblib", compress=compress)
    assert (early_joblib_load(tmp_path / "p.joblib").predict(X) == pipeline.predict(X)).all()
    assert person.verdicts == ["review"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_joblib_arrays(tmp_path: Path, person: Asker, protocol: int) -> None:
    objects = np.array([1, "a", None], dtype=object)
    held = {"c": X, "f": np.asfortranarray(X), "o": objects, "empty": np.zeros((0, 2)), "n": 7, "b": X > 3}
    joblib.dump(held, tmp_path / "x.joblib", protocol=protocol)
    loaded = joblib.load(tmp_path / "x.joblib")
    assert all(np.array_equal(loaded[k], held[k]) for k in held)
    assert person.verdicts == ["safe"]


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_joblib_memory_map(tmp_path: Path, person: Asker, mode: str) -> None:
    joblib.dump({"x": X, "y": Y}, tmp_path / "x.joblib")
    loaded = joblib.load(tmp_path / "x.joblib", mmap_mode=mode)
    assert isinstance(loaded["x"], np.memmap)
    assert np.array_equal(loaded["x"], X)
    assert Path(loaded["x"].filename) == tmp_path / "x.joblib"


def test_joblib_from_open_files(tmp_path: Path, person: Asker) -> None:
    joblib.dump(X, tmp_path / "x.joblib")
    joblib.dump(X, tmp_path / "x.gz", compress="gzip")
    with open(tmp_path / "x.joblib", "rb") as file:
        assert np.array_equal(joblib.load(file), X)
    assert np.array_equal(joblib.load(io.BytesIO((tmp_path / "x.gz").read_bytes())), X)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zip", ".tar"])
def test_pandas(tmp_path: Path, person: Asker, frame: Any, suffix: str) -> None:
    frame.to_pickle(tmp_path / f"f.pkl{suffix}")
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / f"f.pkl{suffix}"), frame)
    assert len(person.reports) == 1


def test_pandas_from_an_open_file(tmp_path: Path, person: Asker, frame: Any) -> None:
    with open(tmp_path / "two.pkl", "wb") as file:
        pickle.dump(frame, file)
        pickle.dump({"second": 2}, file)
    with open(tmp_path / "two.pkl", "rb") as file:
        pd.testing.assert_frame_equal(pd.read_pickle(file), frame)
        assert pickle.load(file) == {"second": 2}


def test_numpy(tmp_path: Path, person: Asker) -> None:
    objects = np.array([1, "a", {"k": 2}], dtype=object)
    np.save(tmp_path / "o.npy", objects)
    np.save(tmp_path / "x.npy", X)
    assert np.load(tmp_path / "o.npy", allow_pickle=True).tolist() == objects.tolist()
    assert np.array_equal(np.load(tmp_path / "x.npy", allow_pickle=True), X)
    assert np.array_equal(np.load(tmp_path / "x.npy", allow_pickle=True, mmap_mode="r"), X)
    assert person.verdicts == ["safe"] * 3


def test_numpy_without_pickles_is_left_alone(tmp_path: Path, person: Asker) -> None:
    np.save(tmp_path / "x.npy", X)
    assert np.array_equal(np.load(tmp_path / "x.npy"), X)
    assert person.reports == []


def test_numpy_archive_is_read_later(tmp_path: Path, person: Asker) -> None:
    np.savez(tmp_path / "o.npz", x=X, o=np.array([None, "q"], dtype=object))
    archive = np.load(tmp_path / "o.npz", allow_pickle=True)
    assert np.array_equal(archive["x"], X)
    assert archive["o"].tolist() == [None, "q"]
    assert archive["o"].tolist() == [None, "q"]
    assert "o.npz" in repr(archive)
    assert person.verdicts == ["safe"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_protocols(person: Asker, protocol: int) -> None:
    value = {"a": [1, 2.5, "ä", b"\x00", None, True, {3}, frozenset({4})], "d": datetime.date(2024, 1, 2),
             "f": fractions.Fraction(1, 3), "x": X[:2]}  # fmt: skip
    loaded = pickle.loads(pickle.dumps(value, protocol))
    assert {k: v for k, v in loaded.items() if k != "x"} == {k: v for k, v in value.items() if k != "x"}
    assert np.array_equal(loaded["x"], X[:2])


def test_several_pickles_in_one_file_are_one_question(tmp_path: Path, person: Asker) -> None:
    with open(tmp_path / "many.pkl", "wb") as file:
        for n in range(5):
            pickle.dump({"n": np.int64(n)}, file)
    with open(tmp_path / "many.pkl", "rb") as file:
        assert [pickle.load(file)["n"] for _ in range(5)] == list(range(5))
        with pytest.raises(EOFError):
            pickle.load(file)
    assert len(person.reports) == 1


def test_one_unpickler_reads_what_one_pickler_wrote(person: Asker) -> None:
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream)
    for n in range(3):
        pickler.dump(["plain", n])
    stream.seek(0)
    unpickler = pickle.Unpickler(stream)
    assert unpickler.load() == ["plain", 0]


def test_a_program_that_leans_on_the_memo_of_another_is_refused(person: Asker) -> None:
    stream, shared = io.BytesIO(), X[:2]
    pickler = pickle.Pickler(stream)
    pickler.dump([shared])
    pickler.dump(shared)
    stream.seek(0)
    unpickler = pickle.Unpickler(stream)
    assert np.array_equal(unpickler.load()[0], shared)
    with pytest.raises(LoadBlocked):
        unpickler.load()


class Reader(io.RawIOBase):
    """A stream that cannot seek, as a socket or a pipe."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.inner.readinto(buffer)


def test_a_stream_that_cannot_seek_gives_one_pickle_at_a_time(person: Asker) -> None:
    stream = Reader(pickle.dumps([X[0]]) + pickle.dumps("next") + b"rest")
    assert np.array_equal(pickle.load(stream)[0], X[0])
    assert pickle.load(stream) == "next"
    assert stream.read() == b"rest"


def test_compressed_file_objects(tmp_path: Path, person: Asker) -> None:
    for module in (gzip, bz2):
        with module.open(tmp_path / "x.z", "wb") as file:
            pickle.dump({"x": X}, file)
        with module.open(tmp_path / "x.z", "rb") as file:
            assert np.array_equal(pickle.load(file)["x"], X)


def test_out_of_band_buffers(person: Asker) -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(X, protocol=5, buffer_callback=buffers.append)
    assert np.array_equal(pickle.loads(data, buffers=buffers), X)


def test_a_subclass_with_its_own_find_class(person: Asker) -> None:
    class Renaming(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return super().find_class("collections" if module == "old" else module, name)

    data = b"\x80\x04cold\nOrderedDict\n)R."
    assert Renaming(io.BytesIO(pickle.dumps({"x": 1}))).load() == {"x": 1}
    with pytest.raises(Exception, match=r"contract|old"):
        Renaming(io.BytesIO(data)).load()


def test_a_subclass_that_loads_to_another_device(person: Asker) -> None:
    class Device(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("torch.storage", "_load_from_bytes"):
                return lambda data: torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
            return super().find_class(module, name)

    assert torch.equal(Device(io.BytesIO(pickle.dumps(torch.ones(2)))).load(), torch.ones(2))
