"""%%safemodel above a cell that awaits something: asked before, run where it stands, held to the answer."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from kernels import Kernel

from nbguard.commands.awaiting import rewritten

AWAITING = "import pickle, asyncio\nawait asyncio.sleep(0)\nx = pickle.load(open({!r}, 'rb'))\nprint('loaded', x)"


@pytest.mark.parametrize(
    "cell",
    [
        "%%safemodel\nx = 1\n",
        "%%safemodel\nasync def f():\n    await g()\n",
        "%%safemodel\nawait (\n",
        "%%safemodel scan\nawait f()\n",
        "%%time\nawait f()\n",
        "await f()\n",
        "",
    ],
)
def test_other_cells_stay_as_they_are(cell: str) -> None:
    lines = cell.splitlines(keepends=True)
    assert rewritten(lines) is lines


def test_lines_keep_their_numbers() -> None:
    lines = ["%%safemodel\n", "!ls\n", "text = '''\n", "%not a magic'''\n", "await f(text)\n"]
    assert rewritten(lines)[1:] == lines[1:]
    assert len(rewritten(lines)) == len(lines)


class Bomb:
    """A pickle of this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(params=["python3", "nbguard-ipykernel6"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    assert request.param in KernelSpecManager().find_kernel_specs(), "run `make setup`"
    with Kernel(request.param) as running:
        running.run("%load_ext nbguard").finish()
        yield running


def test_one_question_before_the_cell(kernel: Kernel, tmp_path: Path) -> None:
    safe, bomb = tmp_path / "safe.pkl", tmp_path / "bomb.pkl"
    safe.write_bytes(pickle.dumps({"of": str(tmp_path)}))
    bomb.write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))

    cell = kernel.run("%%safemodel\nprint('begun')\n" + AWAITING.format(str(safe)))
    cell.question()
    assert "begun" not in cell.printed
    cell.click("once")
    assert "begun\nloaded {'of'" in cell.finish()

    again = kernel.run(AWAITING.format(str(safe)))  # what was accepted was accepted for that cell
    again.question()
    again.click("refuse")
    again.finish()
    assert "LoadBlocked" in again.error

    refused = kernel.run("%%safemodel\nprint('begun')\n" + AWAITING.format(str(bomb)))
    refused.question()
    refused.click("refuse")
    assert "begun" not in refused.finish()
    assert "LoadBlocked" in refused.error
    assert not (tmp_path / "it-ran").exists()
    assert kernel.run("await asyncio.sleep(0); print('alive')").finish() == "alive\n"
