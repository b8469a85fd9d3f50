"""Honest files that were once taken for something else, found by loading many."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbguard.report.model import Verdict
from nbguard.scanners import scan


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_traced_module_brings_the_inputs_of_its_trace(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "traced.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    report = scan(str(path))
    assert report.verdict is Verdict.REVIEW, [f.message for f in report.findings]
