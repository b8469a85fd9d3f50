"""A scanner that fails at the question whether the bytes are its own has not answered it with no."""

from __future__ import annotations

import pytest

from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners import registry
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.facts import Facts


class _Stumbles:
    name = "stumbles"

    def recognise(self, job: Job) -> bool:
        return job.head[100] == 0

    def scan(self, job: Job) -> Facts:
        raise AssertionError("it is not asked")


def test_failing_to_recognise_is_unverifiable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "scanners", lambda: (_Stumbles(),))
    limits = Limits()
    facts = registry.examine(Job("m.bin", BytesView(b"short"), limits, Budget(limits.unpacked, limits.members)))
    assert facts.verdict is Verdict.UNVERIFIABLE
    assert [f.rule for f in facts.findings] == ["format.unrecognised"]
