"""What the real loaders do with the samples of statistics' and data's formats, and what a report says of R's code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_set import Sample, r_files, samples

import nbguard
from nbguard.report.model import Report, Verdict

LOAD = (
    "import sys, pathlib; from sample_set import samples;"
    "next(s for s in samples() if s.name == sys.argv[1]).loads(pathlib.Path(sys.argv[2]))"
)


def named(name: str) -> Sample:
    sample = next(s for s in samples() if s.name == name)
    if not sample.available:
        pytest.skip(f"needs {', '.join(sample.needs)}")
    return sample


def load(name: str, folder: Path) -> int:
    """How a process ends that loads the sample with its real loader."""
    place = named(name).build(folder)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, name, str(place)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


def report(data: bytes, folder: Path, name: str = "m.rds") -> Report:
    (folder / name).write_bytes(data)
    return nbguard.scan(str(folder / name))


@pytest.mark.parametrize(
    "name", ["xgboost-json/child-outside", "catboost/border-outside", "lightgbm-text/child-outside"]
)
def test_a_library_in_c_follows_a_number_out_of_its_memory(name: str, tmp_path: Path) -> None:
    assert load(name, tmp_path) < 0


@pytest.mark.parametrize("name", ["sentencepiece/trie-values", "sentencepiece/trie-root", "xgboost-ubj/length-lies"])
def test_a_library_gives_up_on_numbers_that_lead_nowhere(name: str, tmp_path: Path) -> None:
    assert load(name, tmp_path) != 0


@pytest.mark.parametrize("name", ["flax/shape-lies", "flax/objects", "flax/pieces-lie", "flax/cut-off"])
def test_flax_gives_up_on_arrays_that_lie(name: str, tmp_path: Path) -> None:
    sample = named(name)
    assert sample.loads is not None
    with pytest.raises((ValueError, TypeError)):
        sample.loads(sample.build(tmp_path))


def test_a_reader_that_puts_entities_in_reads_another_file(tmp_path: Path) -> None:
    pytest.importorskip("lxml")
    assert load("pmml/entity", tmp_path) == 0  # it asserts that the text of the other file is in the document


def test_what_r_would_run_is_shown_as_r_prints_it(tmp_path: Path) -> None:
    data = r_files.HEAD + r_files.promise(r_files.RUNS)
    found = report(data, tmp_path)
    assert found.verdict is Verdict.DANGER
    assert [f.evidence for f in found.findings] == [f'system("{r_files.COMMAND}")']


def test_a_function_says_what_it_calls(tmp_path: Path) -> None:
    body = r_files.call("{", r_files.call("<-", r_files.symbol("x"), r_files.call("readLines", r_files.texts("a"))))
    (finding,) = report(r_files.HEAD + r_files.closure(body), tmp_path).findings
    assert (finding.rule, finding.evidence) == ("rdata.code", 'function() { x <- readLines("a"); }')
    assert "readLines" in finding.message


def test_what_an_environment_holds_is_looked_at_like_anything_else(tmp_path: Path) -> None:
    inner = r_files.environment(f=r_files.closure(r_files.RUNS), x=r_files.numbers(1))
    assert report(r_files.HEAD + r_files.values(inner), tmp_path).verdict is Verdict.DANGER


def test_an_argument_that_a_function_never_looked_at_is_no_attack(tmp_path: Path) -> None:
    """R keeps such promises among the variables of a function, and writes them with it."""
    data = r_files.HEAD + r_files.environment(data=r_files.promise(r_files.call("subset", r_files.symbol("d"))))
    assert report(data, tmp_path).verdict is Verdict.REVIEW


def test_many_pieces_of_code_end_in_few_findings_and_the_worst_verdict(tmp_path: Path) -> None:
    many = [r_files.closure(r_files.call(f"f{n}")) for n in range(200)]
    found = report(r_files.HEAD + r_files.values(*many, r_files.promise(r_files.RUNS)), tmp_path)
    assert found.verdict is Verdict.DANGER
    assert len(found.findings) <= 45


def test_code_deeper_than_anyone_prints_is_still_judged(tmp_path: Path) -> None:
    code = r_files.RUNS
    for _ in range(1_000):
        code = r_files.call("(", code)
    assert report(r_files.HEAD + r_files.closure(code), tmp_path).verdict is Verdict.DANGER
