"""A server whose pages cannot show widgets: the report stands there with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Browser, LabServer

CELL = "%load_ext nbguard\nimport torch\nprint('loaded', type(torch.load('m.pt', weights_only=False)).__name__)"


def test_the_answer_can_be_typed(browser: Browser, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with LabServer(tmp_path, disabled=["@jupyter-widgets/jupyterlab-manager"]) as server:
        server.notebook("typed.ipynb", [CELL, "%env NBGUARD_FACE=text", CELL])
        book = browser.open(server, "typed.ipynb")
        book.run_cell(0)
        waiting = book.page.locator(".nbg-outcome", has_text="No buttons?")
        waiting.wait_for()
        assert "NBGUARD_FACE=text" in waiting.inner_text()
        book.interrupt()
        book.see(0, "KeyboardInterrupt")
        book.run_cell(1)
        book.run_cell(2)
        box = book.page.locator(".jp-Stdin-input").first
        box.fill("once")
        box.press("Enter")
        book.see(2, "loaded Linear")
        book.close()
