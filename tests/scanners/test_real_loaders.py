"""The tricks of the samples, tried on the libraries that load such files: one process for each family."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sample_set import samples

FAMILIES = ("safetensors", "gguf", "onnx", "ort", "tf", "tflite", "keras", "hdf5")
SUPPORT = Path(__file__).parents[1] / "support"
SCRIPT = """
import os, sys, traceback
from pathlib import Path
from sample_set import samples
for sample in samples():
    if sample.name.startswith(sys.argv[1] + "/") and sample.loads is not None and sample.available:
        place = Path(sys.argv[2], sample.name.replace("/", "-"))
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


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tricks_are_real(family: str, tmp_path: Path) -> None:
    wanted = [s.name for s in samples() if s.name.startswith(f"{family}/") and s.loads is not None and s.available]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, family, str(tmp_path)],
        env={"PYTHONPATH": str(SUPPORT), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAILED")] == [], done.stderr[-2000:]
    assert sorted(line.removeprefix("PROVEN ") for line in lines if line.startswith("PROVEN")) == wanted
