"""CRFsuite's models: what its own trainer writes is safe; a number that leads out of the file is not."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import pycrfsuite
import pytest

import nbguard
from nbguard.report.model import Verdict


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("crf") / "m.crfsuite"
    trainer = pycrfsuite.Trainer(verbose=False)
    words = [[f"w={w}", f"s={w[-1]}"] for w in ("the", "cat", "sat", "on", "mats")]
    for _ in range(4):
        trainer.append(words, ["D", "N", "V", "P", "N"])
    trainer.train(str(path))
    return path.read_bytes()


def verdict(tmp_path: Path, data: bytes) -> Verdict:
    path = tmp_path / "m.crfsuite"
    path.write_bytes(data)
    return nbguard.scan(str(path)).verdict


def test_an_honest_model_is_safe(model: bytes, tmp_path: Path) -> None:
    assert verdict(tmp_path, model) is Verdict.SAFE


@pytest.mark.parametrize("at", [4, 12, 20, 24, 28, 32, 36, 40, 44])
def test_a_number_in_the_header_that_lies(model: bytes, tmp_path: Path, at: int) -> None:
    assert verdict(tmp_path, model[:at] + struct.pack("<I", 0x7FFFFFF0) + model[at + 4 :]) is Verdict.UNVERIFIABLE


def test_a_feature_without_its_label(model: bytes, tmp_path: Path) -> None:
    at = struct.unpack_from("<I", model, 28)[0] + 12
    assert verdict(tmp_path, model[: at + 8] + struct.pack("<I", 999) + model[at + 12 :]) is Verdict.UNVERIFIABLE


def test_cut_short_or_something_else_behind_it(model: bytes, tmp_path: Path) -> None:
    assert verdict(tmp_path, model[:-9]) is Verdict.UNVERIFIABLE
    assert verdict(tmp_path, model + pickle.dumps([1])) is Verdict.UNVERIFIABLE
