"""Front-ends other than Jupyter's own pages, and those without anybody: who is asked how, who is refused at once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from kernels import Kernel
from nbclient import NotebookClient
from terminals import Terminal

REVIEW = b"\x80\x04\x8c\x07mymodel\x8c\x05Model\x93)\x81}\x8c\x01a\x4b\x01sb."
SETUP = "%load_ext nbguard\nimport pickle"


class Bomb:
    """A pickle of this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def load(name: str) -> str:
    return f"print('loaded', pickle.load(open({name!r}, 'rb')))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "mymodel.py").write_text("class Model:\n    def __repr__(self): return f'Model {self.a}'\n")
    (made / "safe.pkl").write_bytes(pickle.dumps({"of": str(tmp_path)}))
    (made / "review.pkl").write_bytes(REVIEW)
    (made / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    return made


def book(*cells: str, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "python3", "language": "python"}
    made.cells[0].metadata.tags = list(tags)
    return made


def shown(notebook: nbformat.NotebookNode) -> str:
    return str([cell.get("outputs") for cell in notebook.cells])


def test_a_front_end_that_never_shows_a_widget_gets_the_question_to_type(folder: Path) -> None:
    """As in VS Code or a console where widgets are not served: without a person having to know why."""
    with Kernel("python3", page="", VSCODE_PID="1", VSCODE_CWD=str(folder)) as kernel:
        cell = kernel.run(f"import os; os.chdir({str(folder)!r})\n{SETUP}\n{load('safe.pkl')}")
        prompt = cell.type("once")
        assert "Type once (load it now) or always" in prompt
        assert "loaded {'of'" in cell.finish()
        assert "widget-view" not in str(cell.shown)


def test_colab_is_asked_with_text_at_once(folder: Path) -> None:
    with Kernel("python3", page="x.ipynb") as kernel:
        cell = kernel.run(
            "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
            f"import os; os.chdir({str(folder)!r})\n{SETUP}\n{load('safe.pkl')}"
        )
        assert "Type once" in cell.type("")
        cell.finish()
        assert "LoadBlocked" in cell.error
        assert "widget-view" not in str(cell.states)


def test_the_console(folder: Path) -> None:
    command = [sys.executable, "-m", "jupyter_console", "--kernel=python3", "--simple-prompt"]
    with Terminal(command, folder, JPY_SESSION_NAME="") as terminal:
        terminal.see("In [1]:")
        terminal.type("%load_ext nbguard")
        terminal.see("In [2]:")
        terminal.type("import pickle; " + load("safe.pkl"))
        terminal.see("or press Enter for no:")
        terminal.type("once")
        terminal.see("loaded {'of'")


def test_nbclient_refuses_at_once_and_loads_what_the_policy_allows(folder: Path, tmp_path: Path) -> None:
    notebook = book(SETUP, load("safe.pkl"), load("review.pkl"), load("bomb.pkl"))
    NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": str(folder)}}).execute()
    assert "loaded {'of'" in str(notebook.cells[1].outputs)
    for cell in notebook.cells[2:]:
        (error,) = [output for output in cell.outputs if output.output_type == "error"]
        assert error.ename == "LoadBlocked"
        assert "nobody can be asked here" in error.evalue
        assert "nbguard approve" in error.evalue
        assert "\x1b" not in error.evalue
    assert not (tmp_path / "it-ran").exists()


def test_papermill_with_parameters(folder: Path, tmp_path: Path) -> None:
    source, result = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    cells = [
        "path = 'bomb.pkl'",
        f"import os; os.chdir({str(folder)!r})\n{SETUP}\nprint('loaded', pickle.load(open(path, 'rb')))",
    ]
    nbformat.write(book(*cells, tags=("parameters",)), str(source))
    papermill.execute_notebook(str(source), str(result), {"path": "safe.pkl"}, progress_bar=False)
    assert "loaded {'of'" in shown(nbformat.read(str(result), 4))
    with pytest.raises(papermill.PapermillExecutionError, match="LoadBlocked"):
        papermill.execute_notebook(str(source), str(result), {}, progress_bar=False)
    assert not (tmp_path / "it-ran").exists()


def test_nbconvert_execute(folder: Path, tmp_path: Path) -> None:
    approved = "%safemodel approve review.pkl"
    for cells, code in (((load("safe.pkl"), load("review.pkl")), 1), ((approved, load("review.pkl")), 0)):
        nbformat.write(book(SETUP, *cells), str(folder / "book.ipynb"))
        convert = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "book.ipynb"]
        done = subprocess.run(convert, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr[-2_000:]
        assert ("LoadBlocked" in done.stderr) is bool(code)
    assert "loaded Model 1" in (folder / "book.html").read_text("utf-8")


def test_modes_in_a_kernel(folder: Path, tmp_path: Path) -> None:
    """Observe loads and only writes it down; warn loads and says so; enforce stops."""
    with Kernel("python3") as kernel:
        kernel.run(f"import os; os.chdir({str(folder)!r})\n{SETUP}").finish()

        def under(mode: str) -> object:
            return kernel.run(f"os.environ['NBGUARD_MODE'] = {mode!r}\n{load('bomb.pkl')}")

        cell = under("observe")
        assert cell.finish() == "loaded None\n"
        assert not any(data["text/plain"] for data in cell.shown.values())
        (tmp_path / "it-ran").rmdir()

        cell = under("warn")
        assert cell.finish() == "loaded None\n"
        (told,) = (data for data in cell.shown.values() if data["text/plain"])
        assert "the policy only watches" in told["text/plain"]
        assert "DANGER" in told["text/plain"]
        (tmp_path / "it-ran").rmdir()

        cell = under("enforce")
        cell.question()
        cell.click("refuse")
        assert "loaded" not in cell.finish()
        assert not (tmp_path / "it-ran").exists()

        status = kernel.run("os.environ['NBGUARD_MODE'] = 'observe'\n%safemodel status")
        status.finish()
        (table,) = status.shown.values()
        assert "observe: nothing is stopped" in table["text/plain"]
        assert "2 not stopped, for the mode only watches" in table["text/plain"]
        log = kernel.run(
            "from nbguard.approvals import AuditLog\nprint([e['event'] for e in AuditLog().entries()][-3:])"
        )
        assert log.finish() == "['load.not_stopped', 'load.not_stopped', 'load.refused']\n"
