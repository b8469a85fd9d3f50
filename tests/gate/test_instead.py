"""The safetensors alternative in the question: the prominent way, checked by the machine as every other click is."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from sample_reports import REQUEST, decision
from sample_reports import report as sample

from nbguard.gate.answer import Answer, Question, outcome, question
from nbguard.gate.machine import Effect, Machine
from nbguard.report.advice import Advice, Way
from nbguard.report.model import Report, Verdict

sys.path.insert(0, str(Path(__file__).parent))
from test_machine import Clock, click, message

WAY = Way("safetensors", 'm = AutoModel.from_pretrained("a/b", use_safetensors=True)', "This repository also has it.",
          (("use_safetensors", True),))  # fmt: skip


def with_way(verdict: Verdict, way: Way = WAY) -> Report:
    return dataclasses.replace(sample(verdict), advice=Advice(ways=(way,)))


def machine(form: str, *, instead: bool = True, ticks: int = 0) -> tuple[Machine, Clock]:
    clock = Clock()
    offers: tuple[Any, ...] = () if form == "blocked" else ("once",)
    return Machine(digest="d" * 64, form=form, offers=offers, ticks=ticks, instead=instead, clock=clock), clock  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["compact", "full", "danger", "blocked"])
def test_it_is_open_in_every_form_after_the_grace(form: str) -> None:
    gate, clock = machine(form, ticks=2)
    assert gate.receive(click(gate, "safetensors")) is Effect.IGNORED
    assert gate.ignored == "too soon"
    clock.pass_grace()
    assert gate.receive(click(gate, "safetensors")) is Effect.DECIDED
    assert gate.choice == "safetensors"


def test_a_page_cannot_choose_what_is_not_there() -> None:
    gate, clock = machine("full", instead=False)
    clock.pass_grace()
    assert gate.receive(click(gate, "safetensors")) is Effect.IGNORED
    assert gate.ignored == "safetensors is not in use"
    other, _ = machine("full")
    assert gate.receive(click(other, "safetensors")) is Effect.IGNORED
    wrong = message(gate.control("safetensors"), {"method": "update", "state": {"value": True}})
    assert gate.receive(wrong) is Effect.IGNORED
    assert gate.choice is None


def test_a_blocked_question_with_it_still_accepts_nothing_else() -> None:
    gate, clock = machine("blocked")
    clock.pass_grace()
    for role in ("once", "always", "details"):
        assert gate.receive(click(gate, role)) is Effect.IGNORED
    assert gate.receive(click(gate, "safetensors")) is Effect.DECIDED


def test_only_a_loader_that_can_do_it_offers_it() -> None:
    assert question(with_way(Verdict.DANGER), decision(Verdict.DANGER)).instead
    assert not question(
        with_way(Verdict.DANGER, dataclasses.replace(WAY, arguments=())), decision(Verdict.DANGER)
    ).instead
    assert not question(sample(Verdict.DANGER), decision(Verdict.DANGER)).instead
    assert not question(with_way(Verdict.SAFE), decision(Verdict.SAFE)).instead, "explained data stays one click"


@pytest.mark.parametrize("verdict", [Verdict.REVIEW, Verdict.DANGER, Verdict.UNVERIFIABLE])
def test_it_is_the_first_and_prominent_button(verdict: Verdict) -> None:
    from nbguard.gate.view import View, _walk

    report = with_way(verdict)
    asked: Question = question(report, decision(verdict))
    gate = Machine(digest="d", form=asked.form, offers=asked.offers, ticks=len(asked.ticks), instead=True)
    view = View(report, decision(verdict), asked, gate, loader=REQUEST.loader)
    buttons = [w for w in _walk(view.root) if type(w).__name__ == "Button"]
    assert buttons[0].description == "Load the safetensors instead"
    assert "nbg-b-go" in buttons[0]._dom_classes
    assert not any("nbg-b-go" in b._dom_classes or "nbg-b-safe" in b._dom_classes for b in buttons[1:])
    if verdict is Verdict.UNVERIFIABLE:
        assert [b.description for b in buttons] == ["Load the safetensors instead", "Refuse"]
    page = view.bundle()["text/html"]
    assert page.index("A safer way") < page.index("What loading it would do")
    assert "use_safetensors=True" in page
    view.close()


def test_what_stays_in_the_notebook_says_it() -> None:
    told = outcome(Answer("safetensors", "ada", "", "widget"))
    assert told.kind == "refused"
    assert "safetensors" in told.text


@pytest.mark.parametrize("verdict", [Verdict.REVIEW, Verdict.DANGER, Verdict.UNVERIFIABLE])
def test_it_can_be_typed(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbguard.gate import terminal

    monkeypatch.setattr("builtins.input", lambda prompt="": "safetensors")
    report = with_way(verdict)
    asked = question(report, decision(verdict))
    assert terminal.ask_in_terminal(report, decision(verdict), REQUEST, asked).choice == "safetensors"
    plain = dataclasses.replace(asked, instead=False)
    assert terminal.ask_in_terminal(report, decision(verdict), REQUEST, plain).choice == "refuse"
