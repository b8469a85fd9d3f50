"""In JupyterLab: safetensors in the place of a pickle by one button, found or made, and a notebook answered first."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lab import Browser, LabServer
from safetensors.torch import save_file
from transformers import BertConfig, BertModel


class Payload:
    """Leaves a mark where it was run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def model_folder(place: Path, marker: Path) -> None:
    """A model whose weights are a hostile pickle, with safetensors of another precision beside it."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=9, **sizes))
    model.config.save_pretrained(place)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, place / "model.fp16.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    torch.save({"embeddings": Payload(marker)}, place / "pytorch_model.bin")


def test_the_safetensors_instead_by_one_click(server: LabServer, browser: Browser, tmp_path: Path) -> None:
    place, marker = server.folder / "both", tmp_path / "it-ran"
    model_folder(place, marker)
    cells = [
        "%load_ext nbguard\nfrom transformers import AutoModel",
        "model = AutoModel.from_pretrained('./both')\nprint('loaded', type(model).__name__, model.dtype)",
    ]
    server.notebook("instead.ipynb", cells)
    book = browser.open(server, "instead.ipynb")
    book.run_cell(0)
    book.run_cell(1)
    book.button("Load the safetensors instead").wait_for()
    shown = book.outputs(1) + book.page.locator(".nbg-gate").first.inner_text()
    assert "model = AutoModel.from_pretrained('./both', use_safetensors=True, variant=\"fp16\")" in shown
    if os.environ.get("NBGUARD_SCREENSHOTS"):
        book.page.screenshot(path=os.path.join(os.environ["NBGUARD_SCREENSHOTS"], "instead.png"))
    book.answer("Load the safetensors instead")
    book.see(1, "loaded BertModel")
    book.see(1, "chose the safetensors")
    assert not marker.exists()
    book.close()


def test_a_pickle_is_converted_and_that_loaded_by_one_click(server: LabServer, browser: Browser) -> None:
    place = server.folder / "pickled"
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=9, **sizes))
    model.config.save_pretrained(place)
    torch.save(model.state_dict(), place / "pytorch_model.bin")
    cells = [
        "%load_ext nbguard\nfrom transformers import AutoModel",
        "model = AutoModel.from_pretrained('./pickled')\nprint('loaded', type(model).__name__)",
    ]
    server.notebook("convert.ipynb", cells)
    book = browser.open(server, "convert.ipynb")
    book.run_cell(0)
    book.run_cell(1)
    book.button("Convert to safetensors and load that").wait_for()
    if os.environ.get("NBGUARD_SCREENSHOTS"):
        book.page.screenshot(path=os.path.join(os.environ["NBGUARD_SCREENSHOTS"], "convert.png"))
    book.answer("Convert to safetensors and load that")
    book.see(1, "loaded BertModel")
    book.see(1, "converted to safetensors")
    if os.environ.get("NBGUARD_SCREENSHOTS"):
        book.page.screenshot(path=os.path.join(os.environ["NBGUARD_SCREENSHOTS"], "converted.png"))
    assert list(place.glob("*.safetensors")) == []
    book.close()


def test_a_notebook_is_answered_before_run_all(server: LabServer, browser: Browser) -> None:
    for name in ("first", "second"):
        (server.folder / f"{name}.pkl").write_bytes(pickle.dumps([name]))
    cells = [
        "%load_ext nbguard\n%safemodel preflight",
        "import pickle\nfrom pathlib import Path\nHERE = Path('.')",
        "with open(HERE / 'first.pkl', 'rb') as file:\n    print('got', pickle.load(file))",
        "print('got', [pickle.load(open(f'{name}.pkl', 'rb')) for name in ['second']])",
    ]
    server.notebook("preflight.ipynb", cells)
    book = browser.open(server, "preflight.ipynb")
    book.run_all()
    book.button("Load once").wait_for()
    if os.environ.get("NBGUARD_SCREENSHOTS"):
        book.page.screenshot(path=os.path.join(os.environ["NBGUARD_SCREENSHOTS"], "preflight.png"))
    assert "2 loads of this notebook" in book.page.locator(".nbg-gate").first.inner_text()
    book.answer("Load once")
    book.see(2, "got ['first']")
    book.see(3, "got [['second']]")
    assert "cell 3, line 2" in book.printed(0)
    book.close()
