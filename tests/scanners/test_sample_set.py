"""Each sample of the set gets the verdict that it should, and each format that is documented has samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sample_set import MARKER, Sample, samples

import nbguard
from nbguard.scanners.registry import formats


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_the_verdict_is_the_right_one(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not sample.available:
        pytest.skip(f"needs {', '.join(sample.needs)}")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sample"
    folder.mkdir()
    report = nbguard.scan(str(sample.build(folder)))
    said = [f"{f.rule}: {f.message}" for f in report.findings]
    assert report.verdict.word in sample.verdicts, said
    if sample.rule:
        assert sample.rule in {f.rule for f in report.findings}, said
    assert not list(tmp_path.rglob(MARKER))


def test_names_are_unique() -> None:
    assert [n for n, count in Counter(s.name for s in samples()).items() if count > 1] == []


@pytest.mark.parametrize("name", [f.name for f in formats()])
def test_each_format_has_an_honest_file_and_two_hostile_ones(name: str) -> None:
    wanted = next(f for f in formats() if f.name == name)
    honest = [s.name for s in samples() if s.format == name and s.honest]
    hostile = [s.name for s in samples() if s.format == name and not s.honest]
    assert honest or wanted.untested, "no honest file, and no reason why"
    assert len(hostile) >= 2
