"""Honest libraries work as ever with the guard on: no question, no refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from bench import honest_work

NAMES = [name for name in honest_work.WORK if name != "DataLoader spawn"]
"""Spawned workers of torch import it anew: too long for every run of the tests; `pool spawn` stands for it."""
HARMLESS = {"load.own", "load.explained", "load.weights_only", "load.nested", "load.settled", "load.allowed"}


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NBGUARD_")}
    root = str(Path(__file__).parents[2])
    return kept | {
        "NBGUARD_DATA_DIR": str(tmp_path / "data"),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": root,
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "HF_HUB_OFFLINE": "1",
    }


def logged(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "data" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def stopped(tmp_path: Path) -> list[dict[str, Any]]:
    return [e for e in logged(tmp_path) if e["event"].startswith(("load.", "own.")) and e["event"] not in HARMLESS]


def test_no_library_is_asked_about_or_refused(tmp_path: Path) -> None:
    script = Path(honest_work.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "on", "1", *NAMES],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(json.loads(done.stdout.splitlines()[-1])) == NAMES
    assert stopped(tmp_path) == []


TRAINING = """
%load_ext nbguard
---
import torch, warnings
warnings.simplefilter("ignore")
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
    def forward(self, x):
        return self.layer(x)
net = Net()
optimizer = torch.optim.AdamW(net.parameters())
---
for step in range(10):
    net(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, f"state-{step}.pt")
    torch.save(net, f"whole-{step}.pt")
for step in range(10):
    state = torch.load(f"state-{step}.pt", weights_only=True)
    net.load_state_dict(state["net"])
    again = torch.load(f"whole-{step}.pt", weights_only=False)
print("checkpoints", step, type(again).__name__)
---
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification
from transformers import Trainer, TrainingArguments, pipeline
config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
class Rows(torch.utils.data.Dataset):
    def __len__(self): return 16
    def __getitem__(self, row): return {"input_ids": torch.randint(5, 30, (8,)), "labels": torch.tensor(row % 2)}
def trainer(steps):
    arguments = TrainingArguments("out", max_steps=steps, save_steps=2, per_device_train_batch_size=4, report_to=[],
                                  use_cpu=True, disable_tqdm=True)
    return Trainer(BertForSequenceClassification(config), arguments, train_dataset=Rows())
trainer(4).train()
done = trainer(6)
done.train(resume_from_checkpoint=True)
print("steps", done.state.global_step)
---
arguments = torch.load("out/checkpoint-6/training_args.bin", weights_only=False)
model = AutoModelForSequenceClassification.from_pretrained("out/checkpoint-6")
done.save_model("final")
model = AutoModelForSequenceClassification.from_pretrained("final")
print("loaded", type(model).__name__, arguments.max_steps)
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_training_notebook_with_its_checkpoints_asks_never(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in TRAINING.split("---\n")]
    client = nbclient.NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=environment(tmp_path))
    text = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == "stdout")
    assert "checkpoints 9 Net" in text
    assert "steps 6" in text
    assert "loaded BertForSequenceClassification 6" in text
    assert stopped(tmp_path) == []
    own = [e for e in logged(tmp_path) if e["event"] == "load.own"]
    assert {e["loader"] for e in own} >= {"torch.load", "AutoModelForSequenceClassification.from_pretrained"}
    assert [e["verdict"] for e in own if str(e["target"]).startswith("whole-")] == ["review"] * 10
