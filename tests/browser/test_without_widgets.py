"""A server whose pages cannot show widgets: the question is typed, without a person having to know why."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Browser, LabServer

CELL = "%load_ext nbguard\nimport torch\nprint('loaded', type(torch.load('m.pt', weights_only=False)).__name__)"


def test_the_answer_can_be_typed(browser: Browser, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with LabServer(tmp_path, disabled=["@jupyter-widgets/jupyterlab-manager"]) as server:
        server.notebook("typed.ipynb", [CELL])
        book = browser.open(server, "typed.ipynb")
        book.run_cell(0)
        box = book.page.locator(".jp-Stdin-input").first
        box.wait_for()
        assert "REVIEW" in book.page.locator(".nbguard").first.inner_text()
        box.fill("once")
        box.press("Enter")
        book.see(0, "loaded Linear")
        book.close()
