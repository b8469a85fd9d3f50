"""*Convert to safetensors and load that*: the harmless way, in the page, as text, and checked by the machine."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from sample_reports import REQUEST, decision
from sample_reports import report as sample

from nbguard.gate.answer import Answer, outcome, question
from nbguard.gate.machine import Effect, Machine
from nbguard.report.advice import Advice, Way
from nbguard.report.model import Report, Verdict

sys.path.insert(0, str(Path(__file__).parent))
from test_machine import Clock, click

LABEL = "Convert to safetensors and load that"
WAY = Way("convert", 'nbguard.load_transformers("a/b", convert=True)', "It has its weights only as pickles.",
          (("only", ("pytorch_model.bin",)),))  # fmt: skip
SERIOUS = [Verdict.REVIEW, Verdict.DANGER, Verdict.UNVERIFIABLE]


def with_ways(verdict: Verdict, *ways: Way) -> Report:
    return dataclasses.replace(sample(verdict), advice=Advice(ways=ways))


@pytest.mark.parametrize("form", ["compact", "full", "danger", "blocked"])
def test_a_click_counts_only_where_it_is_offered_and_after_the_grace(form: str) -> None:
    for there in (True, False):
        clock = Clock()
        gate = Machine(digest="d" * 64, form=form, offers=(), ticks=1, convert=there, clock=clock)  # type: ignore[arg-type]
        assert gate.receive(click(gate, "convert")) is Effect.IGNORED
        clock.pass_grace()
        assert gate.receive(click(gate, "convert")) is (Effect.DECIDED if there else Effect.IGNORED)
        assert gate.choice == ("convert" if there else None)


def test_safetensors_that_lie_there_come_first() -> None:
    there = Way("safetensors", "x", "It has them.", (("use_safetensors", True),))
    asked = question(with_ways(Verdict.REVIEW, there, WAY), decision(Verdict.REVIEW))
    assert (asked.instead, asked.convert) == (True, False)
    assert question(with_ways(Verdict.REVIEW, WAY), decision(Verdict.REVIEW)).convert
    cannot = dataclasses.replace(WAY, line="", arguments=())
    assert not question(with_ways(Verdict.DANGER, cannot), decision(Verdict.DANGER)).convert


@pytest.mark.parametrize("verdict", [Verdict.SAFE, *SERIOUS])
def test_the_button_is_first_and_prominent_in_every_form(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbguard.gate.view import View, _walk

    report = with_ways(verdict, WAY)
    asked = question(report, decision(verdict))
    gate = Machine(digest="d", form=asked.form, offers=asked.offers, ticks=len(asked.ticks), convert=asked.convert)
    view = View(report, decision(verdict), asked, gate, loader=REQUEST.loader)
    buttons = [w for w in _walk(view.root) if type(w).__name__ == "Button"]
    (mine,) = [b for b in buttons if b.description == LABEL]
    prominent = [b for b in buttons if {"nbg-b-go", "nbg-b-safe"} & set(b._dom_classes)]
    assert prominent == [mine] == buttons[:1]
    if verdict is Verdict.SAFE:
        shown = [w.value.split("<details")[0] for w in _walk(view.root) if type(w).__name__ == "HTML"]
        assert any("A safer way" in part and "only as pickles" in part for part in shown)  # nothing to unfold
    else:
        assert "A safer way" in view.bundle()["text/html"]
    focused: list[str] = []
    monkeypatch.setattr(type(mine), "focus", lambda self: focused.append(self.description))
    view.focus()
    assert focused == [LABEL]
    view.close()


def test_why_it_cannot_be_converted_is_in_the_report() -> None:
    from nbguard.report import advised

    cannot = Way("convert", "", "pytorch_model.bin<b> cannot be converted to safetensors.")
    page = advised.html(advised.lead(with_ways(Verdict.DANGER, cannot)))
    assert "No safer way" in page
    assert "cannot be converted" in page
    assert "<b>&nbsp;" not in page
    assert "model.bin<b>" not in page
    assert "nbg-paste" not in page


@pytest.mark.parametrize("verdict", [Verdict.SAFE, *SERIOUS])
def test_it_can_be_typed(verdict: Verdict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nbguard.gate import terminal

    monkeypatch.setattr("builtins.input", lambda prompt="": "convert")
    report = with_ways(verdict, WAY)
    asked = question(report, decision(verdict))
    assert terminal.ask_in_terminal(report, decision(verdict), REQUEST, asked).choice == "convert"
    assert "convert it to safetensors and load that" in capsys.readouterr().out
    plain = dataclasses.replace(asked, convert=False)
    assert terminal.ask_in_terminal(report, decision(verdict), REQUEST, plain).choice == "refuse"


def test_what_stays_in_the_notebook_says_it() -> None:
    told = outcome(Answer("convert", "ada", "", "widget"))
    assert (told.kind, "converted to safetensors; that is loaded if it works" in told.text) == ("refused", True)
