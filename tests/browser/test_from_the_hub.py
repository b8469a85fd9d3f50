"""In JupyterLab: a repository on a Hub is asked about before any of its weights are downloaded, then downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from lab import Browser, LabServer
from loopback_hub import Hub
from safetensors.torch import save
from transformers import BertConfig, BertModel


def cached(repo: str) -> list[Path]:
    base = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    return [p for p in base.rglob("*") if p.is_file()]


def picture(page: Any, name: str) -> None:
    if os.environ.get("NBGUARD_SCREENSHOTS"):
        page.screenshot(path=os.path.join(os.environ["NBGUARD_SCREENSHOTS"], name))


def test_the_question_comes_before_the_download(server: LabServer, browser: Browser, hub: Hub) -> None:
    model = BertModel(BertConfig(vocab_size=30_000, hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
                                 intermediate_size=256))  # fmt: skip
    files = {
        "config.json": model.config.to_json_string().encode(),
        "model.safetensors": save({k: v.contiguous() for k, v in model.state_dict().items()}, {"format": "pt"}),
    }
    repo = "acme/from-the-hub"
    hub.store.push(repo, files)
    cells = [
        "%load_ext nbguard\nfrom transformers import AutoModel",
        f"model = AutoModel.from_pretrained('{repo}')\nprint('loaded', type(model).__name__)",
    ]
    server.notebook("hub.ipynb", cells)
    book = browser.open(server, "hub.ipynb")
    book.run_cell(0)
    book.run_cell(1)
    book.button("Load").wait_for()
    picture(book.page, "hub-question.png")
    shown = book.page.locator(".nbg-gate").first.inner_text()
    assert "Accepting it downloads 2 files, 16.8 MB" in shown
    assert cached(repo) == []
    book.answer("Load")
    book.see(1, "loaded BertModel")
    picture(book.page, "hub-loaded.png")
    assert any(p.name == "model.safetensors" for p in cached(repo))
    book.close()
