"""The tricks of the samples, tried on the libraries that load such files: one process for a few families."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sample_set import samples

FAMILIES = (("safetensors", "gguf", "hdf5"), ("onnx", "ort"), ("tf", "tflite"), ("keras", "keras-hdf5"))
SUPPORT = Path(__file__).parents[1] / "support"
SCRIPT = """
import os, sys, traceback
from pathlib import Path
from sample_set import samples
for sample in samples():
    if sample.name.partition("/")[0] in sys.argv[2:] and sample.loads is not None and sample.available:
        place = Path(sys.argv[1], sample.name.replace("/", "-"))
        (place / "sample").mkdir(parents=True)
        (place / "cwd").mkdir()
        os.chdir(place / "cwd")
        try:
            sample.loads(sample.build(place / "sample"))
        except Exception:
            print("FAILED", sample.name, traceback.format_exc().splitlines()[-1][:300])
        else:
            print("PROVEN", sample.name)
"""


@pytest.mark.parametrize("families", FAMILIES, ids=lambda families: families[0])
def test_the_tricks_are_real(families: tuple[str, ...], tmp_path: Path) -> None:
    proofs = [s for s in samples() if s.loads is not None and s.available]
    wanted = [s.name for s in proofs if s.name.partition("/")[0] in families]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *families],
        env={"PYTHONPATH": str(SUPPORT), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAILED")] == [], done.stderr[-2000:]
    assert sorted(line.removeprefix("PROVEN ") for line in lines if line.startswith("PROVEN")) == wanted
