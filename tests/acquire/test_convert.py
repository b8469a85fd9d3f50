"""Pickled weights become safetensors: bit for bit, apart from everything, or not at all."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from loopback_hub.catalogue import files_of
from safetensors import safe_open

import nbguard
from nbguard.acquire import convert as converting
from nbguard.acquire.convert import ConversionError, convert

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64,
)  # fmt: skip


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def read(path: Path | str) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def test_every_type_and_shape_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    state = {str(d): (torch.randn(3, 5) * 3).to(d) for d in DTYPES}
    state |= {
        "base": base, "tied": base, "transposed": base.t(), "overlapping": base[1:3], "empty": torch.empty(0, 3),
        "scalar": torch.tensor(1.5), "nan": torch.tensor([float("nan"), -0.0]), "expanded": torch.ones(1).expand(7),
        "parameter": torch.nn.Parameter(torch.ones(2)), "strided": torch.arange(20)[::3],
    }  # fmt: skip
    made = convert(saved(tmp_path / "pytorch_model.bin", state))
    found = read(made.path)
    assert set(found) == set(state)
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert bits(found[name]) == bits(tensor.detach()), name
    assert Path(made.path).name == "pytorch_model.safetensors"


def test_the_layers_that_hold_are_named_and_the_notes_tell_the_digests(tmp_path: Path) -> None:
    made = convert(saved(tmp_path / "m.bin", {"w": torch.ones(3)}))
    assert "limits" in made.files[0].layers
    notes = (tmp_path / "m.safetensors.CONVERSION.md").read_text()
    assert made.files[0].sha256 in notes
    assert made.files[0].source_sha256 in notes


def test_arrays_of_numpy_are_converted_too(tmp_path: Path) -> None:
    numpy.savez(tmp_path / "arrays.npz", a=numpy.arange(6.0).reshape(2, 3), b=numpy.array([1, 2], dtype=">i4"))
    made = convert(tmp_path / "arrays.npz")
    assert read(made.path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read(made.path)["b"].tolist() == [1, 2]


def test_a_trainers_checkpoint_gives_its_weights_and_says_what_was_left_out(tmp_path: Path) -> None:
    made = convert(saved(tmp_path / "last.ckpt", {"state_dict": {"w": torch.ones(2)}, "epoch": 3, "lr": [0.1]}))
    assert set(read(made.path)) == {"w"}
    assert made.files[0].left_out == ("epoch", "lr")


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize(
    "value",
    [
        {"w": torch.eye(3).to_sparse()},
        torch.nn.Linear(2, 2),
    ],
    ids=["sparse", "a module"],
)
def test_what_is_not_pure_data_is_refused_and_nothing_is_left(tmp_path: Path, value: Any) -> None:
    path = saved(tmp_path / "m.bin", value)
    with pytest.raises(ConversionError):
        convert(path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.bin"]


def test_a_payload_is_refused_with_its_report_and_never_runs(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = saved(tmp_path / "m.bin", {"w": torch.ones(2), "x": Payload(marker)})
    with pytest.raises(ConversionError) as refused:
        convert(path)
    assert refused.value.report is not None
    assert refused.value.report.verdict.word == "danger"
    assert not marker.exists()


def test_a_blinded_scanner_still_converts_nothing_that_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "m.bin"
    path.write_bytes(pickle.dumps(Payload(marker)))
    monkeypatch.setattr(converting, "_scanned", lambda opened, weights: None)
    monkeypatch.setattr(converting, "_kinds", lambda report, weights: {f.path: "torch" for f in weights})
    with pytest.raises(ConversionError, match="could not be read as pure data"):
        convert(path)
    assert not marker.exists()


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.bin", {"w": torch.ones(2)})
    (tmp_path / "m.safetensors").write_text("mine")
    with pytest.raises(ConversionError, match="there already"):
        convert(path)
    assert (tmp_path / "m.safetensors").read_text() == "mine"


def test_a_folder_that_is_not_a_conversion_is_never_replaced(tmp_path: Path) -> None:
    folder, mine = tmp_path / "model", tmp_path / "mine"
    for place in (folder, mine):
        place.mkdir()
    saved(folder / "pytorch_model.bin", {"w": torch.ones(2)})
    (mine / "thesis.txt").write_text("mine")
    for place in (mine, folder, tmp_path):
        with pytest.raises(ConversionError, match="not made by a conversion"):
            convert(folder, place, overwrite=True)
    made = convert(folder, tmp_path / "made")
    (made_file := tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConversionError, match="is no folder"):
        convert(folder, made_file, overwrite=True)
    assert made_file.read_text() == "mine"
    assert convert(folder, made.path, overwrite=True).path == made.path
    assert (mine / "thesis.txt").read_text() == "mine"
    assert (folder / "pytorch_model.bin").exists()


def test_a_repository_becomes_a_folder_that_loads(hub: Any, tmp_path: Path) -> None:
    hub.store.push("demo/only-pickles", files_of("demo/tiny-bert-bin"))
    made = convert("demo/only-pickles", tmp_path / "made")
    names = {p.name for p in Path(made.path).iterdir()}
    assert {"config.json", "model.safetensors", "CONVERSION.md"} <= names
    assert not [n for n in names if n.endswith((".bin", ".py"))]
    assert made.commit is not None


def test_shards_keep_their_index(tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    shards = {f"pytorch_model-0000{n}-of-00002.bin": {f"w{n}": torch.full((2,), float(n))} for n in (1, 2)}
    for name, state in shards.items():
        saved(folder / name, state)
    weight_map = {key: name for name, state in shards.items() for key in state}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    made = convert(folder, tmp_path / "made")
    index = json.loads((tmp_path / "made" / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {
        "w1": "model-00001-of-00002.safetensors",
        "w2": "model-00002-of-00002.safetensors",
    }
    assert len(made.files) == 2


ATTEMPTS = {
    "write a file elsewhere": "open(elsewhere, 'w')",
    "read a file elsewhere": "open('/etc/passwd').read()",
    "start a program": "os.execv('/bin/true', ['true'])",
    "connect": "__import__('socket').socket()",
    "send datagrams": "__import__('socket').socket(2, 2)",
    "start a process": "os.fork()",
    "start a process by another call": "subprocess.Popen(['/bin/true'])",
    "trace a process": "assert __import__('ctypes').CDLL(None).ptrace(0, 0, 0, 0) == 0",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's own")
@pytest.mark.parametrize("attempt", list(ATTEMPTS))
def test_a_confined_process_can_do_nothing_but_write_its_folder(tmp_path: Path, attempt: str) -> None:
    (tmp_path / "own").mkdir()
    program = f"""
import os, socket, ctypes, subprocess, sys, threading
from nbguard.acquire.confine import confine
layers = confine({str(tmp_path / "own")!r}, memory=8 << 30, file_size=1 << 20, seconds=20)
open({str(tmp_path / "own" / "made")!r}, "w").close()
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
elsewhere = {str(tmp_path / "elsewhere")!r}
try:
    {ATTEMPTS[attempt]}
except (OSError, AssertionError) as error:
    print("stopped", layers)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if "landlock" not in done.stdout and "file" in attempt:
        pytest.skip(f"this kernel has no Landlock: {done.stdout}{done.stderr}")
    assert done.stdout.startswith("stopped"), done.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_it_is_on_the_command_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.bin", {"w": torch.ones(3)})
    command = [sys.executable, "-m", "nbguard", "convert", str(path), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["tensors"] == 1
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "there already" in again.stderr
    assert nbguard.convert is convert


def test_what_was_asked_for_has_the_usual_permissions_unless_it_is_private(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    torch.save({"w": torch.ones(2)}, tmp_path / "model" / "pytorch_model.bin")
    before = os.umask(0o022)
    try:
        convert(tmp_path / "model", tmp_path / "made")
        convert(tmp_path / "model", tmp_path / "own", private=True)
        convert(tmp_path / "model" / "pytorch_model.bin", tmp_path / "one.safetensors")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "made").iterdir()}
    assert (set(modes.values()), (tmp_path / "made").stat().st_mode & 0o777) == ({0o644}, 0o755)
    assert (tmp_path / "one.safetensors").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


def test_why_it_was_not_converted_is_a_sentence_and_lines_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"cos\nmkdir\n(S'it-ran'\ntR.")
    command = [sys.executable, "-m", "nbguard", "convert", str(tmp_path / "m.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "nbguard: It is not converted, because it is not pure data."
    assert len(done.stderr.splitlines()) > 2
    assert "\\n" not in done.stderr
