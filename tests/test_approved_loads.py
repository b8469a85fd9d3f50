"""What `nbguard approve` was given for loads unattended in another process under `strict`, and nothing else does."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nbguard import cli

LOADS = """
import json, pickle, sys
import nbguard
nbguard.install()
import joblib, numpy, pandas, torch
from sklearn.linear_model import LogisticRegression

loads = {
    "pickle.pkl": lambda p: pickle.load(open(p, "rb")),
    "model.joblib": joblib.load,
    "model.joblib.z": joblib.load,
    "weights.pt": torch.load,
    "module.pt": lambda p: torch.load(p, weights_only=False),
    "objects.npy": lambda p: numpy.load(p, allow_pickle=True),
    "table.pkl": pandas.read_pickle,
    "big.pt": lambda p: torch.load(p, weights_only=False),
}
found = {}
for name, load in loads.items():
    try:
        load(name)
        found[name] = "loaded"
    except nbguard.LoadBlocked as stopped:
        found[name] = "stopped" if not isinstance(stopped, nbguard.ContractViolation) else str(stopped)
print(json.dumps(found))
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import joblib
    import numpy as np
    import pandas as pd
    import torch
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "nbguard-data"))
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    model = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])
    Path("pickle.pkl").write_bytes(pickle.dumps(model))
    joblib.dump(model, "model.joblib")
    joblib.dump(model, "model.joblib.z", compress=3)
    torch.save({"w": torch.zeros(3)}, "weights.pt")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    np.save("objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    pd.DataFrame({"a": [1, 2]}).to_pickle("table.pkl")
    torch.save({"w": torch.zeros(9_000_000), "m": torch.nn.Linear(2, 2)}, "big.pt")
    return folder


def loaded() -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_an_approval_lets_exactly_this_content_load_unattended(models, capsys):
    for path in sorted(models.iterdir()):
        assert cli.main(["approve", path.name, "--reason", "ours"]) == 0
    assert set(loaded().values()) == {"loaded"}
    with open("big.pt", "r+b") as file:  # bulk data only: the same layout and programs, other tensors
        file.seek(20_000_000)
        file.write(b"\1")
    assert {name for name, what in loaded().items() if what != "loaded"} == {"big.pt"}
    for path in models.iterdir():
        cli.main(["revoke", path.name])
    assert set(loaded().values()) == {"stopped"}, "strict: nothing loads that nobody approved"
