"""The files that are measured on are what they claim to be, and the harness counts what it should."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path

import pytest

from bench import samples
from bench.harness import BenchError, Row, Workplace, interleave, peak_memory, python, run, table


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, repeats=2, scale=0.001)


def test_a_sparse_torch_zip_is_one_for_torch_and_for_zipfile(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    file = tmp_path / "huge.pt"
    samples.sparse_torch_zip(file, 6 * 10**9)
    assert file.stat().st_size > 6 * 10**9
    assert file.stat().st_blocks * 512 < 10**6
    assert zipfile.ZipFile(file).namelist() == ["huge/data.pkl", "huge/byteorder", "huge/data/0", "huge/version"]
    weight = torch.load(file, mmap=True, weights_only=True)["weight"]
    assert weight.shape == (1_500_000_000,)
    assert weight[-1] == 0


def test_a_sparse_safetensors_file_is_one(tmp_path: Path) -> None:
    safe_open = pytest.importorskip("safetensors").safe_open
    file = tmp_path / "huge.safetensors"
    samples.sparse_safetensors(file, 6 * 10**9)
    with safe_open(file, "np") as opened:
        assert opened.get_slice("weight").get_shape() == [1_500_000_000]


@pytest.mark.parametrize("make", [samples.records, samples.objects])
def test_object_pickles_have_about_the_size_that_was_asked_for(make: object) -> None:
    assert callable(make)
    assert 0.85 < len(pickle.dumps(make(10**6), protocol=4)) / 10**6 < 1.15


def test_children_take_turns_and_the_first_round_does_not_count(place: Workplace) -> None:
    script = "import json, sys; open('log', 'a').write(sys.argv[1]); print(json.dumps({'x': 3}))"
    left, right = interleave([python(script, "a"), python(script, "b")], place)
    assert (place.folder / "log").read_text() == "ababab"
    assert len(left.walls) == len(right.walls) == 2
    assert left.of("x") == 3


def test_memory_of_grandchildren_counts(place: Workplace) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    inner = "x = b'1' * (200 << 20); import sys; sys.stdin.read(0)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    assert peak_memory(python(script), place)["largest"] > 150


def test_a_child_that_fails_is_no_result(place: Workplace) -> None:
    with pytest.raises(BenchError, match="ended with 3"):
        run(python("import sys; sys.exit(3)"), place)


def test_the_table_says_which_goal_was_missed() -> None:
    text = table(
        [Row("a", "x", 1.0, "s", ratio=1.0, goal="<= 2", met=True), Row("b", "y", 9.0, "ms", goal="<= 2", met=False)]
    )
    assert "met" in text.splitlines()[2]
    assert "MISSED" in text.splitlines()[3]
