"""Names and strings out of a model do not act in the page, wherever the report puts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Browser, LabServer, Notebook
from sample_reports import HOSTILE, report

from nbguard.report import html
from nbguard.report.model import Verdict

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PRELUDE = f"import sys; sys.path.insert(0, {str(SUPPORT)!r})\nfrom sample_reports import *\nfrom nbguard import gate\n"


def unharmed(book: Notebook) -> None:
    page = book.page
    page.evaluate("() => document.querySelectorAll('.nbguard details').forEach(d => d.open = true)")
    page.wait_for_timeout(500)
    assert "PWNED" not in page.title()
    found = page.locator(".nbguard, .nbg-gate").locator("img, script, iframe, a, mjx-container, .MathJax")
    assert [e.evaluate("e => e.outerHTML.slice(0, 200)") for e in found.all()] == []
    assert not [line for line in book.messages if "PWNED" in line or line.startswith("DIALOG")]


def test_reports_full_of_markup(server: LabServer, browser: Browser) -> None:
    asks = [
        PRELUDE + f"gate.ask(report(Verdict.{v}, hostile=HOSTILE), decision(Verdict.{v}), REQUEST).choice"
        for v in ("DANGER", "REVIEW", "UNVERIFIABLE")
    ]
    server.notebook("markup.ipynb", asks)
    book = browser.open(server, "markup.ipynb")
    book.run_cell(0)
    book.answer("I have a reason")
    unharmed(book)
    assert "<img src=x" in " ".join(book.page.locator(".nbg-tick-text").all_inner_texts()), "shown as what it is"
    book.answer("Refuse, load nothing")
    book.see(0, "'refuse'")
    unharmed(book)
    book.run_cell(1)
    book.answer("Refuse")
    book.see(1, "'refuse'")
    book.run_cell(2)
    book.see(2, "'refuse'")
    unharmed(book)
    book.save()
    book.close()
    again = browser.open(server, "markup.ipynb")
    unharmed(again)
    again.close()


def test_a_real_file_with_markup_in_its_names(server: LabServer, browser: Browser) -> None:
    torch = pytest.importorskip("torch")
    name = "<img src=x onerror=\"document.title='PWNED'\">.pt"
    torch.save({HOSTILE.replace("\x1b", ""): torch.zeros(3)}, server.folder / name)
    server.notebook("names.ipynb", [f"%load_ext nbguard\nimport torch\nprint(len(torch.load({name!r})))"])
    book = browser.open(server, "names.ipynb")
    book.run_all()
    book.answer("Load once")
    unharmed(book)
    book.until(lambda: "1\n" in book.printed(0), "it loads")
    unharmed(book)
    book.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_of_its_own(browser: Browser, tmp_path: Path, dark: bool) -> None:
    path = tmp_path / "report.html"
    path.write_text(html.page([report(v, hostile=h) for v in Verdict for h in ("", HOSTILE)]), "utf-8")
    page = browser.file(path, dark=dark)
    assert page.title() == "nbguard report"
    assert page.locator(".nbguard").count() == 2 * len(Verdict)
    assert page.locator("img, script").count() == 0
    background = page.evaluate("() => getComputedStyle(document.querySelector('.nbguard')).backgroundColor")
    assert (sum(map(int, background.strip("rgb()").split(","))) < 300) is dark
    page.context.close()
