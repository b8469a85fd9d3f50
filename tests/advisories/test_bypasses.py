"""Every way round another scanner that was ever reported is caught here: never safe, never left to a person's eye."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from bypasses import Bypass, bypasses, document, spellings
from sample_set import MARKER

import nbguard
from nbguard.report.model import Verdict
from nbguard.scanners.pickle import scan_stream

CAUGHT = (Verdict.UNVERIFIABLE, Verdict.DANGER)
NUMBER = re.compile(r"GHSA(-[23456789cfghjmpqrvwx]{4}){3}|CVE-20\d\d-\d{4,6}")


@pytest.mark.parametrize("bypass", bypasses(), ids=lambda b: b.name)
def test_a_reported_bypass_is_caught(bypass: Bypass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / bypass.file).write_bytes(bypass.data())
    report = nbguard.scan(str(tmp_path / bypass.file))
    assert report.verdict in CAUGHT, [f"{f.rule}: {f.message}" for f in report.findings]
    assert report.findings
    assert not list(tmp_path.rglob(MARKER))


@pytest.mark.parametrize("bypass", [b for b in bypasses() if b.is_call], ids=lambda b: b.name)
def test_the_same_call_is_caught_however_it_is_written(bypass: Bypass) -> None:
    missed = [
        f"{how}: {[f.message for f in facts.findings]}"
        for how, data in spellings(bypass.module, bypass.function, *bypass.operands())
        for facts in [scan_stream(data, file="sample")[0]]
        if facts.verdict not in CAUGHT
    ]
    assert not missed


def test_every_bypass_says_what_it_is_and_where_it_was_published() -> None:
    for bypass in bypasses():
        assert bypass.trick.endswith("."), bypass.name
        assert "://" not in bypass.trick, bypass.name
        assert bypass.is_call != bool(bypass.builder), bypass.name
        assert bool(bypass.ids) != bool(bypass.published), bypass.name
        assert bypass.peers, bypass.name
        assert set(bypass.peers) <= {"picklescan", "modelscan", "fickling"}, bypass.name
        assert all(NUMBER.fullmatch(i) for i in bypass.ids), bypass.ids
    assert [n for n, count in Counter(b.name for b in bypasses()).items() if count > 1] == []


def test_what_could_not_be_read_is_listed_with_a_reason() -> None:
    listed = {i for b in bypasses() for i in b.ids}
    for row in document()["unread"]:
        assert row["id"] not in listed
        assert row["why"]
