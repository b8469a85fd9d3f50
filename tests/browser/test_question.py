"""A person in JupyterLab runs a cell that loads a model, and answers; real files, real kernel, real browser."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from lab import Browser, LabServer, Notebook

SETUP = "%load_ext nbguard\nimport torch"


class Payload:
    """Leaves a mark where it was run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def module(server: LabServer) -> str:
    """A whole torch module: library objects, a case for review."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(len(os.listdir(server.folder)))  # content of its own, so that no test's approval covers another's
    path = server.folder / f"module-{len(os.listdir(server.folder))}.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    return path.name


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def hostile(server: LabServer, marker: Path) -> str:
    path = server.folder / f"hostile-{len(os.listdir(server.folder))}.pkl"
    path.write_bytes(pickle.dumps({"weights": [0.0] * 10, "config": Payload(marker)}))
    return path.name


def load(name: str) -> str:
    return f"model = torch.load({name!r}, weights_only=False)\nprint('loaded', type(model).__name__)"


def open_book(server: LabServer, browser: Browser, name: str, cells: list[str], kernel: str = "python3") -> Notebook:
    server.notebook(name, cells, kernel=kernel)
    return browser.open(server, name)


def test_accept_refuse_interrupt(server: LabServer, browser: Browser, kernel: str, module: str) -> None:
    book = open_book(server, browser, f"answers-{kernel}.ipynb", [SETUP, *[load(module)] * 3, "print('alive')"], kernel)
    book.run_cell(0)
    book.run_cell(1)
    book.answer("Load once")
    book.see(1, "loaded Linear")
    book.see(1, "Accepted by")
    assert "widget-view" not in book.outputs(1), "only what a saved notebook can show again"

    book.run_cell(2)
    book.answer("Refuse")
    book.see(2, "LoadBlocked")
    assert "loaded" not in book.printed(2)
    assert "Nothing was loaded" in book.outputs(2)

    book.run_cell(3)
    book.button("Load once").wait_for()
    book.interrupt()
    book.see(3, "KeyboardInterrupt")
    book.see(3, "Interrupted; nothing was loaded")
    assert "loaded" not in book.printed(3)
    book.run_until(4, "alive")
    book.close()


def test_run_all_always_save_and_reopen(server: LabServer, browser: Browser, kernel: str) -> None:
    name = f"always-{kernel}.ipynb"
    data = server.folder / f"weights-{kernel}.pkl"
    data.write_bytes(pickle.dumps({"weights": [0.5] * 100, "for": kernel}))
    reading = f"import pickle\nmodel = pickle.load(open({data.name!r}, 'rb'))\nprint('loaded', len(model))"
    below = ["order.append(1)", "order.append(2); print(order)"]
    cells = ["%load_ext nbguard\norder = []", f"{reading}\norder.append('load')", *below]
    book = open_book(server, browser, name, cells, kernel)
    book.run_all()
    book.answer("Always allow this content")
    book.see(3, "['load', 1, 2]")

    book.run_cell(1)
    book.see(1, "Loaded without a question")
    book.see(1, "loaded 2")
    assert book.page.locator("button.jupyter-button").count() == 0
    book.save()
    book.close()

    again = browser.open(server, name)
    verdict = again.page.locator(".jp-OutputArea .nbguard").first
    verdict.wait_for()
    assert "Safe" in verdict.inner_text()
    assert data.name in verdict.inner_text()
    assert "Error displaying widget" not in again.page.inner_text("body")
    again.close()


def test_danger_and_forged_messages(
    server: LabServer, browser: Browser, kernel: str, hostile: str, marker: Path
) -> None:
    cell = f"import pickle\nmodel = pickle.load(open({hostile!r}, 'rb'))\nprint('loaded')"
    book = open_book(server, browser, f"danger-{kernel}.ipynb", ["%load_ext nbguard", cell], kernel)
    book.run_all()
    refuse = book.button("Refuse, load nothing")
    refuse.wait_for()
    assert not book.button("Load anyway").is_visible()
    book.rest()
    for role in ("once", "always", "tick-0", "once"):  # nothing of this is in use yet
        book.forge(role, {"method": "custom", "content": {"event": "click"}})
        book.forge(role, {"method": "update", "state": {"value": True, "disabled": False}})
    book.answer("I have a reason")
    assert book.button("Load anyway").is_disabled()
    book.rest()
    book.forge("once", {"method": "custom", "content": {"event": "click"}})
    # The page can pretend that a button is enabled; the kernel knows better.
    book.page.evaluate("() => document.querySelectorAll('button.jupyter-button').forEach(b => b.disabled = false)")
    book.button("Load anyway").click(force=True)
    book.page.wait_for_timeout(500)
    assert book.button("Refuse, load nothing").is_visible(), "nothing was decided"
    book.answer("Refuse, load nothing")
    book.see(1, "LoadBlocked")
    book.forge("once", {"method": "custom", "content": {"event": "click"}})
    book.page.wait_for_timeout(300)
    assert "loaded" not in book.printed(1)
    assert not marker.exists()
    book.close()


def test_the_keyboard_is_enough(server: LabServer, browser: Browser, module: str) -> None:
    book = open_book(server, browser, "keyboard.ipynb", [SETUP, load(module)])
    book.run_cell(0)
    book.until(lambda: book.cells()[0]["execution_count"] is not None, "the first cell has run")
    book.run_cell(1)
    book.button("Load once").wait_for()
    focused = "() => document.activeElement.innerText"
    book.until(lambda: book.page.evaluate(focused) == "Refuse", "the answer that does no harm has the keyboard")
    book.rest()
    book.page.keyboard.press("Tab")
    assert book.page.evaluate(focused) == "Load once"
    outline = "() => getComputedStyle(document.activeElement).outlineStyle"
    assert book.page.evaluate(outline) == "solid", "one can see where the keyboard is"
    book.page.keyboard.press("Enter")
    book.see(1, "loaded Linear")
    book.close()


def test_notebook_7(server: LabServer, browser: Browser, module: str) -> None:
    server.notebook("seven.ipynb", [SETUP, load(module)])
    book = browser.open(server, "seven.ipynb", app="notebook")
    book.run_all()
    book.answer("Load once")
    book.see(1, "loaded Linear")
    book.close()
