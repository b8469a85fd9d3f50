"""The page goes away in the middle of a question, or there are two: never a load, never a cell that nobody can end."""

from __future__ import annotations

import os

import pytest
from lab import START, Browser, LabServer, Notebook

CELLS = [
    "%load_ext nbguard\nimport torch",
    "model = None\nmodel = torch.load({!r}, weights_only=False)\nprint('loaded')",
    "print('have', type(globals().get('model')).__name__)",
]
GONE = "The kernel that asked is gone. Nothing was loaded."
KERNEL = "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel"


@pytest.fixture
def module(server: LabServer) -> str:
    torch = pytest.importorskip("torch")
    number = len(os.listdir(server.folder))
    torch.manual_seed(1_000 + number)  # content of its own, so that no test's approval covers another's
    path = server.folder / f"lost-{number}.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    return path.name


def asked(server: LabServer, browser: Browser, module: str, kernel: str = "python3") -> Notebook:
    """A notebook whose second cell waits for an answer."""
    name = f"{module}.ipynb"
    server.notebook(name, [cell.format(module) for cell in CELLS], kernel=kernel)
    book = browser.open(server, name)
    book.run_cell(0)
    book.until(lambda: book.cells()[0]["execution_count"] is not None, "the first cell has run")
    book.run_cell(1)
    book.button("Load once").wait_for()
    return book


def reload(book: Notebook) -> None:
    book.page.reload()
    book.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=START)


def test_a_saved_notebook_can_be_answered_after_a_reload(
    server: LabServer, browser: Browser, kernel: str, module: str
) -> None:
    book = asked(server, browser, module, kernel)
    book.save()
    reload(book)
    book.answer("Load once")
    book.page.get_by_text("Accepted by").wait_for()
    assert book.page.locator("button.jupyter-button").count() == 0
    book.run_until(2, "have Linear")
    book.close()


def test_after_a_reload_without_saving_the_stop_button_ends_it(
    server: LabServer, browser: Browser, module: str
) -> None:
    book = asked(server, browser, module)
    reload(book)
    book.page.wait_for_function(f"() => {KERNEL}?.connectionStatus === 'connected'")
    book.interrupt()
    book.run_until(2, "have NoneType")
    book.close()


def test_two_pages_show_one_decision(server: LabServer, browser: Browser, module: str) -> None:
    book = asked(server, browser, module)
    book.save()
    page = book.page.context.new_page()
    page.goto(server.url(f"lab/tree/{module}.ipynb"))
    second = Notebook(page)
    second.button("Load once").wait_for()
    late = second.button("Always allow this content")
    book.page.bring_to_front()
    book.answer("Refuse")
    book.see(1, "Refused. Nothing was loaded.")
    page.bring_to_front()
    page.get_by_text("Refused. Nothing was loaded.").wait_for()
    assert late.count() == 0, "there is nothing left to press in the other page"
    second.forge("always", {"method": "custom", "content": {"event": "click"}})
    book.page.bring_to_front()
    book.run_until(2, "have NoneType")
    book.close()


def test_a_lost_connection_comes_back_to_the_question(server: LabServer, browser: Browser, module: str) -> None:
    book = asked(server, browser, module)
    lose = (  # told by the signal: the connection may be back before anybody looks at its state
        f"() => {{ const kernel = {KERNEL}; window.lost = false;"
        " kernel.connectionStatusChanged.connect((_, status) => { window.lost ||= status !== 'connected' });"
        " kernel._ws.close() }"
    )
    book.page.evaluate(lose)
    book.page.wait_for_function("() => window.lost")
    book.page.wait_for_function(f"() => {KERNEL}.connectionStatus === 'connected'")
    book.answer("Load once")
    book.see(1, "loaded")
    book.close()


def test_a_restart_is_a_refusal(server: LabServer, browser: Browser, module: str) -> None:
    book = asked(server, browser, module)
    book.page.evaluate(f"() => {{ void {KERNEL}.restart() }}")
    words = "() => getComputedStyle(document.querySelector('.nbg-ask'), '::after').content"
    book.until(lambda: GONE in book.page.evaluate(words), "the page says what became of the question")
    assert not book.button("Load once").is_visible()
    book.run_until(2, "have NoneType")
    assert "loaded" not in book.printed(1)
    book.close()
