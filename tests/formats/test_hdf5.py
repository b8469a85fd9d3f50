"""The reader of HDF5 sees what the library wrote, and survives what nobody wrote."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nbguard.formats import hdf5
from nbguard.formats.hdf5_blocks import Hdf5Error
from nbguard.formats.view import BytesView

VERSIONS = ("earliest", "latest")


@pytest.fixture(params=VERSIONS)
def libver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(path: Path, libver: str, groups: int = 20) -> Path:
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["long"] = "x" * 100_000
        file.attrs["fixed"] = np.bytes_("abc")
        file.attrs["number"] = 3
        file.attrs["list"] = np.array([b"a", b"bcd"])
        file.attrs["empty"] = h5py.Empty("f")
        for i in range(40):
            file.attrs[f"attribute {i}"] = f"value {i}"
        for i in range(groups):
            file.create_dataset(f"layer_{i}/kernel:0", data=np.ones((3, i % 4 + 1), "f4"))
        file.create_dataset("chunked", data=np.zeros((50, 50)), chunks=(10, 10), compression="gzip", shuffle=True)
        file.create_dataset("texts", data=["a", "b"], dtype=h5py.string_dtype())
        file.create_dataset("scalar", data=3.5)
        file.create_dataset("record", data=np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,))]))
        file["type"] = np.dtype("f4")
        file.create_dataset("committed", (2,), dtype=file["type"])
        file["soft"] = h5py.SoftLink("/chunked")
    return path


def read(path: Path) -> hdf5.Hdf5File:
    return hdf5.read(BytesView(path.read_bytes()))


def test_datasets_are_those_that_h5py_sees(tmp_path: Path, libver: str) -> None:
    path = write(tmp_path / "a.h5", libver)
    tree = read(path)
    assert tree.problems == []
    with h5py.File(path) as file:
        names: list[str] = []
        file.visititems(lambda name, thing: names.append(f"/{name}") if isinstance(thing, h5py.Dataset) else None)
        assert sorted(names) == sorted(d.path for d in tree.datasets)
        for dataset in tree.datasets:
            theirs = file[dataset.path]
            assert theirs.shape == dataset.shape
            assert theirs.dtype.itemsize == dataset.kind.size or dataset.kind.kind == "vlen"
            if not dataset.layout.indexed and dataset.layout.kind != "compact":
                assert theirs.id.get_storage_size() == sum(size for _, size in dataset.blocks)


def test_blocks_are_where_the_numbers_lie(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.arange(100, dtype="<f4"))
    (dataset,) = read(path).datasets
    (offset, size) = dataset.blocks[0]
    assert np.array_equal(np.frombuffer(path.read_bytes()[offset : offset + size], "<f4"), np.arange(100))


def test_attributes_are_those_that_h5py_sees(tmp_path: Path, libver: str) -> None:
    path = write(tmp_path / "a.h5", libver)
    found = read(path).attributes["/"]
    with h5py.File(path) as file:
        assert set(found) == set(file.attrs)
    assert found["long"].values == (b"x" * 100_000,)
    assert [v.rstrip(b"\0") for v in found["list"].values] == [b"a", b"bcd"]
    assert found["attribute 39"].values == (b"value 39",)
    assert found["number"].values == ()


def test_many_entries_are_all_found(tmp_path: Path, libver: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver) as file:
        for i in range(1500):
            file.create_group(f"group {i}").attrs["n"] = str(i)
    tree = read(path)
    assert {tree.attributes[f"/group {i}"]["n"].values for i in range(1500)} == {
        (str(i).encode(),) for i in range(1500)
    }


def test_attributes_that_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest", track_order=True) as file:
        for i in range(30):
            file.attrs[f"names {i}"] = np.array([f"layer {j:06}".encode() for j in range(i * 100)] or [b""])
    tree = read(path)
    assert tree.problems == []
    assert {len(a.values) for a in tree.attributes["/"].values()} == {1, *(i * 100 for i in range(1, 30))}
    assert tree.attributes["/"]["names 29"].values[-1] == b"layer 002899"


def test_a_block_of_the_user_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file.create_dataset("w", data=np.ones(3))
    tree = read(path)
    assert (tree.start, [d.path for d in tree.datasets], tree.problems) == (1024, ["/w"], [])


def test_what_leads_out_of_the_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["away"] = h5py.ExternalLink("/etc/passwd", "/x")
        file.create_dataset("outside", (10,), dtype="f4", external=[(str(tmp_path / "raw"), 0, 40)])
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "d", (4,))
        file.create_virtual_dataset("virtual", layout)
    tree = read(path)
    assert [(p, link.kind, link.target) for p, link in tree.links] == [("/away", "external", "/etc/passwd:/x")]
    by_path = {d.path: d for d in tree.datasets}
    assert by_path["/outside"].external == (str(tmp_path / "raw"),)
    assert by_path["/virtual"].layout.kind == "virtual"


def test_a_group_that_holds_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_group("a")["back"] = file["/"]
    assert read(path).problems == []


def test_no_superblock() -> None:
    with pytest.raises(Hdf5Error, match="no HDF5 superblock"):
        hdf5.read(BytesView(b"nothing" * 1000))


def test_what_is_cut_off_is_a_problem(tmp_path: Path, libver: str) -> None:
    data = write(tmp_path / "a.h5", libver).read_bytes()
    for length in range(100, len(data) - 1, len(data) // 15):
        assert outcome(data[:length]) != "clean", length


def test_changed_bytes_never_break_the_reader(tmp_path: Path, libver: str) -> None:
    data = write(tmp_path / "a.h5", libver, groups=3).read_bytes()
    dice = random.Random(7)
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        outcome(bytes(changed))


def outcome(data: bytes) -> Any:
    try:
        return hdf5.read(BytesView(data)).problems or "clean"
    except Hdf5Error as error:
        return str(error)
