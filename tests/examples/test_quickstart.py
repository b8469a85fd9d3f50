"""The quickstart notebook runs from top to bottom where nobody can be asked, and no payload runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Source of each code cell → the text that it put out."""
    scratch = tmp_path_factory.mktemp("quickstart")
    notebook: Any = nbformat.read(EXAMPLES / "quickstart.ipynb", 4)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "NBGUARD_"))}
    environment |= {
        "NBGUARD_DATA_DIR": str(scratch / "data"),
        "NBGUARD_POLICY": "balanced",
        "NBGUARD_DEMO_MARKER": str(scratch / "ran"),
        "IPYTHONDIR": str(scratch / "ipython"),
    }
    client = nbclient.NotebookClient(
        notebook, timeout=150, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute(env=environment)
    assert not (scratch / "ran").exists()
    return {c.source: "".join(_text(o) for o in c.outputs) for c in notebook.cells if c.cell_type == "code"}


def _text(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def cell(outputs: dict[str, str], part: str) -> str:
    return next(text for source, text in outputs.items() if part in source)


def test_the_honest_model_answers(outputs: dict[str, str]) -> None:
    assert "TIVE (it has never been trained)" in cell(outputs, "a really good movie")


def test_a_scan_shows_the_verdict_without_loading(outputs: dict[str, str]) -> None:
    assert "DANGER" in cell(outputs, "%safemodel scan")


def test_hostile_loads_are_stopped_with_the_report_and_the_way_on(outputs: dict[str, str]) -> None:
    pickle = cell(outputs, 'from_pretrained("hostile/fast-sentiment")')
    assert "system" in pickle
    assert "nbguard approve hostile/fast-sentiment --revision" in pickle
    code = cell(outputs, "hostile/tiny-custom-pro")
    assert "as soon as it is imported" in code
    assert "Did the payload run? False" in pickle
    assert "Did the payload run? False" in code


def test_code_waits_for_a_person(outputs: dict[str, str]) -> None:
    assert "a person should look at first" in cell(outputs, 'AutoModel.from_pretrained("demo/tiny-custom"')


def test_a_file_of_ones_own_loads(outputs: dict[str, str]) -> None:
    assert "'step': 12" in cell(outputs, "torch.save")


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook: Any = nbformat.read(EXAMPLES / "quickstart.ipynb", 4)
    nbformat.validate(notebook)
    assert not any(c.get("outputs") for c in notebook.cells)
