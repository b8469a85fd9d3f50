"""The hostile pickles of the sample set are no paper tigers: the real loaders run their payloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_set import Sample, samples

FAMILIES = ("pickle", "torch-zip", "torch-legacy", "joblib")
PROVEN = tuple(s for s in samples() if s.name.split("/")[0] in FAMILIES and s.loads is not None and s.available)
_PROGRAM = """
import json, os, sys, tempfile
from pathlib import Path
from sample_set import MARKER, samples
import joblib, torch
ran = {}
for sample in samples():
    if sample.name not in sys.argv[2:]:
        continue
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    child = os.fork()
    if child == 0:
        place = sample.build(folder)
        os.chdir(folder)
        sample.loads(place)
        os._exit(0)
    os.waitpid(child, 0)
    ran[sample.name] = (folder / MARKER).exists()
print(json.dumps(ran))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Sample → whether its marker was there after the real loader. One process for all, a fork of it for each."""
    pytest.importorskip("torch")
    pytest.importorskip("joblib")
    support = str(Path(__file__).parents[1] / "support")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path_factory.mktemp("loads")), *(s.name for s in PROVEN)],
        env={**os.environ, "PYTHONPATH": support},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, bool] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each loader runs in a fork")
@pytest.mark.parametrize("sample", PROVEN, ids=lambda s: s.name)
def test_the_real_loader_runs_the_payload(sample: Sample, ran: dict[str, bool]) -> None:
    assert ran[sample.name]
