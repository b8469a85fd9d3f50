"""Numbers in files beside a graph: opened with it, and judged as what they are."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from graph_writers import placed
from sample_set import samples
from sample_set.ncnn import TEXT

import nbguard
from nbguard.artifact.sources import open_path
from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners import configs
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.companions import claim, settle
from nbguard.scanners.facts import Facts


def files(place: Path) -> dict[str, str]:
    return {f.path: f.format for f in nbguard.scan(str(place)).files}


def test_the_file_beside_a_text_of_ncnn_is_data(tmp_path: Path) -> None:
    place = placed(lambda: {"m.param": TEXT, "m.bin": b"\xff\xfe\x80" * 9})(tmp_path)
    assert files(place) == {"m.param": "ncnn", "m.bin": "raw-data"}
    assert files(place / "m.param") == {"m.param": "ncnn", "m.bin": "raw-data"}


def test_another_file_in_the_folder_is_not(tmp_path: Path) -> None:
    place = placed(lambda: {"m.param": TEXT, "m.bin": b"\xff" * 9, "other.bin": b"\xff\xfe\x80" * 9})(tmp_path)
    assert nbguard.scan(str(place)).verdict is Verdict.UNVERIFIABLE


def test_a_harmful_pickle_beside_a_graph_is_no_data(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            import os

            return os.system, ("true",)

    place = placed(lambda: {"m.param": TEXT, "m.bin": pickle.dumps(Payload())})(tmp_path)
    assert nbguard.scan(str(place)).verdict is Verdict.DANGER
    assert nbguard.scan(str(place / "m.param")).verdict is Verdict.DANGER


def test_the_weights_of_a_package_are_found_from_its_model(tmp_path: Path) -> None:
    sample = next(s for s in samples() if s.name == "coreml/model-of-a-package")
    if not sample.available:
        pytest.skip("needs coremltools")
    place = sample.build(tmp_path)
    assert files(place) == {"model.mlmodel": "coreml", "weights/weight.bin": "coreml-weights"}
    (place.parent / "weights" / "weight.bin").unlink()
    report = nbguard.scan(str(place))
    assert (report.verdict, [f.rule for f in report.findings]) == (Verdict.SAFE, ["coreml.weights-missing"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"heads" : []}', True),
        (b'{"\\u0062ase_code": {}}', True),
        (b'{"text": "\\u00e9\\u003c heads"}', False),
        (b" " * (4 << 20) + b'"base_code":', True),
    ],
)
def test_names_of_graphs_in_documents_too_large_to_be_read(text: bytes, expected: bool) -> None:
    limits = Limits()
    job = Job("m.json", BytesView(text), limits, Budget(limits.unpacked, limits.members))
    assert configs.perhaps_graph(job) is expected


@pytest.mark.parametrize("rule", ["worker.time", "worker.crashed", "source.changed", "limits.memory"])
def test_a_file_at_which_the_scanner_broke_off_is_no_data_whoever_claims_it(tmp_path: Path, rule: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "pytorch_model.bin").write_bytes(b"who knows")
    broken = Facts(format="unknown")
    broken.unverifiable(rule, "pytorch_model.bin", "", "It was not read to its end.")
    graph = Facts(format="onnx")
    claim(graph, "pytorch_model.bin", 4)
    facts = {"model.onnx": graph, "pytorch_model.bin": broken}
    with open_path(str(tmp_path)) as opened:
        settle(opened, facts)
    assert facts["pytorch_model.bin"].verdict is Verdict.UNVERIFIABLE
