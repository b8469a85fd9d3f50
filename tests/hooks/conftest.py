"""A guarded process, a person who answers, and a scanner that can be made blind."""

from __future__ import annotations

import dataclasses
import pickletools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nbguard import hooks
from nbguard.gate.answer import Answer
from nbguard.hooks import own, walk
from nbguard.hooks.walls.permissions import mapped
from nbguard.report.model import GlobalUse, Report, Verdict

VERBS = ("build", "mutated", "named", "newobj", "reduce")


class Asker:
    """Answers every question the same way, and remembers the reports."""

    def __init__(self, choice: str = "once") -> None:
        self.choice = choice
        self.reports: list[Report] = []
        self.requests: list[Any] = []

    def __call__(self, report: Report, decision: Any, request: Any) -> Answer:
        self.reports.append(report)
        self.requests.append(request)
        return Answer(self.choice, "someone", "", "widget")  # type: ignore[arg-type]

    @property
    def verdicts(self) -> list[str]:
        return [r.verdict.word for r in self.reports]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Asker:
    """Somebody sits there and accepts."""
    asker = Asker()
    monkeypatch.setattr(walk, "ask", asker)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    return asker


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A headless process."""
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)


@pytest.fixture(autouse=True)
def stranger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test dumps and loads again counts as somebody else's, so that questions and walls are tried on it.

    Tests marked `own_work` leave it as it is: the person's own."""
    if request.node.get_closest_marker("own_work") is None:
        monkeypatch.setattr(own, "wanted", lambda: False)
        monkeypatch.setattr(own, "find", lambda report, opened: None)


@pytest.fixture
def guarded() -> Iterator[None]:
    """Every loader is guarded during the test."""
    hooks.install()
    yield
    hooks.uninstall()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What a payload would write."""
    return tmp_path / "marker"


@pytest.fixture
def fooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that takes everything for explained data: every name that it sees, with every verb."""
    honest = walk.scan
    monkeypatch.setattr(walk, "scan", lambda request, opened: blinded(honest(request, opened), opened))


def blinded(report: Report, opened: Any) -> Report:
    names = {(g.module, g.name): g for g in report.contract.globals}
    for found in _named(opened.files[0].read()):
        names.setdefault(mapped(*found), GlobalUse(*mapped(*found), (found,), VERBS, "data"))
    uses = tuple(
        GlobalUse(g.module, g.name, tuple({*g.raw, (g.module, g.name)}), VERBS, "data") for g in names.values()
    )
    contract = dataclasses.replace(report.contract, globals=uses)
    files = tuple(dataclasses.replace(f, verdict=Verdict.SAFE, inert=False) for f in report.files)
    return dataclasses.replace(report, contract=contract, files=files, findings=())


def _named(data: bytes) -> set[tuple[str, str]]:
    """(module, name) of what a program names, as far as it can be told from its opcodes alone."""
    found, strings = set(), []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("GLOBAL", "INST"):
                found.add(tuple(str(argument).split(" ", 1)))
            elif isinstance(argument, str):
                strings.append(argument)
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                found.add((strings[-2], strings[-1]))
    except ValueError:
        pass
    return found  # type: ignore[return-value]
