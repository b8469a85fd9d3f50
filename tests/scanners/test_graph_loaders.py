"""What hostile graphs do in the real frameworks, and that nbguard says so before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from graph_writers import STANDINS
from sample_set import MARKER, Sample, samples

import nbguard
from nbguard.report.model import Verdict


def sample(name: str) -> Sample:
    found = next(s for s in samples() if s.name == name)
    if not found.available:
        pytest.skip(f"needs {', '.join(found.needs)}")
    return found


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


PADDLE = """
import sys, numpy, paddle
paddle.enable_static()
run = paddle.static.Executor()
program, feeds, fetches = paddle.static.load_inference_model(sys.argv[1] if len(sys.argv) > 1 else "model", run)
print(run.run(program, feed={feeds[0]: numpy.ones((1, 4), "float32")}, fetch_list=fetches)[0].shape)
"""


def test_paddle_runs_what_writes(tmp_path: Path) -> None:
    honest = sample("paddle/version-2").build(tmp_path)
    done = run(PADDLE, honest, FLAGS_enable_pir_api="0")
    assert "(1, 3)" in done.stdout, done.stderr[-2000:]
    assert not (tmp_path / MARKER).exists()
    hostile = sample("paddle/saves").build(tmp_path)
    run(PADDLE, tmp_path, FLAGS_enable_pir_api="0")
    assert (tmp_path / MARKER).exists()
    assert nbguard.scan(str(hostile)).verdict is Verdict.DANGER


EXECUTORCH = """
import sys, torch
from executorch.extension.pybindings import _C
data = open(sys.argv[1], "rb").read()
program = _C._load_for_executorch_from_buffer(data)
print(program.run_method("forward", [torch.ones(1, 4)])[0].shape)
"""


@pytest.mark.parametrize("name", ["honest", "instruction", "memory"])
def test_executorch_runs_only_the_honest_program(tmp_path: Path, name: str) -> None:
    place = sample(f"executorch/{name}").build(tmp_path)
    code = EXECUTORCH.replace("sys.argv[1]", repr(place.name))
    done = run(code, tmp_path, PYTHONPATH=str(STANDINS / "executorch_needs"))
    runs = "torch.Size([1, 5])" in done.stdout
    assert runs is (name == "honest"), done.stderr[-2000:]
    assert (nbguard.scan(str(place)).verdict is Verdict.SAFE) is runs


OPENVINO = "import openvino; print(openvino.Core().read_model('m.xml').get_ops().__len__())"


@pytest.mark.parametrize("name", ["model", "hidden", "library", "cut-off", "edge", "beyond", "version"])
def test_openvino_reads_no_more_than_nbguard(tmp_path: Path, name: str) -> None:
    place = sample(f"openvino/{name}").build(tmp_path)
    done = run(OPENVINO, tmp_path)
    reads = done.returncode == 0 and done.stdout.strip().isdigit()
    assert reads is (name == "model"), done.stderr[-2000:]
    assert (nbguard.scan(str(place)).verdict is Verdict.SAFE) is reads
